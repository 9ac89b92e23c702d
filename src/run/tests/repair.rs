//! Checks that do not pass, and what is done about it.

use super::*;

/// `beside` does not depend on what is mended; `form` lies between it and the checks.
const LOOP: &str = "- {id: plan, kind: plan, by: builtin}\n\
    - {id: beside, kind: notify, depends_on: [plan], input: {message: m}}\n\
    - {id: code, kind: codegen, by: builtin, depends_on: [plan], retry: {max: 1}, input: {resource: Bee}}\n\
    - {id: form, kind: notify, depends_on: [code], input: {message: '{{ steps.code.output.n }}'}}\n\
    - {id: eval, kind: eval, depends_on: [form, beside], input: {commands: [x]}, repair: {step: code, max: 2}}\n\
    - {id: repo, kind: repo, depends_on: [eval], input: {message: m}}\n";

pub(super) fn requested(repairs: &str, attempt: u32, max: u32, again: &[&str]) -> RunEvent {
    RunEvent::RepairRequested {
        step: id("eval"),
        repairs: id(repairs),
        attempt,
        max,
        again: again.iter().map(|step| id(step)).collect(),
        error: failed_checks().to_json(),
        output: json!({ "said": "secret" }),
        diagnostics: json!(["secret"]),
        failed_commands: json!(["secret"]),
        previous_files: json!(["secret"]),
    }
}

fn failed_checks() -> Fault {
    Fault::new(ErrorCode::EvalFailed, "the checks of step `eval` did not pass")
}

fn files(n: u32) -> Value {
    json!({ "n": n, "files": [{ "path": "a.py", "content": format!("n = {n}") }, { "path": "b.py", "content": "" }] })
}

fn said() -> Value {
    json!({ "passed": false, "commands": [
        { "argv": ["true"], "return_code": 0, "stdout": "fine", "stderr": "", "diagnostics": [], "duration_ms": 1.0 },
        { "argv": ["pytest", "-q"], "return_code": 1, "stdout": "1 failed", "stderr": "", "duration_ms": 1.0,
          "diagnostics": [{ "path": "a.py", "line": 1, "code": "FAIL", "message": "wrong" }] },
    ] })
}

/// Everything up to the checks has ended; they run.
fn at_the_checks(plan: &Plan) -> Book {
    let mut book = Book::new(plan, StartedBy::Operator);
    for step in ["plan", "beside"] {
        book.step(step, RunEvent::StepStarted { attempt: 1 }).step(step, RunEvent::StepSucceeded { output: json!({ "of": step }) });
    }
    mend(&mut book, 1);
    book
}

fn mend(book: &mut Book, n: u32) {
    book.step("code", RunEvent::StepStarted { attempt: 1 }).step("code", RunEvent::StepSucceeded { output: files(n) });
    book.step("form", RunEvent::StepStarted { attempt: 1 }).step("form", RunEvent::StepSucceeded { output: json!(n) });
    book.step("eval", RunEvent::StepStarted { attempt: 1 });
}

fn after(book: &Book, plan: &Plan, fault: &Fault) -> Option<Vec<RunEvent>> {
    after_checks(&book.state(), plan, plan.step(&id("eval")).unwrap(), fault, &said())
}

/// Writes what follows checks that did not pass.
fn fail_checks(book: &mut Book, plan: &Plan) {
    for event in after(book, plan, &failed_checks()).unwrap() {
        book.step("eval", event);
    }
}

fn message(event: &RunEvent) -> String {
    let RunEvent::StepFailed { error, output } = event else { panic!("{event:?}") };
    assert_eq!((error["code"].as_str(), output), (Some("EVAL_FAILED"), &said()));
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn the_step_that_mends_is_told_what_was_found() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    fail_checks(&mut book, &plan);
    let state = book.state();
    let phases = ["plan", "beside", "code", "form", "eval", "repo"].map(|step| state.phase(&id(step)).clone());
    let (ended, pending) = (Phase::Succeeded, Phase::Pending);
    assert_eq!(phases, [ended.clone(), ended, pending.clone(), pending.clone(), pending.clone(), pending]);
    assert_eq!(state.steps[&id("beside")].output, json!({ "of": "beside" }));
    assert_eq!((&state.steps[&id("eval")].output, state.steps[&id("eval")].repairs, state.repeated), (&said(), 1, 3));
    assert_eq!(state.steps[&id("form")].repair.as_ref().unwrap().words(), "repair 1 of 2");
    let repair = json!({
        "attempt": 1, "max": 2,
        "diagnostics": [{ "path": "a.py", "line": 1, "code": "FAIL", "message": "wrong" }],
        "failed_commands": [{ "argv": ["pytest", "-q"], "return_code": 1, "stdout": "1 failed", "stderr": "" }],
        "previous_files": ["a.py", "b.py"],
    });
    assert_eq!(book.next(&plan), [start("code", 1, json!({ "resource": "Bee", "repair": repair }))]);
    // Also after its process died, and also in its next attempt.
    book.step("code", RunEvent::StepStarted { attempt: 1 });
    let resumed = Action::Resume { step: id("code"), input: json!({ "resource": "Bee", "repair": repair }), submission: None };
    assert_eq!(book.next(&plan), [resumed]);
    book.step("code", RunEvent::StepRetry { attempt: 1, at: at(2), error: Value::Null });
    assert_eq!(book.next(&plan), [start("code", 2, json!({ "resource": "Bee", "repair": repair }))]);
    book.step("code", RunEvent::StepStarted { attempt: 2 }).step("code", RunEvent::StepSucceeded { output: files(2) });
    assert_eq!(book.next(&plan), [start("form", 1, json!({ "message": 2 }))], "the others get no more than their input");
}

#[test]
fn repairs_are_counted_and_end() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    for n in 1..=2 {
        let follows = after(&book, &plan, &failed_checks()).unwrap();
        let [RunEvent::RepairRequested { attempt, max, .. }] = &follows[..] else { panic!("{follows:?}") };
        assert_eq!((*attempt, *max), (n, 2));
        fail_checks(&mut book, &plan);
        mend(&mut book, n + 1);
    }
    let last = after(&book, &plan, &failed_checks()).unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(message(&last[0]), "the checks of step `eval` did not pass, after 2 of 2 repairs by step `code`");
    fail_checks(&mut book, &plan);
    assert_eq!(book.next(&plan), [Action::Skip { step: id("repo"), reason: SkipReason::Dependency }]);
}

#[test]
fn files_that_were_not_given_again_are_still_named() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    fail_checks(&mut book, &plan);
    book.step("code", RunEvent::StepStarted { attempt: 1 });
    book.step("code", RunEvent::StepSucceeded { output: json!({ "n": 2, "files": [{ "path": "c.py", "content": "" }] }) });
    book.step("form", RunEvent::StepSucceeded { output: Value::Null }).step("eval", RunEvent::StepStarted { attempt: 1 });
    let follows = after(&book, &plan, &failed_checks()).unwrap();
    let [RunEvent::RepairRequested { previous_files, .. }] = &follows[..] else { panic!("{follows:?}") };
    assert_eq!(previous_files, &json!(["a.py", "b.py", "c.py"]));
}

#[test]
fn only_checks_that_did_not_pass_are_repaired() {
    let with = plan(LOOP);
    let book = at_the_checks(&with);
    assert_eq!(after(&book, &with, &Fault::new(ErrorCode::Timeout, "slow")), None);
    for without in [LOOP.replace("max: 2}}", "max: 0}}"), LOOP.replace(", repair: {step: code, max: 2}", "")] {
        let without = plan(&without);
        assert_eq!(after(&at_the_checks(&without), &without, &failed_checks()), None);
    }
    let mut cancelled = at_the_checks(&with);
    cancelled.write(RunEvent::RunCancelRequested { reason: Value::Null }.draft(None, Actor::operator()));
    assert!(message(&after(&cancelled, &with, &failed_checks()).unwrap()[0]).contains("after 0 of 2"));
    let skipped = LOOP.replace("id: code, ", "id: code, when: 'false', ");
    let skipped = plan(&skipped);
    let mut book = Book::new(&skipped, StartedBy::Operator);
    book.step("code", RunEvent::StepSkipped { reason: SkipReason::Condition }).step("eval", RunEvent::StepStarted { attempt: 1 });
    assert!(message(&after(&book, &skipped, &failed_checks()).unwrap()[0]).ends_with("step `code` did not end well"));
}

#[test]
fn steps_that_run_again_count_against_the_limit() {
    let text = |most| format!("name: w\nversion: 1.0.0\nlimits: {{max_steps: {most}}}\nsteps:\n{LOOP}");
    for (most, repairs) in [(8, 0), (9, 1), (11, 1), (12, 2)] {
        let plan = read_yaml("w.yaml", &text(most)).unwrap();
        let mut book = at_the_checks(&plan);
        for n in 0..repairs {
            fail_checks(&mut book, &plan);
            mend(&mut book, n + 2);
        }
        let last = after(&book, &plan, &failed_checks()).unwrap();
        if repairs < 2 {
            assert!(matches!(&last[0], RunEvent::RepairStopped { attempt, .. } if *attempt == repairs), "{last:?}");
        }
        let told = message(last.last().unwrap());
        assert!(told.contains(&format!("after {repairs} of 2")) && (repairs == 2 || told.contains("`limits.max_steps`")), "{told}");
    }
}

#[test]
fn the_same_files_again_end_the_loop() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    assert_eq!(after_mending(&book.state(), &plan, &id("code"), &files(1)), None, "nothing was to be mended");
    fail_checks(&mut book, &plan);
    book.step("code", RunEvent::StepStarted { attempt: 1 });
    let state = book.state();
    assert_eq!(after_mending(&state, &plan, &id("code"), &files(2)), None);
    assert_eq!(after_mending(&state, &plan, &id("code"), &json!({ "files": "none" })), None);
    let part = json!({ "files": [{ "path": "b.py", "content": "" }] });
    for same in [files(1), part] {
        let (checks, events) = after_mending(&state, &plan, &id("code"), &same).unwrap();
        assert_eq!(checks, id("eval"));
        let [RunEvent::RepairStopped { why, attempt: 1, .. }, failure] = &events[..] else { panic!("{events:?}") };
        assert_eq!(why, "step `code` gave the same files again");
        assert!(message(failure).ends_with("after 1 of 2 repairs by step `code`: step `code` gave the same files again"));
    }
    book.step("code", RunEvent::StepSucceeded { output: files(1) });
    for event in after_mending(&state, &plan, &id("code"), &files(1)).unwrap().1 {
        book.step("eval", event);
    }
    let state = book.state();
    assert_eq!((state.phase(&id("form")), state.phase(&id("eval"))), (&Phase::Succeeded, &Phase::Failed));
    assert_eq!((&state.steps[&id("form")].output, &state.steps[&id("eval")].output), (&json!(1), &said()));
    assert_eq!(book.next(&plan), [Action::Skip { step: id("repo"), reason: SkipReason::Dependency }]);
}

#[test]
fn an_agent_is_asked_again_with_what_was_found() {
    let plan = plan(&LOOP.replace("kind: codegen, by: builtin, ", "kind: codegen, by: agent, timeout: 1h, "));
    let mut book = at_the_checks(&plan);
    fail_checks(&mut book, &plan);
    let [Action::ParkForAgent { step, input, prompt, until, .. }] = &book.next(&plan)[..] else { panic!() };
    assert_eq!((step, &input["resource"], &input["repair"]["attempt"]), (&id("code"), &json!("Bee"), &json!(1)));
    assert_eq!((prompt.as_str().is_some(), *until), (true, Some(at(1_000 + 3_600_000))));
}

#[test]
fn what_is_handed_on_is_bounded() {
    let found: Vec<Value> = (0..80).map(|n| json!({ "code": "E", "line": n, "message": "m".repeat(5_000) })).collect();
    let (argv, stdout) = (vec!["a".repeat(5_000); 900], "ä".repeat(100_000) + "end");
    let command = json!({ "argv": argv, "return_code": 1, "stdout": stdout, "stderr": "", "diagnostics": found });
    let output = json!({ "passed": false, "commands": vec![command; 20] });
    let plan = plan(LOOP);
    let book = at_the_checks(&plan);
    let events = after_checks(&book.state(), &plan, plan.step(&id("eval")).unwrap(), &failed_checks(), &output).unwrap();
    let RunEvent::RepairRequested { diagnostics, failed_commands, .. } = &events[0] else { panic!() };
    assert_eq!(diagnostics[50]["message"], "1550 more are left out");
    let said = failed_commands[0]["stdout"].as_str().unwrap();
    assert!(said.starts_with("…ä") && said.ends_with("end") && said.chars().count() == 2_001);
    assert!(failed_commands.to_string().len() + diagnostics.to_string().len() < 400_000);
}

/// A call that outlives its attempt ends later: that is nothing to the next attempt, nor to the one after a repair.
#[test]
fn calls_of_an_earlier_attempt_are_not_taken_for_the_new_ones() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    let call = CallId::mint(at(0));
    let late = |kind| {
        EventDraft::new(kind, Actor::system()).step(Some(id("eval"))).call(call).field("tool", "eval.run").sealed("output", json!(1))
    };
    book.write(late(EventKind::ToolCall));
    fail_checks(&mut book, &plan);
    assert!(book.state().steps[&id("eval")].calls.is_empty());
    mend(&mut book, 2);
    book.write(late(EventKind::ToolResult));
    assert_eq!(book.state().steps[&id("eval")].calls, []);
    let retried = "- {id: a, kind: notify, retry: {max: 1}, input: {message: m}}\n";
    let plan = super::plan(retried);
    let mut book = Book::new(&plan, StartedBy::Operator);
    let of_call = |kind| EventDraft::new(kind, Actor::system()).step(Some(id("a"))).call(call).field("tool", "notify.send");
    book.step("a", RunEvent::StepStarted { attempt: 1 }).write(of_call(EventKind::ToolCall));
    book.step("a", RunEvent::StepRetry { attempt: 1, at: at(2), error: Value::Null }).step("a", RunEvent::StepStarted { attempt: 2 });
    book.write(of_call(EventKind::ToolResult));
    assert_eq!(book.state().steps[&id("a")].calls, []);
}

#[test]
fn an_event_that_does_not_fit_changes_nothing() {
    let plan = plan(LOOP);
    let mut book = at_the_checks(&plan);
    let again = ["code", "form", "eval"];
    fail_checks(&mut book, &plan);
    mend(&mut book, 2);
    let phases = |book: &Book| book.state().steps.into_iter().map(|(step, seen)| (step, seen.phase, seen.repairs)).collect::<Vec<_>>();
    let before = phases(&book);
    book.step("eval", requested("code", 1, 2, &again));
    book.step("eval", requested("code", 3, 2, &again));
    book.step("eval", requested("code", 2, 2, &["code", "eval", "repo"]));
    assert_eq!(phases(&book), before, "a repair that was counted, one that comes too early, one of a step that has not ended");
    book.step("eval", RunEvent::StepSucceeded { output: json!({}) }).step("eval", requested("code", 2, 2, &again));
    assert_eq!(*book.state().phase(&id("eval")), Phase::Succeeded);
}

/// Plays a run: steps come to what the script says, each after a crash, as the log alone knows.
fn play(plan: &Plan, script: Vec<(u8, u32)>) -> Book {
    let mut book = Book::new(plan, StartedBy::Operator);
    let mut script = script.into_iter().chain(std::iter::repeat((0, 0)));
    let mut state = RunState::default();
    for _ in 0..400 {
        for event in book.events.iter().skip(usize::try_from(state.last_seq).unwrap()) {
            fold(&mut state, event).unwrap();
        }
        let view = View { now: at(900_000), live: &BTreeSet::new(), answers: &BTreeMap::new(), cap: 8 };
        let Some(action) = next(&state, plan, view).into_iter().next() else { break };
        match action {
            Action::Start { step, attempt, .. } => {
                book.step(step.as_str(), RunEvent::StepStarted { attempt });
            }
            Action::Resume { step, .. } => work(&mut book, &state, plan, &step, script.next().unwrap()),
            Action::Skip { step, reason } => {
                book.step(step.as_str(), RunEvent::StepSkipped { reason });
            }
            Action::Fail { step, fault } => {
                book.step(step.as_str(), RunEvent::StepFailed { error: fault.to_json(), output: Value::Null });
            }
            Action::Finish { status: RunStatus::Succeeded, .. } => {
                book.write(RunEvent::RunSucceeded.draft(None, Actor::system()));
            }
            Action::Finish { .. } => {
                book.write(RunEvent::RunFailed { step: None, error: Value::Null }.draft(None, Actor::system()));
            }
            other @ (Action::ParkForAgent { .. }
            | Action::ParkForApproval { .. }
            | Action::UseApproval { .. }
            | Action::Stop { .. }
            | Action::TellLimit(_)
            | Action::Hold { .. }
            | Action::Cancel { .. }
            | Action::WakeAt(_)) => panic!("{other:?}"),
        }
    }
    book
}

/// One attempt comes to its end, as the driver writes it.
fn work(book: &mut Book, state: &RunState, plan: &Plan, step: &StepId, (what, n): (u8, u32)) {
    let is_eval = *step == id("eval");
    let fault = match what {
        0 | 1 => None,
        2 => Some(Fault::new(ErrorCode::Timeout, "slow")),
        _ => is_eval.then(failed_checks),
    };
    let Some(fault) = fault else {
        let stopped = after_mending(state, plan, step, &files(n));
        book.step(step.as_str(), RunEvent::StepSucceeded { output: files(n) });
        if let Some((checks, events)) = stopped {
            for event in events {
                book.step(checks.as_str(), event);
            }
        }
        return;
    };
    let planned = plan.step(step).unwrap();
    let failed = || vec![after_failure(planned, state.steps[step].attempt, &fault, said(), at(0), 0.0)];
    let follows = after_checks(state, plan, planned, &fault, &said()).unwrap_or_else(failed);
    for event in follows {
        book.step(step.as_str(), event);
    }
}

proptest! {
    /// Whatever steps come to, wherever the log is cut: the run ends, checks lead to no more repairs than they may, what does not
    /// depend on what is mended ends once, and reading again gives the same state.
    #[test]
    fn every_run_ends_within_its_repairs(script in prop::collection::vec((0..6_u8, 0..3_u32), 0..80), max in 0..4_u32, cut in 0..60_usize) {
        let plan = plan(&LOOP.replace("max: 2}", &format!("max: {max}}}")));
        let book = play(&plan, script);
        let state = book.state();
        prop_assert!(state.end.is_some());
        let told = |words: &[&str], step: &str| {
            let is_told = |event: &&Event| words.iter().any(|word| event.payload.get("event") == Some(&json!(word)));
            book.events.iter().filter(is_told).filter(|event| event.step_id == Some(id(step))).count()
        };
        let repairs = told(&["repair_requested"], "eval");
        prop_assert!(repairs <= max as usize);
        prop_assert_eq!(repairs, state.steps.get(&id("eval")).map_or(0, |eval| eval.repairs as usize));
        for (step, most) in [("plan", 1), ("beside", 1), ("repo", 1), ("eval", 1), ("code", repairs + 1), ("form", repairs + 1)] {
            prop_assert!(told(&["step_succeeded", "step_failed", "step_skipped"], step) <= most, "{} ended too often", step);
        }
        // Read in two goes, with an overlap.
        let mut pieces = RunState::default();
        for event in book.events.iter().take(cut).chain(&book.events) {
            fold(&mut pieces, event).unwrap();
        }
        prop_assert_eq!(&state, &pieces);
    }
}
