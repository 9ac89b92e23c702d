//! Small files that belong to their owner alone, replaced whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::domain::{ErrorCode, Fault};

/// No file of ours is larger.
const LARGEST: u64 = 64 * 1024;

/// The fault of a file that cannot be used.
pub(super) fn trouble(path: &Path, what: &str, why: &dyn std::fmt::Display) -> Fault {
    Fault::new(ErrorCode::OperatorLocked, format!("`{}` {what}: {why}", path.display()))
        .hint("the operator's passphrase is kept there; look at the file, or remove it and set a new passphrase")
}

/// The file's bytes; `None` where it is not there. Refuses links, and files that others may read or write.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a plain file"));
    }
    let file = File::open(path)?;
    private(&file)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too large"));
    }
    Ok(Some(bytes))
}

#[cfg(unix)]
fn private(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if file.metadata()?.permissions().mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "others than its owner may use it (mend with `chmod 600`)"))
    }
}

#[cfg(not(unix))]
fn private(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Writes a whole file by a temporary one and a rename; on disk when this returns.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut random = [0_u8; 8];
    rand::fill(&mut random);
    let temporary = path.with_extension(format!("{:016x}.tmp", u64::from_be_bytes(random)));
    let written = write_new(&temporary, bytes).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = owner_only(OpenOptions::new().write(true).create_new(true)).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn owner_only(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600)
    }
    #[cfg(not(unix))]
    options
}

/// Waits until no other process tries a passphrase on this home; others wait until what this returns is dropped.
pub(super) fn turn(home: &Path) -> Result<File, Fault> {
    let path: PathBuf = home.join("operator.lock");
    let locked = std::fs::create_dir_all(home)
        .and_then(|()| owner_only(OpenOptions::new().write(true).create(true).truncate(false)).open(&path))
        .and_then(|file| file.lock().map(|()| file));
    locked.map_err(|error| trouble(&path, "cannot be locked", &error))
}
