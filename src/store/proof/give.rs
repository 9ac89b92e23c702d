//! Proofs that a record stands in the tree whose root was signed.
//!
//! INVARIANT: a proof that is given out was verified first. Reads O(log n) stored hashes.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Row as _, SqliteConnection};
use toolgate_evidence::tree::{self as merkle, Subtree};

use crate::domain::{Digest, Fault};

use super::super::fault::{Doing as _, int};
use super::super::state::broken;
use super::super::tree;
use super::key::SignedCheckpoint;
use super::{key, rows};

/// Everything that is needed to check one record without the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InclusionProof {
    /// The record's place in the journal: its leaf's number.
    pub index: u64,
    /// The record: canonical JSON.
    pub record: String,
    /// SHA-256 of a zero byte and the record.
    pub leaf: Digest,
    /// The hashes beside the way from the leaf to the root, the lowest first.
    pub path: Vec<Digest>,
    /// The checkpoint that the path leads to.
    pub checkpoint: SignedCheckpoint,
    /// The key that signed it, in the form that verifiers of signed notes take.
    pub public_key: String,
}

/// Proves a record by the smallest checkpoint that covers it; `None` where none does yet.
pub(in crate::store) async fn prove(connection: &mut SqliteConnection, index: u64) -> Result<Option<InclusionProof>, Fault> {
    let Some(stored) = rows::covering(connection, index + 1).await? else { return Ok(None) };
    let keys = rows::keys(connection).await?;
    let checkpoint =
        key::open(&stored.note, &keys).map_err(|why| broken(&format!("the checkpoint over {} records: {why}", stored.size)))?;
    let row = sqlx::query("SELECT record FROM journal WHERE idx = ?1").bind(int(index)).fetch_optional(&mut *connection).await;
    let missing = || broken(&format!("record {index} of the journal is missing"));
    let record: Vec<u8> = row.doing("reading a record")?.ok_or_else(missing)?.try_get(0).map_err(|_| missing())?;
    let hashes: HashMap<Subtree, merkle::Hash> = tree::hashes(connection, &merkle::inclusion_needs(index, checkpoint.size)).await?;
    let path = merkle::inclusion(index, checkpoint.size, |subtree| hashes.get(&subtree).copied()).unwrap_or_default();
    let leaf = merkle::leaf(&record);
    merkle::verify_inclusion(index, checkpoint.size, &leaf, &path, checkpoint.root.as_bytes())
        .map_err(|why| broken(&format!("record {index} of the journal, or the tree above it, was changed: {why}")))?;
    let public_key =
        keys.iter().find(|known| known.public.id() == checkpoint.key).map(|known| known.public.to_string()).unwrap_or_default();
    Ok(Some(InclusionProof {
        index,
        record: String::from_utf8(record).map_err(|_| missing())?,
        leaf: Digest::from_bytes(leaf),
        path: path.into_iter().map(Digest::from_bytes).collect(),
        checkpoint,
        public_key,
    }))
}
