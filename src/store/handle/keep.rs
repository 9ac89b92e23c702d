//! The store as whoever keeps house sees it.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use toolgate_evidence::bundle::{Bundle, Opening};

use crate::domain::{ArtifactId, ErrorCode, Fault, RunId};

use super::super::room::{self, Room};
use super::super::{NoRoom, RoomLimits, SealedRow, StoredArtifact, Usage, artifacts, evidence, home, keep, open, owners};
use super::Store;

/// Keeps every process out of a home until it is dropped.
pub struct Shut(#[expect(dead_code, reason = "held, not read")] std::fs::File);

/// Waits until no other process is opening the home, and keeps all out.
///
/// # Errors
/// `RUN_STATE` where a process is using it; `STORE_FAILED`.
pub async fn shut(home: &Path) -> Result<Shut, Fault> {
    let lock = home::lock(home).await?;
    if owners::any_alive(home) {
        return Err(Fault::new(ErrorCode::RunState, "a process of this home is running")
            .hint("stop every toolgate that serves it (the MCP clients start them), then try again"));
    }
    Ok(Shut(lock))
}

/// Moves what the write-ahead log of a home holds into the database's own file, so that this file alone is the journal. What cannot be opened
/// stays as it is. While the home is [`shut`].
pub async fn fold(home: &Path, _shut: &Shut) {
    if home.join(open::FILE).is_file()
        && let Ok(mut connection) = open::beside(home).await
    {
        if let Err(fault) = keep::scrub(&mut connection).await {
            tracing::warn!("the write-ahead log could not be emptied: {fault}");
        }
        let _ = connection.close().await;
    }
}

impl Store {
    /// Everything that proves a run: to be signed first, see [`Store::cover`].
    ///
    /// # Errors
    /// `UNKNOWN_RUN`; `AUDIT_BROKEN` where a record or the tree cannot be read or no checkpoint covers the run; `STORE_FAILED`.
    pub async fn evidence(&self, run: &RunId, with_values: bool) -> Result<Bundle, Fault> {
        evidence::of_run(&mut *self.inner.readers.get().await?, run, with_values).await
    }

    /// The records of a run with the values beside them, as they are stored.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn sealed(&self, run: &RunId) -> Result<Vec<SealedRow>, Fault> {
        keep::sealed(self.inner.readers.get().await?, run).await
    }

    /// Overwrites what was taken away: in the database's pages (as it is taken away) and now in its write-ahead log. `false` where
    /// another process is reading just now, so that the log is emptied later.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn scrub(&self) -> Result<bool, Fault> {
        let Some(home) = &self.inner.home else { return Ok(true) };
        let mut connection = open::beside(home).await?;
        let scrubbed = keep::scrub(&mut connection).await;
        let _ = connection.close().await;
        scrubbed
    }

    /// Writes a copy of the database as it is at one moment; calls go on meanwhile.
    ///
    /// # Errors
    /// `STORE_FAILED`, `STORAGE_FULL`.
    pub async fn copy(&self, to: &Path) -> Result<(), Fault> {
        let home = self.on_disk()?;
        let mut connection = open::beside(home).await?;
        let copied = keep::copy(&mut connection, to).await;
        let _ = connection.close().await;
        copied
    }

    /// Every artifact file.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn stored_artifacts(&self) -> Result<Vec<StoredArtifact>, Fault> {
        artifacts::Files::open(self.on_disk()?)?.all()
    }

    /// Of these artifacts, those that no record, value, question or run names.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn unnamed(&self, candidates: HashSet<ArtifactId>) -> Result<HashSet<ArtifactId>, Fault> {
        keep::unnamed(self.inner.readers.get().await?, candidates).await
    }

    /// Removes artifact files, but for those that were put again since they were listed; gives those that are gone.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn remove_artifacts(&self, listed: &[StoredArtifact]) -> Result<Vec<StoredArtifact>, Fault> {
        artifacts::Files::open(self.on_disk()?)?.remove(listed)
    }

    /// Removes what broken-off writes of artifacts left behind.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub fn sweep_artifacts(&self, age: Duration) -> Result<u64, Fault> {
        artifacts::Files::open(self.on_disk()?)?.sweep(age)
    }

    /// Whether a living process has a call in hand.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn has_open_calls(&self) -> Result<bool, Fault> {
        Ok(!super::super::runs::open_calls(self.inner.readers.get().await?).await?.is_empty())
    }

    /// From now on [`Store::room`] answers by these limits, and a reserve is kept on the disk.
    pub fn limit_room(&self, limits: RoomLimits) {
        if let Some(home) = &self.inner.home {
            let _first = self.inner.room.set(Room::new(home, limits));
        }
    }

    /// Whether a call of this run may begin.
    ///
    /// # Errors
    /// `STORAGE_FULL`, for as long as there is no room.
    pub async fn room(&self, run: &RunId) -> Result<(), NoRoom> {
        match self.inner.room.get() {
            Some(room) => room.check(run).await,
            None => Ok(()),
        }
    }

    /// What the home takes and what its disk has left.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn usage(&self) -> Result<Usage, Fault> {
        room::usage(self.on_disk()?).await
    }

    fn on_disk(&self) -> Result<&Path, Fault> {
        self.inner.home.as_deref().ok_or_else(|| Fault::internal("a store in memory has no files"))
    }

    /// The sealed values of a stored text, each as it was hashed; `None` where it is not such a text.
    #[must_use]
    pub fn openings(sealed: &str) -> Option<std::collections::BTreeMap<String, Opening>> {
        evidence::openings(sealed)
    }

    /// The stored text of sealed values.
    ///
    /// # Errors
    /// A fault of ours where a name has no canonical form.
    pub fn sealed_text(values: &std::collections::BTreeMap<String, Opening>) -> Result<Option<String>, Fault> {
        evidence::sealed_text(values)
    }
}
