//! Artifact bytes, stored once under their SHA-256.
//!
//! INVARIANT: what `put` acknowledged is on disk; what `read` gives was hashed since it last changed there, so damage is an error and
//! never an answer. Does not know who may read what: see [`super::Store::may_read`].

mod keep;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::call::{ArtifactRef, Artifacts};
use crate::domain::{ArtifactId, Digest, ErrorCode, Fault};

use super::fault::Doing as _;
use super::home;

pub use keep::Stored as StoredArtifact;

/// The artifacts that lie in a home; none where it has no folder for them.
pub(super) fn listed(home: &Path) -> Result<Vec<StoredArtifact>, Fault> {
    if home.join("artifacts").is_dir() { Files::open(home)?.all() } else { Ok(Vec::new()) }
}

/// There is no such artifact, or none that whoever asks may read.
pub fn unknown(id: &ArtifactId) -> Fault {
    Fault::new(ErrorCode::UnknownArtifact, format!("no artifact `{id}`")).hint("artifact.list shows a run's artifacts")
}

fn reference(id: ArtifactId, size: usize, media_type: &str) -> ArtifactRef {
    ArtifactRef { artifact: id, size: size as u64, media_type: media_type.to_owned() }
}

/// Artifacts as files of a home: `artifacts/ab/cdef…`.
#[derive(Clone)]
pub(super) struct Files {
    folder: PathBuf,
    /// Files that were hashed, and how they looked then.
    verified: Arc<Mutex<HashMap<ArtifactId, Looks>>>,
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Looks {
    size: u64,
    modified: Option<SystemTime>,
}

impl Files {
    pub(super) fn open(home: &Path) -> Result<Self, Fault> {
        let folder = home.join("artifacts");
        home::make_folder(&folder)?;
        Ok(Self { folder, verified: Arc::default() })
    }

    fn place(&self, id: &ArtifactId) -> (PathBuf, PathBuf) {
        let name = id.to_string();
        let (first, rest) = name.split_at_checked(2).unwrap_or(("", &name));
        let folder = self.folder.join(first);
        let file = folder.join(rest);
        (folder, file)
    }

    fn write(&self, id: &ArtifactId, bytes: &[u8]) -> Result<(), Fault> {
        let (folder, file) = self.place(id);
        let _putting = keep::putting(&self.folder).doing("storing an artifact")?;
        if let Ok(Some((there, _))) = self.sound(id, &file) {
            keep::touch(&there, there.metadata().and_then(|about| about.modified()).ok());
            return Ok(());
        }
        home::make_folder(&folder)?;
        let mut random = [0_u8; 16];
        rand::fill(&mut random);
        let temporary = self.folder.join(format!("new-{:032x}", u128::from_be_bytes(random)));
        let written = || -> io::Result<()> {
            let mut new = home::open_private(&temporary)?;
            new.write_all(bytes)?;
            new.sync_all()?;
            std::fs::rename(&temporary, &file)?;
            sync_folder(&folder)?;
            sync_folder(&self.folder)
        };
        written().inspect_err(|_| drop(std::fs::remove_file(&temporary))).doing("storing an artifact")
    }

    /// The file, opened, and its size, once its bytes are known to be the artifact's; `None` where there is none.
    fn sound(&self, id: &ArtifactId, path: &Path) -> Result<Option<(File, u64)>, Fault> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("opening an artifact"),
        };
        let metadata = file.metadata().doing("reading an artifact")?;
        let looks = Looks { size: metadata.len(), modified: metadata.modified().ok() };
        let known = self.verified.lock().unwrap_or_else(PoisonError::into_inner).get(id) == Some(&looks);
        if !known {
            let mut hasher = Sha256::new();
            let mut piece = vec![0; 64 << 10];
            loop {
                let read = file.read(&mut piece).doing("reading an artifact")?;
                let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else { break };
                hasher.update(read);
            }
            if Digest::from_bytes(hasher.finalize().into()) != *id.digest() {
                return Err(Fault::new(ErrorCode::StoreFailed, format!("artifact `{id}` is damaged on disk"))
                    .hint("restore the home's artifacts folder from a backup, or make the artifact again"));
            }
            self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(*id, looks);
        }
        Ok(Some((file, looks.size)))
    }

    fn part(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let (_, path) = self.place(id);
        let (mut file, size) = self.sound(id, &path)?.ok_or_else(|| unknown(id))?;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(offset.min(size))).doing("reading an artifact")?;
        file.take(limit).read_to_end(&mut bytes).doing("reading an artifact")?;
        Ok((bytes, size))
    }
}

/// Makes a folder's new entry last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(Fault::internal("work on an artifact was broken off")))
}

#[async_trait]
impl Artifacts for Files {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        let files = self.clone();
        let media_type = media_type.to_owned();
        blocking(move || {
            let id = ArtifactId::of(&bytes);
            files.write(&id, &bytes)?;
            Ok(reference(id, bytes.len(), &media_type))
        })
        .await
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let (files, id) = (self.clone(), *id);
        blocking(move || files.part(&id, offset, limit)).await
    }
}

/// Artifacts of a home in memory.
#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<ArtifactId, Vec<u8>>>);

#[async_trait]
impl Artifacts for Memory {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        let id = ArtifactId::of(&bytes);
        let reference = reference(id, bytes.len(), media_type);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id, bytes);
        Ok(reference)
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = all.get(id).ok_or_else(|| unknown(id))?;
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let part = bytes.iter().skip(index(offset)).take(index(limit)).copied().collect();
        Ok((part, bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests;
