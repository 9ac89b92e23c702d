//! Keeping house: evidence that leaves it, values that are taken away, old runs put aside, what nobody needs any more, copies and their
//! return.
//!
//! INVARIANT: no record is ever changed or removed, so chain, tree, checkpoints and proofs hold whatever is done here; what is done is
//! itself a record. Does not decide who may: its callers hold the operator's proof.

mod archive;
mod backup;
mod collect;
mod evidence;
mod files;
mod redact;
mod restore;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::{Clock, Fault};
use crate::store::Store;

pub use archive::Archived;
pub use backup::{BackupReport, Manifest};
pub use collect::Collected;
pub use redact::{Redacted, Redaction};
pub use restore::{Restored, put_back};

/// Keeps one home's house.
pub struct Keeper {
    store: Store,
    home: PathBuf,
    clock: Arc<dyn Clock>,
}

impl Keeper {
    /// Of a store that was opened on this home.
    #[must_use]
    pub fn new(store: Store, home: &Path, clock: Arc<dyn Clock>) -> Self {
        Self { store, home: home.to_owned(), clock }
    }

    /// Gives the store back.
    pub async fn close(self) {
        self.store.close().await;
    }

    async fn sign(&self) -> Result<(), Fault> {
        self.store.cover().await.map(drop)
    }
}
