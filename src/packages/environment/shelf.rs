//! The folder of environments: made in `building/`, moved whole to `whole/LOCK/`, handed out with a lock that keeps them there.
//!
//! INVARIANT: an environment is used only if its marker, written after everything else was on disk, is undamaged and of that lock, and, at
//! its first use in a process, its files are those the marker tells of. Nothing that somebody uses is removed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Timestamp};
use crate::packages::lock::Lock;
use crate::packages::pack::{make_private, write_whole};

use super::held::Held;
use super::inspect::{Look, look};

/// Most environments that are kept.
const MAX_KEPT: usize = 20;
/// Most bytes of those that are kept.
const MAX_BYTES: u64 = 4 << 30;
const MAX_MARKER: u64 = 1 << 20;
const MARKER: &str = "marker";
/// The folder within one of `whole/` that is mounted.
const INSIDE: &str = "env";

/// The folder.
pub(super) struct Shelf {
    folder: PathBuf,
    /// What locks of environments begin with.
    python: String,
    exe: PathBuf,
    /// Locks whose files were compared with their marker by this process.
    compared: Mutex<HashSet<Digest>>,
}

/// What lies beside an environment.
#[derive(Serialize, Deserialize)]
struct Marker {
    lock: String,
    tree: Digest,
    bytes: u64,
    bin: Vec<String>,
}

/// An environment that is whole, and stays as long as this lives.
#[derive(Debug)]
pub(super) struct Whole {
    /// What is in it.
    pub(super) lock: Lock,
    /// The folder to be mounted.
    pub(super) folder: PathBuf,
    /// Programs that its packages brought.
    pub(super) bin: Vec<String>,
    _use: Held,
}

/// A place to build in; removed with all that is left in it when it is dropped.
pub(super) struct Building {
    folder: PathBuf,
    alive: Option<Held>,
}

impl Shelf {
    /// The shelf for one Python; made when something is put there.
    pub(super) fn new(folder: &Path, python: String, exe: PathBuf) -> Self {
        Self { folder: folder.to_owned(), python, exe, compared: Mutex::default() }
    }

    /// Whether an environment of that lock is there, by its marker alone.
    pub(super) fn is_there(&self, lock: Digest) -> bool {
        self.marker(lock).is_some()
    }

    /// The environment of that lock, if it is there and whole.
    ///
    /// # Errors
    /// Where the disk does not do what it should.
    pub(super) fn find(&self, lock: Digest, now: Timestamp) -> io::Result<Option<Whole>> {
        if !self.is_there(lock) {
            return Ok(None);
        }
        self.prepare()?;
        let held = Held::shared(&self.user_path(lock))?;
        let Some((marker, text)) = self.marker(lock) else { return Ok(None) };
        let folder = self.place(lock).join(INSIDE);
        if !self.compared.lock().unwrap_or_else(PoisonError::into_inner).contains(&lock) {
            match look(&folder, &self.exe) {
                Ok(found) if (found.tree, &found.bin) == (marker.tree, &marker.bin) => {}
                Ok(_) => return Ok(damaged(&folder, "its files are not those it was made with")),
                Err(why) => return Ok(damaged(&folder, &why)),
            }
            self.compared.lock().unwrap_or_else(PoisonError::into_inner).insert(lock);
        }
        held.touch(time(now));
        Ok(Some(Whole { lock: text, folder, bin: marker.bin, _use: held }))
    }

    /// The lock under which one process makes what belongs to `name`, if nobody has it now.
    ///
    /// # Errors
    /// Where the disk does not do it.
    pub(super) fn reserve(&self, name: &str) -> io::Result<Option<Held>> {
        self.prepare()?;
        Held::alone(&self.folder.join("locks").join(format!("{name}.make")))
    }

    /// A new place to build in. Sweeps those that dead processes left.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn building(&self) -> io::Result<Building> {
        self.prepare()?;
        let parent = self.folder.join("building");
        sweep(&parent);
        let folder = parent.join(format!("{:032x}", rand::random::<u128>()));
        let alive = Held::alone(&folder.with_extension("alive"))?;
        let building = Building { folder, alive: Some(alive.ok_or_else(|| io::Error::other("a new lock is taken already"))?) };
        make_private(&building.folder)?;
        Ok(building)
    }

    /// Puts what was built in the place of its lock; whatever lay there is removed. The caller has the reservation of that lock.
    ///
    /// # Errors
    /// What is wrong with it, or that the disk does not take it.
    pub(super) fn put(&self, building: &Building, lock: &Lock, now: Timestamp) -> Result<Whole, String> {
        let told = |error: io::Error| error.to_string();
        let made = building.folder.join(INSIDE);
        let Look { tree, bytes, bin } = look(&made, &self.exe)?;
        // One call for the whole file system takes less than one for each of thousands of files.
        rustix::fs::syncfs(File::open(&made).map_err(told)?).map_err(|error| told(error.into()))?;
        let (digest, marker) = (lock.digest(), Marker { lock: lock.to_string(), tree, bytes, bin: bin.clone() });
        let body = serde_json::to_string(&marker).map_err(|error| error.to_string())?;
        let stage = building.subfolder("stage").map_err(told)?;
        fs::rename(&made, stage.join(INSIDE)).map_err(told)?;
        write_whole(&stage, MARKER, format!("{}\n{body}", check(&body)).as_bytes()).map_err(told)?;
        File::open(&stage).and_then(|folder| folder.sync_all()).map_err(told)?;

        let held = Held::shared(&self.user_path(digest)).map_err(told)?;
        held.touch(time(now));
        let place = self.place(digest);
        if fs::symlink_metadata(&place).is_ok() {
            fs::rename(&place, building.folder.join("old")).map_err(told)?;
        }
        fs::rename(&stage, &place).map_err(told)?;
        File::open(self.folder.join("whole")).and_then(|folder| folder.sync_all()).map_err(told)?;
        self.compared.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
        let whole = Whole { lock: lock.clone(), folder: place.join(INSIDE), bin, _use: held };
        self.thin();
        Ok(whole)
    }

    /// Removes environments that were not used for longest, beyond what is kept. Those in use stay, and count.
    fn thin(&self) {
        let Ok(entries) = fs::read_dir(self.folder.join("whole")) else { return };
        let digests = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse::<Digest>().ok());
        let used = |lock| fs::metadata(self.user_path(lock)).and_then(|found| found.modified()).unwrap_or(UNIX_EPOCH);
        let mut found: Vec<(SystemTime, Digest)> = digests.map(|lock| (used(lock), lock)).collect();
        found.sort();
        found.reverse();
        let (mut count, mut bytes) = (0_usize, 0_u64);
        for (_, lock) in found {
            let size = self.marker(lock).map_or(0, |(marker, _)| marker.bytes);
            if count < MAX_KEPT && bytes.saturating_add(size) <= MAX_BYTES || !self.remove(lock) {
                count += 1;
                bytes = bytes.saturating_add(size);
            }
        }
    }

    /// Removes an environment, unless it is used.
    fn remove(&self, lock: Digest) -> bool {
        let Ok(Some(held)) = Held::alone(&self.user_path(lock)) else { return false };
        let Ok(building) = self.building() else { return false };
        if fs::rename(self.place(lock), building.folder.join("old")).is_err() {
            return false;
        }
        self.compared.lock().unwrap_or_else(PoisonError::into_inner).remove(&lock);
        held.remove();
        drop(building);
        true
    }

    /// The marker of that lock, and the lock itself.
    fn marker(&self, lock: Digest) -> Option<(Marker, Lock)> {
        let path = self.place(lock).join(MARKER);
        let found = fs::symlink_metadata(&path).ok().filter(|found| found.is_file() && found.len() <= MAX_MARKER);
        let text = found.and_then(|_| fs::read_to_string(&path).ok())?;
        let (digest, body) = text.split_once('\n')?;
        let marker: Marker = serde_json::from_str(body).ok().filter(|_| digest.parse() == Ok(check(body)))?;
        let text = Lock::parse_of(&self.python, &marker.lock).filter(|text| text.digest() == lock)?;
        Some((marker, text))
    }

    fn prepare(&self) -> io::Result<()> {
        make_private(&self.folder)?;
        ["building", "whole", "locks"].iter().try_for_each(|name| make_private(&self.folder.join(name)))
    }

    fn place(&self, lock: Digest) -> PathBuf {
        self.folder.join("whole").join(lock.to_string())
    }

    fn user_path(&self, lock: Digest) -> PathBuf {
        self.folder.join("locks").join(format!("{lock}.use"))
    }
}

impl Building {
    /// An empty folder in it, which others may enter by a mount.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn subfolder(&self, name: &str) -> io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder.join(name);
        fs::create_dir(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// The one that becomes the environment.
    ///
    /// # Errors
    /// Where the disk does not take it.
    pub(super) fn environment(&self) -> io::Result<PathBuf> {
        self.subfolder(INSIDE)
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::debug!(path = %self.folder.display(), "a place to build in cannot be removed: {error}");
        }
        if let Some(alive) = self.alive.take() {
            alive.remove();
        }
    }
}

/// Removes what builders left that are dead: nobody holds the lock of their folder.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        // A folder is made after its lock, and removed before it; so the locks of folders without one are made here.
        if let Ok(Some(held)) = Held::alone(&path.with_extension("alive")) {
            let left = path.with_extension("");
            if left.exists() && fs::remove_dir_all(&left).is_err() {
                tracing::debug!(path = %left.display(), "what a dead process left cannot be removed");
            }
            held.remove();
        }
    }
}

fn damaged(folder: &Path, why: &str) -> Option<Whole> {
    tracing::warn!(path = %folder.display(), "an environment is not used: {why}");
    None
}

fn check(body: &str) -> Digest {
    Digest::of_parts("toolgate environment 1", &[body.as_bytes()])
}

fn time(now: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(now.unix_millis())
}
