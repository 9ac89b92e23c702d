//! The sets used last, in memory: at most three, and at most 64 MiB.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::Digest;

use super::room::PackageSet;

const MAX_SETS: usize = 3;
const MAX_BYTES: usize = 64 << 20;

/// Sets by their lock's digest, used last first.
#[derive(Default)]
pub(super) struct Memory {
    sets: Mutex<Vec<(Digest, Arc<PackageSet>)>>,
}

impl Memory {
    /// The set of a lock, which counts as used now.
    pub(super) fn get(&self, lock: Digest) -> Option<Arc<PackageSet>> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = sets.iter().position(|(known, _)| *known == lock)?;
        let found = sets.remove(place);
        let set = Arc::clone(&found.1);
        sets.insert(0, found);
        Some(set)
    }

    /// Keeps a set, and lets go of those that were not used for longest.
    pub(super) fn put(&self, lock: Digest, set: Arc<PackageSet>) {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.retain(|(known, _)| *known != lock);
        sets.insert(0, (lock, set));
        let mut bytes = 0_usize;
        let mut count = 0_usize;
        sets.retain(|(_, set)| {
            bytes = bytes.saturating_add(set.files.iter().map(|(_, content)| content.len()).sum());
            count += 1;
            count <= MAX_SETS && bytes <= MAX_BYTES
        });
    }
}
