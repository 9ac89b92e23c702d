//! What the writer knows of the database from its last transactions: with it a usual append needs one passage to the database instead of two.
//!
//! INVARIANT: good only for as long as no other connection changed the database. What is written on the strength of it is written in a
//! transaction that first has the database say so (`PRAGMA data_version`), and comes to nothing where it does not. Reads nothing by itself.

use std::collections::{BTreeSet, HashMap};

use toolgate_evidence::tree::Frontier;

use crate::domain::{Amounts, Principal, RunId};
use crate::run::Budget;

use super::apply::Task;
use super::budgets::Day;
use super::state::{Asked, Head, State};
use super::writer::Job;
use super::{Guard, RunRow};

/// Runs that are known; with more than that, those of before are forgotten.
const MOST: usize = 1024;

/// How often what was known was enough.
#[cfg(test)]
pub(super) static AT_ONCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

/// What is known.
pub(super) struct Known {
    /// What the database then said of its changes.
    version: i64,
    /// Of which day, and whose use of it.
    today: u64,
    principals: BTreeSet<Principal>,
    /// Runs of which the budget is known; where it is not among them it is empty.
    budgeted: BTreeSet<RunId>,
    runs: HashMap<RunId, RunRow>,
    budgets: HashMap<RunId, Budget>,
    days: HashMap<Day, Amounts>,
}

/// What is asked for, if these jobs are such that what can be known suffices: events of runs that exist, with no change beside them.
pub(super) fn plain(jobs: &[Job]) -> Option<Vec<&Task>> {
    let known = |guard: &Guard| matches!(guard, Guard::Budget(_) | Guard::LastSeq(_) | Guard::RunOpen);
    let tasks = jobs.iter().map(append).collect::<Option<Vec<_>>>()?;
    tasks.iter().all(|task| task.guards.iter().all(known)).then_some(tasks)
}

fn append(job: &Job) -> Option<&Task> {
    match job {
        Job::Append(task, _) if task.changes.is_empty() && task.run.is_some() && !task.events.is_empty() => Some(task),
        Job::Append(..) | Job::Lease(..) | Job::Seal(..) | Job::Tick | Job::Stop => None,
    }
}

impl Known {
    /// With what a transaction read and left; what was known before stays where nobody else wrote meanwhile.
    pub(super) fn after(before: Option<Self>, asked: Asked, state: State) -> Self {
        let State { version, runs, budgets, days, .. } = state;
        let Asked { principals, budgets: budgeted, today, .. } = asked;
        match before.filter(|known| (known.version, known.today) == (version, today) && known.runs.len() < MOST) {
            None => Self { version, today, principals, budgeted, runs, budgets, days },
            Some(mut known) => {
                known.principals.extend(principals);
                known.budgeted.extend(budgeted);
                known.runs.extend(runs);
                known.budgets.extend(budgets);
                known.days.extend(days);
                known
            }
        }
    }

    /// Whether it holds all that is asked for by [`plain`] jobs.
    pub(super) fn answers(&self, asked: &Asked) -> bool {
        self.today == asked.today
            && asked.runs.iter().all(|run| self.runs.contains_key(run))
            && asked.budgets.is_subset(&self.budgeted)
            && asked.principals.is_subset(&self.principals)
    }

    /// As if it had been read now, with the journal's end.
    pub(super) fn state(self, (head, tree): (Head, Frontier)) -> (State, Rest) {
        let Self { version, today, principals, budgeted, runs, budgets, days } = self;
        let state = State { tree, runs, budgets, days, version, ..State::at(head) };
        (state, Rest { today, principals, budgeted })
    }
}

/// What [`Known::state`] leaves over.
pub(super) struct Rest {
    today: u64,
    principals: BTreeSet<Principal>,
    budgeted: BTreeSet<RunId>,
}

impl Rest {
    /// With what became of the state.
    pub(super) fn with(self, state: State) -> Known {
        let State { version, runs, budgets, days, .. } = state;
        let Self { today, principals, budgeted } = self;
        Known { version, today, principals, budgeted, runs, budgets, days }
    }
}
