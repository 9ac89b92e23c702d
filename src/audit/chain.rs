//! Verifies the journal: each record by itself, then that they follow on each other.
//!
//! INVARIANT: whatever differs from what the writer wrote, in a record, beside it or in their order, is found and the first place
//! named. [`check`] needs nothing but its record, so records can be checked side by side; [`Chain`] takes their [`Link`]s in order and
//! is cheap. A log that was cut off at its end needs an anchor elsewhere: not found here.

use std::collections::HashMap;

use toolgate_evidence::bundle::{unhex, unhex_number};

use crate::domain::Digest;

use super::canonical::{self, NotCanonical};
use super::record;

mod straight;

/// A row of the journal as it was found.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The column `index`.
    pub index: u64,
    /// The column `run_id`.
    pub run_id: &'a str,
    /// The column `seq`.
    pub seq: u64,
    /// The column `kind`.
    pub kind: &'a str,
    /// The column `step_id`.
    pub step_id: Option<&'a str>,
    /// The column `call_id`.
    pub call_id: Option<&'a str>,
    /// The canonical JSON.
    pub record: &'a [u8],
    /// The stored hash.
    pub hash: &'a [u8],
    /// The sealed values beside the record.
    pub sealed: Option<&'a str>,
}

/// What the chain needs to know of a record that is sound by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place.
    pub index: u64,
    /// The run, as the number its id spells.
    pub run: u128,
    /// Its place in the run.
    pub seq: u64,
    /// The predecessor it names.
    pub prev: Digest,
    /// Its hash.
    pub hash: Digest,
    /// How many of its sealed values were taken away.
    pub redacted: u32,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// No record stands at this place though later ones do.
    #[error("the record is missing")]
    Gap,
    /// This place, or this place in the run, was taken before.
    #[error("the place is taken twice")]
    Duplicate,
    /// The run's numbers jump.
    #[error("the run's record {expected} is missing before this one")]
    SeqGap {
        /// The number that was to come.
        expected: u64,
    },
    /// The stored hash is not that of the stored bytes.
    #[error("the bytes do not have the stored hash")]
    HashMismatch,
    /// It does not name the hash of the record before it.
    #[error("it does not follow on the record before it")]
    WrongPredecessor,
    /// A column beside the record says something else than the record.
    #[error("column `{0}` differs from the record")]
    ColumnDiffers(&'static str),
    /// The bytes are not canonical JSON.
    #[error("the record is {0}")]
    NotCanonical(#[from] NotCanonical),
    /// The bytes are canonical JSON, but not a record of a known version.
    #[error("the record's `{0}` is not as the format has it")]
    Malformed(&'static str),
    /// A sealed value is not what the record commits to.
    #[error("a sealed value is not the one the record commits to")]
    CommitmentMismatch,
    /// It cannot be read at all; in the reader's words.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It is not what a signed checkpoint, or a key, says; in the reader's words.
    #[error("{0}")]
    NotSigned(String),
}

/// The first record that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("record {index}: {why}")]
pub struct Bad {
    /// Its place.
    pub index: u64,
    /// What is wrong.
    pub why: Why,
}

/// The records so far, as one after the other was taken in.
#[derive(Debug, Clone)]
pub struct Chain {
    next: u64,
    prev: Digest,
    runs: HashMap<u128, u64>,
    redacted: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next: 0, prev: Digest::ZERO, runs: HashMap::new(), redacted: 0 }
    }
}

impl Chain {
    /// Takes in the next record.
    ///
    /// # Errors
    /// Where it does not follow; the chain is then as it was.
    pub fn add(&mut self, link: &Link) -> Result<(), Bad> {
        let bad = |index, why| Err(Bad { index, why });
        if link.index > self.next {
            return bad(self.next, Why::Gap);
        }
        if link.index < self.next {
            return bad(link.index, Why::Duplicate);
        }
        if link.prev != self.prev {
            return bad(link.index, Why::WrongPredecessor);
        }
        let seq = self.runs.entry(link.run).or_default();
        if link.seq <= *seq {
            return bad(link.index, Why::Duplicate);
        }
        if link.seq > *seq + 1 {
            let expected = *seq + 1;
            return bad(link.index, Why::SeqGap { expected });
        }
        *seq = link.seq;
        self.next += 1;
        self.prev = link.hash;
        self.redacted += u64::from(link.redacted);
        Ok(())
    }

    /// How many records were taken in; the next one's index.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.next
    }

    /// Whether none was.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// The last record's place and hash.
    #[must_use]
    pub fn head(&self) -> Option<(u64, Digest)> {
        self.next.checked_sub(1).map(|index| (index, self.prev))
    }

    /// How many sealed values were taken away.
    #[must_use]
    pub fn redacted(&self) -> u64 {
        self.redacted
    }

    /// The last `seq` of a run, 0 where it has no record.
    #[must_use]
    pub fn last_seq(&self, run: u128) -> u64 {
        self.runs.get(&run).copied().unwrap_or(0)
    }
}

/// The number that a run's id spells, if it is one.
#[must_use]
pub fn run_number(id: &str) -> Option<u128> {
    id.strip_prefix("run_").and_then(unhex_number)
}

/// Checks one record against its hash, its columns and its sealed values.
///
/// # Errors
/// What is wrong with it.
pub fn check(view: &View<'_>) -> Result<Link, Why> {
    let hash = record::hash(view.record);
    if hash.as_bytes() != view.hash {
        return Err(Why::HashMismatch);
    }
    let text = std::str::from_utf8(view.record).map_err(|error| NotCanonical { at: error.valid_up_to(), what: "not UTF-8" })?;
    match straight::check(view, text, hash) {
        Some(link) => Ok(link),
        None => thoroughly(view, text, hash),
    }
}

/// What is wrong with a record, if anything is.
fn thoroughly(view: &View<'_>, text: &str, hash: Digest) -> Result<Link, Why> {
    let mut found = Found::default();
    for (key, value) in canonical::members(text)? {
        found.take(key, value)?;
    }
    let differs = |same: bool, column| if same { Ok(()) } else { Err(Why::ColumnDiffers(column)) };
    let required = |field: Option<&'static str>| field.map_or(Ok(()), |field| Err(Why::Malformed(field)));
    required(found.missing())?;
    differs(found.index == Some(view.index), "index")?;
    differs(found.run_id == Some(view.run_id), "run_id")?;
    differs(found.seq == Some(view.seq), "seq")?;
    differs(found.kind == Some(view.kind), "kind")?;
    differs(found.step_id == view.step_id, "step_id")?;
    differs(found.call_id == view.call_id, "call_id")?;
    let run = run_number(view.run_id).ok_or(Why::Malformed("run_id"))?;
    let prev = found.prev_hash.and_then(unhex).map(Digest::from_bytes).ok_or(Why::Malformed("prev_hash"))?;
    let redacted = commitments(found.sealed, view.sealed)?;
    Ok(Link { index: view.index, run, seq: view.seq, prev, hash, redacted })
}

#[derive(Default)]
struct Found<'a> {
    actor: bool,
    call_id: Option<&'a str>,
    index: Option<u64>,
    kind: Option<&'a str>,
    payload: bool,
    prev_hash: Option<&'a str>,
    run_id: Option<&'a str>,
    sealed: Option<&'a str>,
    seq: Option<u64>,
    step_id: Option<&'a str>,
    ts: bool,
    v: bool,
}

impl<'a> Found<'a> {
    fn take(&mut self, key: &str, value: &'a str) -> Result<(), Why> {
        let word = |field| canonical::plain_string(value).map(Some).ok_or(Why::Malformed(field));
        let whole = |field| canonical::whole(value).map(Some).ok_or(Why::Malformed(field));
        let is = |holds: bool, field| if holds { Ok(true) } else { Err(Why::Malformed(field)) };
        match key {
            "actor" => self.actor = is(is_actor(value), "actor")?,
            "call_id" => self.call_id = word("call_id")?,
            "index" => self.index = whole("index")?,
            "kind" => self.kind = word("kind")?,
            "payload" => self.payload = is(value.starts_with('{'), "payload")?,
            "prev_hash" => self.prev_hash = word("prev_hash")?,
            "run_id" => self.run_id = word("run_id")?,
            "sealed" => self.sealed = Some(value),
            "seq" => self.seq = whole("seq")?,
            "step_id" => self.step_id = word("step_id")?,
            "ts" => self.ts = is(is_time(value), "ts")?,
            "v" => self.v = is(value == "1", "v")?,
            _ => return Err(Why::Malformed("member names")),
        }
        Ok(())
    }

    fn missing(&self) -> Option<&'static str> {
        let fields = [
            (self.actor, "actor"),
            (self.index.is_some(), "index"),
            (self.kind.is_some(), "kind"),
            (self.payload, "payload"),
            (self.prev_hash.is_some(), "prev_hash"),
            (self.run_id.is_some(), "run_id"),
            (self.seq.is_some(), "seq"),
            (self.ts, "ts"),
            (self.v, "v"),
        ];
        fields.into_iter().find(|(there, _)| !there).map(|(_, field)| field)
    }
}

fn is_actor(value: &str) -> bool {
    matches!(canonical::members(value).as_deref(), Ok([("principal", principal), ("role", role)])
        if principal.starts_with('"') && role.starts_with('"'))
}

/// `"2026-01-31T12:00:00.000Z"`: 24 characters of that shape.
fn is_time(value: &str) -> bool {
    canonical::plain_string(value).is_some_and(|time| {
        time.len() == 24
            && time
                .bytes()
                .zip(b"0000-00-00T00:00:00.000Z")
                .all(|(byte, shape)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape })
    })
}

/// Compares the sealed values with what the record commits to, and counts those that were taken away.
fn commitments(committed: Option<&str>, values: Option<&str>) -> Result<u32, Why> {
    let mut committed: Vec<(&str, &str)> = match committed {
        None => Vec::new(),
        Some(text) => canonical::members(text).ok().filter(|list| !list.is_empty()).ok_or(Why::Malformed("sealed"))?,
    };
    if let Some(values) = values {
        for Salted { name, salt, value } in salted(values)? {
            let at = committed.iter().position(|(committed, _)| *committed == name).ok_or(Why::CommitmentMismatch)?;
            let (_, commitment) = committed.swap_remove(at);
            if digest(commitment) != Some(record::commitment(&salt, value)) {
                return Err(Why::CommitmentMismatch);
            }
        }
    }
    if committed.iter().any(|(_, hash)| digest(hash).is_none()) {
        return Err(Why::Malformed("sealed"));
    }
    u32::try_from(committed.len()).map_err(|_| Why::Malformed("sealed"))
}

/// The digest that a JSON string spells.
fn digest(text: &str) -> Option<Digest> {
    canonical::plain_string(text).and_then(unhex).map(Digest::from_bytes)
}

/// A sealed value beside a record.
struct Salted<'a> {
    name: &'a str,
    salt: [u8; 32],
    value: &'a str,
}

/// Reads `{name: {"salt":"…","value":…}, …}`, exactly, and not empty.
fn salted<'a>(text: &'a str) -> Result<Vec<Salted<'a>>, Why> {
    let list = canonical::nested(text).ok().filter(|list| !list.is_empty()).ok_or(Why::CommitmentMismatch)?;
    let read = |(name, members): (&'a str, Vec<canonical::Member<'a>>)| match members.as_slice() {
        [("salt", salt), ("value", value)] => Some(Salted { name, salt: canonical::plain_string(salt).and_then(unhex)?, value }),
        _ => None,
    };
    list.into_iter().map(read).collect::<Option<_>>().ok_or(Why::CommitmentMismatch)
}

#[cfg(test)]
mod tests;
