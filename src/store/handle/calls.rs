//! The store as whoever asks later what became of a call sees it.

use crate::domain::{CallId, Fault, OwnerId};
use crate::run::Event;

use super::super::{events, owners};
use super::Store;

impl Store {
    /// Every event that names this call, in the order of the journal.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where one cannot be read; `STORE_FAILED`.
    pub async fn events_of_call(&self, call: &CallId) -> Result<Vec<Event>, Fault> {
        events::naming_call(self.inner.readers.get().await?, call).await
    }

    /// Whether the process of this owner lives; in memory there is only this one.
    #[must_use]
    pub fn is_alive(&self, owner: &OwnerId) -> bool {
        *owner == self.inner.owner || self.inner.home.as_deref().is_some_and(|home| owners::is_alive(home, &owner.to_string()))
    }
}
