//! What runs use up, as their events tell, and what a hit limit leads to.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::json;

use crate::domain::{Actor, Allowance, Amounts, ApprovalId, CallId, LimitOf, Millis, Overrun, Quantity, Timestamp};
use crate::run::{
    Action, Budget, EventDraft, EventKind, Mark, Phase, RunEvent, RunState, RunStatus, StartedBy, View, WaitingFor, fold, next,
    raised_draft, reached_draft,
};
use crate::workflow::{Plan, read_yaml};

use super::{Book, at, id};

fn ms(millis: u64) -> Timestamp {
    Timestamp::from_unix_millis(millis)
}

fn plan(limits: &str) -> Plan {
    let text = format!(
        "name: w\nversion: 1.0.0\nlimits: {limits}\nsteps:\n\
         - {{id: a, kind: tool, input: {{tool: demo.a}}}}\n- {{id: b, kind: tool, depends_on: [a], input: {{tool: demo.b}}}}\n"
    );
    read_yaml("w.yaml", &text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn state_of(book: &Book) -> RunState {
    let mut state = RunState::default();
    for event in &book.events {
        fold(&mut state, event).unwrap();
    }
    state
}

fn actions(book: &Book, plan: &Plan, now: Timestamp) -> Vec<Action> {
    next(&state_of(book), plan, View { now, live: &BTreeSet::new(), answers: &BTreeMap::new(), cap: 8 })
}

fn call(book: &mut Book, step: &str) {
    let intent =
        EventDraft::new(EventKind::ToolCall, Actor::system()).step(Some(id(step))).call(CallId::mint(at(1))).field("tool", "demo.a");
    book.write(intent.field("tokens", 5).field("bytes_out", 7));
}

#[test]
fn events_use_up_what_they_say() {
    let plan = plan("{max_tool_calls: 2}");
    let mut book = Book::new(&plan, StartedBy::Agent);
    call(&mut book, "a");
    let system = || EventDraft::new(EventKind::SystemEvent, Actor::system());
    book.write(RunEvent::StepStarted { attempt: 1 }.draft(Some(&id("a")), Actor::system()).field("begins", true));
    book.write(RunEvent::StepStarted { attempt: 2 }.draft(Some(&id("a")), Actor::system()));
    book.write(super::submission_draft(&id("a"), json!({}), None, Some(40), Actor::operator()));
    book.write(system().field("event", "bytes_reserved").field("bytes_out", 100));
    book.write(system().field("event", "http_request").field("bytes_out", 90).field("reserved", 90));
    book.write(system().field("event", "http_request").field("bytes_out", 11).field("reserved", 0));
    let budget = state_of(&book).budget;
    let used = Amounts { steps: 1, calls: 1, tokens: 45, bytes_out: 118, wall_ms: 0 };
    assert_eq!(budget.used(at(0)).without_wall(), used);
    assert_eq!(budget.over(at(0), &Amounts::of(Quantity::Calls, 1)), None);
    let over = budget.over(at(0), &Amounts::of(Quantity::Calls, 2)).unwrap();
    assert_eq!(over, Overrun { of: LimitOf::Run, which: Quantity::Calls, limit: 2, used: 1, asked: 2 });
}

#[test]
fn time_stands_still_while_a_human_is_asked_and_once_a_limit_is_hit() {
    let mut budget = Budget::default();
    let limit = Allowance { wall_ms: Some(1_000), ..Allowance::default() };
    let (one, two) = (ApprovalId::mint(at(1)), ApprovalId::mint(at(2)));
    budget.take(at(0), &Mark::Created(limit));
    budget.take(at(100), &Mark::Asked(one, at(500)));
    budget.take(at(200), &Mark::Asked(two, at(400)));
    assert_eq!(budget.used(at(300)).wall_ms, 100);
    budget.take(at(350), &Mark::Answered(one));
    assert_eq!((budget.used(at(390)).wall_ms, budget.used(at(450)).wall_ms), (100, 150), "the other ran out at 400");
    assert_eq!(budget.ends_at(at(450)), Some(at(1_300)));
    assert_eq!(budget.stopped_by(at(1_299)), None);
    let over = budget.stopped_by(at(1_300)).unwrap();
    assert_eq!((over.which, over.used), (Quantity::WallMs, 1_000));
    budget.take(at(1_310), &Mark::Reached(over));
    assert_eq!(budget.used(at(9_000)).wall_ms, 1_010, "from then on the operator is waited for");
    budget.take(at(9_000), &Mark::Raised(Amounts::of(Quantity::WallMs, 500)));
    assert_eq!(budget.stopped_by(at(9_000)), None);
    assert_eq!(budget.ends_at(at(9_000)), Some(at(9_490)));
    budget.take(at(9_100), &Mark::Ended);
    assert_eq!((budget.used(at(99_000)).wall_ms, budget.stopped_by(at(99_000))), (1_110, None));
}

#[test]
fn a_principal_s_limit_stops_the_run_for_that_day_only() {
    let day = 24 * 60 * 60 * 1_000;
    let over = Overrun { of: LimitOf::Principal, which: Quantity::Calls, limit: 1, used: 1, asked: 1 };
    let mut budget = Budget::default();
    budget.take(ms(day - 10), &Mark::Reached(over));
    assert_eq!((budget.stopped_by(ms(day - 5)), budget.goes_on_at(ms(day - 5))), (Some(over), Some(ms(day))));
    assert_eq!(budget.stopped_by(ms(day)), None);
    budget.take(ms(day - 4), &Mark::Raised(Amounts::of(Quantity::Calls, 9)));
    assert_eq!(budget.stopped_by(ms(day - 3)), Some(over), "raising the run's limits raises no principal's");
}

#[test]
fn a_run_that_hits_a_limit_fails_or_waits_as_its_definition_says() {
    let over = Overrun { of: LimitOf::Run, which: Quantity::Calls, limit: 1, used: 1, asked: 1 };
    for (limits, waits) in [("{max_tool_calls: 1}", false), ("{max_tool_calls: 1, on_limit: wait}", true)] {
        let plan = plan(limits);
        let mut book = Book::new(&plan, StartedBy::Operator);
        book.step("a", RunEvent::StepStarted { attempt: 1 });
        book.write(reached_draft(&over, Actor::system()));
        if !waits {
            let expected = Action::Finish { status: RunStatus::Failed, cause: Some((None, over.fault())) };
            assert_eq!(actions(&book, &plan, at(9)), [Action::Cancel { step: id("a") }, expected]);
            continue;
        }
        assert_eq!(actions(&book, &plan, at(9)), [Action::Hold { step: id("a") }]);
        let held = RunEvent::StepWaiting {
            waiting_for: WaitingFor::Limit,
            prompt: json!(null),
            input: json!(null),
            output_schema: json!(null),
            approval_id: None,
            until: None,
        };
        book.step("a", held);
        assert_eq!((actions(&book, &plan, at(9)), state_of(&book).status()), (vec![], RunStatus::Waiting));
        book.write(raised_draft(&Amounts::of(Quantity::Calls, 5), Actor::operator()));
        assert!(matches!(actions(&book, &plan, at(9)).first(), Some(Action::Resume { submission: None, .. })));
    }
}

#[test]
fn what_an_agent_gave_is_kept_while_its_step_is_held() {
    let plan = plan("{max_tool_calls: 1, on_limit: wait}");
    let mut book = Book::new(&plan, StartedBy::Agent);
    let waiting = |waiting_for| RunEvent::StepWaiting {
        waiting_for,
        prompt: json!(null),
        input: json!(null),
        output_schema: json!(null),
        approval_id: None,
        until: None,
    };
    book.step("a", waiting(WaitingFor::Agent));
    book.write(super::submission_draft(&id("a"), json!({ "files": [] }), None, None, Actor::operator()));
    book.step("a", waiting(WaitingFor::Limit));
    assert_eq!(*state_of(&book).phase(&id("a")), Phase::Held(Some(json!({ "files": [] }))));
    book.step("a", RunEvent::StepResumed);
    assert_eq!(*state_of(&book).phase(&id("a")), Phase::Submitted(json!({ "files": [] })));
}

#[test]
fn no_more_steps_begin_than_may() {
    let text = "name: w\nversion: 1.0.0\nlimits: {max_steps: 3}\nsteps:\n".to_owned()
        + &["a", "b", "c"].map(|id| format!("- {{id: {id}, kind: tool, input: {{tool: demo.a}}}}\n")).concat();
    let plan = read_yaml("w.yaml", &text).unwrap();
    let mut book = Book::new(&plan, StartedBy::Operator);
    // As where repairs had begun two steps already.
    for _ in 0..2 {
        book.write(
            EventDraft::new(EventKind::SystemEvent, Actor::system())
                .field("event", "step_started")
                .field("attempt", 1)
                .field("begins", true),
        );
    }
    let begun = |actions: &[Action]| actions.iter().filter(|action| matches!(action, Action::Start { .. })).count();
    let first = actions(&book, &plan, at(1));
    assert_eq!((begun(&first), first.iter().any(|action| matches!(action, Action::TellLimit(_)))), (1, false));
    book.write(RunEvent::StepStarted { attempt: 1 }.draft(Some(&id("a")), Actor::system()).field("begins", true));
    book.step("a", RunEvent::StepSucceeded { output: json!(1) });
    let second = actions(&book, &plan, at(1));
    assert!(matches!(second[..], [Action::TellLimit(Overrun { which: Quantity::Steps, limit: 3, used: 3, .. }), ..]), "{second:?}");
    assert_eq!(begun(&second), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// However events come, a budget written down and read back is the same, and goes on the same.
    #[test]
    fn a_budget_that_was_stored_goes_on_as_it_was(marks in proptest::collection::vec((0_u8..7, 0_u64..50, 0_u64..4), 1..60)) {
        let mut kept = Budget::default();
        let mut stored = Budget::default();
        let mut now = 0;
        for (kind, amount, which) in marks {
            now += amount;
            let approval = ApprovalId::mint(at(which));
            let what = Quantity::ALL[usize::try_from(which).unwrap()];
            let mark = match kind {
                0 => Mark::Created(Allowance { calls: Some(10), wall_ms: Some(200), ..Allowance::default() }),
                1 => Mark::Spent(Amounts::of(what, amount)),
                2 => Mark::Asked(approval, at(now).plus(Millis(amount * 3))),
                3 => Mark::Answered(approval),
                4 => Mark::Reached(Overrun { of: LimitOf::Run, which: what, limit: 1, used: 1, asked: 1 }),
                5 => Mark::Raised(Amounts::of(what, amount)),
                _ => Mark::Ended,
            };
            kept.take(at(now), &mark);
            stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            stored.take(at(now), &mark);
            prop_assert_eq!(&kept, &stored);
            prop_assert!(kept.used(at(now)).wall_ms <= now);
            prop_assert!(kept.used(at(now + 9)).wall_ms >= kept.used(at(now)).wall_ms, "time never runs back");
        }
    }
}
