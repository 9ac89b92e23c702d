//! Artifact files that nobody needs any more.
//!
//! INVARIANT: a file is removed only while no process is putting one, and never one that was put a short while ago: whoever puts bytes
//! that are there already says so by the file's time. Does not know what refers to an artifact.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::domain::{ArtifactId, Fault};

use super::super::fault::Doing as _;
use super::super::home;
use super::Files;

/// Bytes that are put again mark their file as new, unless it is as new as this.
const TOUCH_AFTER: Duration = Duration::from_secs(60 * 60);

/// An artifact as its file lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Which.
    pub id: ArtifactId,
    /// How many bytes.
    pub size: u64,
    /// When it was last put.
    pub put: SystemTime,
}

/// Keeps removals out until it is dropped; several may put at once.
pub(super) fn putting(folder: &Path) -> io::Result<File> {
    let lock = home::open_private(&folder.join("lock"))?;
    lock.lock_shared()?;
    Ok(lock)
}

/// Says that a file's bytes were put again.
pub(super) fn touch(file: &File, modified: Option<SystemTime>) {
    if modified.and_then(|at| at.elapsed().ok()).is_some_and(|age| age < TOUCH_AFTER) {
        return;
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let same = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        // Where it cannot be said the file only looks older than it is, and the bytes were there a moment ago.
        let _ = futimens(file, &Timestamps { last_access: same, last_modification: now });
    }
    #[cfg(not(unix))]
    let _ = file;
}

impl Files {
    /// Every artifact there is.
    pub(in crate::store) fn all(&self) -> Result<Vec<Stored>, Fault> {
        let mut found = Vec::new();
        for folder in std::fs::read_dir(&self.folder).doing("listing artifacts")? {
            let folder = folder.doing("listing artifacts")?;
            let first = folder.file_name();
            if !folder.file_type().doing("listing artifacts")?.is_dir() {
                continue;
            }
            for file in std::fs::read_dir(folder.path()).doing("listing artifacts")? {
                let file = file.doing("listing artifacts")?;
                let name = format!("{}{}", first.to_string_lossy(), file.file_name().to_string_lossy());
                let Ok(id) = name.parse() else { continue };
                match file.metadata().and_then(|about| Ok((about.len(), about.modified()?))) {
                    Ok((size, put)) => found.push(Stored { id, size, put }),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error).doing("listing artifacts"),
                }
            }
        }
        Ok(found)
    }

    /// Removes these, but for those that were put again since they were listed. Gives those that are gone.
    pub(in crate::store) fn remove(&self, listed: &[Stored]) -> Result<Vec<Stored>, Fault> {
        let lock = home::open_private(&self.folder.join("lock")).doing("locking the artifacts")?;
        lock.lock().doing("locking the artifacts")?;
        let mut gone = Vec::new();
        for stored in listed {
            let (_, path) = self.place(&stored.id);
            let is_same = std::fs::metadata(&path).and_then(|about| about.modified()).is_ok_and(|put| put == stored.put);
            if !is_same {
                continue;
            }
            std::fs::remove_file(&path).doing("removing an artifact")?;
            self.verified.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&stored.id);
            gone.push(*stored);
        }
        Ok(gone)
    }

    /// Removes what writes that were broken off left behind, where it is older than `age`.
    pub(in crate::store) fn sweep(&self, age: Duration) -> Result<u64, Fault> {
        let mut swept = 0;
        for entry in std::fs::read_dir(&self.folder).doing("listing artifacts")?.flatten() {
            let is_left = entry.file_name().to_string_lossy().starts_with("new-");
            let modified = entry.metadata().and_then(|about| about.modified()).ok();
            if is_left
                && modified.and_then(|at| at.elapsed().ok()).is_some_and(|old| old >= age)
                && std::fs::remove_file(entry.path()).is_ok()
            {
                swept += 1;
            }
        }
        Ok(swept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(files: &Files, bytes: &[u8]) -> ArtifactId {
        let id = ArtifactId::of(bytes);
        files.write(&id, bytes).unwrap();
        id
    }

    /// Between the listing and the removal a call puts the same bytes again: a collector that only knows the list takes them from it.
    #[test]
    fn bytes_that_were_put_again_since_stay() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path()).unwrap();
        let (kept, gone) = (put(&files, b"kept"), put(&files, b"gone"));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for id in [kept, gone] {
            File::options().write(true).open(files.place(&id).1).unwrap().set_modified(old).unwrap();
        }
        let listed = files.all().unwrap();
        assert!(listed.iter().all(|stored| stored.put == old) && listed.len() == 2);
        put(&files, b"kept");
        assert_eq!(files.remove(&listed).unwrap().iter().map(|stored| stored.id).collect::<Vec<_>>(), [gone]);
        assert!(files.part(&kept, 0, 10).is_ok() && files.part(&gone, 0, 10).is_err());
        // And what is gone can be put again.
        put(&files, b"gone");
        assert!(files.part(&gone, 0, 10).is_ok());
    }

    #[test]
    fn nothing_is_removed_while_somebody_puts() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path()).unwrap();
        put(&files, b"x");
        let listed = files.all().unwrap();
        let held = putting(&files.folder).unwrap();
        let other = files.clone();
        let removing = std::thread::spawn(move || other.remove(&listed).unwrap().len());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!removing.is_finished(), "the removal did not wait");
        drop(held);
        assert_eq!(removing.join().unwrap(), 1);
    }

    #[test]
    fn leftovers_are_swept_once_they_are_old() {
        let home = tempfile::tempdir().unwrap();
        let files = Files::open(home.path()).unwrap();
        std::fs::write(files.folder.join("new-0"), b"half").unwrap();
        assert_eq!(files.sweep(Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(files.sweep(Duration::ZERO).unwrap(), 1);
    }
}
