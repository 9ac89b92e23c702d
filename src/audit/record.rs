//! Makes a record of an event, and reads one back.
//!
//! INVARIANT: the same event at the same place with the same salts gives the same bytes, in every release. The record is the RFC 8785
//! form of `{v, index, run_id, seq, ts, kind, step_id?, call_id?, actor, payload, sealed?, prev_hash}`; its hash covers all of it.
//! Does not choose a place: that is the writer's, inside its transaction.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toolgate_evidence::bundle;

use crate::domain::{Actor, CallId, Digest, ErrorCode, Fault, RunId, StepId, Timestamp};

use super::lossless;

/// Version of the envelope that this release writes.
pub const VERSION: u32 = 1;
/// Most bytes of one record or of its sealed values.
const MAX_BYTES: usize = 16 << 20;

/// An event that has no place yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// What it tells.
    pub kind: String,
    /// The step it is about.
    pub step: Option<StepId>,
    /// The call it is about.
    pub call: Option<CallId>,
    /// Who did it.
    pub actor: Actor,
    /// What is written into the record.
    pub payload: Map<String, Value>,
    /// What the record only commits to, by name.
    pub sealed: BTreeMap<String, Value>,
}

/// Where an event stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Place in the journal, from 0.
    pub index: u64,
    /// The run.
    pub run: RunId,
    /// Place in the run, from 1.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// Hash of the record at `index - 1`; [`Digest::ZERO`] for the first.
    pub prev: Digest,
}

/// A draft with all its parts in canonical form, salts drawn: what is left to do inside the writer's transaction is putting
/// together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    before_index: String,
    before_prev: String,
    before_seq: String,
    before_ts: String,
    /// The sealed values with their salts, to be stored beside the record.
    values: Option<String>,
}

/// A record with its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Canonical JSON.
    pub record: String,
    /// Its hash.
    pub hash: Digest,
    /// `{name: {"salt": "<64 hexadecimal digits>", "value": …}}` as canonical JSON, to be stored beside the record.
    pub values: Option<String>,
}

/// The hash of a record's bytes.
#[must_use]
pub fn hash(record: &[u8]) -> Digest {
    Digest::from_bytes(bundle::record_hash(record))
}

/// What a record holds in place of a sealed value, whose text is canonical JSON.
#[must_use]
pub fn commitment(salt: &[u8; 32], value: &str) -> Digest {
    Digest::from_bytes(bundle::commitment(salt, value))
}

/// Puts a draft into canonical form and draws the salts.
///
/// # Errors
/// `LIMIT_EXCEEDED` where it is larger than a record may be; a fault of ours where a name is both plain and sealed.
pub fn prepare(draft: Draft) -> Result<Prepared, Fault> {
    prepare_with(draft, |salt| rand::fill(salt))
}

fn prepare_with(draft: Draft, mut draw: impl FnMut(&mut [u8; 32])) -> Result<Prepared, Fault> {
    if let Some(name) = draft.sealed.keys().find(|name| draft.payload.contains_key(*name)) {
        return Err(Fault::internal(format!("field `{name}` of an event is both plain and sealed")));
    }
    let payload: Map<String, Value> = draft.payload.into_iter().map(|(name, value)| (name, lossless::wrap(value))).collect();
    let mut values = Vec::with_capacity(draft.sealed.len());
    let mut commitments = Vec::with_capacity(draft.sealed.len());
    for (name, value) in draft.sealed {
        let value = canonical(&lossless::wrap(value))?;
        let mut salt = [0_u8; 32];
        draw(&mut salt);
        commitments.push((name.clone(), format!("\"{}\"", commitment(&salt, &value))));
        values.push((name, format!("{{\"salt\":\"{}\",\"value\":{value}}}", Digest::from_bytes(salt))));
    }
    let has_sealed = !values.is_empty();
    let mut before_index = format!("{{\"actor\":{},", canonical(&draft.actor)?);
    if let Some(call) = draft.call {
        let _ = write!(before_index, "\"call_id\":\"{call}\",");
    }
    let before_prev = format!("\"kind\":{},\"payload\":{},", canonical(&draft.kind)?, canonical(&payload)?);
    let before_seq = if has_sealed { format!("\"sealed\":{},", object(commitments)?) } else { String::new() };
    let before_ts = draft.step.map_or_else(String::new, |step| format!("\"step_id\":\"{step}\","));
    let values = if has_sealed { Some(object(values)?) } else { None };
    if before_prev.len() + before_seq.len() > MAX_BYTES || values.as_ref().is_some_and(|values| values.len() > MAX_BYTES) {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("an event is larger than {MAX_BYTES} bytes"))
            .hint("keep large data as an artifact and refer to it"));
    }
    Ok(Prepared { before_index, before_prev, before_seq, before_ts, values })
}

impl Prepared {
    /// The record at this place. The members stand in the order that RFC 8785 asks for; a test compares with the canonicaliser.
    #[must_use]
    pub fn seal(&self, place: &Place) -> Sealed {
        let Self { before_index, before_prev, before_seq, before_ts, values } = self;
        let Place { index, run, seq, ts, prev } = place;
        let mut record = String::with_capacity(before_index.len() + before_prev.len() + before_seq.len() + before_ts.len() + 240);
        record.push_str(before_index);
        let _ = write!(record, "\"index\":{index},");
        record.push_str(before_prev);
        let _ = write!(record, "\"prev_hash\":\"{prev}\",\"run_id\":\"{run}\",");
        record.push_str(before_seq);
        let _ = write!(record, "\"seq\":{seq},");
        record.push_str(before_ts);
        let _ = write!(record, "\"ts\":\"{ts}\",\"v\":{VERSION}}}");
        let hash = hash(record.as_bytes());
        Sealed { record, hash, values: values.clone() }
    }
}

fn canonical<T: Serialize>(value: &T) -> Result<String, Fault> {
    serde_json_canonicalizer::to_string(value).map_err(|error| Fault::internal(format!("a value has no canonical form: {error}")))
}

/// An object of members whose values are canonical already.
fn object(mut members: Vec<(String, String)>) -> Result<String, Fault> {
    members.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
    let mut text = String::from("{");
    for (n, (name, value)) in members.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(text, "{comma}{}:{value}", canonical(name)?);
    }
    text.push('}');
    Ok(text)
}

/// A record as it is read back: everything but its hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Version of its envelope.
    pub v: u32,
    /// Its place.
    pub place: Place,
    /// What it tells.
    pub kind: String,
    /// The step it is about.
    pub step: Option<StepId>,
    /// The call it is about.
    pub call: Option<CallId>,
    /// Who did it.
    pub actor: Actor,
    /// Plain and sealed fields together; a sealed one whose value was taken away is `{"redacted": "<commitment>"}`.
    pub payload: Map<String, Value>,
}

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Its bytes are not a record's.
    #[error("not a record: {0}")]
    Record(serde_json::Error),
    /// The values beside it are not.
    #[error("not a record's sealed values: {0}")]
    Values(serde_json::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    v: u32,
    index: u64,
    run_id: RunId,
    seq: u64,
    ts: Timestamp,
    kind: String,
    step_id: Option<StepId>,
    call_id: Option<CallId>,
    actor: Actor,
    payload: Map<String, Value>,
    #[serde(default)]
    sealed: BTreeMap<String, Digest>,
    prev_hash: Digest,
}

#[derive(Deserialize)]
struct SealedValue {
    value: Value,
}

/// Reads a record and puts its sealed values back. Does not verify: that is [`super::check`]'s.
///
/// # Errors
/// Where the bytes are not a record's.
pub fn open(record: &[u8], values: Option<&str>) -> Result<Opened, RecordError> {
    let Envelope { v, index, run_id: run, seq, ts, kind, step_id: step, call_id: call, actor, payload, sealed, prev_hash: prev } =
        serde_json::from_slice(record).map_err(RecordError::Record)?;
    let mut values: BTreeMap<String, SealedValue> =
        values.map_or_else(|| Ok(BTreeMap::new()), |text| serde_json::from_str(text).map_err(RecordError::Values))?;
    let mut payload: Map<String, Value> = payload.into_iter().map(|(name, value)| (name, lossless::open(value))).collect();
    for (name, commitment) in sealed {
        let value = match values.remove(&name) {
            Some(sealed) => lossless::open(sealed.value),
            None => serde_json::json!({ "redacted": commitment }),
        };
        payload.insert(name, value);
    }
    Ok(Opened { v, place: Place { index, run, seq, ts, prev }, kind, step, call, actor, payload })
}

#[cfg(test)]
mod tests;
