//! What a batch of appends has to know of the database, read at once inside its transaction.
//!
//! INVARIANT: everything here was read after `BEGIN IMMEDIATE`, so it holds until the commit. Does not decide and does not write. Several
//! statements travel as one query, which SQLite's driver alone can do: a passage to its thread costs more than reading.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor as _, Row as _, SqliteConnection};
use toolgate_evidence::tree::Frontier;

use crate::audit;
use crate::domain::{Amounts, ApprovalId, CallId, Digest, ErrorCode, Fault, Principal, RunId, Timestamp};
use crate::run::Budget;

use super::budgets::{self, Day};
use super::fault::{Doing as _, int, uint, unreadable};
use super::questions::state::{About, Questions};
use super::runs::run_row;
use super::{ApprovalStatus, RunRow, approvals};

/// The end of the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Index of the next record.
    pub(super) next: u64,
    /// Hash of the last one.
    pub(super) prev: Digest,
    /// When the last one was recorded.
    pub(super) ts: Timestamp,
}

/// A lease as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeaseRow {
    /// `None` when it was given back.
    pub(super) owner: Option<String>,
    pub(super) fence: u64,
    pub(super) expires: Timestamp,
}

/// What guards and changes need of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApprovalState {
    /// As stored: one past its time still reads pending or approved here.
    pub(super) status: ApprovalStatus,
    pub(super) digest: Digest,
    pub(super) expires: Timestamp,
}

/// What a batch asks about.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) runs: BTreeSet<RunId>,
    pub(super) leases: BTreeSet<RunId>,
    pub(super) approvals: BTreeSet<ApprovalId>,
    /// Calls that are opened or closed.
    pub(super) calls: BTreeSet<CallId>,
    /// Keys under which calls are remembered or forgotten.
    pub(super) keys: BTreeSet<Digest>,
    /// Questions, grants and pauses.
    pub(super) questions: About,
    /// Runs whose budgets may change or are asked for, and principals whose day is.
    pub(super) budgets: BTreeSet<RunId>,
    pub(super) principals: BTreeSet<Principal>,
    /// The day, in case nothing later was recorded.
    pub(super) today: u64,
}

/// The answers.
pub(super) struct State {
    pub(super) head: Head,
    /// The tree over the records up to the head; to be set by whoever begins, as it is mostly known already.
    pub(super) tree: Frontier,
    pub(super) runs: HashMap<RunId, RunRow>,
    pub(super) leases: HashMap<RunId, LeaseRow>,
    pub(super) approvals: HashMap<ApprovalId, ApprovalState>,
    /// Of the calls asked about: those with an outcome.
    pub(super) ended: HashSet<CallId>,
    /// Of the calls asked about: those that are open.
    pub(super) open: HashSet<CallId>,
    /// Of the keys asked about: those that are taken.
    pub(super) remembered: HashSet<Digest>,
    /// What was asked of questions, grants and pauses.
    pub(super) questions: Questions,
    pub(super) budgets: HashMap<RunId, Budget>,
    /// Of the principals asked about: what they used up on the days from today on.
    pub(super) days: HashMap<Day, Amounts>,
    /// Changes when another connection changes the database.
    pub(super) version: i64,
}

/// Begins the transaction and reads everything, in one passage to the database's thread. The first column says what a row is.
const BEGIN: &str = "\
    BEGIN IMMEDIATE; \
    SELECT 0, idx, hash, record FROM journal ORDER BY idx DESC LIMIT 1; \
    SELECT 1, * FROM runs WHERE id IN (SELECT value FROM json_each(?)); \
    SELECT 2, run_id, owner, fence, expires FROM leases WHERE run_id IN (SELECT value FROM json_each(?)); \
    SELECT 3, id, status, digest, expires FROM approvals WHERE id IN (SELECT value FROM json_each(?)); \
    SELECT 4, call_id FROM journal WHERE kind IN ('tool_result', 'tool_error') AND call_id IN (SELECT value FROM json_each(?)); \
    SELECT 5, call_id FROM open_calls WHERE call_id IN (SELECT value FROM json_each(?)); \
    SELECT 6, key FROM remembered WHERE key IN (SELECT value FROM json_each(?)); \
    SELECT 7, run_id, budget FROM budgets WHERE run_id IN (SELECT value FROM json_each(?)); \
    SELECT 8, principal, day, used FROM budget_days WHERE day >= ? AND principal IN (\
        SELECT value FROM json_each(?) UNION SELECT principal FROM runs WHERE id IN (SELECT value FROM json_each(?))); \
    SELECT 9, data_version FROM pragma_data_version";

/// Why a batch could not begin.
pub(super) enum Failed {
    /// The database said so.
    Database(sqlx::Error),
    /// What it holds is not as it should be.
    Content(Fault),
}

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Content(fault)
    }
}

impl State {
    /// Nothing but the end of the journal.
    pub(super) fn at(head: Head) -> Self {
        Self {
            head,
            tree: Frontier::default(),
            runs: HashMap::new(),
            leases: HashMap::new(),
            approvals: HashMap::new(),
            ended: HashSet::new(),
            open: HashSet::new(),
            remembered: HashSet::new(),
            questions: Questions::default(),
            budgets: HashMap::new(),
            days: HashMap::new(),
            version: 0,
        }
    }

    /// Begins the transaction and reads what is asked.
    pub(super) async fn begin(connection: &mut SqliteConnection, asked: &Asked) -> Result<Self, Failed> {
        let calls = ids(&asked.calls)?;
        let query = sqlx::query(BEGIN)
            .bind(ids(&asked.runs)?)
            .bind(ids(&asked.leases)?)
            .bind(ids(&asked.approvals)?)
            .bind(calls.clone())
            .bind(calls)
            .bind(ids(&asked.keys)?)
            .bind(ids(&asked.budgets)?)
            .bind(int(asked.today.saturating_sub(1)))
            .bind(ids(&asked.principals)?)
            .bind(ids(&asked.budgets)?);
        let mut state = Self::at(Head { next: 0, prev: Digest::ZERO, ts: Timestamp::from_unix_millis(0) });
        let mut steps = connection.fetch_many(query);
        while let Some(step) = steps.try_next().await.map_err(Failed::Database)? {
            if let sqlx::Either::Right(row) = step {
                state.take(&row)?;
            }
        }
        drop(steps);
        state.questions = Questions::load(connection, &asked.questions).await?;
        Ok(state)
    }

    fn take(&mut self, row: &SqliteRow) -> Result<(), Fault> {
        let what: i64 = row.try_get(0).doing("reading what an append depends on")?;
        match what {
            0 => self.head = head(row)?,
            1 => {
                let run = run_row(row)?;
                self.runs.insert(run.id, run);
            }
            2 => {
                let lease = LeaseRow {
                    owner: row.try_get(2).doing("reading a lease")?,
                    fence: uint(row.try_get(3).doing("reading a lease")?),
                    expires: Timestamp::from_unix_millis(uint(row.try_get(4).doing("reading a lease")?)),
                };
                self.leases.insert(parsed(row, "a lease")?, lease);
            }
            3 => {
                let status: &str = row.try_get(2).doing("reading an approval")?;
                let digest: &str = row.try_get(3).doing("reading an approval")?;
                let approval = ApprovalState {
                    status: approvals::status_of(status)?,
                    digest: digest.parse().map_err(|_| unreadable("an approval's digest"))?,
                    expires: Timestamp::from_unix_millis(uint(row.try_get(4).doing("reading an approval")?)),
                };
                self.approvals.insert(parsed(row, "an approval")?, approval);
            }
            4 => drop(self.ended.insert(parsed(row, "a call")?)),
            5 => drop(self.open.insert(parsed(row, "a call")?)),
            6 => drop(self.remembered.insert(parsed(row, "a key")?)),
            7 => drop(self.budgets.insert(parsed(row, "a budget")?, budgets::budget(row, 2)?)),
            9 => self.version = row.try_get(1).doing("reading the database's version")?,
            _ => {
                let principal: String = row.try_get(1).doing("reading a day's use")?;
                let day = uint(row.try_get(2).doing("reading a day's use")?);
                self.days.insert((Principal::new(principal), day), budgets::amounts(row, 3)?);
            }
        }
        Ok(())
    }
}

fn ids<T: serde::Serialize>(ids: &BTreeSet<T>) -> Result<String, Fault> {
    serde_json::to_string(ids).map_err(|error| Fault::internal(format!("ids have no JSON form: {error}")))
}

fn parsed<T: std::str::FromStr>(row: &SqliteRow, what: &str) -> Result<T, Fault> {
    let text: &str = row.try_get(1).doing("reading an id")?;
    text.parse().map_err(|_| unreadable(&format!("{what} with an id")))
}

/// The end of the journal. Its last record is verified, so that nothing is built upon one that was changed.
fn head(row: &SqliteRow) -> Result<Head, Fault> {
    let index = uint(row.try_get(1).doing("reading the end of the journal")?);
    let hash: &[u8] = row.try_get(2).doing("reading the end of the journal")?;
    let record: &[u8] = row.try_get(3).doing("reading the end of the journal")?;
    let prev = audit::record::hash(record);
    let opened = audit::record::open(record, None).ok().filter(|opened| opened.place.index == index);
    match opened {
        Some(opened) if prev.as_bytes() == hash => Ok(Head { next: index + 1, prev, ts: opened.place.ts }),
        _ => Err(broken(&format!("the last record of the journal, {index}, was changed"))),
    }
}

pub(super) fn broken(message: &str) -> Fault {
    Fault::new(ErrorCode::AuditBroken, message)
        .hint("nothing more is recorded; run `toolgate audit verify` and restore the home from a backup")
}
