//! What is kept on disk between calls: packs, and for each list of pins the lock that it led to and when.
//!
//! INVARIANT: an entry is fresh for 24 hours. Then the pins are resolved again, as what they need may have been mended or withdrawn;
//! where that cannot be done now, the old set is used.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Millis, Timestamp};

use super::PYTHON;
use super::pack;
use super::requirement::Requirement;
use super::room::PackageSet;

/// How long a lock is used without asking again.
const FRESH: Millis = Millis(24 * 3600 * 1000);
/// Most packs that are kept.
const MAX_PACKS: usize = 40;
/// Most lists of pins that are remembered.
const MAX_KEYS: usize = 500;
const MAX_ENTRY: u64 = 4096;
const KEY_SUFFIX: &str = ".key";

/// The folder.
#[derive(Clone)]
pub(super) struct Cache {
    folder: PathBuf,
    keys: Keys,
}

/// What lists of pins led to, one small file each.
#[derive(Clone)]
pub(super) struct Keys {
    folder: PathBuf,
}

/// What is remembered of a list of pins.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The lock they led to.
    pub(super) lock: Digest,
    /// When.
    at: Timestamp,
}

impl Entry {
    /// Whether it needs no asking again.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.at <= now && now.since(self.at) < FRESH
    }
}

/// What a list of pins, which is sorted, is known by: whichever installer resolves them.
pub(super) fn key(roots: &[Requirement]) -> Digest {
    key_of(PYTHON, roots)
}

/// The same for another Python, as its locks tell it.
pub(super) fn key_of(python: &str, roots: &[Requirement]) -> Digest {
    let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
    let parts: Vec<&[u8]> = [python.as_bytes()].into_iter().chain(roots.iter().map(String::as_bytes)).collect();
    Digest::of_parts("toolgate requirements 1", &parts)
}

impl Keys {
    /// Those in `folder`, which is made when something is remembered.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What is remembered under a key.
    pub(super) fn entry(&self, key: Digest) -> Option<Entry> {
        let path = self.folder.join(format!("{key}{KEY_SUFFIX}"));
        let found = fs::symlink_metadata(&path).ok().filter(|found| found.is_file() && found.len() <= MAX_ENTRY);
        found.and_then(|_| serde_json::from_slice(&fs::read(&path).ok()?).ok())
    }

    /// Remembers what a key led to.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn remember(&self, key: Digest, lock: Digest, at: Timestamp) -> io::Result<()> {
        pack::make_private(&self.folder)?;
        pack::write_whole(&self.folder, &format!("{key}{KEY_SUFFIX}"), &serde_json::to_vec(&Entry { lock, at })?)?;
        thin(&self.folder, KEY_SUFFIX, MAX_KEYS);
        Ok(())
    }
}

impl Cache {
    /// A cache in `folder`, which is made when something is stored.
    pub(super) fn new(folder: &Path) -> Self {
        let folder = folder.join("sets");
        Self { keys: Keys::new(&folder), folder }
    }

    /// What is remembered under a key, if its pack is there as well.
    pub(super) fn entry(&self, key: Digest) -> Option<Entry> {
        self.keys.entry(key).filter(|entry| pack::is_there(&self.folder, entry.lock))
    }

    /// The set of a lock.
    pub(super) fn set(&self, lock: Digest) -> Option<PackageSet> {
        pack::find(&self.folder, lock)
    }

    /// Stores a set.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn store(&self, set: &PackageSet) -> io::Result<()> {
        pack::make_private(&self.folder)?;
        pack::store(&self.folder, set)?;
        thin(&self.folder, ".pack", MAX_PACKS);
        Ok(())
    }

    /// Remembers what a key led to.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn remember(&self, key: Digest, lock: Digest, at: Timestamp) -> io::Result<()> {
        self.keys.remember(key, lock, at)
    }
}

/// Removes the oldest files of a kind beyond `keep`.
fn thin(folder: &Path, suffix: &str, keep: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with(suffix)))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    found.sort();
    for (_, path) in found.iter().take(found.len().saturating_sub(keep)) {
        drop(fs::remove_file(path));
    }
}
