//! Compares checkpoints with the tree while the journal is walked.
//!
//! INVARIANT: every stored checkpoint is read: its signature, and its root and head at its size, computed from the records. What does
//! not hold names the first record after the last size that does.

use std::iter::Peekable;
use std::vec::IntoIter;

use sqlx::SqliteConnection;
use toolgate_evidence::tree::{Hash, empty};

use crate::domain::{Digest, Fault};

use super::key::{self, KnownKey, SignedCheckpoint};
use super::open::Outside;
use super::rows;
use super::start::{self, Broken, Found};

/// Notes of which the signatures are verified side by side.
const SHARE: usize = 64;

/// Every checkpoint that is known, unread.
pub(in crate::store) struct Signatures {
    found: Vec<Found>,
    keys: Vec<KnownKey>,
    /// What is wrong with keys or files, before any record is read.
    early: Option<Broken>,
}

impl Signatures {
    /// Reads what there is, in the database and outside it.
    pub(in crate::store) async fn read(connection: &mut SqliteConnection, outside: Option<&Outside>) -> Result<Self, Fault> {
        let keys = rows::keys(connection).await?;
        let mut found: Vec<Found> =
            rows::all(connection).await?.into_iter().map(|stored| Found { place: start::DATABASE, note: stored.note }).collect();
        let mut early = start::line(connection, &keys).await?.err();
        if let Some(outside) = outside {
            let elsewhere = outside.found()?;
            let is_kept = elsewhere.iter().any(|found| found.place == start::FILE);
            if !is_kept && !keys.is_empty() {
                let size = rows::covered(connection).await.unwrap_or_default();
                early = early.or_else(|| Some(Broken::at(size, "the file `audit/checkpoint` of the home is gone")));
            }
            early = early.or_else(|| exchanged(outside, &keys, found.iter().chain(&elsewhere)));
            found.extend(elsewhere);
        }
        Ok(Self { found, keys, early })
    }

    /// Verifies the signatures, on the threads that may block.
    pub(in crate::store) async fn verify(self) -> Checks {
        let Self { found, keys, early } = self;
        let keys = std::sync::Arc::new(keys);
        let mut shares = Vec::new();
        let mut rest = found.into_iter().peekable();
        while rest.peek().is_some() {
            let (share, keys) = (rest.by_ref().take(SHARE).collect::<Vec<_>>(), std::sync::Arc::clone(&keys));
            shares.push(tokio::task::spawn_blocking(move || share.into_iter().map(|one| read(one, &keys)).collect::<Vec<_>>()));
        }
        let mut signed = Vec::new();
        let mut bad = early;
        for share in shares {
            for one in share.await.unwrap_or_default() {
                match one {
                    Ok(one) => signed.push(one),
                    Err(broken) if bad.as_ref().is_none_or(|bad| broken.index < bad.index) => bad = Some(broken),
                    Err(_) => {}
                }
            }
        }
        signed.sort_by_key(|(_, signed)| signed.size);
        let count = signed.len() as u64;
        // One that covers nothing has no record to be compared at.
        let (nothing, signed): (Vec<_>, Vec<_>) = signed.into_iter().partition(|(_, signed)| signed.size == 0);
        if let Some((place, _)) = nothing.iter().find(|(_, signed)| *signed.root.as_bytes() != empty()) {
            bad = Some(Broken::at(0, format!("the checkpoint of {place} over no records is not that of an empty journal")));
        }
        Checks { waiting: signed.into_iter().peekable(), early: bad, proven: None, count }
    }
}

fn read(found: Found, keys: &[KnownKey]) -> Result<(&'static str, SignedCheckpoint), Broken> {
    let Found { place, note } = found;
    let signed = key::open(&note, keys).map_err(|why| {
        let size = key::size_of(&note).unwrap_or_default();
        Broken::at(size.saturating_sub(1), format!("the checkpoint of {place} over {size} records: {why}"))
    })?;
    start::vouched(&signed, place, keys)?;
    Ok((place, signed))
}

/// The public key beside the database must be the last one that it knows.
fn exchanged<'a>(outside: &Outside, keys: &[KnownKey], found: impl Iterator<Item = &'a Found>) -> Option<Broken> {
    let last = keys.last()?;
    let published = outside.files.published()?;
    let size = found.filter_map(|found| key::size_of(&found.note)).max().unwrap_or_default();
    let why = format!("the file `audit/key.pub` of the home does not hold the key {} that signed last", last.public.id());
    (published != last.public.to_string()).then(|| Broken::at(size, why))
}

/// Checkpoints whose signatures hold, to be compared with the tree as it grows.
pub(in crate::store) struct Checks {
    waiting: Peekable<IntoIter<(&'static str, SignedCheckpoint)>>,
    early: Option<Broken>,
    proven: Option<SignedCheckpoint>,
    count: u64,
}

impl Checks {
    /// The next size at which a checkpoint is to be compared.
    pub(in crate::store) fn next(&mut self) -> Option<u64> {
        self.waiting.peek().map(|(_, signed)| signed.size)
    }

    /// The tree has `size` leaves, this root, and the last record this hash.
    pub(in crate::store) fn at(&mut self, size: u64, root: impl FnOnce() -> Hash, head: Digest) -> Result<(), Broken> {
        if self.next() != Some(size) {
            return Ok(());
        }
        let root = Digest::from_bytes(root());
        let from = self.proven.as_ref().map_or(0, |proven| proven.size);
        while let Some((place, signed)) = self.waiting.next_if(|(_, signed)| signed.size == size) {
            if signed.root != root || signed.head.is_some_and(|signed| signed != head) {
                let why =
                    format!("records {from} to {} are not those that were signed in the checkpoint of {place}", size.saturating_sub(1));
                return Err(Broken::at(from, why));
            }
            self.proven = Some(signed);
        }
        Ok(())
    }

    /// All records were walked.
    pub(in crate::store) fn end(&mut self, length: u64) -> Result<(), Broken> {
        match self.waiting.next() {
            // Each checkpoint is followed by its own event, in the same commit.
            None if length > 0 && self.proven.as_ref().is_some_and(|proven| proven.size == length) => {
                Err(Broken::at(length, "the record is missing: it tells of the newest checkpoint"))
            }
            None => Ok(()),
            Some((place, signed)) => {
                let why = format!(
                    "the record is missing: the checkpoint of {place} covers {} records, and the journal has {length}",
                    signed.size
                );
                Err(Broken::at(length, why))
            }
        }
    }

    /// What was wrong before any record was read.
    pub(in crate::store) fn early(&mut self) -> Option<Broken> {
        self.early.take()
    }

    /// The largest checkpoint that holds, and how many were read.
    pub(in crate::store) fn proven(self) -> (Option<SignedCheckpoint>, u64) {
        (self.proven, self.count)
    }
}
