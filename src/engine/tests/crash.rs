//! Processes that die at every point, and others that go on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::{ErrorCode, RunId};
use crate::run::{RunStatus, StepStatus};
use crate::tools::control::RunControl as _;
use crate::tools::control::types::{CancelInput, SubmitInput};

use super::calls::{Deed, recover};
use super::world::{FOREVER, Process, World, agent, workflow};

/// Every kind of work at once: parallel steps, a worker with a second call, a retry, a condition, a sequence.
const BUSY: &str = "- {id: plan, kind: plan, by: builtin}\n\
    - {id: left, kind: tool, depends_on: [plan], input: {tool: demo.echo, arguments: {side: left}}}\n\
    - {id: right, kind: tool, depends_on: [plan], retry: {max: 2, backoff: 2ms}, input: {tool: demo.flaky}}\n\
    - {id: code, kind: codegen, by: builtin, depends_on: [left, right]}\n\
    - {id: never, kind: tool, depends_on: [code], when: 'false', input: {tool: demo.echo}}\n\
    - {id: repo, kind: repo, depends_on: [code, never], input: {message: m}}\n";

const STEPS: [&str; 6] = ["plan", "left", "right", "code", "never", "repo"];

fn busy_world() -> World {
    let world = World::new();
    world.echo("demo.echo");
    world.tool("demo.flaky", |_, nth| {
        if nth == 0 { Deed::Fail(crate::domain::Fault::new(ErrorCode::Timeout, "slow")) } else { Deed::Give(json!({})) }
    });
    world.tool("worker.plan", |_, _| Deed::Give(json!({ "summary": "s", "tasks": [] })));
    world.tool("worker.codegen", |_, _| Deed::Give(json!({ "files": [{ "path": "a", "content": "b" }] })));
    for tool in ["workspace.write", "repo.git.init", "repo.git.add_all", "repo.git.commit"] {
        world.tool(tool, |_, _| Deed::Give(json!({ "commit": "c" })));
    }
    world
}

const TOOLS: [&str; 8] =
    ["demo.echo", "demo.flaky", "worker.plan", "worker.codegen", "workspace.write", "repo.git.init", "repo.git.add_all", "repo.git.commit"];

/// Runs these steps in a process that dies after `lives` appends, then in one that lives. Whether the first saw it through.
pub async fn die_and_go_on(world: &World, steps: &str, lives: i64) -> (RunId, bool) {
    let first = world.process(FOREVER);
    let run = first.begin(steps).await;
    let doomed = world.process(lives);
    doomed.drive();
    world.until("it dies or is done", || doomed.log.died.load(std::sync::atomic::Ordering::SeqCst) || world.status(&run).is_final()).await;
    let was_done = world.status(&run).is_final();
    doomed.kill().await;
    let heir = world.driving().await;
    world.until_over(&run).await;
    heir.kill().await;
    (run, was_done)
}

#[tokio::test]
async fn after_a_death_at_any_append_everything_idempotent_ends_well_and_no_step_ends_twice() {
    for lives in 1.. {
        let world = busy_world();
        for tool in TOOLS {
            world.idempotent(tool);
        }
        let (run, was_done) = die_and_go_on(&world, BUSY, lives).await;
        assert_eq!(world.status(&run), RunStatus::Succeeded, "after {lives} appends");
        for step in STEPS {
            let ends = ["step_succeeded", "step_failed", "step_skipped"].map(|word| world.told(&run, word, step));
            assert_eq!(ends.iter().sum::<usize>(), 1, "step {step} after {lives} appends");
        }
        for tool in TOOLS {
            let most = if tool == "demo.flaky" { 3 } else { 2 };
            assert!(world.tools.count(tool) <= most, "{tool} after {lives} appends");
        }
        if was_done {
            assert!(lives > 20, "the workflow makes many appends, not {lives}");
            return;
        }
    }
}

#[tokio::test]
async fn after_a_death_at_any_append_nothing_else_is_ever_done_twice() {
    nothing_is_done_twice(|_| {}).await;
}

/// What an idempotent tool told somebody outside is not told again unasked.
#[tokio::test]
async fn after_a_death_nothing_that_went_out_is_done_twice_even_by_idempotent_tools() {
    nothing_is_done_twice(|world| {
        *world.tools.go_out.lock().unwrap() = true;
        for tool in TOOLS {
            world.idempotent(tool);
        }
    })
    .await;
}

async fn nothing_is_done_twice(change: impl Fn(&World)) {
    let mut interrupted = 0;
    for lives in 1.. {
        let world = busy_world();
        change(&world);
        let (run, was_done) = die_and_go_on(&world, BUSY, lives).await;
        for tool in TOOLS {
            let most = if tool == "demo.flaky" { 2 } else { 1 };
            assert!(world.tools.count(tool) <= most, "{tool} after {lives} appends");
        }
        match world.status(&run) {
            RunStatus::Succeeded => {}
            RunStatus::Failed => {
                interrupted += 1;
                assert_eq!(world.state(&run).end.unwrap().error.unwrap().code, ErrorCode::Interrupted, "after {lives} appends");
            }
            other @ (RunStatus::Running | RunStatus::Waiting | RunStatus::Cancelled | RunStatus::Closed) => {
                panic!("{other:?} after {lives}")
            }
        }
        if was_done {
            break;
        }
    }
    assert!(interrupted >= 5, "a death between intent and outcome is an interruption; there were {interrupted}");
}

#[tokio::test]
async fn what_waits_still_waits_after_a_death_and_answers_given_meanwhile_count() {
    let world = World::new();
    let steps = "- {id: plan, kind: plan}\n- {id: ask, kind: approval, depends_on: [plan], input: {message: m}}\n";
    let first = world.driving().await;
    let run = first.start(&agent(), &workflow(steps), Value::Null).await.unwrap();
    world.until("the agent is waited for", || world.step(&run, "plan") == StepStatus::Waiting).await;
    first.kill().await;
    // Nobody drives: another process takes the answer all the same.
    let idle = world.process(FOREVER);
    let output = json!({ "summary": "s", "tasks": [] }).as_object().unwrap().clone().into_iter().collect();
    let answer = SubmitInput { run_id: run, step_id: "plan".parse().unwrap(), output, note: None, tokens: None };
    idle.control.submit(&agent(), &answer).await.unwrap();
    let second = world.driving().await;
    world.until("the human is waited for", || world.step(&run, "ask") == StepStatus::Waiting).await;
    assert_eq!(world.told(&run, "step_waiting", "plan"), 1);
    second.kill().await;
    idle.log.answer(true);
    let _third = world.driving().await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
}

#[tokio::test]
async fn of_two_drivers_only_one_drives() {
    let world = World::new();
    world.tool("demo.slow", |_, _| Deed::GiveAfter(Duration::from_millis(10), json!({})));
    let (one, two) = (world.driving().await, world.driving().await);
    let steps: String = (0..6).map(|n| format!("- {{id: s{n}, kind: tool, input: {{tool: demo.slow}}}}\n")).collect();
    let runs: Vec<RunId> = [one.begin(&steps).await, two.begin(&steps).await, one.begin(&steps).await].to_vec();
    for run in &runs {
        assert_eq!(world.until_over(run).await, RunStatus::Succeeded);
        for n in 0..6 {
            assert_eq!(world.told(run, "step_started", &format!("s{n}")), 1);
        }
    }
    assert_eq!(world.tools.count("demo.slow"), 18);
}

#[tokio::test]
async fn who_lost_the_lease_writes_nothing_more() {
    let world = World::new();
    world.tool("demo.slow", |_, _| Deed::GiveAfter(Duration::from_millis(40), json!({})));
    let process = world.driving().await;
    let run = process
        .begin("- {id: a, kind: tool, input: {tool: demo.slow}}\n- {id: b, kind: tool, depends_on: [a], input: {tool: demo.slow}}\n")
        .await;
    world.until("a is at work", || world.tools.count("demo.slow") == 1).await;
    process.log.steal(&run);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!((world.told(&run, "step_succeeded", "a"), world.told(&run, "step_started", "b")), (0, 0));
    assert_eq!(world.tools.count("demo.slow"), 1);
}

#[tokio::test]
async fn a_stop_cuts_calls_off_and_the_next_process_goes_on() {
    let world = World::new();
    world.tool("demo.once", |_, nth| if nth == 0 { Deed::Hang } else { Deed::Give(json!({ "nth": nth })) }).idempotent("demo.once");
    let first = world.driving().await;
    let run = first.begin("- {id: a, kind: tool, input: {tool: demo.once}}\n").await;
    world.until("a is at work", || world.tools.count("demo.once") == 1).await;
    first.stop.cancel();
    world.until("the call was cut off", || world.tools.running.lock().unwrap().0 == 0).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(world.step(&run, "a"), StepStatus::Running, "a stop is not a failure");
    let _second = world.driving().await;
    assert_eq!(world.until_over(&run).await, RunStatus::Succeeded);
    assert_eq!(world.output(&run, "a"), json!({ "nth": 1 }));
}

#[tokio::test]
async fn a_cancelled_run_drains_and_tells_how_each_step_ended() {
    let world = World::new();
    world.echo("demo.echo").tool("demo.hang", |_, _| Deed::Hang);
    let process = world.driving().await;
    let run = process
        .begin(
            "- {id: done, kind: tool, input: {tool: demo.echo}}\n- {id: hangs, kind: tool, depends_on: [done], input: {tool: demo.hang}}\n\
             - {id: waits, kind: approval, depends_on: [done], input: {message: m}}\n- {id: after, kind: tool, depends_on: [hangs], input: {tool: demo.echo}}\n",
        )
        .await;
    world.until("it hangs", || world.tools.count("demo.hang") == 1 && world.step(&run, "waits") == StepStatus::Waiting).await;
    cancel(&process, run).await;
    assert_eq!(world.until_over(&run).await, RunStatus::Cancelled);
    let stands = |step| world.step(&run, step);
    assert_eq!(
        (stands("done"), stands("hangs"), stands("waits"), stands("after")),
        (StepStatus::Succeeded, StepStatus::Cancelled, StepStatus::Cancelled, StepStatus::Pending)
    );
    assert_eq!(world.tools.running.lock().unwrap().0, 0);
    let again = process.control.cancel(&crate::domain::Actor::operator(), &CancelInput { run_id: run, reason: None }).await;
    assert_eq!(again.unwrap_err().code, ErrorCode::RunState);
}

#[tokio::test]
async fn a_cancel_that_nobody_drove_is_carried_out_by_the_next_driver() {
    let world = World::new();
    world.tool("demo.hang", |_, _| Deed::Hang);
    let first = world.driving().await;
    let run = first.begin("- {id: a, kind: tool, input: {tool: demo.hang}}\n").await;
    world.until("it hangs", || world.tools.count("demo.hang") == 1).await;
    first.kill().await;
    let idle = world.process(FOREVER);
    cancel(&idle, run).await;
    recover(&idle.log).await;
    let status = idle.driver.drive_one(&run, true, idle.stop.clone()).await.unwrap();
    assert_eq!((status, world.step(&run, "a")), (Some(RunStatus::Cancelled), StepStatus::Cancelled));
    assert_eq!(world.tools.count("demo.hang"), 1);
}

async fn cancel(process: &Process, run: RunId) {
    let wish = CancelInput { run_id: run, reason: Some("enough".into()) };
    process.control.cancel(&crate::domain::Actor::operator(), &wish).await.unwrap();
}
