//! Locks between processes: a small file that is locked as long as somebody has it open for that.
//!
//! INVARIANT: whoever holds a lock holds the file that lies at its path; a file that was removed meanwhile is not mistaken for it. A lock
//! ends with its process, however that ends.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// How often it is tried again where the file was removed between opening and locking.
const TRIES: usize = 64;

/// A lock that is held, alone or with others, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// The lock for oneself, if nobody has it.
    ///
    /// # Errors
    /// Where the disk does not do it.
    pub(super) fn alone(path: &Path) -> io::Result<Option<Self>> {
        Self::take(path, |file| match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }

    /// The lock together with others who share it; waits for one who has it alone, which nobody does for long.
    ///
    /// # Errors
    /// Where the disk does not do it.
    pub(super) fn shared(path: &Path) -> io::Result<Self> {
        let held = Self::take(path, |file| file.lock_shared().map(|()| true))?;
        held.ok_or_else(|| io::Error::other("a lock is not given"))
    }

    /// Says that it was used now.
    pub(super) fn touch(&self, now: std::time::SystemTime) {
        if let Err(error) = self.file.set_modified(now) {
            tracing::debug!(path = %self.path.display(), "the time of use cannot be noted: {error}");
        }
    }

    /// Removes the file of a lock that is held alone.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), "a lock's file cannot be removed: {error}");
        }
    }

    fn take(path: &Path, lock: impl Fn(&File) -> io::Result<bool>) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
            if !lock(&file)? {
                return Ok(None);
            }
            let same = |found: fs::Metadata| file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()));
            if fs::symlink_metadata(path).is_ok_and(same) {
                return Ok(Some(Self { file, path: path.to_owned() }));
            }
        }
        Err(io::Error::other("a lock's file is removed again and again"))
    }
}
