//! Budgets hold whatever happens at the same time, and what is kept of them is what the journal says.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use proptest::prelude::*;

use super::*;
use crate::domain::{Allowance, Amounts, LimitOf, Overrun, Quantity, day_of};
use crate::run::{Budget, Mark};

const DAY: u64 = 24 * 60 * 60 * 1_000;

async fn limited(store: &Store, limits: Allowance, who: &str) -> RunId {
    let run = RunId::mint(Timestamp::from_unix_millis(1_700_000_000_000));
    let created = EventDraft::new(EventKind::RunCreated, agent(who)).field("kind", "adhoc").field("limits", json!(limits));
    let change = Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: Principal::new(who) };
    store.append(Append { run: Some(run), events: vec![created], changes: vec![change], ..Append::default() }).await.unwrap();
    run
}

fn agent(who: &str) -> Actor {
    Actor::agent(Principal::new(who))
}

/// A call that uses up so much, under the guard.
fn spending(run: RunId, who: &str, tokens: u64, bytes: u64, daily: Allowance) -> Append {
    let event = EventDraft::new(EventKind::ToolCall, agent(who)).call(call()).field("tokens", tokens).field("bytes_out", bytes);
    Append { guards: vec![Guard::Budget(daily)], events: vec![event], ..notes(run, 0) }
}

/// The budgets of all runs and days, from the events alone.
async fn folded(store: &Store) -> (BTreeMap<RunId, Budget>, BTreeMap<(String, u64), Amounts>) {
    let (mut runs, mut days) = (BTreeMap::<RunId, Budget>::new(), BTreeMap::<(String, u64), Amounts>::new());
    for row in store.runs(RunFilter::default()).await.unwrap() {
        for event in store.events(&row.id, 0, 0).await.unwrap() {
            let Some(mark) = Mark::of(event.kind, &event.payload) else { continue };
            runs.entry(row.id).or_default().take(event.ts, &mark);
            if let Mark::Spent(amounts) = mark {
                let who = if event.actor.role == crate::domain::Role::System { row.principal.clone() } else { event.actor.principal };
                let day = days.entry((who.as_str().to_owned(), day_of(event.ts))).or_default();
                *day = day.plus(&amounts);
            }
        }
    }
    (runs, days)
}

/// That what is kept says what the events say.
async fn agrees(store: &Store) {
    let (runs, days) = folded(store).await;
    for (run, budget) in runs {
        assert_eq!(store.budget(&run).await.unwrap(), budget);
    }
    for ((who, day), used) in days {
        assert_eq!(store.used_on(&Principal::new(who), day).await.unwrap(), used);
    }
}

#[tokio::test]
async fn calls_at_the_same_time_in_two_processes_cannot_pass_a_limit_together() {
    let home = tempfile::tempdir().unwrap();
    let clock = FakeClock::new();
    let stores =
        [Store::open(options(Some(home.path()), &clock)).await.unwrap(), Store::open(options(Some(home.path()), &clock)).await.unwrap()];
    let run = limited(&stores[0], Allowance { calls: Some(37), ..Allowance::default() }, "a").await;
    let tries = (0..120_usize).map(|n| stores[n % 2].append(spending(run, "a", 0, 0, Allowance::default())));
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 37);
    let over = Overrun { of: LimitOf::Run, which: Quantity::Calls, limit: 37, used: 37, asked: 1 };
    for refused in results.into_iter().filter_map(Result::err) {
        assert_eq!(Overrun::of_fault(&refused), Some(over), "{refused}");
    }
    agrees(&stores[1]).await;
    // A process that starts anew counts on.
    let anew = Store::open(options(Some(home.path()), &clock)).await.unwrap();
    assert_eq!(code(anew.append(spending(run, "a", 0, 0, Allowance::default())).await), ErrorCode::BudgetExceeded);
}

#[tokio::test]
async fn without_its_guard_a_limit_would_be_passed() {
    // That the guard is what holds: the same appends without it go through.
    for store in both().await.stores {
        let run = limited(&store, Allowance { calls: Some(1), ..Allowance::default() }, "a").await;
        for _ in 0..2 {
            store.append(Append { guards: Vec::new(), ..spending(run, "a", 0, 0, Allowance::default()) }).await.unwrap();
        }
        assert_eq!(store.budget(&run).await.unwrap().used(Timestamp::from_unix_millis(0)).calls, 2);
    }
}

#[tokio::test]
async fn a_limit_is_told_as_hit_once_until_it_is_raised() {
    for store in both().await.stores {
        let run = limited(&store, Allowance { calls: Some(1), ..Allowance::default() }, "a").await;
        let over = Overrun { of: LimitOf::Run, which: Quantity::Calls, limit: 1, used: 1, asked: 1 };
        let told = join_all((0..5).map(|_| store.append(Append::telling(run, over, agent("a"))))).await;
        assert_eq!(told.iter().filter(|result| result.is_ok()).count(), 1);
        let raise = crate::run::raised_draft(&Amounts::of(Quantity::Calls, 1), Actor::operator());
        store.append(Append { run: Some(run), events: vec![raise], ..Append::default() }).await.unwrap();
        store.append(Append::telling(run, over, agent("a"))).await.unwrap();
        agrees(&store).await;
    }
}

#[tokio::test]
async fn a_principal_s_day_holds_over_all_its_runs_and_begins_anew_at_midnight() {
    let both = both().await;
    for store in &both.stores {
        let daily = Allowance { calls: Some(3), wall_ms: Some(50), ..Allowance::default() };
        let runs = [limited(store, Allowance::default(), "b").await, limited(store, Allowance::default(), "b").await];
        for n in 0..3 {
            store.append(spending(runs[n % 2], "b", 0, 0, daily)).await.unwrap();
        }
        let fault = store.append(spending(runs[0], "b", 0, 0, daily)).await.unwrap_err();
        assert_eq!(Overrun::of_fault(&fault).unwrap().of, LimitOf::Principal);
        // Another principal is not concerned, nor is the operator in the same run.
        store.append(spending(runs[0], "operator", 0, 0, daily)).await.unwrap();
        both.clock.forward(Millis(DAY));
        store.append(spending(runs[0], "b", 0, 0, daily)).await.unwrap();
        // The time of calls that ended counts; once it is used up nothing more begins.
        let ended = EventDraft::new(EventKind::ToolResult, agent("b")).call(call()).field("duration_ms", 50);
        store.append(Append { events: vec![ended], ..notes(runs[0], 0) }).await.unwrap();
        let fault = store.append(spending(runs[0], "b", 0, 0, daily)).await.unwrap_err();
        assert_eq!(Overrun::of_fault(&fault).unwrap().which, Quantity::WallMs);
        both.clock.back(Millis(DAY));
        store.append(spending(runs[0], "c", 0, 0, daily)).await.unwrap();
        agrees(store).await;
        sound(store).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is asked for at the same time, by whom and in which run: no limit is passed, and what is kept is what the events say.
    #[test]
    fn no_sequence_of_calls_passes_a_limit(
        asks in proptest::collection::vec((0_usize..3, 0_usize..2, 0_u64..40, 0_u64..40), 1..60),
        limits in (0_u64..25, 0_u64..300, 0_u64..300, 0_u64..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::open(options(None, &FakeClock::new())).await.unwrap();
            let (calls, tokens, bytes, daily_calls) = limits;
            let limits = Allowance { calls: Some(calls), tokens: Some(tokens), bytes_out: Some(bytes), ..Allowance::default() };
            let daily = Allowance { calls: Some(daily_calls), ..Allowance::default() };
            let mut runs = Vec::new();
            for _ in 0..3 {
                runs.push(limited(&store, limits, "a").await);
            }
            let whos = ["a", "b"];
            let tries = asks.iter().map(|(run, who, tokens, bytes)| store.append(spending(runs[*run], whos[*who], *tokens, *bytes, daily)));
            let done = join_all(tries).await;
            let now = Timestamp::from_unix_millis(1_700_000_000_000);
            for run in &runs {
                let used = store.budget(run).await.unwrap().used(now);
                assert!(used.calls <= calls && used.tokens <= tokens && used.bytes_out <= bytes, "{used:?} of {limits:?}");
            }
            let today: u64 = { let mut sum = 0; for who in whos { let used = store.used_on(&Principal::new(who), day_of(now)).await.unwrap(); assert!(used.calls <= daily_calls); sum += used.calls; } sum };
            assert_eq!(today, done.iter().filter(|result| result.is_ok()).count() as u64);
            agrees(&store).await;
        });
    }
}
