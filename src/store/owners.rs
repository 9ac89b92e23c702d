//! Which toolgate processes of a home are alive: each holds a lock on a file of its own, which the system gives back when it dies.
//!
//! INVARIANT: an owner counts as dead only if its lock could be taken or its file is gone. Does not use process ids: they are reused.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::domain::{Fault, OwnerId};

use super::fault::Doing as _;
use super::home;

/// The proof that this process lives; given back when dropped.
pub(super) struct OwnerLock {
    path: PathBuf,
    _file: File,
}

impl OwnerLock {
    /// Takes the lock of `owner`, and clears away the locks of the dead. To be called while the home's own lock is held, so that no
    /// other process can take a file for a dead one's between its making and its locking.
    pub(super) fn take(home: &Path, owner: OwnerId) -> Result<Self, Fault> {
        let folder = folder(home);
        home::make_folder(&folder)?;
        clear(&folder);
        let path = file_of(&folder, owner);
        let file = home::open_private(&path).doing("making this process's lock file")?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(TryLockError::WouldBlock) => Err(Fault::internal(format!("owner `{owner}` is already open"))),
            Err(TryLockError::Error(error)) => {
                Err(error).doing("locking this process's lock file (the home must be on a local file system)")
            }
        }
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Where it stays behind, the next start clears it away.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether the process of this owner lives. A text that is no owner's id is nobody.
pub(super) fn is_alive(home: &Path, owner: &str) -> bool {
    let Ok(owner) = owner.parse::<OwnerId>() else { return false };
    is_locked(&file_of(&folder(home), owner))
}

/// Whether any process of this home lives.
pub(super) fn any_alive(home: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder(home)) else { return false };
    entries
        .flatten()
        .map(|entry| entry.path())
        .any(|path| path.extension().is_some_and(|extension| extension == "lock") && is_locked(&path))
}

fn folder(home: &Path) -> PathBuf {
    home.join("owners")
}

fn file_of(folder: &Path, owner: OwnerId) -> PathBuf {
    folder.join(format!("{owner}.lock"))
}

fn is_locked(path: &Path) -> bool {
    match File::open(path) {
        // What cannot be told counts as alive: a call is never closed, nor a run taken, on a guess.
        // Shared, so that two who ask at once do not take each other for the owner.
        Ok(file) => file.try_lock_shared().is_err(),
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}

fn clear(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "lock") && !is_locked(&path) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn an_owner_lives_as_long_as_its_lock() {
        let home = tempfile::tempdir().unwrap();
        let owner = OwnerId::mint(Timestamp::from_unix_millis(1));
        assert!(!is_alive(home.path(), &owner.to_string()));
        let lock = OwnerLock::take(home.path(), owner).unwrap();
        assert!(is_alive(home.path(), &owner.to_string()));
        assert!(OwnerLock::take(home.path(), owner).is_err());
        drop(lock);
        assert!(!is_alive(home.path(), &owner.to_string()));
        assert!(!is_alive(home.path(), "../../etc/passwd"));
    }

    #[test]
    fn the_dead_are_cleared_away_and_the_living_left() {
        let home = tempfile::tempdir().unwrap();
        let [dead, living, new] = [1, 2, 3].map(|n| OwnerId::mint(Timestamp::from_unix_millis(n)));
        home::make_folder(&folder(home.path())).unwrap();
        let left_behind = file_of(&folder(home.path()), dead);
        std::fs::write(&left_behind, "").unwrap();
        let _living = OwnerLock::take(home.path(), living).unwrap();
        assert!(!left_behind.exists());
        let _new = OwnerLock::take(home.path(), new).unwrap();
        assert!(is_alive(home.path(), &living.to_string()) && is_alive(home.path(), &new.to_string()));
    }
}
