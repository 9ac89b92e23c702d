//! Looks, before anything is written, whether the database is the one whose checkpoints were signed.
//!
//! INVARIANT: costs O(log n) reads. The newest checkpoint of the database, of the file beside it and of the witness must each be signed
//! by a key of the home and hold of the stored tree: its root, the hash of its last record, and that record's own bytes. A record that
//! was changed deeper inside is left to `verify`.

use sqlx::{Row as _, SqliteConnection};
use toolgate_evidence::tree::leaf;

use crate::audit;
use crate::domain::{Digest, Fault, Role};

use super::super::fault::{Doing as _, int, uint};
use super::super::tree;
use super::key::{self, KnownKey, SignedCheckpoint};

/// A place where a checkpoint was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Found {
    /// Where: `the database`, `the file …`.
    pub(in crate::store) place: &'static str,
    pub(in crate::store) note: String,
}

/// What does not hold, and the first record that it concerns as far as can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Broken {
    pub(in crate::store) index: u64,
    pub(in crate::store) why: String,
}

impl Broken {
    pub(in crate::store) fn at(index: u64, why: impl Into<String>) -> Self {
        Self { index, why: why.into() }
    }
}

/// How a checkpoint at the witness is told of.
pub(in crate::store) const WITNESS: &str = "the witness";
/// How the one in the file of the home is.
pub(in crate::store) const FILE: &str = "the file `audit/checkpoint`";
/// How those in the database are.
pub(in crate::store) const DATABASE: &str = "the database";

/// How many records there are.
pub(in crate::store) async fn length(connection: &mut SqliteConnection) -> Result<u64, Fault> {
    let last: Option<i64> =
        sqlx::query_scalar("SELECT max(idx) FROM journal").fetch_one(connection).await.doing("reading the journal's end")?;
    Ok(last.map_or(0, |last| uint(last) + 1))
}

/// Compares what was found with the stored tree and looks at the line of keys; gives back the largest checkpoint that holds.
pub(in crate::store) async fn check(
    connection: &mut SqliteConnection,
    found: &[Found],
    keys: &[KnownKey],
) -> Result<Result<Option<SignedCheckpoint>, Broken>, Fault> {
    let proven = match compare(connection, found, keys).await? {
        Ok(proven) => proven,
        Err(broken) => return Ok(Err(broken)),
    };
    Ok(line(connection, keys).await?.map(|()| proven))
}

/// Compares what was found with the stored tree alone.
pub(in crate::store) async fn compare(
    connection: &mut SqliteConnection,
    found: &[Found],
    keys: &[KnownKey],
) -> Result<Result<Option<SignedCheckpoint>, Broken>, Fault> {
    let length = length(connection).await?;
    let mut proven: Option<SignedCheckpoint> = None;
    for one in found {
        let signed = match key::open(&one.note, keys) {
            Ok(signed) => signed,
            Err(why) => {
                return Ok(Err(Broken::at(proven.map_or(0, |proven| proven.size), format!("the checkpoint of {}: {why}", one.place))));
            }
        };
        if let Err(broken) = holds(connection, &signed, one.place, length).await? {
            return Ok(Err(broken));
        }
        if let Err(broken) = vouched(&signed, one.place, keys) {
            return Ok(Err(broken));
        }
        if proven.as_ref().is_none_or(|proven| proven.size < signed.size) {
            proven = Some(signed);
        }
    }
    Ok(Ok(proven))
}

/// A key that came by the operator's word was made known to the witness with that word; one that was not is somebody else's.
pub(in crate::store) fn vouched(signed: &SignedCheckpoint, place: &str, keys: &[KnownKey]) -> Result<(), Broken> {
    let mut later = keys.iter().skip_while(|key| key.public.id() != signed.key).skip(1);
    match later.find(|key| key.why == "accepted").filter(|_| place == WITNESS) {
        Some(key) => {
            Err(Broken::at(key.since.saturating_sub(1), format!("the witness does not know of the audit key {}", key.public.id())))
        }
        None => Ok(()),
    }
}

async fn holds(
    connection: &mut SqliteConnection,
    signed: &SignedCheckpoint,
    place: &str,
    length: u64,
) -> Result<Result<(), Broken>, Fault> {
    let size = signed.size;
    if length < size {
        let why = format!("the record is missing: the checkpoint of {place} covers {size} records, and the journal has {length}");
        return Ok(Err(Broken::at(length, why)));
    }
    let Some(last) = size.checked_sub(1) else { return Ok(Ok(())) };
    if length == size {
        // Each checkpoint is followed by its own event, in the same commit.
        return Ok(Err(Broken::at(size, format!("the record is missing: it tells of the checkpoint of {place}"))));
    }
    let other = |what: &str| Ok(Err(Broken::at(last, format!("{what} is not the one that was signed in the checkpoint of {place}"))));
    let root = match tree::frontier(connection, size).await {
        Ok(frontier) => frontier.root(),
        Err(fault) if fault.code == crate::domain::ErrorCode::AuditBroken => return other("the tree"),
        Err(fault) => return Err(fault),
    };
    let row = sqlx::query("SELECT record, hash, tree FROM journal WHERE idx = ?1").bind(int(last)).fetch_optional(connection).await;
    let Some(row) = row.doing("reading a record")? else { return other("the last record") };
    let bytes = |column: usize| row.try_get::<Vec<u8>, _>(column).unwrap_or_default();
    let (record, hash, stored) = (bytes(0), bytes(1), bytes(2));
    let head = audit::record::hash(&record);
    if Some(head) != signed.head || head.as_bytes().as_slice() != hash || !stored.starts_with(&leaf(&record)) {
        return other("the record");
    }
    if Digest::from_bytes(root) != signed.root {
        return other("the tree up to the record");
    }
    Ok(Ok(()))
}

/// Whether each key came after the one before it as it should: by a rotation that the old key signed for, or by the operator's word.
pub(in crate::store) async fn line(connection: &mut SqliteConnection, keys: &[KnownKey]) -> Result<Result<(), Broken>, Fault> {
    // The operator's word stands for what was before it.
    let from = keys.iter().rposition(|key| key.why == "accepted").unwrap_or(0);
    let counted = keys.iter().skip(from.saturating_sub(1));
    for (before, key) in counted.clone().zip(counted.skip(1)) {
        let at = key.since.saturating_sub(1);
        let (id, old) = (key.public.id(), before.public.id());
        // An acceptance has the name of what was done (a restored backup, say), and always says what no longer holds.
        let says = match key.why.as_str() {
            "rotated" => "old_key",
            "accepted" => "given_up",
            other => return Ok(Err(Broken::at(at, format!("the audit key {id} is said to be `{}`", other.escape_debug())))),
        };
        if !told(connection, at, says, &key.public.to_string()).await? {
            return Ok(Err(Broken::at(at, format!("the audit key {id} came after {old}, and this record does not tell of it"))));
        }
        if key.why == "rotated" {
            let notes = sqlx::query_scalar::<_, String>("SELECT note FROM checkpoints WHERE size = ?1 AND key = ?2");
            let note = notes.bind(int(key.since)).bind(&old).fetch_optional(&mut *connection).await.doing("reading a checkpoint")?;
            let signed =
                note.is_some_and(|note| key::open(&note, std::slice::from_ref(before)).is_ok_and(|signed| signed.size == key.since));
            if !signed {
                return Ok(Err(Broken::at(at, format!("the audit key {old} did not sign for its successor {id}"))));
            }
        }
    }
    match keys.first() {
        Some(first) if first.since != 0 || first.why != "first" => {
            Ok(Err(Broken::at(0, format!("the first audit key, {}, is not there from the beginning", first.public.id()))))
        }
        _ => Ok(Ok(())),
    }
}

/// Whether the record at `index` is an operator's event with a field `says` that names the key `verifier` as the new one.
async fn told(connection: &mut SqliteConnection, index: u64, says: &str, verifier: &str) -> Result<bool, Fault> {
    let record: Option<Vec<u8>> = sqlx::query_scalar("SELECT record FROM journal WHERE idx = ?1")
        .bind(int(index))
        .fetch_optional(connection)
        .await
        .doing("reading a record")?;
    let Some(opened) = record.and_then(|record| audit::record::open(&record, None).ok()) else { return Ok(false) };
    let names = opened.payload.get("new_key").and_then(serde_json::Value::as_str) == Some(verifier);
    Ok(names && opened.payload.contains_key(says) && opened.actor.role == Role::Operator)
}
