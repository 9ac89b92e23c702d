//! A record of the log as an auditor reads it: its fields, its hash in the chain, and what it commits to.
//!
//! INVARIANT: [`Record::read`] takes only what has one reading: canonical JSON with the members of a known version.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::unhex;
use crate::canonical;
use crate::tree::Hash;

/// Purpose of a record's hash; see `docs/evidence.md`.
const RECORD: &str = "toolgate/record/v1";
/// Purpose of a commitment's hash.
const COMMITMENT: &str = "toolgate/commitment/v1";
/// The version of the envelope that is known.
const VERSION: u32 = 1;

/// A record's fields.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the envelope.
    pub v: u32,
    /// Place in the log, from 0.
    pub index: u64,
    /// The run.
    pub run_id: String,
    /// Place in the run, from 1.
    pub seq: u64,
    /// When: RFC 3339 in UTC with three decimals.
    pub ts: String,
    /// What it tells.
    pub kind: String,
    /// The step it is about.
    pub step_id: Option<String>,
    /// The call it is about.
    pub call_id: Option<String>,
    /// Who did it.
    pub actor: Actor,
    /// The fields in the open.
    pub payload: Map<String, Value>,
    /// Commitments to the others, by name.
    #[serde(default)]
    pub sealed: BTreeMap<String, String>,
    /// Hash of the record before it.
    pub prev_hash: String,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Their name.
    pub principal: String,
    /// Their role.
    pub role: String,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        canonical::value(text).map_err(|error| format!("the record is {error}"))?;
        let record: Self = serde_json::from_str(text).map_err(|error| format!("the record is not as the format has it: {error}"))?;
        if record.v != VERSION {
            return Err(format!("the record has version {}, and {VERSION} is known", record.v));
        }
        if unhex(&record.prev_hash).is_none() || record.sealed.values().any(|hash| unhex(hash).is_none()) {
            return Err("a hash of the record is not one".to_owned());
        }
        Ok(record)
    }

    /// A field in the open that is a text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.payload.get(name).and_then(Value::as_str)
    }

    /// What a `system_event` tells.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        if self.kind == "system_event" { self.text("event") } else { None }
    }
}

fn of_parts(purpose: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in std::iter::once(purpose.as_bytes()).chain(parts.iter().copied()) {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A record's hash in the chain.
#[must_use]
pub fn record_hash(record: &[u8]) -> Hash {
    of_parts(RECORD, &[record])
}

/// What a record holds in place of a sealed value, whose text is canonical JSON.
#[must_use]
pub fn commitment(salt: &[u8; 32], value: &str) -> Hash {
    of_parts(COMMITMENT, &[salt, value.as_bytes()])
}
