//! Writes what a batch decided, in as few statements as may be: each statement costs a passage to the database's thread and back.
//!
//! INVARIANT: runs inside the writer's transaction only. Does not decide.

use serde_json::json;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, SqliteConnection};

use crate::domain::OwnerId;

use super::apply::{ApprovalWrite, Row, Writes};
use super::approvals;
use super::fault::int;

/// Rows of one insert. Few sizes, so that every statement stays prepared.
const SIZES: [usize; 3] = [32, 8, 1];
const COLUMNS: usize = 9;

/// Writes everything.
pub(super) async fn flush(connection: &mut SqliteConnection, writes: &Writes, owner: OwnerId) -> Result<(), sqlx::Error> {
    runs(connection, writes).await?;
    journal(connection, &writes.rows).await?;
    for write in &writes.approvals {
        approval(connection, write).await?;
    }
    open_calls(connection, writes, owner).await?;
    for (run, artifact, at) in &writes.artifacts {
        sqlx::query("INSERT OR IGNORE INTO run_artifacts (run_id, artifact, size, media_type, linked) VALUES (?1, ?2, ?3, ?4, ?5)")
            .bind(run.to_string())
            .bind(artifact.artifact.to_string())
            .bind(int(artifact.size))
            .bind(&artifact.media_type)
            .bind(int(at.unix_millis()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn runs(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), sqlx::Error> {
    if writes.runs.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = writes
        .runs
        .values()
        .map(|run| {
            let (created, updated) = (run.created.unix_millis(), run.updated.unix_millis());
            json!([run.id, run.kind, run.workflow, run.principal, run.status, created, updated, run.last_seq])
        })
        .collect();
    let sql = "INSERT INTO runs (id, kind, workflow, principal, status, created, updated, last_seq) \
               SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7 \
               FROM json_each(?1) WHERE true \
               ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated = excluded.updated, last_seq = excluded.last_seq";
    sqlx::query(sql).bind(json!(rows).to_string()).execute(connection).await.map(drop)
}

async fn journal(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), sqlx::Error> {
    let mut rest = rows;
    for size in SIZES {
        while let Some((chunk, later)) = rest.split_at_checked(size) {
            rest = later;
            let mut arguments = SqliteArguments::default();
            arguments.reserve(size * COLUMNS, 0);
            for row in chunk {
                add(&mut arguments, row).map_err(sqlx::Error::Encode)?;
            }
            sqlx::query_with(insert(size), arguments).execute(&mut *connection).await?;
        }
    }
    Ok(())
}

fn add(arguments: &mut SqliteArguments, row: &Row) -> Result<(), sqlx::error::BoxDynError> {
    arguments.add(int(row.place.index))?;
    arguments.add(row.place.run.to_string())?;
    arguments.add(int(row.place.seq))?;
    arguments.add(row.kind.as_str())?;
    arguments.add(row.step.as_ref().map(|step| step.as_str().to_owned()))?;
    arguments.add(row.call.map(|call| call.to_string()))?;
    arguments.add(row.sealed.record.as_bytes())?;
    arguments.add(row.sealed.hash.as_bytes().as_slice())?;
    arguments.add(row.sealed.values.as_deref())
}

/// The insert of so many rows; one of [`SIZES`].
fn insert(size: usize) -> sqlx::SqlStr {
    use std::sync::LazyLock;
    static STATEMENTS: LazyLock<[(usize, std::sync::Arc<str>); SIZES.len()]> = LazyLock::new(|| SIZES.map(|size| (size, statement(size))));
    let text = STATEMENTS.iter().find(|(known, _)| *known == size).map_or_else(|| statement(size), |(_, text)| std::sync::Arc::clone(text));
    sqlx::SqlSafeStr::into_sql_str(sqlx::AssertSqlSafe(text))
}

fn statement(size: usize) -> std::sync::Arc<str> {
    let row = format!("({})", vec!["?"; COLUMNS].join(", "));
    format!("INSERT INTO journal (idx, run_id, seq, kind, step_id, call_id, record, hash, sealed) VALUES {}", vec![row; size].join(", ")).into()
}

async fn approval(connection: &mut SqliteConnection, write: &ApprovalWrite) -> Result<(), sqlx::Error> {
    match write {
        ApprovalWrite::Ask { approval, run, principal, at } => {
            let sql = "INSERT INTO approvals (id, run_id, step_id, digest, tool, principal, shown, reason, status, created, expires) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'pending', ?9, ?10)";
            sqlx::query(sql)
                .bind(approval.id.to_string())
                .bind(run.to_string())
                .bind(approval.step.as_ref().map(|step| step.as_str().to_owned()))
                .bind(approval.digest.to_string())
                .bind(approval.tool.as_str())
                .bind(principal.as_str())
                .bind(approval.shown.to_string())
                .bind(&approval.reason)
                .bind(int(at.unix_millis()))
                .bind(int(approval.expires.unix_millis()))
                .execute(connection)
                .await
                .map(drop)
        }
        ApprovalWrite::Move { id, status, answer } => {
            let sql = "UPDATE approvals SET status = ?2, answer = coalesce(?3, answer) WHERE id = ?1";
            let query = sqlx::query(sql).bind(id.to_string()).bind(approvals::word(*status)).bind(answer.as_deref());
            query.execute(connection).await.map(drop)
        }
    }
}

async fn open_calls(connection: &mut SqliteConnection, writes: &Writes, owner: OwnerId) -> Result<(), sqlx::Error> {
    if !writes.opened.is_empty() {
        let rows: Vec<_> =
            writes.opened.iter().map(|opening| json!([opening.call, opening.run, opening.step, u8::from(opening.idempotent)])).collect();
        let sql = "INSERT INTO open_calls (call_id, run_id, step_id, owner, idempotent) \
                   SELECT value ->> 0, value ->> 1, value ->> 2, ?2, value ->> 3 FROM json_each(?1)";
        sqlx::query(sql).bind(json!(rows).to_string()).bind(owner.to_string()).execute(&mut *connection).await?;
    }
    if !writes.closed.is_empty() {
        let sql = "DELETE FROM open_calls WHERE call_id IN (SELECT value FROM json_each(?1))";
        sqlx::query(sql).bind(json!(writes.closed).to_string()).execute(&mut *connection).await?;
    }
    Ok(())
}
