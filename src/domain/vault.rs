//! The vault's rows: what lies in the store, and what the vault seals and opens.
//!
//! INVARIANT: no value stands here but sealed. Knows nothing of keys or of SQL.

use super::{SecretId, Timestamp};

/// A sealed secret as it lies there; no two have the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id, which it keeps through all its versions.
    pub id: SecretId,
    /// Its name.
    pub name: String,
    /// From 1, one more with each write.
    pub version: u64,
    /// Where it may be used, as JSON: the bytes that are sealed with it.
    pub terms: String,
    /// The sealed value.
    pub blob: Vec<u8>,
    /// When it was first set.
    pub created: Timestamp,
    /// When its value was last set.
    pub updated: Timestamp,
}

/// What is kept of a master key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id, in hexadecimal digits.
    pub id: String,
    /// By which it is known again: 32 bytes.
    pub proof: Vec<u8>,
}

/// A change of the vault's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VaultWrite {
    /// Puts a secret, in place of what it was.
    Put(SecretRow),
    /// Takes a secret away.
    Remove(SecretId),
    /// Makes a key known.
    AddKey(KeyRow),
    /// Forgets a key.
    RemoveKey(String),
}
