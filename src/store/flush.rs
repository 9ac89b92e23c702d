//! Writes what a batch decided, in as few statements as may be: each statement costs a passage to the database's thread and back.
//!
//! INVARIANT: runs inside the writer's transaction only. Does not decide.

use std::sync::{Arc, LazyLock};

use futures_util::TryStreamExt as _;
use serde_json::json;
use sqlx::error::BoxDynError;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Either, Executor as _, SqlSafeStr as _, SqlStr, SqliteConnection};

use crate::domain::{Digest, OwnerId, RunId};

use super::apply::{ApprovalWrite, ArtifactLink, Remembered, Row, Writes};
use super::fault::int;
use super::{Taken, outbox, questions, vault};

/// Rows of one insert: the least that will do is taken, and what is left over is NULL and not inserted. Few sizes, so that every
/// statement stays prepared.
const SIZES: [usize; 4] = [1, 8, 64, MOST];
const MOST: usize = 256;
const COLUMNS: usize = 10;

/// Where writing failed.
pub(super) enum Failed {
    /// Before the commit: nothing is on disk.
    Writing(sqlx::Error),
    /// In the commit itself.
    Committing(sqlx::Error),
}

/// Writes everything and commits.
pub(super) async fn flush(connection: &mut SqliteConnection, writes: &Writes, owner: OwnerId) -> Result<(), Failed> {
    let mut rows = writes.rows.as_slice();
    while let Some((chunk, later)) = rows.split_at_checked(MOST) {
        rows = later;
        run(connection, (Ends::Open, MOST), arguments(&Writes::default(), chunk, owner)).await?;
    }
    let size = SIZES.into_iter().find(|size| *size >= rows.len()).unwrap_or(MOST);
    if !writes.holds_rare() {
        return run(connection, (Ends::Committed, size), arguments(writes, rows, owner)).await;
    }
    run(connection, (Ends::Open, size), arguments(writes, rows, owner)).await?;
    rare(connection, writes).await.map_err(Failed::Writing)?;
    sqlx::query("COMMIT").execute(connection).await.map(drop).map_err(Failed::Committing)
}

/// Writes records, runs and budgets in a transaction of their own, provided that nobody else changed the database since it had this version.
/// Everything travels at once; where the database was changed nothing is written, and the transaction is to be rolled back.
pub(super) async fn at_once(connection: &mut SqliteConnection, writes: &Writes, version: i64) -> Result<(), Failed> {
    let size = SIZES.into_iter().find(|size| *size >= writes.rows.len()).unwrap_or(MOST);
    run(connection, (Ends::AtOnce, size), unchanged(writes, version)).await
}

/// Whether [`at_once`] writes all of these.
pub(super) fn fits_at_once(writes: &Writes) -> bool {
    (1..=MOST).contains(&writes.rows.len()) && writes.opened.is_empty() && writes.closed.is_empty() && !writes.holds_rare()
}

/// How a text of statements leaves the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Open,
    Committed,
    /// It began it as well.
    AtOnce,
}

/// Which of the few texts: how it ends, and for how many rows.
type Which = (Ends, usize);

/// The statements of [`statement`] that come before the commit.
const BEFORE_COMMIT: usize = 6;

async fn run(connection: &mut SqliteConnection, which: Which, arguments: Result<SqliteArguments, BoxDynError>) -> Result<(), Failed> {
    let arguments = arguments.map_err(|error| Failed::Writing(sqlx::Error::Encode(error)))?;
    let mut steps = connection.fetch_many(sqlx::query_with(text(which), arguments));
    let mut done = 0;
    loop {
        match steps.try_next().await {
            Ok(Some(Either::Left(_))) => done += 1,
            Ok(Some(Either::Right(_))) => {}
            Ok(None) => return Ok(()),
            Err(error) if done >= BEFORE_COMMIT => return Err(Failed::Committing(error)),
            Err(error) => return Err(Failed::Writing(error)),
        }
    }
}

/// The arguments of [`statement`], in its order.
fn arguments(writes: &Writes, rows: &[Row], owner: OwnerId) -> Result<SqliteArguments, BoxDynError> {
    let opened: Vec<_> =
        writes.opened.iter().map(|opening| json!([opening.call, opening.run, opening.step, u8::from(opening.idempotent)])).collect();
    let mut arguments = SqliteArguments::default();
    arguments.reserve(6 + rows.len() * COLUMNS, 0);
    arguments.add(runs(writes)?)?;
    arguments.add(owner.to_string())?;
    arguments.add(serde_json::to_string(&opened)?)?;
    arguments.add(serde_json::to_string(&writes.closed)?)?;
    add(&mut arguments, writes, rows)?;
    Ok(arguments)
}

/// The arguments of the text for [`at_once`].
fn unchanged(writes: &Writes, version: i64) -> Result<SqliteArguments, BoxDynError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(4 + writes.rows.len() * COLUMNS, 0);
    arguments.add(version)?;
    arguments.add(runs(writes)?)?;
    add(&mut arguments, writes, &writes.rows)?;
    Ok(arguments)
}

fn runs(writes: &Writes) -> Result<String, serde_json::Error> {
    let runs = writes.runs.values().map(|run| {
        let (created, updated) = (run.created.unix_millis(), run.updated.unix_millis());
        let labels = (u8::from(run.labels.untrusted), u8::from(run.labels.private));
        json!([run.id, run.kind, run.workflow, run.principal, run.status, created, updated, run.last_seq, labels.0, labels.1])
    });
    serde_json::to_string(&runs.collect::<Vec<_>>())
}

/// Budgets and the journal's rows.
fn add(arguments: &mut SqliteArguments, writes: &Writes, rows: &[Row]) -> Result<(), BoxDynError> {
    let budgets: Vec<_> = writes
        .budgets
        .iter()
        .map(|(run, budget)| Ok(json!([run, serde_json::to_string(budget)?])))
        .collect::<Result<_, serde_json::Error>>()?;
    let days: Vec<_> = writes
        .days
        .iter()
        .map(|((principal, day), used)| Ok(json!([principal, day, serde_json::to_string(used)?])))
        .collect::<Result<_, serde_json::Error>>()?;
    arguments.add(serde_json::to_string(&budgets)?)?;
    arguments.add(serde_json::to_string(&days)?)?;
    for row in rows {
        arguments.add(int(row.place.index))?;
        arguments.add(row.place.run.to_string())?;
        arguments.add(int(row.place.seq))?;
        arguments.add(row.kind.as_str())?;
        arguments.add(row.step.as_ref().map(|step| step.as_str().to_owned()))?;
        arguments.add(row.call.map(|call| call.to_string()))?;
        arguments.add(row.sealed.record.as_bytes())?;
        arguments.add(row.sealed.hash.as_bytes().as_slice())?;
        arguments.add(row.sealed.values.as_deref())?;
        arguments.add(row.tree.as_slice())?;
    }
    Ok(())
}

/// Runs, calls and the journal's rows. They travel as one query, which SQLite's driver alone can do; the rows come last, as the
/// arguments that are missing at its end read NULL.
fn statement((ends, size): Which) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    let rows = vec![row; size].join(", ");
    // What is no JSON is an error, and ends the whole.
    let begin = "BEGIN IMMEDIATE; SELECT json(iif(data_version = ?, 'true', 'changed')) FROM pragma_data_version; ";
    let calls = "INSERT INTO open_calls (owner, call_id, run_id, step_id, idempotent) \
                 SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?); \
                 DELETE FROM open_calls WHERE call_id IN (SELECT value FROM json_each(?)); ";
    let (begin, calls) = if ends == Ends::AtOnce { (begin, "") } else { ("", calls) };
    let commit = if ends == Ends::Open { "" } else { "; COMMIT" };
    format!(
        "{begin}INSERT INTO runs (id, kind, workflow, principal, status, created, updated, last_seq, untrusted, private) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8, value ->> 9 \
         FROM json_each(?) WHERE true \
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated = excluded.updated, last_seq = excluded.last_seq, \
         untrusted = max(untrusted, excluded.untrusted), private = max(private, excluded.private); {calls}\
         INSERT INTO budgets (run_id, budget) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE true \
         ON CONFLICT (run_id) DO UPDATE SET budget = excluded.budget; \
         INSERT INTO budget_days (principal, day, used) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE true \
         ON CONFLICT (principal, day) DO UPDATE SET used = excluded.used; \
         INSERT INTO journal (idx, run_id, seq, kind, step_id, call_id, record, hash, sealed, tree) \
         SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL{commit}"
    )
}

/// The text of [`statement`], made once.
fn text(which: Which) -> SqlStr {
    static TEXTS: LazyLock<Vec<(Which, Arc<str>)>> = LazyLock::new(|| {
        let all = SIZES.into_iter().flat_map(|size| [(Ends::Open, size), (Ends::Committed, size), (Ends::AtOnce, size)]);
        all.map(|which| (which, statement(which).into())).collect()
    });
    let known = TEXTS.iter().find(|(known, _)| *known == which).map(|(_, text)| Arc::clone(text));
    AssertSqlSafe(known.unwrap_or_else(|| statement(which).into())).into_sql_str()
}

async fn rare(connection: &mut SqliteConnection, writes: &Writes) -> Result<(), sqlx::Error> {
    for write in &writes.approvals {
        approval(connection, write).await?;
    }
    for write in &writes.questions {
        questions::write::write(connection, write).await?;
    }
    for write in &writes.remembered {
        remember(connection, write).await?;
    }
    for (run, taken) in &writes.taken {
        take_away(connection, *run, taken).await?;
    }
    writes.sealing.write(connection).await?;
    for write in &writes.vault {
        vault::write(connection, write).await?;
    }
    for (run, at, write) in &writes.outbox {
        outbox::write(connection, (*run, *at), write).await?;
    }
    for ArtifactLink { run, artifact, owner, at } in &writes.artifacts {
        // What it stored stays its own, however often it is named.
        let sql = "INSERT INTO run_artifacts (run_id, artifact, size, media_type, linked, owner) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                   ON CONFLICT (run_id, artifact) DO UPDATE SET owner = coalesce(owner, excluded.owner)";
        sqlx::query(sql)
            .bind(run.to_string())
            .bind(artifact.artifact.to_string())
            .bind(int(artifact.size))
            .bind(&artifact.media_type)
            .bind(int(at.unix_millis()))
            .bind(owner.as_ref().map(|owner| owner.as_str().to_owned()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Takes something away; where it is not there as it was read, everything is taken back.
async fn take_away(connection: &mut SqliteConnection, run: RunId, taken: &Taken) -> Result<(), sqlx::Error> {
    let query = match taken {
        Taken::Values { index, old, new } => sqlx::query("UPDATE journal SET sealed = ?3 WHERE idx = ?1 AND sealed = ?2 AND run_id = ?4")
            .bind(int(*index))
            .bind(old.as_str())
            .bind(new.as_deref())
            .bind(run.to_string()),
        Taken::Question(id) => sqlx::query("UPDATE approvals SET shown = 'null', reason = '', answer = NULL WHERE id = ?1 AND run_id = ?2")
            .bind(id.to_string())
            .bind(run.to_string()),
        Taken::Link(artifact) => {
            sqlx::query("DELETE FROM run_artifacts WHERE artifact = ?1 AND run_id = ?2").bind(artifact.to_string()).bind(run.to_string())
        }
    };
    let changed = query.execute(connection).await?.rows_affected();
    if changed == 0 && matches!(taken, Taken::Values { .. }) { Err(sqlx::Error::RowNotFound) } else { Ok(()) }
}

async fn remember(connection: &mut SqliteConnection, write: &(Digest, Option<Remembered>)) -> Result<(), sqlx::Error> {
    let query = match write {
        (key, Some((call, run, at))) => sqlx::query("INSERT INTO remembered (key, call_id, run_id, at) VALUES (?1, ?2, ?3, ?4)")
            .bind(key.to_string())
            .bind(call.to_string())
            .bind(run.to_string())
            .bind(int(at.unix_millis())),
        (key, None) => sqlx::query("DELETE FROM remembered WHERE key = ?1").bind(key.to_string()),
    };
    query.execute(connection).await.map(drop)
}

async fn approval(connection: &mut SqliteConnection, write: &ApprovalWrite) -> Result<(), sqlx::Error> {
    match write {
        ApprovalWrite::Ask { approval, run, principal, at } => {
            let sql = "INSERT INTO approvals (id, run_id, step_id, digest, tool, principal, shown, reason, note, covers, status, created, \
                       expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'pending', ?11, ?12)";
            let covers = approval.covers.as_ref().map(serde_json::to_string).transpose();
            let covers = covers.map_err(|error| sqlx::Error::Encode(error.into()))?;
            sqlx::query(sql)
                .bind(approval.id.to_string())
                .bind(run.to_string())
                .bind(approval.step.as_ref().map(|step| step.as_str().to_owned()))
                .bind(approval.digest.to_string())
                .bind(approval.tool.as_str())
                .bind(principal.as_str())
                .bind(approval.shown.to_string())
                .bind(&approval.reason)
                .bind(approval.note.as_deref())
                .bind(covers)
                .bind(int(at.unix_millis()))
                .bind(int(approval.expires.unix_millis()))
                .execute(connection)
                .await
                .map(drop)
        }
        ApprovalWrite::Move { id, status, answer, channel } => {
            let sql = "UPDATE approvals SET status = ?2, answer = coalesce(?3, answer), channel = coalesce(?4, channel) WHERE id = ?1";
            let query = sqlx::query(sql)
                .bind(id.to_string())
                .bind(status.as_str())
                .bind(answer.as_deref())
                .bind(channel.map(super::Channel::as_str));
            query.execute(connection).await.map(drop)
        }
    }
}
