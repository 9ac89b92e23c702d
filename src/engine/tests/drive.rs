//! Runs from their start to their end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};
use crate::run::{RunStatus, StepStatus};

use super::calls::{Deed, Tools};
use super::world::{FOREVER, World};

#[tokio::test]
async fn steps_run_in_order_and_hand_their_outputs_on() {
    let world = World::new();
    world.echo("demo.echo");
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: b, kind: tool, depends_on: [a], input: {tool: demo.echo, arguments: {got: '{{ steps.a.output.value.n }}'}}}\n\
             - {id: a, kind: tool, input: {tool: demo.echo, arguments: {n: 41}}}\n",
        )
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.output(&run, "b"), json!({ "value": { "got": 41 } }));
}

#[tokio::test]
async fn steps_that_do_not_depend_on_each_other_overlap() {
    let world = World::new();
    // Each ends only once both are at work.
    world.tool("demo.meet", |_, _| Deed::GiveAfter(Duration::from_millis(80), json!({})));
    let process = world.driving().await;
    let steps: String = (0..4).map(|n| format!("- {{id: s{n}, kind: tool, input: {{tool: demo.meet}}}}\n")).collect();
    let run = process.begin(&steps).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.tools.running.lock().unwrap().1, 4);
}

#[tokio::test]
async fn no_more_steps_are_at_work_than_the_cap_allows() {
    let world = World::new();
    world.tool("demo.slow", |_, _| Deed::GiveAfter(Duration::from_millis(15), json!({})));
    let process = world.process_with(FOREVER, |settings| settings.parallel_steps = 2);
    process.drive();
    let steps: String = (0..6).map(|n| format!("- {{id: s{n}, kind: tool, input: {{tool: demo.slow}}}}\n")).collect();
    let run = process.begin(&steps).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!((world.tools.count("demo.slow"), world.tools.running.lock().unwrap().1), (6, 2));
}

#[tokio::test]
async fn a_failure_stops_what_depends_on_it_and_nothing_else() {
    let world = World::new();
    world.echo("demo.echo");
    world.tool("demo.break", |_, _| Deed::Fail(Fault::new(ErrorCode::FilterFailed, "broken")));
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: bad, kind: tool, input: {tool: demo.break}}\n\
             - {id: after, kind: tool, depends_on: [bad], input: {tool: demo.echo}}\n\
             - {id: later, kind: tool, depends_on: [after], input: {tool: demo.echo}}\n\
             - {id: apart, kind: tool, input: {tool: demo.echo}}\n",
        )
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    let state = world.state(&run);
    assert_eq!(state.end.unwrap().error.unwrap().code, ErrorCode::FilterFailed);
    let stands = |step| world.step(&run, step);
    assert_eq!(
        (stands("bad"), stands("after"), stands("later"), stands("apart")),
        (StepStatus::Failed, StepStatus::Skipped, StepStatus::Skipped, StepStatus::Succeeded)
    );
}

#[tokio::test]
async fn a_failure_may_be_lived_with_and_a_condition_may_not_hold() {
    let world = World::new();
    world.echo("demo.echo");
    world.tool("demo.break", |_, _| Deed::Fail(Fault::new(ErrorCode::FilterFailed, "broken")));
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: bad, kind: tool, on_failure: continue, input: {tool: demo.break}}\n\
             - {id: mend, kind: tool, depends_on: [bad], when: steps.bad.status == 'failed', input: {tool: demo.echo}}\n\
             - {id: idle, kind: tool, depends_on: [bad], when: steps.bad.status == 'succeeded', input: {tool: demo.echo}}\n\
             - {id: last, kind: tool, depends_on: [idle, mend], input: {tool: demo.echo, arguments: {was: '{{ steps.idle.status }}'}}}\n",
        )
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.step(&run, "idle"), StepStatus::Skipped);
    assert_eq!(world.output(&run, "last"), json!({ "value": { "was": "skipped" } }));
}

#[tokio::test]
async fn a_failed_step_is_tried_again_as_often_as_it_says() {
    let world = World::new();
    world.tool("demo.flaky", |_, nth| if nth < 2 { Deed::Fail(Fault::new(ErrorCode::Timeout, "slow")) } else { Deed::Give(json!({})) });
    world.tool("demo.refused", |_, _| Deed::Fail(Fault::new(ErrorCode::PolicyDenied, "no")));
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: a, kind: tool, retry: {max: 3, backoff: 4ms}, input: {tool: demo.flaky}}\n\
             - {id: b, kind: tool, on_failure: continue, retry: {max: 3, backoff: 4ms}, input: {tool: demo.refused}}\n",
        )
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!((world.tools.count("demo.flaky"), world.told(&run, "step_retry", "a")), (3, 2));
    assert_eq!(world.tools.count("demo.refused"), 1, "a refusal is not tried again");

    let run = process.begin("- {id: c, kind: tool, retry: {max: 2, backoff: 2ms, on: [FILTER_FAILED]}, input: {tool: demo.other}}\n").await;
    world.tool("demo.other", |_, _| Deed::Fail(Fault::new(ErrorCode::Timeout, "slow")));
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.told(&run, "step_retry", "c"), 0);
}

#[tokio::test]
async fn a_step_that_takes_too_long_is_cut_off() {
    let world = World::new();
    world.tool("demo.hang", |_, _| Deed::Hang);
    let process = world.driving().await;
    let run = process.begin("- {id: a, kind: tool, timeout: 30ms, input: {tool: demo.hang}}\n").await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::Timeout);
}

#[tokio::test]
async fn a_run_stops_at_its_limits() {
    let world = World::new();
    world.echo("demo.echo").tool("demo.hang", |_, _| Deed::Hang);
    let process = world.driving().await;
    let calls = "name: test\nversion: 1.0.0\nlimits: {max_tool_calls: 1}\nsteps:\n\
                 - {id: a, kind: tool, input: {tool: demo.echo}}\n- {id: b, kind: tool, depends_on: [a], input: {tool: demo.echo}}\n";
    let run = process.start(&crate::domain::Actor::operator(), calls, Value::Null).await.unwrap();
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!((world.tools.count("demo.echo"), world.step(&run, "b")), (1, StepStatus::Failed));

    let wall = "name: test\nversion: 1.0.0\nlimits: {wall: 40ms}\nsteps:\n- {id: a, kind: tool, input: {tool: demo.hang}}\n";
    let run = process.start(&crate::domain::Actor::operator(), wall, Value::Null).await.unwrap();
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::BudgetExceeded);
}

#[tokio::test]
async fn checks_that_do_not_pass_fail_their_step_and_keep_what_they_said() {
    let world = World::new();
    world.tool("eval.run", |_, _| Deed::Give(json!({ "passed": false, "results": ["1 failed"] })));
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: a, kind: eval, input: {commands: [x], workspace: true}}\n\
             - {id: b, kind: eval, input: {commands: [x], workspace: true, allow_failure: true}}\n",
        )
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.output(&run, "a")["results"], json!(["1 failed"]));
    assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::EvalFailed);
    assert_eq!(world.step(&run, "b"), StepStatus::Succeeded);
    let arguments = world.tools.effects.lock().unwrap()[1].2.clone();
    assert_eq!(arguments, json!({ "commands": ["x"], "workspace": true }));
}

#[tokio::test]
async fn a_repo_step_makes_the_repository_takes_everything_up_and_commits() {
    let world = World::new();
    world.tool("repo.git.init", |_, _| Deed::Give(json!({ "created": true })));
    world.tool("repo.git.add_all", |_, _| Deed::Give(json!({ "changed": 2 })));
    world.tool("repo.git.commit", |_, _| Deed::Give(json!({ "commit": "abc", "branch": "main", "files": 2, "summary": "s" })));
    world.tool("repo.git.log", |_, _| Deed::Give(json!({ "commits": [] })));
    let process = world.driving().await;
    let run = process
        .begin("- {id: a, kind: repo, input: {message: Hi, path: sub}}\n- {id: b, kind: repo, depends_on: [a], input: {action: log}}\n")
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.output(&run, "a"), json!({ "commit": "abc", "branch": "main", "files": 2 }));
    let calls: Vec<(String, Value)> =
        world.tools.effects.lock().unwrap().iter().map(|(_, tool, args)| (tool.clone(), args.clone())).collect();
    assert_eq!(
        calls,
        [
            ("repo.git.init".into(), json!({ "path": "sub" })),
            ("repo.git.add_all".into(), json!({ "path": "sub" })),
            ("repo.git.commit".into(), json!({ "message": "Hi", "path": "sub" })),
            ("repo.git.log".into(), json!({})),
        ]
    );
}

#[tokio::test]
async fn a_builtin_worker_does_what_an_agent_would() {
    let world = World::with(Tools { by_reference: true, ..Tools::default() });
    let files = json!({ "files": [{ "path": "a.py", "content": "x = 1\n" }], "summary": "one file" });
    let given = files.clone();
    world.tool("worker.codegen", move |_, _| Deed::Give(given.clone()));
    world.tool("workspace.write", |_, _| Deed::Give(json!({})));
    let process = world.driving().await;
    let run = process.begin("- {id: code, kind: codegen, input: {template: t, resource: Bee}}\n").await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.output(&run, "code"), files);
    assert_eq!(world.tools.effects.lock().unwrap()[1].2, json!({ "files": files["files"] }));
}

#[tokio::test]
async fn an_output_that_does_not_fit_its_schema_fails_the_step() {
    let world = World::new();
    world.tool("worker.plan", |_, _| Deed::Give(json!({ "summary": "s", "tasks": [], "next_step": "deploy" })));
    let process = world.driving().await;
    let run = process.begin("- {id: plan, kind: plan}\n").await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    let error = world.state(&run).end.unwrap().error.unwrap();
    assert!(error.code == ErrorCode::InvalidOutput && error.message.contains("next_step"), "{error:?}");
}

#[tokio::test]
async fn a_human_decides_an_approval_step() {
    let world = World::new();
    world.echo("demo.echo");
    let process = world.driving().await;
    let steps = "- {id: ask, kind: approval, input: {message: 'Really?', details: {n: 1}}}\n\
                 - {id: act, kind: tool, depends_on: [ask], input: {tool: demo.echo, arguments: {ok: '{{ steps.ask.output.approved }}'}}}\n";
    let run = process.begin(steps).await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    let row = world.shared.lock().unwrap().approvals.values().next().unwrap().clone();
    assert_eq!(row.shown["asks"], json!({ "message": "Really?", "details": { "n": 1 } }));
    let canonical = serde_json_canonicalizer::to_vec(&row.shown).unwrap();
    assert_eq!(row.digest, crate::domain::Digest::of_parts("toolgate/approval-step/v1", &[&canonical]));
    process.log.answer(true);
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.shared.lock().unwrap().approvals[&row.id].status, crate::store::ApprovalStatus::Used);
    assert_eq!(world.output(&run, "act"), json!({ "value": { "ok": true } }));

    let run = process.begin(steps).await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    process.log.answer(false);
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    let error = world.state(&run).end.unwrap().error.unwrap();
    assert!(error.code == ErrorCode::ApprovalDenied && error.message.contains("not today"), "{error:?}");
    assert_eq!(world.tools.count("demo.echo"), 1);
}

#[tokio::test]
async fn silence_is_a_no() {
    let world = World::new();
    let process = world.driving().await;
    let run = process.begin("- {id: ask, kind: approval, timeout: 1h, input: {message: m}}\n").await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    world.clock.push(3_600_000);
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::ApprovalDenied);
}

#[tokio::test]
async fn a_call_that_needs_a_human_parks_its_step_and_is_made_once_they_say_yes() {
    let world = World::new();
    world.tool("demo.push", |_, _| Deed::Ask(json!({ "pushed": true })));
    let process = world.driving().await;
    let run = process.begin("- {id: a, kind: tool, input: {tool: demo.push}}\n").await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    assert_eq!(world.tools.count("demo.push"), 0);
    process.log.answer(true);
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!((world.tools.count("demo.push"), world.output(&run, "a")), (1, json!({ "pushed": true })));

    let run = process.begin("- {id: a, kind: tool, input: {tool: demo.push, arguments: {again: true}}}\n").await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    process.log.answer(false);
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.tools.count("demo.push"), 1);
}

#[tokio::test]
async fn a_tool_that_panics_fails_its_step_only() {
    let world = World::new();
    world.echo("demo.echo").tool("demo.panic", |_, _| panic!("as planned"));
    let process = world.driving().await;
    let run = process
        .begin("- {id: a, kind: tool, on_failure: continue, input: {tool: demo.panic}}\n- {id: b, kind: tool, input: {tool: demo.echo}}\n")
        .await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.state(&run).steps[&"a".parse().unwrap()].error.as_ref().unwrap().code, ErrorCode::Internal);
}

#[tokio::test]
async fn drive_one_goes_as_far_as_it_can() {
    let world = World::new();
    world.echo("demo.echo");
    let process = world.process(FOREVER);
    let run = process
        .begin("- {id: a, kind: tool, input: {tool: demo.echo}}\n- {id: ask, kind: approval, depends_on: [a], input: {message: m}}\n")
        .await;
    let stop = process.stop.clone();
    assert_eq!(process.driver.drive_one(&run, true, stop.clone()).await.unwrap(), Some(RunStatus::Waiting));
    assert_eq!(world.status(&run), RunStatus::Waiting);
    process.log.answer(true);
    assert_eq!(process.driver.drive_one(&run, true, stop).await.unwrap(), Some(RunStatus::Succeeded));
}
