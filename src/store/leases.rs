//! Who may drive a run: one living process at a time, told apart from those before it by a number that only rises.
//!
//! INVARIANT: a lease is taken only when nobody has it, when it ran out, or when its owner's process is dead; each taking raises the
//! fence, so whoever lost it is refused by `Guard::Holds`. Does not know what driving is.

use std::path::Path;

use sqlx::SqliteConnection;

use crate::domain::{Millis, OwnerId, RunId, Timestamp};

use super::fault::int;
use super::state::{LeaseRow, State};
use super::{Lease, owners};

/// What is asked.
pub(super) enum LeaseAct {
    Take { run: RunId, span: Millis },
    Renew { lease: Lease, span: Millis },
    Release { lease: Lease },
}

impl LeaseAct {
    pub(super) fn run(&self) -> RunId {
        match self {
            Self::Take { run, .. } => *run,
            Self::Renew { lease, .. } | Self::Release { lease } => lease.run,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LeaseDone {
    Taken(Option<Lease>),
    Renewed(bool),
    Released,
}

/// What came of it, and the row to be written if it changed. `home` is where owners' locks are; `None` in memory.
pub(super) fn decide(
    act: &LeaseAct,
    now: Timestamp,
    owner: OwnerId,
    home: Option<&Path>,
    state: &State,
) -> (LeaseDone, Option<(RunId, LeaseRow)>) {
    let found = state.leases.get(&act.run());
    let me = owner.to_string();
    let mine = |lease: &Lease| {
        found.is_some_and(|row| lease.owner == owner && row.fence == lease.fence && row.owner.as_deref() == Some(me.as_str()))
    };
    match act {
        LeaseAct::Take { run, span } => {
            let held = found.filter(|row| row.expires > now).and_then(|row| row.owner.as_deref());
            // A lease of this very process counts too: two of its drivers must not meet on one run.
            if held.is_some_and(|holder| holder == me || home.is_some_and(|home| owners::is_alive(home, holder))) {
                return (LeaseDone::Taken(None), None);
            }
            let fence = found.map_or(0, |row| row.fence) + 1;
            let row = LeaseRow { owner: Some(me), fence, expires: now.plus(*span) };
            (LeaseDone::Taken(Some(Lease { run: *run, owner, fence })), Some((*run, row)))
        }
        LeaseAct::Renew { lease, span } if mine(lease) => {
            let row = LeaseRow { owner: Some(me), fence: lease.fence, expires: now.plus(*span) };
            (LeaseDone::Renewed(true), Some((lease.run, row)))
        }
        LeaseAct::Renew { .. } => (LeaseDone::Renewed(false), None),
        LeaseAct::Release { lease } if mine(lease) => {
            let row = LeaseRow { owner: None, fence: lease.fence, expires: now };
            (LeaseDone::Released, Some((lease.run, row)))
        }
        LeaseAct::Release { .. } => (LeaseDone::Released, None),
    }
}

pub(super) async fn write(connection: &mut SqliteConnection, run: RunId, row: &LeaseRow) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO leases (run_id, owner, fence, expires) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (run_id) DO UPDATE SET owner = excluded.owner, fence = excluded.fence, expires = excluded.expires";
    sqlx::query(sql)
        .bind(run.to_string())
        .bind(row.owner.as_deref())
        .bind(int(row.fence))
        .bind(int(row.expires.unix_millis()))
        .execute(connection)
        .await
        .map(drop)
}
