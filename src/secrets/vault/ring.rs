//! The vault's keys at hand: read once, read again where a record needs another, made where there is none.

use std::sync::{Arc, PoisonError};

use crate::domain::{Fault, KeyRow};

use super::key::{MasterKey, Ring};
use super::place::Lies;
use super::shelf::Kept;
use super::{Vault, state};

/// The keys, and where they lie.
pub(super) struct Opened {
    pub(super) ring: Ring,
    pub(super) lies: Lies,
}

impl Vault {
    /// Keeps other processes from changing keys. Waiting for it blocks a thread of its own.
    pub(super) async fn turn(&self) -> Result<std::fs::File, Fault> {
        let inner = self.inner.clone();
        blocking(move || inner.parts.place.turn()).await
    }

    pub(super) fn cached(&self) -> Option<Arc<Opened>> {
        self.inner.ring.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn cache(&self, opened: Option<Arc<Opened>>) {
        *self.inner.ring.lock().unwrap_or_else(PoisonError::into_inner) = opened;
    }

    pub(super) fn forget_ring(&self) {
        self.cache(None);
    }

    /// The keys for what is kept, read again where those at hand do not fit.
    pub(super) async fn ring(&self, kept: &Kept) -> Result<Arc<Opened>, Fault> {
        self.ring_or_none(kept).await?.ok_or_else(|| self.inner.parts.place.missing())
    }

    /// The same; `None` where there is no key and none was ever needed.
    pub(super) async fn ring_or_none(&self, kept: &Kept) -> Result<Option<Arc<Opened>>, Fault> {
        if let Some(opened) = self.cached()
            && state::check_ring(kept, &opened.ring, &opened.lies).is_ok()
            && opened.ring.current().is_ok_and(|key| is_known(kept, key))
        {
            return Ok(Some(opened));
        }
        let inner = self.inner.clone();
        let Some((ring, lies)) = blocking(move || inner.parts.place.load()).await? else {
            return if kept.keys.is_empty() { Ok(None) } else { Err(self.inner.parts.place.missing()) };
        };
        state::check_ring(kept, &ring, &lies)?;
        let opened = Arc::new(Opened { ring, lies });
        self.cache(Some(opened.clone()));
        Ok(Some(opened))
    }

    pub(super) async fn first_key(&self) -> Result<Arc<Opened>, Fault> {
        let inner = self.inner.clone();
        let opened = blocking(move || {
            let ring = Ring::of(MasterKey::random()?);
            let lies = inner.parts.place.create(&ring)?;
            Ok(Arc::new(Opened { ring, lies }))
        })
        .await?;
        self.cache(Some(opened.clone()));
        Ok(opened)
    }
}

/// Whether the vault knows this key.
pub(super) fn is_known(kept: &Kept, key: &MasterKey) -> bool {
    kept.keys.iter().any(|row| row.id == key.id().to_string())
}

/// What is kept of it.
pub(super) fn key_row(key: &MasterKey) -> KeyRow {
    KeyRow { id: key.id().to_string(), proof: key.proof().to_vec() }
}

/// Reading keys may wait for a disk, a lock or another program.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::internal("reading the vault's key was broken off"))?
}
