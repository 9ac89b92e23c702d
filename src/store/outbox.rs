//! The rows of messages that are to leave, beside the events that tell of them.
//!
//! INVARIANT: a row comes and goes in the transaction of its event. Knows neither channels nor texts, and sends nothing.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use crate::domain::{CallId, Fault, MessageId, RunId, Timestamp};

use super::fault::{Doing as _, int, uint, unreadable};
use super::open::Reading;

const WHAT: &str = "reading the outbox";

/// A message that waits to be sent, or to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Which.
    pub id: MessageId,
    /// The run that tells of it.
    pub run: RunId,
    /// The call that sent it.
    pub call: CallId,
    /// Its channel.
    pub channel: String,
    /// To whom, where the channel has recipients.
    pub recipients: Vec<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when it waits.
    pub queued: Timestamp,
    /// When it is to be tried next.
    pub due: Timestamp,
}

/// What becomes of a message's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxWrite {
    /// It is to leave, now.
    Put {
        /// Which.
        id: MessageId,
        /// The call that sends it.
        call: CallId,
        /// Its channel.
        channel: String,
        /// To whom.
        recipients: Vec<String>,
    },
    /// It was tried once more, and is to be tried again.
    Later {
        /// Which.
        id: MessageId,
        /// Not before this.
        due: Timestamp,
    },
    /// It was sent, or given up.
    End(MessageId),
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
    (run, at): (RunId, Timestamp),
    write: &OutboxWrite,
) -> Result<(), sqlx::Error> {
    let query = match write {
        OutboxWrite::Put { id, call, channel, recipients } => {
            let sql = "INSERT INTO outbox (id, run_id, call_id, channel, recipients, attempts, queued, due) \
                       VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)";
            let recipients = serde_json::to_string(recipients).map_err(|error| sqlx::Error::Encode(error.into()))?;
            sqlx::query(sql)
                .bind(id.to_string())
                .bind(run.to_string())
                .bind(call.to_string())
                .bind(channel.as_str())
                .bind(recipients)
                .bind(int(at.unix_millis()))
        }
        OutboxWrite::Later { id, due } => sqlx::query("UPDATE outbox SET attempts = attempts + 1, due = ?2 WHERE id = ?1")
            .bind(id.to_string())
            .bind(int(due.unix_millis())),
        OutboxWrite::End(id) => sqlx::query("DELETE FROM outbox WHERE id = ?1").bind(id.to_string()),
    };
    query.execute(connection).await.map(drop)
}

/// Those that are due, the longest waiting first.
pub(super) async fn due(mut connection: Reading, now: Timestamp, most: u32) -> Result<Vec<OutboxRow>, Fault> {
    let sql =
        "SELECT id, run_id, call_id, channel, recipients, attempts, queued, due FROM outbox WHERE due <= ?1 ORDER BY due, id LIMIT ?2";
    let rows = sqlx::query(sql).bind(int(now.unix_millis())).bind(i64::from(most)).fetch_all(&mut *connection).await.doing(WHAT)?;
    rows.iter().map(row).collect()
}

/// Of these, those that wait.
pub(super) async fn waiting(mut connection: Reading, ids: &[MessageId]) -> Result<Vec<MessageId>, Fault> {
    let wanted = serde_json::to_string(ids).map_err(|error| Fault::internal(format!("ids have no JSON form: {error}")))?;
    let sql = "SELECT id FROM outbox WHERE id IN (SELECT value FROM json_each(?1))";
    let rows = sqlx::query(sql).bind(wanted).fetch_all(&mut *connection).await.doing(WHAT)?;
    rows.iter().map(|row| id(row, 0)).collect()
}

/// How many wait.
pub(super) async fn depth(mut connection: Reading) -> Result<u64, Fault> {
    let row = sqlx::query("SELECT count(*) FROM outbox").fetch_one(&mut *connection).await.doing(WHAT)?;
    row.try_get(0).map(uint).doing(WHAT)
}

fn row(row: &SqliteRow) -> Result<OutboxRow, Fault> {
    let text = |column: usize| row.try_get::<String, _>(column).doing(WHAT);
    let time = |column: usize| row.try_get(column).map(|millis| Timestamp::from_unix_millis(uint(millis))).doing(WHAT);
    let attempts: i64 = row.try_get(5).doing(WHAT)?;
    Ok(OutboxRow {
        id: id(row, 0)?,
        run: id(row, 1)?,
        call: id(row, 2)?,
        channel: text(3)?,
        recipients: serde_json::from_str(&text(4)?).map_err(|_| unreadable("a message's recipients"))?,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        queued: time(6)?,
        due: time(7)?,
    })
}

fn id<T: std::str::FromStr>(row: &SqliteRow, column: usize) -> Result<T, Fault> {
    row.try_get::<String, _>(column).doing(WHAT)?.parse().map_err(|_| unreadable("a message with an id"))
}
