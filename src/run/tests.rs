//! Events folded, actions compared; and that nothing finished ever begins again, whatever happens in whichever order.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::{Actor, Allowance, ApprovalId, CallId, Digest, ErrorCode, Fault, Millis, RunId, StepId, Timestamp};
use crate::workflow::{Plan, read_yaml};

use super::*;

mod budget;
mod repair;

const T0: u64 = 1_700_000_000_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(T0 + millis)
}

fn id(step: &str) -> StepId {
    step.parse().unwrap()
}

fn plan(steps: &str) -> Plan {
    read_yaml("w.yaml", &format!("name: w\nversion: 1.0.0\nsteps:\n{steps}")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A log that numbers what is put into it.
struct Book {
    run: RunId,
    events: Vec<Event>,
}

impl Book {
    fn new(plan: &Plan, started_by: StartedBy) -> Self {
        let created = RunCreated {
            workflow: "w".into(),
            workflow_version: "1.0.0".into(),
            workflow_digest: *plan.digest(),
            policy: Digest::ZERO,
            version: "0".into(),
            started_by,
            definition: plan.source().clone(),
            inputs: json!({}),
            limits: plan.limits().allowance(&Allowance::default()),
        };
        let mut book = Self { run: RunId::mint(at(0)), events: Vec::new() };
        book.write(created.draft(Actor::operator())).write(goal_draft("the goal", Actor::operator()));
        book
    }

    fn write(&mut self, draft: EventDraft) -> &mut Self {
        let mut payload = draft.payload;
        payload.extend(draft.sealed);
        let seq = self.events.len() as u64 + 1;
        self.events.push(Event {
            v: 1,
            index: seq,
            run_id: self.run,
            seq,
            ts: at(seq),
            kind: draft.kind,
            step_id: draft.step,
            call_id: draft.call,
            actor: draft.actor,
            payload,
            prev_hash: Digest::ZERO,
            hash: Digest::ZERO,
        });
        self
    }

    fn step(&mut self, step: &str, event: RunEvent) -> &mut Self {
        self.write(event.draft(Some(&id(step)), Actor::system()))
    }

    fn state(&self) -> RunState {
        let mut state = RunState::default();
        for event in &self.events {
            fold(&mut state, event).unwrap();
        }
        state
    }

    fn next(&self, plan: &Plan) -> Vec<Action> {
        self.next_with(plan, &[], at(1_000), 8)
    }

    fn next_with(&self, plan: &Plan, live: &[&str], now: Timestamp, cap: usize) -> Vec<Action> {
        let live: BTreeSet<StepId> = live.iter().map(|step| id(step)).collect();
        next(&self.state(), plan, View { now, live: &live, answers: &BTreeMap::new(), cap })
    }
}

fn start(step: &str, attempt: u32, input: Value) -> Action {
    Action::Start { step: id(step), attempt, input }
}

fn failed(code: ErrorCode) -> RunEvent {
    RunEvent::StepFailed { error: Fault::new(code, "why").to_json(), output: Value::Null }
}

const DIAMOND: &str = "- {id: a, kind: notify, input: {message: m}}\n\
    - {id: b, kind: notify, depends_on: [a], input: {message: '{{ steps.a.output.n }}'}}\n\
    - {id: c, kind: notify, depends_on: [a], input: {message: c}}\n\
    - {id: d, kind: notify, depends_on: [b, c], input: {message: d}}\n";

#[test]
fn a_diamond_runs_through() {
    let plan = plan(DIAMOND);
    let mut book = Book::new(&plan, StartedBy::Operator);
    assert_eq!(book.next(&plan), [start("a", 1, json!({ "message": "m" }))]);
    book.step("a", RunEvent::StepStarted { attempt: 1 });
    assert_eq!(book.next_with(&plan, &["a"], at(9), 8), []);
    book.step("a", RunEvent::StepSucceeded { output: json!({ "n": 5 }) });
    assert_eq!(book.next(&plan), [start("b", 1, json!({ "message": 5 })), start("c", 1, json!({ "message": "c" }))]);
    assert_eq!(book.next_with(&plan, &[], at(9), 1), [start("b", 1, json!({ "message": 5 }))]);
    book.step("b", RunEvent::StepStarted { attempt: 1 }).step("b", RunEvent::StepSucceeded { output: Value::Null });
    assert_eq!(book.next_with(&plan, &["c"], at(9), 8), []);
    book.step("c", RunEvent::StepSkipped { reason: SkipReason::Condition });
    assert_eq!(book.next(&plan), [start("d", 1, json!({ "message": "d" }))]);
    book.step("d", RunEvent::StepSucceeded { output: Value::Null });
    assert_eq!(book.next(&plan), [Action::Finish { status: RunStatus::Succeeded, cause: None }]);
    book.write(RunEvent::RunSucceeded.draft(None, Actor::system()));
    assert_eq!((book.next(&plan), book.state().status()), (vec![], RunStatus::Succeeded));
}

#[test]
fn a_failure_is_settled_in_one_go_down_the_line() {
    let plan = plan(DIAMOND);
    let mut book = Book::new(&plan, StartedBy::Operator);
    book.step("a", failed(ErrorCode::FilterFailed));
    let skip = |step| Action::Skip { step: id(step), reason: SkipReason::Dependency };
    assert_eq!(book.next(&plan), [skip("b"), skip("c"), skip("d")]);
    for step in ["b", "c", "d"] {
        book.step(step, RunEvent::StepSkipped { reason: SkipReason::Dependency });
    }
    let [Action::Finish { status: RunStatus::Failed, cause: Some((Some(step), fault)) }] = &book.next(&plan)[..] else { panic!() };
    assert_eq!((step, fault.code), (&id("a"), ErrorCode::FilterFailed));
}

#[test]
fn an_expression_that_fails_fails_its_step() {
    let plan = plan(DIAMOND);
    let mut book = Book::new(&plan, StartedBy::Operator);
    book.step("a", RunEvent::StepSucceeded { output: json!({ "other": 1 }) });
    let actions = book.next(&plan);
    assert!(
        matches!(&actions[0], Action::Fail { step, fault } if *step == id("b") && fault.code == ErrorCode::ExpressionInvalid),
        "{actions:?}"
    );
    assert_eq!(actions[1], start("c", 1, json!({ "message": "c" })));
}

#[test]
fn a_retry_waits_for_its_time() {
    let plan = plan("- {id: a, kind: notify, retry: {max: 1}, input: {message: m}}\n");
    let mut book = Book::new(&plan, StartedBy::Operator);
    let error = Fault::new(ErrorCode::Timeout, "slow").to_json();
    book.step("a", RunEvent::StepStarted { attempt: 1 }).step("a", RunEvent::StepRetry { attempt: 1, at: at(500), error });
    assert_eq!(book.next_with(&plan, &[], at(499), 8), [Action::WakeAt(at(500))]);
    assert_eq!(book.next_with(&plan, &[], at(500), 8), [start("a", 2, json!({ "message": "m" }))]);
}

#[test]
fn waits_between_tries_double_and_spread() {
    let plan = plan("- {id: a, kind: notify, retry: {max: 3, backoff: 1s}, input: {message: m}}\n");
    let step = &plan.steps()[0];
    let wait = |attempt, jitter| {
        let event = after_failure(step, attempt, &Fault::new(ErrorCode::Timeout, "slow"), Value::Null, at(0), jitter);
        if let RunEvent::StepRetry { at: then, .. } = event { Some(then.since(at(0)).0) } else { None }
    };
    assert_eq!((wait(1, 0.0), wait(1, 1.0), wait(2, 1.0), wait(3, 0.0)), (Some(500), Some(1_000), Some(2_000), Some(2_000)));
    assert_eq!(wait(4, 0.0), None);
    assert!(matches!(
        after_failure(step, 1, &Fault::new(ErrorCode::PolicyDenied, "no"), json!(1), at(0), 0.5),
        RunEvent::StepFailed { output, .. } if output == json!(1)
    ));
}

#[test]
fn an_agents_step_parks_is_answered_and_resumed() {
    let plan = plan("- {id: a, kind: plan, timeout: 1s}\n");
    let mut book = Book::new(&plan, StartedBy::Agent);
    let [Action::ParkForAgent { prompt, input, output_schema, until, .. }] = &book.next_with(&plan, &[], at(10), 8)[..] else { panic!() };
    assert_eq!(*until, Some(at(1_010)));
    let waiting = RunEvent::StepWaiting {
        waiting_for: WaitingFor::Agent,
        prompt: prompt.clone(),
        input: input.clone(),
        output_schema: output_schema.clone(),
        approval_id: None,
        until: *until,
    };
    book.step("a", waiting);
    assert_eq!(book.state().status(), RunStatus::Waiting);
    assert_eq!(book.next_with(&plan, &[], at(500), 8), [Action::WakeAt(at(1_010))]);
    assert!(matches!(&book.next_with(&plan, &[], at(1_010), 8)[..], [Action::Fail { fault, .. }] if fault.code == ErrorCode::Timeout));
    book.write(submission_draft(&id("a"), json!({ "summary": "s" }), None, None, Actor::operator()));
    book.write(submission_draft(&id("a"), json!({ "summary": "too late" }), None, None, Actor::operator()));
    let resume = Action::Resume { step: id("a"), input: json!({}), submission: Some(json!({ "summary": "s" })) };
    assert_eq!(book.next_with(&plan, &[], at(2_000), 8), [resume]);
}

#[test]
fn a_human_decides() {
    let plan = plan("- {id: a, kind: approval, input: {message: m}}\n");
    let mut book = Book::new(&plan, StartedBy::Agent);
    assert!(matches!(&book.next(&plan)[..], [Action::ParkForApproval { .. }]));
    let approval = ApprovalId::mint(at(0));
    book.step(
        "a",
        RunEvent::StepWaiting {
            waiting_for: WaitingFor::Human,
            prompt: json!("m"),
            input: json!({}),
            output_schema: Value::Null,
            approval_id: Some(approval),
            until: Some(at(9_999)),
        },
    );
    let after = |answer| {
        let answers = BTreeMap::from([(approval, answer)]);
        next(&book.state(), &plan, View { now: at(1), live: &BTreeSet::new(), answers: &answers, cap: 8 })
    };
    assert_eq!(after(Answer::Pending), []);
    assert_eq!(after(Answer::Approved), [Action::UseApproval { step: id("a"), approval }]);
    for no in [Answer::Denied(Some("never".into())), Answer::Expired, Answer::Used] {
        assert!(matches!(&after(no)[..], [Action::Fail { fault, .. }] if fault.code == ErrorCode::ApprovalDenied));
    }
}

#[test]
fn a_cancel_stops_what_is_at_work_then_ends() {
    let plan = plan(DIAMOND);
    let mut book = Book::new(&plan, StartedBy::Operator);
    book.step("a", RunEvent::StepStarted { attempt: 1 });
    book.write(RunEvent::RunCancelRequested { reason: json!("enough") }.draft(None, Actor::operator()));
    assert_eq!(book.next_with(&plan, &["a"], at(1), 8), [Action::Stop { step: id("a") }]);
    assert_eq!(book.next(&plan), [Action::Cancel { step: id("a") }, Action::Finish { status: RunStatus::Cancelled, cause: None }]);
}

#[test]
fn every_record_reads_back_and_sealed_fields_stay_out_of_the_open() {
    let approval_id = ApprovalId::mint(at(0));
    let error = Fault::new(ErrorCode::Timeout, "slow").to_json();
    let waiting = RunEvent::StepWaiting {
        waiting_for: WaitingFor::Agent,
        prompt: json!("secret prompt"),
        input: json!({ "k": "secret" }),
        output_schema: json!({}),
        approval_id: None,
        until: Some(at(5)),
    };
    let all = [
        RunEvent::StepStarted { attempt: 2 },
        RunEvent::StepResumed,
        waiting,
        RunEvent::StepSucceeded { output: json!("secret") },
        RunEvent::StepSucceeded { output: Value::Null },
        RunEvent::StepFailed { error: error.clone(), output: Value::Null },
        RunEvent::StepSkipped { reason: SkipReason::Dependency },
        RunEvent::StepRetry { attempt: 1, at: at(3), error: error.clone() },
        RunEvent::StepCancelled,
        repair::requested("a", 1, 2, &["a"]),
        RunEvent::RepairStopped { step: id("b"), repairs: id("a"), attempt: 1, max: 2, why: "enough".into() },
        RunEvent::ApprovalRequested { approval_id, tool: "a.b".into(), digest: Digest::ZERO, expires_at: at(9), reason: json!("secret") },
        RunEvent::ApprovalGranted { approval_id },
        RunEvent::ApprovalDenied { approval_id },
        RunEvent::ApprovalExpired { approval_id },
        RunEvent::ApprovalLifted { approval_id },
        RunEvent::RunCancelRequested { reason: json!("secret") },
        RunEvent::RunSucceeded,
        RunEvent::RunFailed { step: Some(id("a")), error },
        RunEvent::RunCancelled,
    ];
    let plan = plan(DIAMOND);
    for record in all {
        let draft = record.draft(Some(&id("a")), Actor::system());
        assert!(!Value::Object(draft.payload.clone()).to_string().contains("secret"), "{draft:?}");
        let mut book = Book::new(&plan, StartedBy::Agent);
        let event = book.write(draft).events.pop().unwrap();
        assert_eq!(RunEvent::read(&event).unwrap().unwrap(), record);
    }
}

#[test]
fn redacted_fields_and_other_rooms_events_do_not_break_the_fold() {
    let plan = plan(DIAMOND);
    let mut book = Book::new(&plan, StartedBy::Agent);
    book.step("a", failed(ErrorCode::Timeout));
    book.events.last_mut().unwrap().payload.insert("error".into(), json!({ "redacted": "00" }));
    book.write(EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "policy_changed"));
    book.write(EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "run_closed"));
    assert_eq!(*book.state().phase(&id("a")), Phase::Failed);
    let mut broken = book.events[0].clone();
    broken.payload.remove("policy");
    assert!(fold(&mut RunState::default(), &broken).is_err());
}

fn any_event() -> impl Strategy<Value = (usize, u8)> {
    (0..4_usize, 0..10_u8)
}

proptest! {
    /// Any events in any order: the fold is deterministic, resumable at any point, and ended steps are never begun again.
    #[test]
    fn folding_is_deterministic_and_ended_steps_stay_ended(script in prop::collection::vec(any_event(), 0..60), cut in 0..60_usize) {
        let plan = plan(DIAMOND);
        let mut book = Book::new(&plan, StartedBy::Agent);
        let call = CallId::mint(at(0));
        for (n, what) in script {
            let step = ["a", "b", "c", "d"][n];
            let of_call = |kind| EventDraft::new(kind, Actor::system()).step(Some(id(step))).call(call).field("tool", "t.t");
            match what {
                0 => book.step(step, RunEvent::StepStarted { attempt: 1 }),
                1 => book.step(step, RunEvent::StepSucceeded { output: json!({ "n": 1 }) }),
                2 => book.step(step, failed(ErrorCode::Timeout)),
                3 => book.step(step, RunEvent::StepSkipped { reason: SkipReason::Condition }),
                4 => book.step(step, RunEvent::StepRetry { attempt: 1, at: at(0), error: Value::Null }),
                5 => book.write(submission_draft(&id(step), json!({}), None, None, Actor::system())),
                6 => book.write(of_call(EventKind::ToolCall)),
                7 => book.write(of_call(EventKind::ToolError)),
                8 => book.write(RunEvent::RunCancelRequested { reason: Value::Null }.draft(None, Actor::system())),
                _ => book.step(step, RunEvent::StepCancelled),
            };
        }
        let whole = book.state();
        prop_assert_eq!(&whole, &book.state());
        // Read in two goes, with an overlap.
        let mut pieces = RunState::default();
        let cut = cut.min(book.events.len());
        for event in book.events[..cut].iter().chain(&book.events) {
            fold(&mut pieces, event).unwrap();
        }
        prop_assert_eq!(&whole, &pieces);

        // What ended stays as it ended, and is never begun.
        let mut ended: BTreeMap<StepId, Phase> = BTreeMap::new();
        let mut state = RunState::default();
        for event in &book.events {
            fold(&mut state, event).unwrap();
            for (step, phase) in &ended {
                prop_assert_eq!(state.phase(step), phase);
            }
            ended.extend(state.steps.iter().filter(|(_, s)| s.phase.has_ended()).map(|(step, s)| (step.clone(), s.phase.clone())));
            let view = View { now: at(Millis(1).0), live: &BTreeSet::new(), answers: &BTreeMap::new(), cap: 8 };
            for action in next(&state, &plan, view) {
                if let Action::Start { step, .. } | Action::Resume { step, .. } | Action::Fail { step, .. } | Action::Skip { step, .. } = action {
                    prop_assert!(!ended.contains_key(&step));
                }
            }
        }
    }
}
