//! `run` and `runs watch`: following, asking, and every way to end.

use serde_json::{Value, json};

use super::fake::*;
use crate::cli::Exit;
use crate::cli::ports::{StepState, WaitsFor};
use crate::cli::tree::{Notes, lines};
use crate::domain::*;
use crate::run::RunStatus;

fn to_the_end() -> Vec<Act> {
    let done = |id| [Act::Step(id, StepState::Running), Act::Step(id, StepState::Succeeded)];
    ["plan", "repo"].into_iter().flat_map(done).chain([Act::End(RunStatus::Succeeded)]).collect()
}

fn asks() -> Vec<Act> {
    vec![Act::Step("plan", StepState::Succeeded), Act::Wait("ask", WaitsFor::Approval { approval: approval_id() })]
}

fn scene(script: Vec<Act>) -> Scene {
    let scene = Scene::new();
    scene.house.script(script);
    *scene.house.approval.lock().unwrap() = Some(approval());
    scene
}

const RUN: [&str; 4] = ["run", "build_service", "-i", "resource=Listing"];

#[tokio::test]
async fn a_run_to_its_end() {
    let scene = scene(to_the_end());
    insta::assert_snapshot!(scene.call(&RUN).await.whole(), @r"
    run_018bcfe5680070008000000000000001 succeeded after 11.0 s
      commit    3fa9c1
      files     2: api.py, README.md
      workspace /home/ann/runs/1
    --- stderr
    run_018bcfe5680070008000000000000001 follows build_service 1.0.0
    ▸ plan  half way\u{1b}[2J 50%
    ✓ plan  1.5 s
    ▸ repo  half way\u{1b}[2J 50%
    ✓ repo  1.5 s
    `toolgate runs show run_018bcfe5680070008000000000000001` shows every step and its output
    --- exit 0
    ");
    assert_eq!(Value::Object(scene.house.started.lock().unwrap().clone().unwrap()), json!({"resource": "Listing"}));
}

#[tokio::test]
async fn a_run_as_json_lines() {
    let told = scene(to_the_end()).call(&[&RUN[..], &["--json"]].concat()).await;
    let lines: Vec<Value> = told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter_map(|line| line["seq"].as_u64()).collect::<Vec<_>>(), [1, 2, 3], "each event once");
    let last = lines.last().unwrap();
    assert_eq!((last["exit"].as_u64(), last["result"]["status"].as_str()), (Some(0), Some("succeeded")));
    assert!(told.err.is_empty(), "{}", told.err);
}

#[tokio::test]
async fn a_run_that_fails() {
    let script = vec![Act::Step("plan", StepState::Failed), Act::End(RunStatus::Failed)];
    insta::assert_snapshot!(scene(script).call(&RUN).await.whole(), @"
    run_018bcfe5680070008000000000000001 failed after 11.0 s
      workspace /home/ann/runs/1
    --- stderr
    run_018bcfe5680070008000000000000001 follows build_service 1.0.0
    ✗ plan  1.5 s  TIMEOUT: took longer than 30 s
    error[TIMEOUT]: took longer than 30 s
      hint: raise `timeout`
    `toolgate runs show run_018bcfe5680070008000000000000001` shows every step and its output
    --- exit 1
    ");
}

#[tokio::test]
async fn without_a_terminal_a_waiting_run_is_left_with_what_to_do() {
    let first = scene(asks());
    insta::assert_snapshot!(first.call(&RUN).await.whole(), @"
    run_018bcfe5680070008000000000000001 waits
    --- stderr
    run_018bcfe5680070008000000000000001 follows build_service 1.0.0
    ✓ plan  1.5 s
    ? ask   waits for the operator's yes to apr_018bcfe5680070008000000000000002
    step `ask` needs the operator's yes:
        toolgate approvals show apr_018bcfe5680070008000000000000002
        toolgate approvals approve apr_018bcfe5680070008000000000000002
    then go on with:
        toolgate runs watch run_018bcfe5680070008000000000000001
    --- exit 4
    ");
    assert!(first.house.decided.lock().unwrap().is_none());
    let json = scene(asks()).call(&[&RUN[..], &["--json"]].concat()).await;
    let last: Value = serde_json::from_str(json.out.lines().last().unwrap()).unwrap();
    assert_eq!(json.exit, Exit::Waiting);
    assert_eq!(last["waiting"], json!([{"step": "ask", "waits_for": {"for": "approval", "approval": approval_id()}}]));

    // Somebody says yes elsewhere; `runs watch` goes on.
    first.house.script(to_the_end());
    let watch = first.call(&["runs", "watch", &run_id().to_string()]).await;
    assert!(watch.exit == Exit::Ok && watch.out.contains("commit"), "{}", watch.whole());
    assert_eq!(first.call(&["runs", "watch", &run_id().to_string()]).await.exit, Exit::Ok, "an ended run is only told");
}

#[tokio::test]
async fn the_command_to_go_on_names_the_home_that_was_named() {
    let scene = scene(asks());
    let home = scene.home.path().display().to_string();
    let told = scene.call(&[&RUN[..], &["--home", &home]].concat()).await;
    assert!(told.err.contains(&format!("toolgate --home $HOME runs watch {}", run_id())), "{}", told.err);
}

#[tokio::test]
async fn on_a_terminal_the_operator_is_asked() {
    let script = asks().into_iter().chain(to_the_end()).collect();
    let scene = scene(script).on_terminal(&["what?", "y", "y"], &[PHRASE, "another one", PHRASE, PHRASE]);
    let told = scene.call(&RUN).await;
    assert_eq!(told.exit, Exit::Ok, "{}", told.whole());
    assert_eq!(told.err.matches("Say yes to exactly this?").count(), 3, "an odd word and a wrong passphrase are asked again: {}", told.err);
    assert!(told.err.contains("  │   |   approved by the operator\\u{202e}\n"), "shown in full, behind bars: {}", told.err);
    assert_eq!(*scene.house.decided.lock().unwrap(), Some((true, None)));
}

#[tokio::test]
async fn the_operator_may_say_no_or_later() {
    let no = asks().into_iter().chain([Act::End(RunStatus::Failed)]).collect();
    let scene = scene(no).on_terminal(&["n", "not now"], &[PHRASE, PHRASE]);
    assert_eq!(scene.call(&RUN).await.exit, Exit::Failed);
    assert_eq!(*scene.house.decided.lock().unwrap(), Some((false, Some("not now".into()))));
    for typed in [&["later"][..], &[]] {
        let scene = super::follow_tests::scene(asks()).on_terminal(typed, &[]);
        assert_eq!(scene.call(&RUN).await.exit, Exit::Waiting);
        assert!(scene.house.decided.lock().unwrap().is_none());
    }
}

#[tokio::test]
async fn answers_serve_steps_that_wait_for_data_but_never_approvals() {
    let waits = vec![Act::Wait("plan", WaitsFor::Agent)];
    let scene = scene(waits.into_iter().chain(asks()).collect());
    let file = scene.home.path().join("answers.yaml");
    std::fs::write(&file, "plan: {files: [a.py]}\nask: {approved: true}\n").unwrap();
    let told = scene.call(&[&RUN[..], &["--answers", &file.display().to_string()]].concat()).await;
    assert_eq!(told.exit, Exit::Waiting, "{}", told.whole());
    assert_eq!(*scene.house.submitted.lock().unwrap(), [("plan".to_owned(), json!({"files": ["a.py"]}))]);
    assert!(scene.house.decided.lock().unwrap().is_none());
}

#[tokio::test]
async fn a_run_that_waits_for_an_agent_says_so() {
    let told = scene(vec![Act::Wait("plan", WaitsFor::Agent)]).call(&RUN).await;
    assert!(told.exit == Exit::Waiting && told.err.contains("step `plan` (plan) needs an agent's answer"), "{}", told.whole());
}

#[tokio::test]
async fn a_run_that_another_process_drives_is_only_followed() {
    let scene = scene(Vec::new());
    *scene.house.driven_elsewhere.lock().unwrap() = true;
    let house = scene.house.clone();
    let other = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        house.view.lock().unwrap().as_mut().unwrap().row.status = RunStatus::Succeeded;
    };
    let (told, ()) = tokio::join!(scene.call(&RUN), other);
    assert_eq!(told.exit, Exit::Ok, "{}", told.whole());
}

#[tokio::test]
async fn bad_input_starts_nothing() {
    let scene = scene(Vec::new());
    let refused = async |args: &[&str]| {
        let told = scene.call(args).await;
        assert_eq!(told.exit, Exit::Usage);
        assert!(scene.house.started.lock().unwrap().is_none() && told.out.is_empty());
        told.err
    };
    insta::assert_snapshot!(refused(&["run", "build_servce"]).await, @"
    error[UNKNOWN_WORKFLOW]: there is no workflow `build_servce`
      hint: did you mean `build_service`?
    ");
    insta::assert_snapshot!(refused(&["run", "nothing_like_it"]).await, @"
    error[UNKNOWN_WORKFLOW]: there is no workflow `nothing_like_it`
      hint: `toolgate workflows list` lists the workflows there are; a file needs a `/` or the ending .yaml
    ");
    insta::assert_snapshot!(refused(&["run", "./missing.yaml"]).await, @"
    error[NOT_FOUND]: `./missing.yaml` is not a file
      hint: name a file that is there
    ");
    insta::assert_snapshot!(refused(&["run", "build_service"]).await, @"
    error[INVALID_INPUT]: input `resource` is missing
      hint: give it as `-i resource=…`
    ");
    insta::assert_snapshot!(refused(&["run", "build_service", "-i", "resorce=Listing"]).await, @"
    error[INVALID_INPUT]: the workflow has no input `resorce`
      hint: did you mean `resource`?
    ");
    insta::assert_snapshot!(refused(&["run", "build_service", "-i", "resource"]).await, @"
    error: invalid value 'resource' for '--input <KEY=VALUE>': an input is written `key=value`, such as `-i resource=Listing`

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(refused(&["run", "build_service", "-i", "resource=a", "-i", "count=many"]).await, @"
    error[INVALID_INPUT]: input `count` takes integer, and `many` is not JSON: expected value at line 1 column 1
      hint: for example `-i count=3`
    ");
    insta::assert_snapshot!(refused(&["run", "build_service", "-i", "resource=a", "--answers", "/no/such"]).await, @"
    error[NOT_FOUND]: `/no/such` cannot be read: No such file or directory (os error 2)
      hint: name a file that is there
    ");
}

#[test]
fn the_tree_holds_parallel_steps_together() {
    let mut view = fresh_run();
    let notes = Notes::default();
    crate::cli::ports::StepNotes::note(&notes, &step_id("web"), "page\u{1b}[2J", Some(3.0), Some(4.0));
    let at = |ms: u64| Some(Timestamp::from_unix_millis(NOW - ms));
    let states = [StepState::Succeeded, StepState::Failed, StepState::Running, StepState::Skipped, StepState::Pending];
    for (step, state) in view.steps.iter_mut().zip(states) {
        (step.state, step.attempt, step.started) = (state, 1, at(61_000));
    }
    view.steps[0].ended = at(60_000);
    (view.steps[1].ended, view.steps[1].attempt) = (at(1_000), 3);
    view.steps[1].error = Some(Fault::new(ErrorCode::Timeout, "took too long\nsecond line"));
    for again in [1, 2, 4] {
        view.steps[again].repair = Some("repair 1 of 2".into());
    }
    insta::assert_snapshot!(lines(&view, &notes, Timestamp::from_unix_millis(NOW)).join("\n"), @r"
      ✓ plan  1.0 s
    ┌ ✗ docs  1 min 0 s  TIMEOUT: took too long  (repair 1 of 2)  (attempt 3)
    └ ▸ web   1 min 1 s  page\u{1b}[2J 75%  (repair 1 of 2)
      - ask   skipped
      · repo  (repair 1 of 2)
    ");
}
