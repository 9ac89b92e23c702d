//! Artifacts as one call sees them: those that runs of its principal stored, and what it stores itself.
//!
//! INVARIANT: bytes are stored once for all, but read only by whoever's run stored them (and the operator); for everybody else an artifact
//! is as unknown as none, found out in the same way. What a call stores becomes its run's with the call's outcome. Tools have no other way
//! to artifacts.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::call::{ArtifactRef, Artifacts};
use crate::domain::{Actor, ArtifactId, Fault};
use crate::store::{Change, Store, unknown_artifact};

use super::Inner;

/// One call's.
pub(super) struct Shelf {
    store: Store,
    who: Actor,
    stored: Mutex<Vec<ArtifactRef>>,
}

impl Inner {
    /// For a call of this one.
    pub(super) fn shelf(&self, who: &Actor) -> Arc<Shelf> {
        Arc::new(Shelf { store: self.store.clone(), who: who.clone(), stored: Mutex::default() })
    }
}

impl Shelf {
    /// What the call stored so far, to be said with its outcome.
    pub(super) fn stored(&self) -> Vec<Change> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *stored).into_iter().map(Change::OwnArtifact).collect()
    }

    fn note(&self, artifact: ArtifactRef) -> ArtifactRef {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner).push(artifact.clone());
        artifact
    }
}

#[async_trait]
impl Artifacts for Shelf {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        self.store.artifacts().put(bytes, media_type).await.map(|artifact| self.note(artifact))
    }

    async fn put_output(&self, bytes: Vec<u8>) -> Result<ArtifactRef, Fault> {
        self.store.artifacts().put_output(bytes).await.map(|artifact| self.note(artifact))
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        if !self.store.may_read(&self.who, id).await? {
            return Err(unknown_artifact(id));
        }
        self.store.artifacts().read(id, offset, limit).await
    }
}
