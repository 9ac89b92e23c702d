//! Reads grants, pauses, and the questions that somebody must still see to.
//!
//! INVARIANT: reads only; a grant past its time reads `Ended`, whatever is stored.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{ApprovalId, Fault, GrantId, Principal, RunId, Timestamp, ToolName};

use super::super::fault::{Doing as _, int, uint, unreadable};
use super::super::open::Reading;
use super::super::runs;
use super::{GrantRow, GrantStatus, PausedRun};

/// The word a status is stored as.
pub(super) fn word(status: GrantStatus) -> &'static str {
    match status {
        GrantStatus::Active => "active",
        GrantStatus::Revoked => "revoked",
        GrantStatus::Ended => "ended",
    }
}

pub(super) fn status_of(text: &str) -> Result<GrantStatus, Fault> {
    runs::word(text, "a grant in a state")
}

fn grant(row: &SqliteRow, now: Timestamp) -> Result<GrantRow, Fault> {
    let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading a grant");
    let number = |column: &'static str| row.try_get::<i64, _>(column).doing("reading a grant").map(uint);
    let bad = || unreadable("a grant");
    let (status, until) = (status_of(&text("status")?)?, Timestamp::from_unix_millis(number("until")?));
    Ok(GrantRow {
        grant: serde_json::from_str(&text("grant_json")?).map_err(|_| bad())?,
        approval: text("approval")?.parse().map_err(|_| bad())?,
        asked_in: text("asked_in")?.parse().map_err(|_| bad())?,
        status: if status == GrantStatus::Active && until <= now { GrantStatus::Ended } else { status },
        uses: number("uses")?,
        given: Timestamp::from_unix_millis(number("given")?),
    })
}

/// Grants that stand, of one principal and tool.
pub(in crate::store) async fn standing(
    mut connection: Reading,
    principal: &Principal,
    tool: &ToolName,
    now: Timestamp,
) -> Result<Vec<GrantRow>, Fault> {
    let sql = "SELECT * FROM standing_grants WHERE status = 'active' AND principal = ?1 AND tool = ?2 AND until > ?3 ORDER BY id";
    let rows = sqlx::query(sql)
        .bind(principal.as_str().to_owned())
        .bind(tool.as_str().to_owned())
        .bind(int(now.unix_millis()))
        .fetch_all(&mut *connection)
        .await
        .doing("reading grants")?;
    rows.iter().map(|row| grant(row, now)).collect()
}

/// The newest grants of one principal and tool, whether they stand or not.
pub(in crate::store) async fn of_tool(
    mut connection: Reading,
    (principal, tool): (&Principal, &ToolName),
    now: Timestamp,
    limit: u32,
) -> Result<Vec<GrantRow>, Fault> {
    let sql = "SELECT * FROM standing_grants WHERE principal = ?1 AND tool = ?2 ORDER BY id DESC LIMIT ?3";
    let rows = sqlx::query(sql)
        .bind(principal.as_str().to_owned())
        .bind(tool.as_str().to_owned())
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await
        .doing("reading grants")?;
    rows.iter().map(|row| grant(row, now)).collect()
}

/// Grants, the newest first; only those stored as active where `active` says so, also such as are past their time.
pub(in crate::store) async fn grants(mut connection: Reading, active: bool, now: Timestamp) -> Result<Vec<GrantRow>, Fault> {
    let rows = sqlx::query("SELECT * FROM standing_grants WHERE ?1 = 0 OR status = 'active' ORDER BY id DESC")
        .bind(i64::from(active))
        .fetch_all(&mut *connection)
        .await
        .doing("reading grants")?;
    rows.iter().map(|row| grant(row, now)).collect()
}

pub(in crate::store) async fn one(mut connection: Reading, id: &GrantId, now: Timestamp) -> Result<Option<GrantRow>, Fault> {
    let found = sqlx::query("SELECT * FROM standing_grants WHERE id = ?1").bind(id.to_string()).fetch_optional(&mut *connection).await;
    found.doing("reading a grant")?.as_ref().map(|row| grant(row, now)).transpose()
}

pub(in crate::store) async fn paused(mut connection: Reading) -> Result<Vec<PausedRun>, Fault> {
    let rows = sqlx::query("SELECT * FROM paused_runs ORDER BY since").fetch_all(&mut *connection).await.doing("reading pauses")?;
    rows.iter()
        .map(|row| {
            let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading a pause");
            let run_id: RunId = text("run_id")?.parse().map_err(|_| unreadable("a paused run"))?;
            let since = Timestamp::from_unix_millis(uint(row.try_get("since").doing("reading a pause")?));
            Ok(PausedRun { run_id, why: text("why")?, since })
        })
        .collect()
}

/// Questions and unused answers whose time is over and whose row does not say so yet.
pub(in crate::store) async fn overdue(connection: Reading, now: Timestamp) -> Result<Vec<ApprovalId>, Fault> {
    let sql = "SELECT id FROM approvals WHERE status IN ('pending', 'approved') AND expires <= ?1 ORDER BY id LIMIT 100";
    ids(connection, sql, now).await
}

/// Questions that wait and that the webhook has not heard of.
pub(in crate::store) async fn untold(connection: Reading, now: Timestamp) -> Result<Vec<ApprovalId>, Fault> {
    let sql = "SELECT id FROM approvals WHERE status = 'pending' AND told = 0 AND expires > ?1 ORDER BY id LIMIT 20";
    ids(connection, sql, now).await
}

async fn ids(mut connection: Reading, sql: &'static str, now: Timestamp) -> Result<Vec<ApprovalId>, Fault> {
    let rows = sqlx::query(sql).bind(int(now.unix_millis())).fetch_all(&mut *connection).await.doing("reading questions")?;
    rows.iter()
        .map(|row| {
            let id: String = row.try_get("id").doing("reading a question")?;
            id.parse().map_err(|_| unreadable("a question with an id"))
        })
        .collect()
}
