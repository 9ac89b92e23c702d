//! The vault's rows, sealed before they come here.
//!
//! INVARIANT: rows and the log that tells of them are read at one moment. Knows nothing of what is sealed.

use sqlx::{Connection as _, Row as _, SqliteConnection};

use crate::domain::{Fault, KeyRow, RunId, SecretRow, Timestamp, VaultWrite};
use crate::run::Event;

use super::events;
use super::fault::{Doing as _, int, uint, unreadable};
use super::open::Reading;

/// The vault at one moment: rows, keys, and the events of the run that tells of them.
#[derive(Debug, Clone, Default)]
pub struct VaultRows {
    /// The sealed secrets.
    pub secrets: Vec<SecretRow>,
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// The events.
    pub events: Vec<Event>,
}

pub(super) async fn all(mut connection: Reading, run: &RunId) -> Result<VaultRows, Fault> {
    const WHAT: &str = "reading the vault";
    let mut at_once = connection.begin().await.doing(WHAT)?;
    let secrets = sqlx::query("SELECT id, name, version, terms, blob, created, updated FROM vault_secrets ORDER BY id")
        .fetch_all(&mut *at_once)
        .await
        .doing(WHAT)?;
    let keys = sqlx::query("SELECT id, proof FROM vault_keys ORDER BY id").fetch_all(&mut *at_once).await.doing(WHAT)?;
    let events = events::of_run_by(&mut at_once, run, 0, 0).await?;
    at_once.commit().await.doing(WHAT)?;
    let secrets = secrets.iter().map(secret).collect::<Result<_, Fault>>()?;
    let keys = keys.iter().map(|row| Ok(KeyRow { id: row.try_get(0).doing(WHAT)?, proof: row.try_get(1).doing(WHAT)? }));
    Ok(VaultRows { secrets, keys: keys.collect::<Result<_, Fault>>()?, events })
}

fn secret(row: &sqlx::sqlite::SqliteRow) -> Result<SecretRow, Fault> {
    const WHAT: &str = "reading the vault";
    let time = |column: usize| row.try_get(column).map(|millis| Timestamp::from_unix_millis(uint(millis))).doing(WHAT);
    let id: String = row.try_get(0).doing(WHAT)?;
    Ok(SecretRow {
        id: id.parse().map_err(|_| unreadable("a secret's id"))?,
        name: row.try_get(1).doing(WHAT)?,
        version: uint(row.try_get(2).doing(WHAT)?),
        terms: row.try_get(3).doing(WHAT)?,
        blob: row.try_get(4).doing(WHAT)?,
        created: time(5)?,
        updated: time(6)?,
    })
}

pub(super) async fn write(connection: &mut SqliteConnection, write: &VaultWrite) -> Result<(), sqlx::Error> {
    let query = match write {
        VaultWrite::Put(secret) => {
            let sql = "INSERT INTO vault_secrets (id, name, version, terms, blob, created, updated) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                       ON CONFLICT (id) DO UPDATE SET version = excluded.version, terms = excluded.terms, blob = excluded.blob, \
                       updated = excluded.updated";
            sqlx::query(sql)
                .bind(secret.id.to_string())
                .bind(secret.name.as_str())
                .bind(int(secret.version))
                .bind(secret.terms.as_str())
                .bind(secret.blob.as_slice())
                .bind(int(secret.created.unix_millis()))
                .bind(int(secret.updated.unix_millis()))
        }
        VaultWrite::Remove(id) => sqlx::query("DELETE FROM vault_secrets WHERE id = ?1").bind(id.to_string()),
        VaultWrite::AddKey(key) => {
            sqlx::query("INSERT INTO vault_keys (id, proof) VALUES (?1, ?2)").bind(key.id.as_str()).bind(key.proof.as_slice())
        }
        VaultWrite::RemoveKey(id) => sqlx::query("DELETE FROM vault_keys WHERE id = ?1").bind(id.as_str()),
    };
    query.execute(connection).await.map(drop)
}
