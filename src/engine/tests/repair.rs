//! Checks that do not pass, mended or not.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault, RunId};
use crate::run::{Event, RunStatus, StepStatus};
use crate::tools::control::RunControl as _;
use crate::tools::control::types::{SubmitInput, WatchInput};

use super::calls::Deed;
use super::crash::die_and_go_on;
use super::log::field;
use super::world::{World, agent, workflow};

/// Two branches; only the checks of the first are ever mended.
const BRANCHES: &str = "- {id: plan, kind: plan, by: builtin}\n\
    - {id: code, kind: codegen, by: builtin, depends_on: [plan], input: {template: t}}\n\
    - {id: form, kind: tool, depends_on: [code], input: {tool: demo.form}}\n\
    - {id: eval, kind: eval, depends_on: [form], input: {commands: [x]}, repair: {step: code, max: 2}}\n\
    - {id: docs, kind: codegen, by: builtin, depends_on: [plan], input: {template: docs}}\n\
    - {id: proof, kind: eval, depends_on: [docs], input: {commands: [docs]}, repair: {step: docs, max: 2}}\n\
    - {id: repo, kind: tool, depends_on: [eval, proof], input: {tool: demo.echo, arguments: {n: '{{ steps.code.output.summary }}'}}}\n";

const TOOLS: [&str; 6] = ["worker.plan", "worker.codegen", "workspace.write", "demo.form", "eval.run", "demo.echo"];

fn files(n: u64) -> Value {
    json!({ "files": [{ "path": "a.py", "content": format!("n = {n}") }], "summary": format!("try {n}") })
}

fn failing(message: &str) -> Value {
    let finding = json!({ "path": "a.py", "line": 1, "code": "FAIL", "message": message });
    let command = json!({ "argv": ["x"], "return_code": 1, "stdout": message, "stderr": "", "diagnostics": [finding], "duration_ms": 1.0 });
    json!({ "passed": false, "commands": [command] })
}

/// A worker that gives other files in each repair, and checks that pass from the try `good` on: they look at what was written.
fn world(good: u64) -> World {
    let world = World::new();
    let written: Arc<Mutex<String>> = Arc::default();
    world.tool("worker.plan", |_, _| Deed::Give(json!({ "summary": "s", "tasks": [] })));
    world.tool("worker.codegen", |arguments, _| {
        if arguments["template"] == "docs" {
            return Deed::Give(json!({ "files": [{ "path": "docs.md", "content": "d" }] }));
        }
        Deed::Give(files(arguments["repair"]["attempt"].as_u64().unwrap_or(0)))
    });
    let disk = written.clone();
    world.tool("workspace.write", move |arguments, _| {
        if arguments["files"][0]["path"] == "a.py" {
            *disk.lock().unwrap() = arguments["files"][0]["content"].as_str().unwrap().to_owned();
        }
        Deed::Give(json!({}))
    });
    world.tool("demo.form", |_, _| Deed::Give(json!({})));
    world.tool("eval.run", move |arguments, _| {
        let content = written.lock().unwrap().clone();
        let is_good = arguments["commands"][0] == "docs" || (good..100).any(|n| content == format!("n = {n}"));
        Deed::Give(if is_good { json!({ "passed": true, "commands": [] }) } else { failing(&content) })
    });
    world.echo("demo.echo");
    world
}

fn events_of(world: &World, run: &RunId, word: &str) -> Vec<Event> {
    world.events(run).into_iter().filter(|event| field(event, "event") == word).collect()
}

fn error(world: &World, run: &RunId, step: &str) -> Fault {
    world.state(run).steps[&step.parse().unwrap()].error.clone().unwrap()
}

#[tokio::test]
async fn what_checks_find_is_mended_and_only_its_branch_runs_again() {
    let world = world(1);
    let process = world.driving().await;
    let run = process.begin(BRANCHES).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    let often = |step| world.told(&run, "step_succeeded", step);
    assert_eq!(["plan", "code", "form", "eval", "docs", "proof", "repo"].map(often), [1, 2, 2, 1, 1, 1, 1]);
    assert_eq!(world.output(&run, "repo"), json!({ "value": { "n": "try 1" } }));

    let asked = events_of(&world, &run, "repair_requested");
    assert_eq!(asked.len(), 1);
    assert_eq!((field(&asked[0], "step"), field(&asked[0], "repairs")), ("eval", "code"));
    assert_eq!(asked[0].payload["diagnostics"][0]["message"], "n = 0");
    let effects = world.tools.effects.lock().unwrap().clone();
    let given: Vec<&Value> =
        effects.iter().filter(|(step, tool, _)| step == "code" && tool == "worker.codegen").map(|(_, _, a)| a).collect();
    assert_eq!(given[0], &json!({ "template": "t" }));
    assert_eq!(
        given[1],
        &json!({ "template": "t", "repair": {
            "attempt": 1, "max": 2,
            "diagnostics": [{ "path": "a.py", "line": 1, "code": "FAIL", "message": "n = 0" }],
            "failed_commands": [{ "argv": ["x"], "return_code": 1, "stdout": "n = 0", "stderr": "" }],
            "previous_files": ["a.py"],
        } })
    );

    let view = process.control.show(&crate::domain::Actor::operator(), &run).await.unwrap();
    let words: Vec<Option<&str>> = view.steps.iter().map(|step| step.repair.as_deref()).collect();
    let mended = Some("repair 1 of 2");
    assert_eq!(words, [None, mended, mended, mended, None, None, None], "{:?}", view.steps);
    let request = WatchInput { run_id: run, cursor: 0, wait_sec: Some(0) };
    let told = process.control.watch(&crate::domain::Actor::operator(), &request).await.unwrap().events;
    let line = told.iter().find(|line| line.event == "repair_requested").unwrap();
    assert_eq!(line.text, "repair 1 of 2 by step `code`: the checks of step `eval` did not pass");
}

#[tokio::test]
async fn when_every_repair_is_used_up_the_checks_fail() {
    let world = world(50);
    let process = world.driving().await;
    let run = process.begin(BRANCHES).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    assert_eq!((world.told(&run, "repair_requested", "eval"), world.told(&run, "step_failed", "eval")), (2, 1));
    let fault = world.state(&run).end.unwrap().error.unwrap();
    assert_eq!(fault.code, ErrorCode::EvalFailed);
    assert_eq!(fault.message, "the checks of step `eval` did not pass, after 2 of 2 repairs by step `code`");
    assert_eq!((world.output(&run, "eval"), world.step(&run, "repo")), (failing("n = 2"), StepStatus::Skipped));
}

#[tokio::test]
async fn a_failure_that_may_be_lived_with_is_one_only_after_the_repairs() {
    let world = world(50);
    let process = world.driving().await;
    let run = process.begin(&BRANCHES.replace("repair: {step: code", "on_failure: continue, repair: {step: code")).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!((world.told(&run, "repair_requested", "eval"), world.step(&run, "eval")), (2, StepStatus::Failed));
    assert_eq!(world.output(&run, "repo"), json!({ "value": { "n": "try 2" } }));
}

#[tokio::test]
async fn the_same_files_again_are_not_checked_again() {
    let world = world(50);
    world.tool("worker.codegen", |_, _| Deed::Give(files(0)));
    let process = world.driving().await;
    let run = process.begin(BRANCHES).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    let of_eval = |(step, tool, _): &&(String, String, Value)| step == "eval" && tool == "eval.run";
    assert_eq!(world.tools.effects.lock().unwrap().iter().filter(of_eval).count(), 1);
    assert_eq!((world.told(&run, "step_succeeded", "form"), world.step(&run, "form")), (1, StepStatus::Succeeded));
    let stopped = events_of(&world, &run, "repair_stopped");
    assert_eq!((stopped.len(), field(&stopped[0], "why")), (1, "step `code` gave the same files again"));
    assert!(error(&world, &run, "eval").message.ends_with("step `code` gave the same files again"));
    assert_eq!(world.output(&run, "eval"), failing("n = 0"));
}

#[tokio::test]
async fn other_faults_of_checks_are_tried_again_as_ever() {
    let world = world(0);
    world.tool("eval.run", |_, nth| if nth < 2 { Deed::Fail(Fault::new(ErrorCode::Timeout, "slow")) } else { Deed::Give(failing("x")) });
    let process = world.driving().await;
    let steps = "- {id: code, kind: codegen, by: builtin}\n\
        - {id: eval, kind: eval, depends_on: [code], retry: {max: 2, backoff: 2ms}, input: {commands: [x]}, repair: {step: code, max: 1}}\n";
    let run = process.begin(steps).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Failed);
    // Checks that did not pass are mended, not made again; the same files would say the same.
    assert_eq!((world.told(&run, "step_retry", "eval"), world.told(&run, "repair_requested", "eval")), (2, 1));
    let again: Vec<u64> = events_of(&world, &run, "step_started").iter().filter_map(|event| event.payload["attempt"].as_u64()).collect();
    assert_eq!(again, [1, 1, 2, 3, 1, 1], "attempts are counted anew in each repair");
}

#[tokio::test]
async fn an_agent_mends_what_it_wrote() {
    let world = world(1);
    let process = world.driving().await;
    let steps = "- {id: code, kind: codegen, input: {goal: g}}\n\
        - {id: eval, kind: eval, depends_on: [code], input: {commands: [x]}, repair: {step: code, max: 1}}\n";
    let run = process.start(&agent(), &workflow(steps), Value::Null).await.unwrap();
    let waits = || world.step(&run, "code") == StepStatus::Waiting;
    let submit = async |n: u64| {
        let output = files(n).as_object().unwrap().clone().into_iter().collect();
        process
            .control
            .submit(&agent(), &SubmitInput { run_id: run, step_id: "code".parse().unwrap(), output, note: None, tokens: None })
            .await
            .unwrap();
    };
    world.until("the agent is waited for", waits).await;
    submit(0).await;
    world.until("it is waited for again", || waits() && world.told(&run, "repair_requested", "eval") == 1).await;
    let watch = WatchInput { run_id: run, cursor: 0, wait_sec: Some(0) };
    let seen = process.control.watch(&agent(), &watch).await.unwrap();
    let step = &seen.waiting[0];
    assert_eq!((step.step_id.as_str(), &step.input["goal"]), ("code", &json!("g")));
    assert_eq!((&step.input["repair"]["attempt"], &step.input["repair"]["max"]), (&json!(1), &json!(1)));
    assert_eq!(step.input["repair"]["diagnostics"][0]["message"], "n = 0");
    assert!(step.prompt.as_str().unwrap().contains("Write the files"));
    submit(1).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!((world.told(&run, "step_waiting", "code"), world.output(&run, "code")), (2, files(1)));
}

#[tokio::test]
async fn after_a_death_at_any_append_no_repair_is_counted_or_made_twice() {
    for lives in 1.. {
        let world = world(2);
        for tool in TOOLS {
            world.idempotent(tool);
        }
        let (run, was_done) = die_and_go_on(&world, BRANCHES, lives).await;
        assert_eq!(world.status(&run), RunStatus::Succeeded, "after {lives} appends");
        let often = |step| world.told(&run, "step_succeeded", step);
        assert_eq!(["plan", "code", "form", "eval", "docs", "proof", "repo"].map(often), [1, 3, 3, 1, 1, 1, 1], "after {lives} appends");
        assert_eq!(world.told(&run, "repair_requested", "eval"), 2, "after {lives} appends");
        assert_eq!(world.output(&run, "repo"), json!({ "value": { "n": "try 2" } }), "after {lives} appends");
        if was_done {
            assert!(lives > 40, "there are many appends, not {lives}");
            return;
        }
    }
}

#[tokio::test]
async fn after_a_death_at_any_append_nothing_else_is_done_twice_in_a_repair() {
    let mut interrupted = 0;
    for lives in 1.. {
        let world = world(1);
        let (run, was_done) = die_and_go_on(&world, BRANCHES, lives).await;
        let of = |step: &str, tool: &str| world.tools.effects.lock().unwrap().iter().filter(|(s, t, _)| s == step && t == tool).count();
        for (step, tool, most) in [
            ("plan", "worker.plan", 1),
            ("code", "worker.codegen", 2),
            ("code", "workspace.write", 2),
            ("form", "demo.form", 2),
            ("eval", "eval.run", 2),
            ("docs", "worker.codegen", 1),
            ("proof", "eval.run", 1),
            ("repo", "demo.echo", 1),
        ] {
            assert!(of(step, tool) <= most, "{step} called {tool} {} times after {lives} appends", of(step, tool));
        }
        if world.status(&run) == RunStatus::Failed {
            interrupted += 1;
            assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::Interrupted, "after {lives} appends");
        }
        if was_done {
            break;
        }
    }
    assert!(interrupted >= 5, "a death between intent and outcome is an interruption; there were {interrupted}");
}
