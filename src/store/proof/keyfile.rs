//! The audit key as it lies on disk: apart from the database, readable by its owner alone.
//!
//! INVARIANT: a key that somebody else could read or that is reached through a link is refused, never used. A new key is on disk
//! before anything is signed with it. Does not sign and does not decide when a key is made.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::{ErrorCode, Fault};

use super::super::fault::Doing as _;
use super::super::home;
use super::key::AuditKey;

/// Longer than any key file.
const MOST: u64 = 4096;

/// Where the files of the audit key are.
#[derive(Debug, Clone)]
pub(in crate::store) struct KeyFiles {
    folder: PathBuf,
    key: PathBuf,
}

impl KeyFiles {
    /// Those of a home; `key` is the key's own place where it is not in the home.
    pub(in crate::store) fn new(home: &Path, key: Option<&Path>) -> Self {
        let folder = home.join("audit");
        let key = key.map_or_else(|| folder.join("key"), Path::to_owned);
        Self { folder, key }
    }

    /// The folder `audit` of the home.
    pub(in crate::store) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads the key; `None` where there is none.
    ///
    /// # Errors
    /// `AUDIT_KEY_REFUSED` where it cannot be trusted or read.
    pub(in crate::store) fn load(&self) -> Result<Option<AuditKey>, Fault> {
        read(&self.key)
    }

    /// The key that was made for a rotation that did not come to its end.
    pub(in crate::store) fn load_next(&self) -> Result<Option<AuditKey>, Fault> {
        read(&self.next())
    }

    fn next(&self) -> PathBuf {
        let mut name = self.key.clone().into_os_string();
        name.push(".next");
        PathBuf::from(name)
    }

    /// Writes a key beside the present one, to be taken by [`KeyFiles::advance`].
    pub(in crate::store) fn prepare(&self, key: &AuditKey) -> Result<(), Fault> {
        home::make_folder(&self.folder)?;
        write_private(&self.next(), key.private().expose_secret().as_bytes())
    }

    /// Makes the prepared key the present one, and its public half with it.
    pub(in crate::store) fn advance(&self, key: &AuditKey) -> Result<(), Fault> {
        fs::rename(self.next(), &self.key).doing("putting the new audit key in its place")?;
        sync_folder(&self.key)?;
        self.publish(key)
    }

    /// Takes a prepared key away.
    pub(in crate::store) fn discard(&self) {
        // Where it stays behind, the next rotation writes over it.
        let _ = fs::remove_file(self.next());
    }

    /// Writes the public half, in the form that verifiers of signed notes take.
    pub(in crate::store) fn publish(&self, key: &AuditKey) -> Result<(), Fault> {
        replace(&self.folder.join("key.pub"), format!("{}\n", key.public()).as_bytes())
    }

    /// The public half as it lies there.
    pub(in crate::store) fn published(&self) -> Option<String> {
        fs::read_to_string(self.folder.join("key.pub")).ok().map(|text| text.trim().to_owned())
    }
}

fn refused(path: &Path, what: &str) -> Fault {
    Fault::new(ErrorCode::AuditKeyRefused, format!("the audit key `{}` {what}", path.display()))
}

fn read(path: &Path) -> Result<Option<AuditKey>, Fault> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map_err(|error| refused(path, &format!("cannot be read: {error}")))?;
    let key = AuditKey::parse(&SecretString::from(text)).ok_or_else(|| {
        refused(path, "does not hold a key").hint("put the right file back; without it see `toolgate audit accept` in docs/audit.md")
    })?;
    Ok(Some(key))
}

#[cfg(unix)]
fn open(path: &Path) -> Result<Option<File>, Fault> {
    use rustix::fs::{Mode, OFlags};
    use std::os::unix::fs::MetadataExt as _;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => return Err(refused(path, "is a link").hint("name the file itself in `audit.key_file`")),
        Err(error) => return Err(refused(path, &format!("cannot be opened: {error}"))),
    };
    let found = file.metadata().map_err(|error| refused(path, &format!("cannot be looked at: {error}")))?;
    if !found.is_file() {
        return Err(refused(path, "is not a file"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(path, "belongs to another user").hint("give it to the user that runs toolgate"));
    }
    if found.mode() & 0o077 != 0 {
        return Err(refused(path, &format!("can be used by others (mode {:03o})", found.mode() & 0o777))
            .hint("if nobody else has read it, `chmod 600` it; if somebody may have, `toolgate audit rotate-key` after that"));
    }
    Ok(Some(file))
}

#[cfg(not(unix))]
fn open(path: &Path) -> Result<Option<File>, Fault> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(path, &format!("cannot be opened: {error}"))),
    }
}

/// Writes a file that only its owner can read, and waits for the disk.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let _ = fs::remove_file(path);
    let mut file = home::open_private(path).doing("making the audit key's file")?;
    file.write_all(bytes).and_then(|()| file.sync_all()).doing("writing the audit key")?;
    sync_folder(path)
}

/// Replaces a file whole: after a crash the old or the new content is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut name = path.to_owned().into_os_string();
    name.push(".new");
    let new = PathBuf::from(name);
    write_private(&new, bytes)?;
    fs::rename(&new, path).doing(&format!("replacing `{}`", path.display()))?;
    sync_folder(path)
}

/// Waits until a name is on the disk.
fn sync_folder(path: &Path) -> Result<(), Fault> {
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder).and_then(|folder| folder.sync_all()).doing(&format!("writing the folder `{}`", folder.display()))?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
