//! The store as whoever sends messages sees it.

use crate::domain::{Fault, MessageId};

use super::super::{OutboxRow, outbox};
use super::Store;

impl Store {
    /// Messages that are due now, the longest waiting first, at most `limit`.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn outbox_due(&self, limit: u32) -> Result<Vec<OutboxRow>, Fault> {
        outbox::due(self.inner.readers.get().await?, self.inner.clock.now(), limit).await
    }

    /// Of these messages, those that are neither sent nor given up.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn outbox_waiting(&self, ids: &[MessageId]) -> Result<Vec<MessageId>, Fault> {
        outbox::waiting(self.inner.readers.get().await?, ids).await
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn outbox_depth(&self) -> Result<u64, Fault> {
        outbox::depth(self.inner.readers.get().await?).await
    }
}
