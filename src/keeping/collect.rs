//! Removes artifacts that nothing refers to.
//!
//! INVARIANT: an artifact that any record, value, question or run names stays, and so does one that was put within [`GRACE`]: a call may
//! be about to name it. Broken off at any point it has removed only what nobody needs.

use std::time::Duration;

use serde::Serialize;

use crate::domain::Fault;

use super::Keeper;

/// Longer than any call takes from storing bytes to recording that it did.
pub(super) const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Collected {
    /// Artifacts looked at.
    pub seen: u64,
    /// Artifacts removed (or, where only asked, to be removed).
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Leftovers of writes that were broken off.
    pub leftovers: u64,
}

impl Keeper {
    /// Removes artifacts that nothing names and that are older than a day; `only_ask` removes nothing.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn collect(&self, only_ask: bool) -> Result<Collected, Fault> {
        self.collect_older(GRACE, only_ask).await
    }

    async fn collect_older(&self, grace: Duration, only_ask: bool) -> Result<Collected, Fault> {
        let mut listed = self.store.stored_artifacts()?;
        let seen = listed.len() as u64;
        listed.retain(|stored| stored.put.elapsed().is_ok_and(|age| age >= grace));
        let free = self.store.unnamed(listed.iter().map(|stored| stored.id).collect()).await?;
        listed.retain(|stored| free.contains(&stored.id));
        let (gone, leftovers) =
            if only_ask { (listed, 0) } else { (self.store.remove_artifacts(&listed)?, self.store.sweep_artifacts(grace)?) };
        Ok(Collected { seen, artifacts: gone.len() as u64, bytes: gone.iter().map(|stored| stored.size).sum(), leftovers })
    }
}
