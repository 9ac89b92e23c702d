//! Writes what a batch decided about questions, grants and pauses.
//!
//! INVARIANT: runs inside the writer's transaction only. Does not decide.

use sqlx::SqliteConnection;

use crate::domain::{ApprovalId, GrantId, RunId, Timestamp};

use super::super::fault::int;
use super::{GrantStatus, NewGrant};

/// A change to be written.
#[derive(Clone)]
pub(in crate::store) enum QuestionWrite {
    AskAgain(ApprovalId),
    Told(ApprovalId),
    Pause { run: RunId, why: String, at: Timestamp },
    Release(RunId),
    Give { new: Box<NewGrant>, run: RunId, at: Timestamp },
    Use(GrantId),
    End { id: GrantId, status: GrantStatus },
}

pub(in crate::store) async fn write(connection: &mut SqliteConnection, write: &QuestionWrite) -> Result<(), sqlx::Error> {
    let query = match write {
        QuestionWrite::AskAgain(id) => sqlx::query("UPDATE approvals SET asked = asked + 1 WHERE id = ?1").bind(id.to_string()),
        QuestionWrite::Told(id) => sqlx::query("UPDATE approvals SET told = 1 WHERE id = ?1").bind(id.to_string()),
        QuestionWrite::Pause { run, why, at } => sqlx::query("INSERT INTO paused_runs (run_id, why, since) VALUES (?1, ?2, ?3)")
            .bind(run.to_string())
            .bind(why.clone())
            .bind(int(at.unix_millis())),
        QuestionWrite::Release(run) => sqlx::query("DELETE FROM paused_runs WHERE run_id = ?1").bind(run.to_string()),
        QuestionWrite::Give { new, run, at } => {
            let sql = "INSERT INTO standing_grants (id, approval, asked_in, principal, tool, grant_json, status, given, until) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'active', ?7, ?8)";
            let grant = &new.grant;
            let json = serde_json::to_string(grant).map_err(|error| sqlx::Error::Encode(error.into()))?;
            sqlx::query(sql)
                .bind(grant.id.to_string())
                .bind(new.approval.to_string())
                .bind(run.to_string())
                .bind(grant.covers.principal.as_str().to_owned())
                .bind(grant.covers.tool.as_str().to_owned())
                .bind(json)
                .bind(int(at.unix_millis()))
                .bind(int(grant.until.unix_millis()))
        }
        QuestionWrite::Use(id) => sqlx::query("UPDATE standing_grants SET uses = uses + 1 WHERE id = ?1").bind(id.to_string()),
        QuestionWrite::End { id, status } => {
            sqlx::query("UPDATE standing_grants SET status = ?2 WHERE id = ?1").bind(id.to_string()).bind(super::read::word(*status))
        }
    };
    query.execute(connection).await.map(drop)
}
