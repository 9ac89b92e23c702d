//! Where sealed records lie: rows beside the journal, each changed in the same transaction as the event that tells of it.
//!
//! INVARIANT: a write names the log's length it was decided on; where the log went on meanwhile, nothing is written.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{Fault, KeyRow, SecretId, SecretRow, Timestamp, VaultWrite};

use super::terms::SecretName;

/// What an event tells of the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
#[expect(missing_docs, reason = "the fields are a secret's id, name and version and a key's id, in each of them")]
pub enum Told {
    /// A value was set.
    #[serde(rename = "vault_secret_set")]
    Set { secret: SecretId, name: SecretName, version: u64, key: String },
    /// The same value was sealed under another key.
    #[serde(rename = "vault_secret_rewrapped")]
    Rewrapped { secret: SecretId, name: SecretName, version: u64, key: String },
    /// A secret was taken away.
    #[serde(rename = "vault_secret_removed")]
    Removed { secret: SecretId, name: SecretName, version: u64 },
    /// A key seals from now on.
    #[serde(rename = "vault_key_added")]
    KeyAdded { key: String },
    /// No secret needs this key any more.
    #[serde(rename = "vault_key_retired")]
    KeyRetired { key: String },
    /// Values left the vault, sealed for somebody.
    #[serde(rename = "vault_exported")]
    Exported { secrets: Vec<SecretName>, sealed_for: String },
}

/// Everything there is, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// How long the vault's log is.
    pub last: u64,
    /// The sealed secrets.
    pub secrets: Vec<SecretRow>,
    /// The keys.
    pub keys: Vec<KeyRow>,
    /// When the newest key was made.
    pub keyed: Option<Timestamp>,
    /// The log.
    pub told: Vec<Told>,
}

/// The shelf.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// Everything there is.
    ///
    /// # Errors
    /// Where it cannot be read.
    async fn load(&self) -> Result<Kept, Fault>;

    /// How long the vault's log is: whatever changes, changes this.
    ///
    /// # Errors
    /// Where it cannot be read.
    async fn last(&self) -> Result<u64, Fault>;

    /// Changes rows and tells of it, all or nothing. `true` once it is durable, `false` where the log is longer than `after` and nothing
    /// was written.
    ///
    /// # Errors
    /// Where it cannot be written.
    async fn keep(&self, after: u64, writes: Vec<VaultWrite>, told: Vec<Told>) -> Result<bool, Fault>;
}
