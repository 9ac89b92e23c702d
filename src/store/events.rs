//! Reads the journal.
//!
//! INVARIANT: a run's events come without gaps or not at all. Reads only, and does not verify the chain: see `verify`.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::audit;
use crate::domain::{CallId, Digest, Fault, RunId};
use crate::run::{Event, EventDraft, EventKind, Mark};

use super::apply::{Ready, Row};
use super::fault::{Doing as _, int, uint};
use super::open::Reading;
use super::runs::{limit, word};
use super::state::broken;
use super::{RecordColumns, StoredRecord};

/// Brings a draft into the form that the writer only has to give its place.
pub(super) fn prepare(draft: EventDraft) -> Result<Ready, Fault> {
    let EventDraft { kind, step, call, actor, payload, sealed } = draft;
    let mark = Mark::of(kind, &payload);
    let draft = audit::Draft { kind: kind.as_str().to_owned(), step: step.clone(), call, actor: actor.clone(), payload, sealed };
    Ok(Ready { kind, step, call, mark, actor, prepared: audit::record::prepare(draft)? })
}

/// An event as the log gives it back, from what was just written.
pub(super) fn written(row: &Row) -> Result<Event, Fault> {
    event(row.place.index, row.sealed.record.as_bytes(), row.sealed.hash.as_bytes(), row.sealed.values.as_deref())
}

fn event(index: u64, record: &[u8], hash: &[u8], sealed: Option<&str>) -> Result<Event, Fault> {
    let changed = |why: String| broken(&format!("record {index} of the journal cannot be read: {why}"));
    let opened = audit::record::open(record, sealed).map_err(|error| changed(error.to_string()))?;
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| changed("its hash has not 32 bytes".into()))?;
    Ok(Event {
        v: opened.v,
        index: opened.place.index,
        run_id: opened.place.run,
        seq: opened.place.seq,
        ts: opened.place.ts,
        kind: word(&opened.kind, "an event of a kind")?,
        step_id: opened.step,
        call_id: opened.call,
        actor: opened.actor,
        payload: opened.payload,
        prev_hash: opened.place.prev,
        hash: Digest::from_bytes(hash),
    })
}

/// Of `SELECT idx, record, hash, sealed`.
fn event_of(row: &SqliteRow) -> Result<Event, Fault> {
    let index = uint(row.try_get(0).doing("reading an event")?);
    let record: &[u8] = row.try_get(1).doing("reading an event")?;
    let hash: &[u8] = row.try_get(2).doing("reading an event")?;
    let sealed: Option<&str> = row.try_get(3).map_err(|_| broken(&format!("record {index} of the journal cannot be read")))?;
    event(index, record, hash, sealed)
}

pub(super) async fn of_run(mut connection: Reading, run: &RunId, after: u64, most: u32) -> Result<Vec<Event>, Fault> {
    of_run_by(&mut connection, run, after, most).await
}

/// The same by a connection that may be inside a transaction.
pub(super) async fn of_run_by(connection: &mut SqliteConnection, run: &RunId, after: u64, most: u32) -> Result<Vec<Event>, Fault> {
    let rows = sqlx::query("SELECT idx, record, hash, sealed FROM journal WHERE run_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")
        .bind(run.to_string())
        .bind(int(after))
        .bind(limit(most))
        .fetch_all(connection)
        .await
        .doing("reading events")?;
    let mut events = Vec::with_capacity(rows.len());
    for (row, seq) in rows.iter().zip(after + 1..) {
        let event = event_of(row)?;
        if event.seq != seq || event.run_id != *run {
            return Err(broken(&format!("event {seq} of run `{run}` is missing or stands elsewhere")));
        }
        events.push(event);
    }
    Ok(events)
}

/// The intent of a call and, once there is one, its outcome.
pub(super) async fn of_call(mut connection: Reading, call: &CallId) -> Result<Option<(Event, Option<Event>)>, Fault> {
    let sql = "SELECT idx, record, hash, sealed, kind FROM journal \
               WHERE call_id = ?1 AND kind IN ('tool_call', 'tool_result', 'tool_error') ORDER BY idx";
    let rows = sqlx::query(sql).bind(call.to_string()).fetch_all(&mut *connection).await.doing("reading a call's events")?;
    let (mut intent, mut outcome) = (None, None);
    for row in &rows {
        let event = event_of(row)?;
        let found = if event.kind == EventKind::ToolCall { &mut intent } else { &mut outcome };
        found.get_or_insert(event);
    }
    Ok(intent.map(|intent| (intent, outcome)))
}

/// Events that name a call, at most a thousand: a call has few.
pub(super) async fn naming_call(mut connection: Reading, call: &CallId) -> Result<Vec<Event>, Fault> {
    let sql = "SELECT idx, record, hash, sealed FROM journal WHERE call_id = ?1 ORDER BY idx LIMIT 1000";
    let rows = sqlx::query(sql).bind(call.to_string()).fetch_all(&mut *connection).await.doing("reading a call's events")?;
    rows.iter().map(event_of).collect()
}

/// Place and hash of the last record.
pub(super) async fn head(connection: &mut sqlx::SqliteConnection) -> Result<Option<(u64, Digest)>, Fault> {
    let row = sqlx::query("SELECT idx, hash FROM journal ORDER BY idx DESC LIMIT 1")
        .fetch_optional(connection)
        .await
        .doing("reading the end of the journal")?;
    let Some(row) = row else { return Ok(None) };
    let index = uint(row.try_get(0).doing("reading the end of the journal")?);
    let hash: &[u8] = row.try_get(1).doing("reading the end of the journal")?;
    let hash = <[u8; 32]>::try_from(hash).map_err(|_| broken(&format!("record {index} of the journal has no hash")))?;
    Ok(Some((index, Digest::from_bytes(hash))))
}

/// Rows as they lie there.
pub(super) async fn records(mut connection: Reading, from: u64, most: u32) -> Result<Vec<StoredRecord>, Fault> {
    let rows = sqlx::query(
        "SELECT idx, run_id, seq, kind, step_id, call_id, record, hash, sealed FROM journal WHERE idx >= ?1 ORDER BY idx LIMIT ?2",
    )
    .bind(int(from))
    .bind(limit(most))
    .fetch_all(&mut *connection)
    .await
    .doing("reading the journal")?;
    rows.iter()
        .map(|row| {
            let index = row.try_get(0).map(uint).doing("reading the journal")?;
            stored(index, row).map_err(|why| broken(&format!("record {index} of the journal cannot be read: {why}")))
        })
        .collect()
}

/// Of `SELECT idx, run_id, seq, kind, step_id, call_id, record, hash, sealed`; the error says which column does not read.
pub(super) fn stored(index: u64, row: &SqliteRow) -> Result<StoredRecord, String> {
    let text = |column: &'static str| row.try_get::<String, _>(column).map_err(|_| format!("column `{column}`"));
    let perhaps = |column: &'static str| row.try_get::<Option<String>, _>(column).map_err(|_| format!("column `{column}`"));
    let bytes = |column: &'static str| row.try_get::<Vec<u8>, _>(column).map_err(|_| format!("column `{column}`"));
    let seq: i64 = row.try_get("seq").map_err(|_| "column `seq`".to_owned())?;
    let columns = RecordColumns {
        run_id: text("run_id")?,
        seq: u64::try_from(seq).map_err(|_| "column `seq`".to_owned())?,
        kind: text("kind")?,
        step_id: perhaps("step_id")?,
        call_id: perhaps("call_id")?,
    };
    Ok(StoredRecord { index, columns, record: bytes("record")?, hash: bytes("hash")?, sealed: perhaps("sealed")? })
}
