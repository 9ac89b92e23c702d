//! The home's folder and files as the file system has them: private to their owner, opened by one process at a time.
//!
//! INVARIANT: whatever is made here, only the user who runs toolgate can read. A file that is not ours is left as it is. Knows no SQL.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use crate::domain::{ErrorCode, Fault};

use super::fault::Doing as _;

/// "TGat": tells our databases from others (SQLite header, offset 68).
pub(super) const APPLICATION_ID: u32 = 0x5447_6174;
/// How long one process waits for another that is opening the home.
const OPENING: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// Makes a folder, and those above it, that only its owner can enter; an existing one is closed to others.
pub(super) fn make_folder(path: &Path) -> Result<(), Fault> {
    let made = || -> io::Result<()> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            let permissions = std::fs::metadata(path)?.permissions();
            if permissions.mode() & 0o077 != 0 {
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
            }
        }
        #[cfg(not(unix))]
        std::fs::create_dir_all(path)?;
        Ok(())
    };
    made().doing(&format!("making the folder `{}`", path.display()))
}

/// Opens or makes a file that only its owner can read; an existing one is closed to others.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Waits until no other process is opening this home, and keeps others waiting until the file is dropped.
pub(super) async fn lock(home: &Path) -> Result<File, Fault> {
    let file = open_private(&home.join("toolgate.lock")).doing("making the home's lock file")?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).doing("locking the home (it must be on a local file system)");
            }
            Err(TryLockError::WouldBlock) if waited >= OPENING => {
                return Err(Fault::new(ErrorCode::StoreFailed, "another process has been opening this home for too long")
                    .hint("look for a toolgate process that hangs"));
            }
            Err(TryLockError::WouldBlock) => {
                tokio::time::sleep(STEP).await;
                waited += STEP;
            }
        }
    }
}

/// What lies where the database should be, judged by its first bytes, before SQLite may touch it.
///
/// # Errors
/// `STORE_FAILED` where it is something else, `STORE_TOO_NEW` where it is ours and newer than `version`.
pub(super) fn inspect(path: &Path, version: u32) -> Result<(), Fault> {
    let mut header = Vec::with_capacity(100);
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).doing("reading the database file")?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).doing("opening the database file"),
    };
    if header.is_empty() {
        return Ok(());
    }
    let number = |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u32::from_be_bytes(*bytes));
    let (Some(pages), Some(newest), Some(application)) = (number(28), number(60), number(68)) else { return Err(foreign(path)) };
    let is_sqlite = header.starts_with(b"SQLite format 3\0");
    // A new database of ours has one page, and no number yet, until its first checkpoint.
    let is_ours = application == APPLICATION_ID || (application == 0 && pages <= 1);
    if !is_sqlite || !is_ours {
        return Err(foreign(path));
    }
    if application == APPLICATION_ID && newest > version { Err(too_new(newest, version)) } else { Ok(()) }
}

pub(super) fn foreign(path: &Path) -> Fault {
    Fault::new(ErrorCode::StoreFailed, format!("`{}` is not a toolgate database", path.display()))
        .hint("nothing was changed; move the file away, restore it from a backup, or choose another home with --home")
}

pub(super) fn too_new(found: u32, known: u32) -> Fault {
    Fault::new(ErrorCode::StoreTooNew, format!("the database has format {found}, and this toolgate knows up to {known}"))
        .hint("nothing was changed; use the newer toolgate that wrote it, or choose another home with --home")
}
