//! Natively compiled code on disk. A file's name holds what it was made for and the SHA-256 of its bytes, so that it can be verified, and so
//! that several processes can make it at once: each writes its own file and renames it to the same or an equal one.
//!
//! INVARIANT: code is loaded only from a folder that nobody but its owner can write to, and only after its digest was found right.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::domain::Digest;

use super::native;

const SUFFIX: &str = ".native";

/// A folder of compiled code.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Opens the folder, making it if need be.
    ///
    /// # Errors
    /// Where it cannot be made, is not a folder, or belongs to or can be written by somebody else.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        make_private(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The code stored under `key`, if it is there, whole, and made by this engine. What is there but damaged is removed.
    pub(super) fn find(&self, engine: &Engine, key: &str) -> Option<Component> {
        for path in self.stored(key) {
            let named = path.file_name().and_then(|name| name.to_str()).and_then(|name| digest_in(name, key));
            let loaded = match (named, file_digest(&path)) {
                (Some(named), Ok(found)) if named == found => native::map(engine, &path).map_err(|error| error.to_string()),
                (_, Ok(_)) => Err("its digest is wrong".to_owned()),
                (_, Err(error)) => Err(error.to_string()),
            };
            match loaded {
                Ok(component) => return Some(component),
                Err(why) => {
                    tracing::warn!(path = %path.display(), "compiled code is not used: {why}");
                    if let Err(error) = fs::remove_file(&path) {
                        tracing::debug!(path = %path.display(), "and cannot be removed: {error}");
                    }
                }
            }
        }
        None
    }

    /// Stores code under `key`.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn store(&self, key: &str, compiled: &[u8]) -> io::Result<()> {
        let name = format!("{key}-{}{SUFFIX}", Digest::of(compiled));
        let temporary = self.folder.join(format!(".{key}-{:016x}", rand::random::<u64>()));
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&temporary).and_then(|mut file| {
            file.write_all(compiled)?;
            file.sync_all()
        });
        let stored = written.and_then(|()| fs::rename(&temporary, self.folder.join(name)));
        if stored.is_err() {
            drop(fs::remove_file(&temporary));
        }
        stored
    }

    fn stored(&self, key: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(|name| digest_in(name, key).is_some()))
            .map(|entry| entry.path())
            .collect();
        paths.sort();
        paths
    }
}

fn digest_in(name: &str, key: &str) -> Option<Digest> {
    name.strip_prefix(key)?.strip_prefix('-')?.strip_suffix(SUFFIX)?.parse().ok()
}

fn file_digest(path: &Path) -> io::Result<Digest> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    let (mut file, mut hasher) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            n => hasher.update(buffer.get(..n).unwrap_or(&[])),
        }
    }
}

#[cfg(unix)]
fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::other("it is not a folder"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(folder: &Path) -> io::Result<()> {
    // The user's own cache folder is private by its inherited access list.
    fs::create_dir_all(folder)
}
