//! What the verb `audit` needs: the log, without the rest of the house, so that a log that does not hold can be looked at.
//!
//! INVARIANT: what changes the log takes an [`OperatorProof`].

use async_trait::async_trait;
use serde::Serialize;

use crate::domain::{Digest, Fault, RunId};
use crate::secrets::operator::OperatorProof;
use crate::store::{InclusionProof, SignedCheckpoint, StoredRecord};

/// How the log is opened.
pub enum AuditAccess {
    /// As it is, to look at it.
    Look,
    /// As it is; the operator accepts it for this reason, and it is signed so.
    Accept(String, OperatorProof),
    /// As it was signed; the key that signs is exchanged for a new one.
    Rotate(OperatorProof),
}

/// The log of a home.
#[async_trait]
pub trait AuditRoom: Send + Sync {
    /// Reads the whole log again, and every checkpoint.
    async fn verify(&self) -> Result<AuditReport, Fault>;

    /// The newest record; `None` in an empty log.
    async fn head(&self) -> Result<Option<AuditHead>, Fault>;

    /// The newest checkpoint; `None` where there is none yet.
    async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Fault>;

    /// Where a run's event stands in the log: `UNKNOWN_RUN`, `NOT_FOUND`.
    async fn place(&self, run: &RunId, seq: u64) -> Result<u64, Fault>;

    /// What proves a record: `NOT_FOUND` where there is none or no checkpoint covers it yet.
    async fn proof(&self, index: u64) -> Result<InclusionProof, Fault>;

    /// Records as they are stored, from a place on, at most so many.
    async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, Fault>;

    /// Gives everything back.
    async fn close(&self);
}

/// A log that was read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// How many records were sound.
    pub records: u64,
    /// The newest sound one.
    pub head: Option<AuditHead>,
    /// How many checkpoints were read.
    pub checkpoints: u64,
    /// The largest one that holds.
    pub proven: Option<SignedCheckpoint>,
    /// The first record that does not hold.
    pub broken: Option<BrokenRecord>,
}

/// A place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditHead {
    /// Place, from 0.
    pub index: u64,
    /// Hash of the record.
    pub hash: Digest,
}

/// A record that does not verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenRecord {
    /// Place, from 0.
    pub index: u64,
    /// The run it claims to belong to.
    pub run: Option<RunId>,
    /// What is wrong.
    pub why: String,
}
