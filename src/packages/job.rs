//! The folder in which one resolution happens, and its time and cancel: made empty, owner-only, removed when the job ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault};

use super::pack::make_private;

/// How long one resolution may take, all of its programs together.
const WALL: Duration = Duration::from_secs(240);
/// How old a folder must be to be taken for one that a dead process left.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// One resolution at work.
pub(super) struct Job {
    folder: PathBuf,
    /// When everything must be done.
    pub(super) deadline: Instant,
    /// Ends it early.
    pub(super) cancel: CancellationToken,
}

impl Job {
    /// Makes the folder below `parent`.
    ///
    /// # Errors
    /// `INTERNAL` where the disk does not take it.
    pub(super) fn start(parent: &Path, cancel: CancellationToken) -> Result<Self, Fault> {
        // Absolute, as programs get paths below it and run in another folder.
        let parent = std::path::absolute(parent).map_err(failed)?;
        let folder = parent.join(format!("{:032x}", rand::random::<u128>()));
        let made = make_private(&parent).and_then(|()| {
            sweep(&parent);
            make_private(&folder)
        });
        made.map_err(failed)?;
        Ok(Self { folder, deadline: Instant::now() + WALL, cancel })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// An empty folder within it.
    ///
    /// # Errors
    /// `INTERNAL` where the disk does not take it.
    pub(super) fn subfolder(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).map_err(failed)?;
        Ok(path)
    }

    /// Puts a file into it.
    ///
    /// # Errors
    /// `INTERNAL` where the disk does not take it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        fs::write(self.folder.join(name), bytes).map_err(failed)
    }

    /// Fails where the job was cancelled or its time is over.
    ///
    /// # Errors
    /// `CANCELLED` or `TIMEOUT`.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.cancel.is_cancelled() {
            return Err(Fault::new(ErrorCode::Cancelled, "the call was cancelled while its packages were being fetched"));
        }
        if Instant::now() >= self.deadline {
            let message = format!("the packages were not there within {} s", WALL.as_secs());
            return Err(Fault::new(ErrorCode::Timeout, message)
                .hint("the package index is slow or not reachable from this machine; try again, or ask for fewer packages"));
        }
        Ok(())
    }

    /// How many bytes lie in the folder. What cannot be read, or is too deep, is not counted.
    pub(super) fn size(&self) -> u64 {
        folder_size(&self.folder)
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(path = %self.folder.display(), "a job's folder cannot be removed: {error}");
        }
    }
}

/// The fault of a disk that does not do what it should.
pub(super) fn failed(error: io::Error) -> Fault {
    Fault::internal(format!("the folder of packages cannot be used: {error}"))
}

/// Bytes of the files below a folder, not following links. What cannot be read, or is too deep, is not counted.
#[must_use]
pub fn folder_size(folder: &Path) -> u64 {
    size_below(folder, 0)
}

fn size_below(folder: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut size = 0_u64;
    for entry in entries.filter_map(Result::ok) {
        let Ok(found) = entry.metadata() else { continue }; // of the link itself, where it is one
        size = size.saturating_add(if found.is_dir() && depth < 64 { size_below(&entry.path(), depth + 1) } else { found.len() });
    }
    size
}

fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.filter_map(Result::ok) {
        let age = entry.metadata().ok().and_then(|found| found.modified().ok()).and_then(|made| made.elapsed().ok());
        if age.is_some_and(|age| age > ABANDONED) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
