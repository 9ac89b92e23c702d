//! Checkpoints, public keys and the house's own names in the database.
//!
//! INVARIANT: reads and writes rows, nothing else: what they are worth is decided by who verifies them.

use sqlx::{Row as _, SqliteConnection};

use crate::domain::{Fault, RunId};

use super::super::fault::{Doing as _, int, uint, unreadable};
use super::key::{KnownKey, SignedCheckpoint};

/// A checkpoint as it is stored, unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Stored {
    pub(in crate::store) size: u64,
    pub(in crate::store) note: String,
}

/// The public keys, the first one first.
pub(in crate::store) async fn keys(connection: &mut SqliteConnection) -> Result<Vec<KnownKey>, Fault> {
    let rows = sqlx::query("SELECT verifier, since, why FROM audit_keys ORDER BY number")
        .fetch_all(connection)
        .await
        .doing("reading the audit keys")?;
    let mut keys: Vec<KnownKey> = Vec::with_capacity(rows.len());
    for row in &rows {
        let verifier: &str = row.try_get(0).map_err(|_| unreadable("an audit key"))?;
        let since = uint(row.try_get(1).doing("reading the audit keys")?);
        let why = row.try_get(2).map_err(|_| unreadable("an audit key"))?;
        if let Some(before) = keys.last_mut() {
            before.until = Some(since);
        }
        keys.push(KnownKey { public: verifier.parse().map_err(|_| unreadable("an audit key"))?, since, until: None, why });
    }
    Ok(keys)
}

/// Adds a public key behind the others.
pub(in crate::store) async fn add_key(connection: &mut SqliteConnection, verifier: &str, since: u64, why: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO audit_keys (verifier, since, why) VALUES (?1, ?2, ?3)")
        .bind(verifier)
        .bind(int(since))
        .bind(why)
        .execute(connection)
        .await
        .map(drop)
}

/// The newest checkpoint; of two that were made with a rotation, the one of the key `current`.
pub(in crate::store) async fn newest(connection: &mut SqliteConnection, current: &str) -> Result<Option<Stored>, Fault> {
    let sql = "SELECT size, note FROM checkpoints WHERE size = (SELECT max(size) FROM checkpoints) ORDER BY key = ?1 DESC LIMIT 1";
    let row = sqlx::query(sql).bind(current).fetch_optional(connection).await.doing("reading the newest checkpoint")?;
    row.map(|row| Ok(Stored { size: uint(row.try_get(0).doing("reading a checkpoint")?), note: text(&row, 1)? })).transpose()
}

/// The smallest checkpoint over at least `size` records.
pub(in crate::store) async fn covering(connection: &mut SqliteConnection, size: u64) -> Result<Option<Stored>, Fault> {
    let row = sqlx::query("SELECT size, note FROM checkpoints WHERE size >= ?1 ORDER BY size LIMIT 1").bind(int(size));
    let row = row.fetch_optional(connection).await.doing("reading a checkpoint")?;
    row.map(|row| Ok(Stored { size: uint(row.try_get(0).doing("reading a checkpoint")?), note: text(&row, 1)? })).transpose()
}

/// Every checkpoint, the smallest first.
pub(in crate::store) async fn all(connection: &mut SqliteConnection) -> Result<Vec<Stored>, Fault> {
    let rows =
        sqlx::query("SELECT size, note FROM checkpoints ORDER BY size").fetch_all(connection).await.doing("reading the checkpoints")?;
    rows.iter().map(|row| Ok(Stored { size: uint(row.try_get(0).doing("reading a checkpoint")?), note: text(row, 1)? })).collect()
}

fn text(row: &sqlx::sqlite::SqliteRow, column: usize) -> Result<String, Fault> {
    row.try_get(column).map_err(|_| unreadable("a checkpoint"))
}

/// How many records the newest checkpoint covers.
pub(in crate::store) async fn covered(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let size: Option<i64> = sqlx::query_scalar("SELECT max(size) FROM checkpoints").fetch_one(connection).await?;
    Ok(size.map_or(0, uint))
}

/// Adds a checkpoint.
pub(in crate::store) async fn add(connection: &mut SqliteConnection, signed: &SignedCheckpoint) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO checkpoints (size, key, note) VALUES (?1, ?2, ?3)")
        .bind(int(signed.size))
        .bind(&signed.key)
        .bind(&signed.note)
        .execute(connection)
        .await
        .map(drop)
}

/// Takes away the checkpoints from `size` on: what the operator accepted does not bear them out.
pub(in crate::store) async fn give_up(connection: &mut SqliteConnection, size: u64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM checkpoints WHERE size >= ?1").bind(int(size)).execute(connection).await.map(drop)
}

/// A name of the house.
pub(in crate::store) async fn house(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, Fault> {
    sqlx::query_scalar("SELECT value FROM house WHERE name = ?1")
        .bind(name)
        .fetch_optional(connection)
        .await
        .doing("reading the house's names")
}

/// The run that the house's own events belong to.
pub(in crate::store) async fn house_run(connection: &mut SqliteConnection) -> Result<Option<RunId>, Fault> {
    house(connection, "run").await?.map(|id| id.parse().map_err(|_| unreadable("the house's run"))).transpose()
}

/// Gives a name that is not taken.
pub(in crate::store) async fn name(connection: &mut SqliteConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO house (name, value) VALUES (?1, ?2)").bind(name).bind(value).execute(connection).await.map(drop)
}
