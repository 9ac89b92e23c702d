//! What a batch of appends has to know of the database, read at once inside its transaction.
//!
//! INVARIANT: everything here was read after `BEGIN IMMEDIATE`, so it holds until the commit. Does not decide and does not write.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};

use crate::audit;
use crate::domain::{ApprovalId, CallId, Digest, ErrorCode, Fault, RunId, Timestamp};

use super::fault::{Doing as _, uint, unreadable};
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
}

/// The answers.
pub(super) struct State {
    pub(super) head: Head,
    pub(super) runs: HashMap<RunId, RunRow>,
    pub(super) leases: HashMap<RunId, LeaseRow>,
    pub(super) approvals: HashMap<ApprovalId, ApprovalState>,
    /// Of the calls asked about: those with an outcome.
    pub(super) ended: HashSet<CallId>,
    /// Of the calls asked about: those that are open.
    pub(super) open: HashSet<CallId>,
}

impl State {
    pub(super) async fn load(connection: &mut SqliteConnection, asked: &Asked) -> Result<Self, Fault> {
        let mut state = Self {
            head: head(connection).await?,
            runs: HashMap::new(),
            leases: HashMap::new(),
            approvals: HashMap::new(),
            ended: HashSet::new(),
            open: HashSet::new(),
        };
        if !asked.runs.is_empty() {
            let sql = "SELECT * FROM runs WHERE id IN (SELECT value FROM json_each(?1))";
            for row in rows(connection, sql, &asked.runs).await? {
                let run = run_row(&row)?;
                state.runs.insert(run.id, run);
            }
        }
        if !asked.leases.is_empty() {
            let sql = "SELECT run_id, owner, fence, expires FROM leases WHERE run_id IN (SELECT value FROM json_each(?1))";
            for row in rows(connection, sql, &asked.leases).await? {
                let lease = LeaseRow {
                    owner: row.try_get(1).doing("reading a lease")?,
                    fence: uint(row.try_get(2).doing("reading a lease")?),
                    expires: Timestamp::from_unix_millis(uint(row.try_get(3).doing("reading a lease")?)),
                };
                state.leases.insert(parsed(&row, "a lease")?, lease);
            }
        }
        if !asked.approvals.is_empty() {
            let sql = "SELECT id, status, digest, expires FROM approvals WHERE id IN (SELECT value FROM json_each(?1))";
            for row in rows(connection, sql, &asked.approvals).await? {
                let status: &str = row.try_get(1).doing("reading an approval")?;
                let digest: &str = row.try_get(2).doing("reading an approval")?;
                let approval = ApprovalState {
                    status: approvals::status_of(status)?,
                    digest: digest.parse().map_err(|_| unreadable("an approval's digest"))?,
                    expires: Timestamp::from_unix_millis(uint(row.try_get(3).doing("reading an approval")?)),
                };
                state.approvals.insert(parsed(&row, "an approval")?, approval);
            }
        }
        if !asked.calls.is_empty() {
            let sql = "SELECT call_id, 1 FROM journal WHERE kind IN ('tool_result', 'tool_error') AND call_id IN (SELECT value FROM json_each(?1)) \
                       UNION ALL SELECT call_id, 0 FROM open_calls WHERE call_id IN (SELECT value FROM json_each(?1))";
            for row in rows(connection, sql, &asked.calls).await? {
                let call = parsed(&row, "a call")?;
                let ended: i64 = row.try_get(1).doing("reading calls")?;
                if ended == 1 { state.ended.insert(call) } else { state.open.insert(call) };
            }
        }
        Ok(state)
    }
}

async fn rows<T: serde::Serialize>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    ids: &BTreeSet<T>,
) -> Result<Vec<sqlx::sqlite::SqliteRow>, Fault> {
    let ids = serde_json::to_string(ids).map_err(|error| Fault::internal(format!("ids have no JSON form: {error}")))?;
    sqlx::query(sql).bind(ids).fetch_all(connection).await.doing("reading what an append depends on")
}

fn parsed<T: std::str::FromStr>(row: &sqlx::sqlite::SqliteRow, what: &str) -> Result<T, Fault> {
    let text: &str = row.try_get(0).doing("reading an id")?;
    text.parse().map_err(|_| unreadable(&format!("{what} with an id")))
}

/// The end of the journal. Its last record is verified, so that nothing is built upon one that was changed.
pub(super) async fn head(connection: &mut SqliteConnection) -> Result<Head, Fault> {
    let row = sqlx::query("SELECT idx, hash, record FROM journal ORDER BY idx DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .doing("reading the end of the journal")?;
    let Some(row) = row else { return Ok(Head { next: 0, prev: Digest::ZERO, ts: Timestamp::from_unix_millis(0) }) };
    let index = uint(row.try_get(0).doing("reading the end of the journal")?);
    let hash: &[u8] = row.try_get(1).doing("reading the end of the journal")?;
    let record: &[u8] = row.try_get(2).doing("reading the end of the journal")?;
    let prev = audit::record::hash(record);
    let opened = audit::record::open(record, None).ok().filter(|opened| opened.place.index == index);
    match opened {
        Some(opened) if prev.as_bytes() == hash => Ok(Head { next: index + 1, prev, ts: opened.place.ts }),
        _ => Err(broken(&format!("the last record of the journal, {index}, was changed"))),
    }
}

pub(super) fn broken(message: &str) -> Fault {
    Fault::new(ErrorCode::AuditBroken, message).hint("nothing more is recorded; run `toolgate audit verify` and restore the home from a backup")
}
