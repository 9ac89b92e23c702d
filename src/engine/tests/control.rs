//! Starting, watching and answering, as the tools do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::domain::{Actor, ErrorCode, Labels, Principal, RunId};
use crate::run::{EventKind, RunStatus, StepStatus};
use crate::tools::control::RunControl as _;
use crate::tools::control::types::{CancelInput, ListInput, StartInput, SubmitInput, WatchInput};

use super::calls::Deed;
use super::world::{Process, World, agent, workflow};

fn fields(value: Value) -> BTreeMap<String, Value> {
    value.as_object().unwrap().clone().into_iter().collect()
}

fn answer(run: RunId, step: &str, output: Value) -> SubmitInput {
    SubmitInput { run_id: run, step_id: step.parse().unwrap(), output: fields(output), note: Some("here you are".into()), tokens: None }
}

async fn waiting_for_a_plan(world: &World) -> (Process, RunId) {
    let process = world.driving().await;
    let run = process.start(&agent(), &workflow("- {id: plan, kind: plan, input: {goal: g}}\n"), Value::Null).await.unwrap();
    world.until("the agent is waited for", || world.step(&run, "plan") == StepStatus::Waiting).await;
    (process, run)
}

#[tokio::test]
async fn an_agent_sees_its_step_and_answers_it() {
    let world = World::new();
    let (process, run) = waiting_for_a_plan(&world).await;
    let watch = WatchInput { run_id: run, cursor: 0, wait_sec: Some(0) };
    let seen = process.control.watch(&agent(), &watch).await.unwrap();
    let step = &seen.waiting[0];
    assert_eq!((step.step_id.as_str(), step.kind.as_str(), step.waiting_for.as_str()), ("plan", "plan", "agent"));
    assert_eq!((&step.input, &step.output_schema["additionalProperties"]), (&json!({ "goal": "g" }), &json!(false)));
    assert!(step.prompt.as_str().unwrap().contains("Plan"));
    assert_eq!((seen.status.as_str(), seen.done), ("waiting", false));

    let output = json!({ "summary": "s", "tasks": [{ "path": "a.py", "purpose": "all" }] });
    process.control.submit(&agent(), &answer(run, "plan", output.clone())).await.unwrap();
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.output(&run, "plan"), output);
    let rest = process.control.watch(&agent(), &WatchInput { cursor: seen.cursor, ..watch }).await.unwrap();
    assert!(rest.done && rest.events.iter().all(|event| event.seq > seen.cursor));
    assert_eq!(rest.events.last().unwrap().event, "run_succeeded");
    let late = process.control.submit(&agent(), &answer(run, "plan", output)).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::StepNotWaiting);
}

#[tokio::test]
async fn a_wrong_answer_is_refused_with_its_field_named_and_leaves_no_trace() {
    let world = World::new();
    let (process, run) = waiting_for_a_plan(&world).await;
    let before = world.events(&run).len();
    for (output, named) in [
        (json!({ "summary": "s", "tasks": [{ "path": 7, "purpose": "p" }] }), "/tasks/0/path"),
        (json!({ "summary": "s" }), "tasks"),
        (json!({ "summary": "s", "tasks": [], "next_step": "deploy" }), "next_step"),
        (json!({ "summary": "s", "tasks": [], "when": "true" }), "when"),
    ] {
        let fault = process.control.submit(&agent(), &answer(run, "plan", output)).await.unwrap_err();
        assert!(fault.code == ErrorCode::InvalidInput && fault.message.contains(named), "{named}: {fault}");
    }
    let fault = process.control.submit(&agent(), &answer(run, "ghost", json!({}))).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::StepNotWaiting);
    assert_eq!((world.events(&run).len(), world.step(&run, "plan")), (before, StepStatus::Waiting));
}

#[tokio::test]
async fn only_the_first_of_many_answers_counts() {
    let world = World::new();
    let (process, run) = waiting_for_a_plan(&world).await;
    let submit = |n: usize| {
        let control = process.control.clone();
        async move { control.submit(&agent(), &answer(run, "plan", json!({ "summary": n.to_string(), "tasks": [] }))).await }
    };
    let results = futures_util::future::join_all((0..8).map(submit)).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    world.until_over(&run).await;
    assert_eq!(world.events(&run).iter().filter(|event| event.kind == EventKind::AssistantMessage).count(), 1);
}

#[tokio::test]
async fn files_that_an_agent_writes_reach_the_workspace_before_the_step_ends() {
    let world = World::new();
    world.tool("workspace.write", |_, _| Deed::Give(json!({})));
    let process = world.driving().await;
    let run = process.start(&agent(), &workflow("- {id: code, kind: codegen}\n"), Value::Null).await.unwrap();
    world.until("the agent is waited for", || world.step(&run, "code") == StepStatus::Waiting).await;
    let files = json!([{ "path": "a.py", "content": "pass\n" }]);
    process.control.submit(&agent(), &answer(run, "code", json!({ "files": files }))).await.unwrap();
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.tools.effects.lock().unwrap()[0].2, json!({ "files": files }));
}

#[tokio::test]
async fn who_started_a_run_settles_who_does_the_agents_work() {
    let world = World::new();
    world.tool("worker.plan", |_, _| Deed::Give(json!({ "summary": "s", "tasks": [] })));
    let process = world.driving().await;
    let steps = workflow("- {id: plan, kind: plan, by: auto}\n");
    let by_operator = process.start(&Actor::operator(), &steps, Value::Null).await.unwrap();
    assert_eq!(world.until_over(&by_operator).await, RunStatus::Succeeded);
    let by_agent = process.start(&agent(), &steps, Value::Null).await.unwrap();
    world.until("the agent is waited for", || world.step(&by_agent, "plan") == StepStatus::Waiting).await;
    assert_eq!(world.tools.count("worker.plan"), 1);
}

#[tokio::test]
async fn an_agent_that_never_answers_runs_out_of_time() {
    let world = World::new();
    let process = world.driving().await;
    let run = process.start(&agent(), &workflow("- {id: plan, kind: plan, timeout: 10m}\n"), Value::Null).await.unwrap();
    world.until("the agent is waited for", || world.step(&run, "plan") == StepStatus::Waiting).await;
    world.clock.push(600_000);
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::Timeout);
}

#[tokio::test]
async fn anothers_run_is_as_unknown_as_none() {
    let world = World::new();
    let (process, run) = waiting_for_a_plan(&world).await;
    let other = Actor::agent(Principal::new("somebody"));
    let ghost = RunId::mint(crate::domain::Clock::now(&*world.clock));
    let control = &process.control;
    for run_id in [run, ghost] {
        let unknown = [
            control.show(&other, &run_id).await.unwrap_err(),
            control.watch(&other, &WatchInput { run_id, cursor: 0, wait_sec: Some(0) }).await.unwrap_err(),
            control.submit(&other, &answer(run_id, "plan", json!({ "summary": "s", "tasks": [] }))).await.unwrap_err(),
            control.cancel(&other, &CancelInput { run_id, reason: None }).await.unwrap_err(),
            control.artifacts(&other, &run_id).await.unwrap_err(),
        ];
        for fault in unknown {
            assert_eq!((fault.code, fault.message), (ErrorCode::UnknownRun, format!("no run `{run_id}`")));
        }
    }
    assert!(control.list(&other, &ListInput::default()).await.unwrap().runs.is_empty());
    assert_eq!(control.list(&agent(), &ListInput::default()).await.unwrap().runs.len(), 1);
    assert!(control.show(&Actor::operator(), &run).await.is_ok(), "the operator sees all");
}

#[tokio::test]
async fn a_start_is_checked_and_pins_what_it_runs() {
    let world = World::new();
    let process = world.driving().await;
    let start =
        |workflow: &str, inputs: Value| StartInput { workflow: workflow.into(), inputs: fields(inputs), goal: None, idempotency_key: None };
    let unknown = process.control.start(&agent(), &start("ghost", json!({})), Labels::default()).await.unwrap_err();
    assert!(unknown.code == ErrorCode::UnknownWorkflow && unknown.hint.unwrap().contains("build_service"));
    let bad = process.control.start(&agent(), &start("build_service", json!({ "resource": "../x" })), Labels::default()).await.unwrap_err();
    assert!(bad.code == ErrorCode::InvalidInput && bad.message.contains("resource"), "{bad}");
    assert!(world.shared.lock().unwrap().runs.is_empty());

    let started =
        process.control.start(&agent(), &start("build_service", json!({ "resource": "Listing" })), Labels::default()).await.unwrap();
    let state = world.state(&started.run_id);
    let pinned = &state.created.as_ref().unwrap().pinned;
    assert_eq!(pinned.workflow_digest.to_string(), process.control.workflow("build_service").unwrap().digest);
    assert_eq!(crate::workflow::read_stored(&pinned.definition).unwrap().digest(), &pinned.workflow_digest);
    assert!(state.goal.contains("Listing"), "{}", state.goal);
    assert!(world.shared.lock().unwrap().runs[&started.run_id].labels.is_empty());

    let inherited = process.control.start(&agent(), &start("build_service", json!({ "resource": "Listing" })), Labels::BOTH).await.unwrap();
    assert_eq!(world.shared.lock().unwrap().runs[&inherited.run_id].labels, Labels::BOTH);
    let events = process.control.events(&agent(), &inherited.run_id, 0).await.unwrap();
    assert_eq!(events[0].payload["labels"], json!(["untrusted", "private"]));
}

#[tokio::test]
async fn a_watch_wakes_for_news_and_else_waits_its_time() {
    let world = World::new();
    let process = world.driving().await;
    let run = process.begin("- {id: ask, kind: approval, input: {message: m}}\n").await;
    world.until("a human is waited for", || world.status(&run) == RunStatus::Waiting).await;
    let operator = Actor::operator();
    let seen = process.control.watch(&operator, &WatchInput { run_id: run, cursor: 0, wait_sec: Some(5) }).await.unwrap();
    let begun = Instant::now();
    let nothing = process.control.watch(&operator, &WatchInput { run_id: run, cursor: seen.cursor, wait_sec: Some(1) }).await.unwrap();
    assert!(nothing.events.is_empty() && begun.elapsed() >= Duration::from_millis(900));
    assert!(nothing.waiting[0].approval_id.is_some());

    let (control, cursor) = (process.control.clone(), seen.cursor);
    let request = WatchInput { run_id: run, cursor, wait_sec: Some(30) };
    let (seen, ()) = futures_util::future::join(async { control.watch(&operator, &request).await.unwrap() }, async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        process.log.answer(true);
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(10) && !seen.events.is_empty());
}

#[tokio::test]
async fn a_runs_view_tells_its_steps_and_cuts_what_is_large() {
    let world = World::new();
    world.tool("demo.big", |_, _| {
        Deed::Give(json!({ "text": "x".repeat(10_000), "file": { "artifact": "a".repeat(64), "size": 3, "path": "out.txt" } }))
    });
    let process = world.driving().await;
    let run = process.begin("- {id: a, kind: tool, input: {tool: demo.big}}\n").await;
    world.until_over(&run).await;
    let view = process.control.show(&Actor::operator(), &run).await.unwrap();
    assert_eq!((view.status.as_str(), view.steps[0].status.as_str(), &view.steps[0].output), ("succeeded", "succeeded", &Value::Null));
    assert!(view.steps[0].output_bytes.unwrap() > 10_000);
    let artifacts = process.control.artifacts(&Actor::operator(), &run).await.unwrap().artifacts;
    assert_eq!((artifacts.len(), artifacts[0].path.as_deref(), artifacts[0].size), (1, Some("out.txt"), Some(3)));
}

#[tokio::test]
async fn a_definition_is_checked_without_being_run() {
    let world = World::new();
    let process = world.process(super::world::FOREVER);
    assert!(process.control.validate(&workflow("- {id: a, kind: plan}\n")).valid);
    let found = process.control.validate(&workflow("- {id: a, kind: plan, depends_on: [b]}\n- {id: b, kind: plan, depends_on: [a]}\n"));
    assert!(!found.valid && found.problems[0].message.contains("a → b → a"), "{found:?}");
    assert_eq!(
        process.control.workflows(false).workflows.iter().find(|line| line.name == "build_service").unwrap().inputs,
        ["resource", "stack?"]
    );
}
