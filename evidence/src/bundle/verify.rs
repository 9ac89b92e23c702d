//! Verifies a bundle from its bytes alone.
//!
//! INVARIANT: the first thing that is wrong ends it and is named. The order: document, keys and checkpoint, each record, the tree, the
//! newer checkpoint, and last what the bundle says about its records. Needs no clock, no files and no network.

use std::collections::BTreeMap;

use serde_json::Value;

use super::claims::{Claims, claims};
use super::format::{Bundle, Entry, FORMAT, Newest};
use super::record::{Record, commitment, record_hash};
use super::report::{Report, Trust};
use super::{MAX_BYTES, hex, unhex};
use crate::canonical;
use crate::checkpoint::{self, Checkpoint, CheckpointError, PublicKey};
use crate::tree::{self, Hash, Many};

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct Wrong {
    /// Where: `the document`, `event 4 (record 17)`, `the checkpoint`, …
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

fn wrong<T>(place: impl Into<String>, what: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { place: place.into(), what: what.into() })
}

/// Verifies a bundle. With `keys` only a checkpoint that one of them signed counts; without any, the keys in the bundle do, and the
/// report says so.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(text: &str, keys: &[PublicKey]) -> Result<Report, Wrong> {
    let bundle = document(text)?;
    let (came, trust) = (keys_of(&bundle)?, if keys.is_empty() { Trust::CameWithTheBundle } else { Trust::Given });
    let (checkpoint, newest, key) = checkpoints(&bundle, if keys.is_empty() { &came } else { keys }, &came)?;
    let records = records(&bundle)?;
    if let Some((last, _)) = records.last()
        && last.index >= checkpoint.size
    {
        return wrong("the checkpoint", format!("it covers {} records, and record {} is not among them", checkpoint.size, last.index));
    }
    in_tree(&bundle, &records, &checkpoint)?;
    let told = claims(records.iter().map(|(record, values)| (record, values.clone())));
    compare(&bundle, &told)?;
    let granted = told.approvals.iter().filter(|asked| asked.answer.as_ref().is_some_and(|answer| answer.word == "granted")).count();
    let committed: usize = records.iter().map(|(record, _)| record.sealed.len()).sum();
    let values: usize = records.iter().map(|(_, values)| values.len()).sum();
    let times = records.first().zip(records.last()).map(|((first, _), (last, _))| (first.ts.clone(), last.ts.clone()));
    Ok(Report {
        run: bundle.run.clone(),
        status: told.status,
        events: records.len() as u64,
        times,
        values: values as u64,
        absent: committed.saturating_sub(values) as u64,
        approvals: (told.approvals.len() as u64, granted as u64),
        artifacts: told.artifacts.len() as u64,
        pins: told.pins,
        log: checkpoint.origin,
        size: checkpoint.size,
        key: key.to_string(),
        key_id: key.id(),
        trust,
        newest: newest.map(|newest| newest.size),
    })
}

fn document(text: &str) -> Result<Bundle, Wrong> {
    const PLACE: &str = "the document";
    if text.len() > MAX_BYTES {
        return wrong(PLACE, format!("it is larger than {MAX_BYTES} bytes"));
    }
    // One spelling of every value and no member twice: no reader may see another document in the same bytes.
    let Some(json) = text.strip_suffix('\n') else { return wrong(PLACE, "it does not end with a line feed") };
    if let Err(error) = canonical::value(json) {
        return wrong(PLACE, format!("it is {error}"));
    }
    let bundle: Bundle = match serde_json::from_str(json) {
        Ok(bundle) => bundle,
        Err(error) => return wrong(PLACE, format!("it is not an evidence bundle: {error}")),
    };
    if bundle.format != FORMAT {
        return wrong(PLACE, format!("its format is not `{FORMAT}`"));
    }
    if bundle.events.is_empty() {
        return wrong(PLACE, "it has no events");
    }
    Ok(bundle)
}

fn keys_of(bundle: &Bundle) -> Result<Vec<PublicKey>, Wrong> {
    let read = |text: &String| text.parse().or_else(|error: CheckpointError| wrong("the keys", error.to_string()));
    bundle.keys.iter().map(read).collect()
}

/// Opens a note by whichever of the keys signed it; `None` where none of them did.
fn opened(note: &str, keys: &[PublicKey], place: &str) -> Result<Option<(Checkpoint, PublicKey)>, Wrong> {
    for key in keys {
        match checkpoint::open(note, key) {
            Ok(checkpoint) => return Ok(Some((checkpoint, key.clone()))),
            Err(CheckpointError::NotSigned(_) | CheckpointError::OtherLog(_)) => {}
            Err(error) => return wrong(place, error.to_string()),
        }
    }
    Ok(None)
}

/// The checkpoint of the records, the newest one, and the key that vouches for them: it signed the first, or the newest, which then shows
/// that the first is its beginning. What only a key of the bundle signed must hold as well, but vouches for nothing.
fn checkpoints(bundle: &Bundle, keys: &[PublicKey], came: &[PublicKey]) -> Result<(Checkpoint, Option<Checkpoint>, PublicKey), Wrong> {
    const PLACE: &str = "the checkpoint";
    const NEWEST: &str = "the newest checkpoint";
    let first = opened(&bundle.checkpoint, keys, PLACE)?;
    let said = match &first {
        Some((checkpoint, _)) => checkpoint.clone(),
        None => match opened(&bundle.checkpoint, came, PLACE)? {
            Some((checkpoint, _)) => checkpoint,
            None => return wrong(PLACE, "none of the keys signed it"),
        },
    };
    let mut newest = None;
    if let Some(told) = &bundle.newest {
        newest = later(&said, told, keys, NEWEST)?;
        if newest.is_none() && later(&said, told, came, NEWEST)?.is_none() {
            return wrong(NEWEST, "none of the keys signed it");
        }
    }
    match (first, newest) {
        (Some((checkpoint, key)), newest) => Ok((checkpoint, newest.map(|(newest, _)| newest), key)),
        (None, Some((newest, key))) => Ok((said, Some(newest), key)),
        (None, None) => wrong(PLACE, "none of the keys signed it"),
    }
}

fn later(said: &Checkpoint, newest: &Newest, keys: &[PublicKey], place: &str) -> Result<Option<(Checkpoint, PublicKey)>, Wrong> {
    let Some((checkpoint, key)) = opened(&newest.checkpoint, keys, place)? else { return Ok(None) };
    let Some(proof) = hashes(&newest.consistency) else { return wrong(place, "a hash of its proof is not one") };
    if checkpoint.origin != said.origin {
        return wrong(place, "it is of another log");
    }
    match tree::verify_consistency(said.size, checkpoint.size, &said.root, &checkpoint.root, &proof) {
        Ok(()) => Ok(Some((checkpoint, key))),
        Err(error) => wrong(place, format!("the log did not only grow since the first checkpoint: {error}")),
    }
}

fn hashes(texts: &[String]) -> Option<Vec<Hash>> {
    texts.iter().map(|text| unhex(text)).collect()
}

type Read<'a> = (Record, BTreeMap<&'a str, Value>);

fn records(bundle: &Bundle) -> Result<Vec<Read<'_>>, Wrong> {
    let mut all: Vec<Read<'_>> = Vec::with_capacity(bundle.events.len());
    for (entry, seq) in bundle.events.iter().zip(1_u64..) {
        let at = |what: String| Wrong { place: format!("event {seq}"), what };
        if hex(&tree::leaf(entry.record.as_bytes())) != entry.leaf {
            return Err(at("the record does not have the hash that its leaf says".to_owned()));
        }
        let record = Record::read(&entry.record).map_err(at)?;
        let at = |what: String| Wrong { place: format!("event {seq} (record {})", record.index), what };
        if record.run_id != bundle.run {
            return Err(at(format!("it belongs to `{}`", record.run_id)));
        }
        if record.seq != seq {
            return Err(at(format!("it is the run's event {}", record.seq)));
        }
        if seq == 1 && record.kind != "run_created" {
            return Err(at("the run does not begin with `run_created`".to_owned()));
        }
        if let (Some((before, _)), Some(neighbour)) = (all.last(), all.len().checked_sub(1).and_then(|n| bundle.events.get(n))) {
            follows(before, neighbour, &record).map_err(at)?;
        }
        let values = values(entry, &record).map_err(at)?;
        all.push((record, values));
    }
    Ok(all)
}

fn follows(before: &Record, neighbour: &Entry, record: &Record) -> Result<(), String> {
    if record.index <= before.index {
        return Err("it does not stand after the event before it".to_owned());
    }
    if record.ts < before.ts {
        return Err("it is earlier than the event before it".to_owned());
    }
    if record.index == before.index + 1 && record.prev_hash != hex(&record_hash(neighbour.record.as_bytes())) {
        return Err("it does not follow on the record before it".to_owned());
    }
    Ok(())
}

fn values<'a>(entry: &'a Entry, record: &Record) -> Result<BTreeMap<&'a str, Value>, String> {
    let mut values = BTreeMap::new();
    for (name, opening) in &entry.values {
        let Some(committed) = record.sealed.get(name) else { return Err(format!("the record does not commit to a value `{name}`")) };
        let Some(salt) = unhex(&opening.salt) else { return Err(format!("the salt of `{name}` is not one")) };
        if hex(&commitment(&salt, &opening.value)) != *committed {
            return Err(format!("the value of `{name}` is not the one the record commits to"));
        }
        let value = serde_json::from_str(&opening.value).map_err(|error| format!("the value of `{name}` is not JSON: {error}"))?;
        values.insert(name.as_str(), value);
    }
    Ok(values)
}

fn in_tree(bundle: &Bundle, records: &[Read<'_>], checkpoint: &Checkpoint) -> Result<(), Wrong> {
    const PLACE: &str = "the tree";
    let Some(proof) = hashes(&bundle.proof) else { return wrong(PLACE, "a hash of the proof is not one") };
    let places: Vec<u64> = records.iter().map(|(record, _)| record.index).collect();
    let leaves: Vec<Hash> = bundle.events.iter().map(|entry| tree::leaf(entry.record.as_bytes())).collect();
    match tree::many_root(checkpoint.size, &Many { places: &places, leaves: &leaves, proof: &proof }) {
        Ok(root) if root == checkpoint.root => Ok(()),
        Ok(_) => wrong(PLACE, "the records and the proof lead to another root than the signed one"),
        Err(error) => wrong(PLACE, error.to_string()),
    }
}

fn compare(bundle: &Bundle, told: &Claims) -> Result<(), Wrong> {
    let same = [
        ("the status", bundle.status == told.status),
        ("the plan", bundle.plan == told.plan),
        ("the pins", bundle.pins == told.pins),
        ("the approvals", bundle.approvals == told.approvals),
        ("the artifacts", bundle.artifacts == told.artifacts),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((place, _)) => wrong(*place, "not what the events say"),
        None => Ok(()),
    }
}
