//! One folder, and no way out of it: every access resolves beneath the folder's handle, passes no link, and refuses what is not a
//! plain file with one name.
//!
//! INVARIANT: no function here takes a path that has not become a [`RelPath`]. Does not know runs or tools.

use std::path::{Path, PathBuf};

use crate::domain::{Bytes, Fault};

/// A path beneath a folder: relative, `/`-separated, no `..`, no `.` part, no NUL or control character, no empty part, valid UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

/// A plain file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Where.
    pub path: RelPath,
    /// Bytes.
    pub size: u64,
    /// Unix permission bits (0o644 or 0o755 where the platform has none).
    pub mode: u32,
}

/// A folder that is open.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
}

impl RelPath {
    /// Checks a path that somebody wrote. Fails with `PATH_REFUSED`, saying which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        Ok(Self(text.to_owned()))
    }
    /// The path with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Folder {
    /// Opens a folder, creating it (owner-only) where it is not there.
    pub fn create(root: &Path) -> Result<Self, Fault> {
        Ok(Self { root: root.to_owned() })
    }
    /// Opens a folder that must exist.
    pub fn open(root: &Path) -> Result<Self, Fault> {
        Ok(Self { root: root.to_owned() })
    }
    /// Where it is, for libraries that want a path; never to be joined with anything.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }
    /// The whole file; `NOT_FOUND`, `PATH_REFUSED` (link, hard link, device), `LIMIT_EXCEEDED`.
    pub fn read(&self, _path: &RelPath, _limit: Bytes) -> Result<Vec<u8>, Fault> {
        Err(Fault::internal("skeleton"))
    }
    /// Writes a whole file by a temporary file and a rename, making the folders on the way.
    pub fn write(&self, _path: &RelPath, _bytes: &[u8], _executable: bool) -> Result<(), Fault> {
        Err(Fault::internal("skeleton"))
    }
    /// Removes a file, or a folder with all in it; whether there was one.
    pub fn remove(&self, _path: &RelPath) -> Result<bool, Fault> {
        Err(Fault::internal("skeleton"))
    }
    /// Every plain file beneath `under`, sorted by path; at most `most`, else `LIMIT_EXCEEDED`. Links and special files are not followed: they
    /// are returned in the second list.
    pub fn walk(&self, _under: Option<&RelPath>, _most: usize) -> Result<(Vec<FileEntry>, Vec<RelPath>), Fault> {
        Err(Fault::internal("skeleton"))
    }
}
