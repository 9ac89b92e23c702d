//! One file per set on disk: `LOCK-CONTENT.pack`, where LOCK is the lock's digest and CONTENT the SHA-256 of the file's bytes.
//!
//! INVARIANT: a pack is used only if its bytes have the digest in its name; one that has not is removed. Several processes may make the
//! same pack at once: each writes a file of its own and renames it to the same or an equal name.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::Digest;

use super::files::Guard;
use super::lock::Lock;
use super::room::PackageSet;

const MAGIC: &[u8] = b"toolgate packages 1\n";
const SUFFIX: &str = ".pack";
/// Most bytes of a pack: the packages and their bytecode.
pub(super) const MAX_PACK: usize = 192 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    lock: String,
    /// Path and length of each file, in the order of the bytes that follow.
    files: Vec<(String, usize)>,
}

/// Whether a pack of that lock is there, unread.
pub(super) fn is_there(folder: &Path, lock: Digest) -> bool {
    !stored(folder, lock).is_empty()
}

/// The set of that lock, if it is there and whole. What is there but damaged is removed.
pub(super) fn find(folder: &Path, lock: Digest) -> Option<PackageSet> {
    for (path, content) in stored(folder, lock) {
        match load(&path, lock, content) {
            Ok(set) => return Some(set),
            Err(why) => {
                tracing::warn!(path = %path.display(), "a pack of packages is not used: {why}");
                if let Err(error) = fs::remove_file(&path) {
                    tracing::debug!(path = %path.display(), "and cannot be removed: {error}");
                }
            }
        }
    }
    None
}

/// Stores a set.
///
/// # Errors
/// Where the disk does not take it, or the set is larger than a pack may be.
pub(super) fn store(folder: &Path, set: &PackageSet) -> io::Result<()> {
    let bytes = encode(set)?;
    let name = format!("{}-{}{SUFFIX}", set.lock.digest(), Digest::of(&bytes));
    write_whole(folder, &name, &bytes)
}

/// Writes a file for its owner only, so that it is there whole or not at all.
///
/// # Errors
/// Where the disk does not take it.
pub(super) fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!(".{:016x}.new", rand::random::<u64>()));
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let stored = written.and_then(|()| fs::rename(&temporary, folder.join(name)));
    if stored.is_err() {
        drop(fs::remove_file(&temporary));
    }
    stored
}

/// Makes a folder that only its owner can use, or checks that it is one.
///
/// # Errors
/// Where it cannot be made, is not a folder or belongs to somebody else.
#[cfg(unix)]
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other("it is not a folder of this user"));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes a folder below the user's own, which is private by its inherited access list.
///
/// # Errors
/// Where it cannot be made.
#[cfg(not(unix))]
pub(super) fn make_private(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

fn stored(folder: &Path, lock: Digest) -> Vec<(PathBuf, Digest)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let head = format!("{lock}-");
    let mut found: Vec<(PathBuf, Digest)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let name = entry.file_name();
            let content = name.to_str()?.strip_prefix(&head)?.strip_suffix(SUFFIX)?.parse().ok()?;
            Some((entry.path(), content))
        })
        .collect();
    found.sort();
    found
}

fn load(path: &Path, lock: Digest, content: Digest) -> Result<PackageSet, String> {
    let told = |error: io::Error| error.to_string();
    let found = fs::symlink_metadata(path).map_err(told)?;
    if !found.is_file() || found.len() > MAX_PACK as u64 {
        return Err("it is not a plain file of a pack's size".into());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(told)?.take(MAX_PACK as u64).read_to_end(&mut bytes).map_err(told)?;
    if Digest::of(&bytes) != content {
        return Err("its digest is wrong".into());
    }
    let set = decode(&bytes).ok_or("its form is wrong")?;
    if set.lock.digest() != lock { Err("it is of another lock".into()) } else { Ok(set) }
}

fn encode(set: &PackageSet) -> io::Result<Vec<u8>> {
    let files = set.files.iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect();
    let head = serde_json::to_vec(&Head { lock: set.lock.to_string(), files })?;
    let length = u32::try_from(head.len()).map_err(io::Error::other)?;
    let mut bytes = [MAGIC, &length.to_be_bytes(), &head].concat();
    for (_, content) in &set.files {
        bytes.extend_from_slice(content);
    }
    if bytes.len() > MAX_PACK {
        return Err(io::Error::other("the set is larger than a pack may be"));
    }
    Ok(bytes)
}

fn decode(bytes: &[u8]) -> Option<PackageSet> {
    let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    let (head, mut rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    let head: Head = serde_json::from_slice(head).ok()?;
    let (mut guard, mut files) = (Guard::default(), Vec::with_capacity(head.files.len().min(rest.len())));
    for (path, length) in head.files {
        let (content, after) = rest.split_at_checked(length)?;
        guard.file(&path).ok()?;
        files.push((path, Arc::from(content)));
        rest = after;
    }
    Some(PackageSet { lock: Lock::parse(&head.lock)?, files }).filter(|_| rest.is_empty())
}
