//! What runs and principals used up, kept beside the journal so that an append is judged without reading it.
//!
//! INVARIANT: each row is what the events say, folded by `run::Budget`: it changes in the very commit of its events, and a test compares the
//! two. Does not decide what counts: see `run::Mark`.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{Actor, Allowance, Amounts, Fault, LimitOf, Overrun, Principal, Role, RunId, Timestamp, day_of};
use crate::run::{Budget, Mark};

use super::RunRow;
use super::apply::{Ready, Writes};
use super::fault::{Doing as _, int, unreadable};
use super::open::Reading;
use super::state::State;

/// Whose use on which day.
pub(super) type Day = (Principal, u64);

/// Whether what these events use up fits what is left.
pub(super) fn check(state: &State, run: &RunRow, events: &[Ready], daily: &Allowance, now: Timestamp) -> Result<(), Fault> {
    let asks = |event: &Ready| event.mark.as_ref().map_or_else(Amounts::default, Mark::asks);
    let asked = events.iter().fold(Amounts::default(), |sum, event| sum.plus(&asks(event)));
    if let Some(over) = state.budgets.get(&run.id).and_then(|budget| budget.over(now, &asked)) {
        return Err(over.fault());
    }
    let Some(first) = events.first().filter(|_| !daily.is_unlimited()) else { return Ok(()) };
    let used = state.days.get(&(charged(run, &first.actor), day_of(now))).copied().unwrap_or_default();
    match Overrun::find(LimitOf::Principal, daily, &used, &asked) {
        Some(over) => Err(over.fault()),
        None => Ok(()),
    }
}

/// Takes an event that was given its place into account.
pub(super) fn take(state: &mut State, run: &RunRow, actor: &Actor, mark: &Mark, now: Timestamp, writes: &mut Writes) {
    let is_of_principal = matches!(mark, Mark::Spent(amounts) if amounts.without_wall().is_nothing());
    if !is_of_principal {
        let budget = state.budgets.entry(run.id).or_default();
        budget.take(now, mark);
        writes.budgets.insert(run.id, budget.clone());
    }
    if let Mark::Spent(amounts) = mark {
        let day = (charged(run, actor), day_of(now));
        let used = state.days.entry(day.clone()).or_default();
        *used = used.plus(amounts);
        writes.days.insert(day, *used);
    }
}

/// Who pays: whoever acts; where that is toolgate itself, the one whose run it is.
fn charged(run: &RunRow, actor: &Actor) -> Principal {
    match actor.role {
        Role::System => run.principal.clone(),
        Role::Agent | Role::Operator => actor.principal.clone(),
    }
}

/// A budget from its column.
pub(super) fn budget(row: &SqliteRow, column: usize) -> Result<Budget, Fault> {
    let text: &str = row.try_get(column).doing("reading a budget")?;
    serde_json::from_str(text).map_err(|_| unreadable("a budget"))
}

/// Amounts from their column.
pub(super) fn amounts(row: &SqliteRow, column: usize) -> Result<Amounts, Fault> {
    let text: &str = row.try_get(column).doing("reading a day's use")?;
    serde_json::from_str(text).map_err(|_| unreadable("a day's use"))
}

pub(super) async fn of_run(mut connection: Reading, run: &RunId) -> Result<Budget, Fault> {
    let row = sqlx::query("SELECT budget FROM budgets WHERE run_id = ?1").bind(run.to_string()).fetch_optional(&mut *connection).await;
    row.doing("reading a budget")?.as_ref().map_or_else(|| Ok(Budget::default()), |row| budget(row, 0))
}

pub(super) async fn on_day(mut connection: Reading, principal: &Principal, day: u64) -> Result<Amounts, Fault> {
    let row = sqlx::query("SELECT used FROM budget_days WHERE principal = ?1 AND day = ?2")
        .bind(principal.as_str())
        .bind(int(day))
        .fetch_optional(&mut *connection)
        .await;
    row.doing("reading a day's use")?.as_ref().map_or_else(|| Ok(Amounts::default()), |row| amounts(row, 0))
}
