//! Reads approvals.
//!
//! INVARIANT: one past its time reads `Expired`, whatever is stored. Reads only: how an approval moves stands in `apply`.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::domain::{ApprovalId, Digest, Fault, Principal, Timestamp};

use super::fault::{Doing as _, int, uint, unreadable};
use super::open::Reading;
use super::runs::{self, limit};
use super::{ApprovalFilter, ApprovalRow, ApprovalStatus};

pub(super) fn status_of(text: &str) -> Result<ApprovalStatus, Fault> {
    runs::word(text, "an approval in a state")
}

/// What is stored, with `?1` as now: the state as it reads then.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT * FROM (SELECT id, run_id, step_id, digest, tool, principal, shown, reason, note, covers, asked, channel, answer, created, expires, \
             CASE WHEN status IN ('pending', 'approved') AND expires <= ?1 THEN 'expired' ELSE status END AS status FROM approvals) ",
            $rest
        )
    };
}

fn row(row: &SqliteRow) -> Result<ApprovalRow, Fault> {
    let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading an approval");
    let time =
        |column: &'static str| row.try_get::<i64, _>(column).doing("reading an approval").map(|at| Timestamp::from_unix_millis(uint(at)));
    let maybe = |column: &'static str| row.try_get::<Option<String>, _>(column).doing("reading an approval");
    let step = maybe("step_id")?;
    let bad = || unreadable("an approval");
    Ok(ApprovalRow {
        id: text("id")?.parse().map_err(|_| bad())?,
        run_id: text("run_id")?.parse().map_err(|_| bad())?,
        step_id: step.map(|step| step.parse().map_err(|_| bad())).transpose()?,
        digest: text("digest")?.parse().map_err(|_| bad())?,
        tool: text("tool")?.parse().map_err(|_| bad())?,
        principal: Principal::new(text("principal")?),
        shown: serde_json::from_str(&text("shown")?).map_err(|_| bad())?,
        reason: text("reason")?,
        note: row.try_get("note").doing("reading an approval")?,
        covers: maybe("covers")?.map(|covers| serde_json::from_str(&covers).map_err(|_| bad())).transpose()?,
        asked: uint(row.try_get("asked").doing("reading an approval")?),
        channel: maybe("channel")?.map(|word| runs::word(&word, "an answer by a way")).transpose()?,
        status: status_of(&text("status")?)?,
        answer: row.try_get("answer").doing("reading an approval")?,
        created: time("created")?,
        expires: time("expires")?,
    })
}

pub(super) async fn one(mut connection: Reading, id: &ApprovalId, now: Timestamp) -> Result<Option<ApprovalRow>, Fault> {
    let found = sqlx::query(select!("WHERE id = ?2"))
        .bind(int(now.unix_millis()))
        .bind(id.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("reading an approval")?;
    found.as_ref().map(row).transpose()
}

pub(super) async fn of_digest(mut connection: Reading, digest: &Digest, now: Timestamp) -> Result<Option<ApprovalRow>, Fault> {
    let found = sqlx::query(select!("WHERE digest = ?2 AND status IN ('pending', 'approved', 'denied') ORDER BY id DESC LIMIT 1"))
        .bind(int(now.unix_millis()))
        .bind(digest.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("reading an approval")?;
    found.as_ref().map(row).transpose()
}

pub(super) async fn list(mut connection: Reading, filter: &ApprovalFilter, now: Timestamp) -> Result<Vec<ApprovalRow>, Fault> {
    let rows = sqlx::query(select!("WHERE (?2 IS NULL OR status = ?2) AND (?3 IS NULL OR run_id = ?3) ORDER BY id DESC LIMIT ?4"))
        .bind(int(now.unix_millis()))
        .bind(filter.status.map(ApprovalStatus::as_str))
        .bind(filter.run.map(|run| run.to_string()))
        .bind(limit(filter.limit))
        .fetch_all(&mut *connection)
        .await
        .doing("listing approvals")?;
    rows.iter().map(row).collect()
}
