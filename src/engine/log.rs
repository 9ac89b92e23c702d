//! What the engine needs of the store, no more.
//!
//! INVARIANT: each method means what the one of the same name of `store::Store` means.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::call::Artifacts;
use crate::domain::{ApprovalId, Fault, Millis, RunId};
use crate::run::Event;
use crate::store::{Append, ApprovalRow, Lease, RunFilter, RunRow, Store};

/// The log of runs.
#[async_trait]
pub trait Log: Send + Sync {
    /// See [`Store::append`].
    async fn append(&self, append: Append) -> Result<Vec<Event>, Fault>;
    /// See [`Store::events`].
    async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault>;
    /// See [`Store::changes`].
    fn changes(&self) -> watch::Receiver<u64>;
    /// See [`Store::run`].
    async fn run(&self, run: &RunId) -> Result<Option<RunRow>, Fault>;
    /// See [`Store::runs`].
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault>;
    /// See [`Store::take_lease`].
    async fn take_lease(&self, run: &RunId, span: Millis) -> Result<Option<Lease>, Fault>;
    /// See [`Store::renew_lease`].
    async fn renew_lease(&self, lease: &Lease, span: Millis) -> Result<bool, Fault>;
    /// See [`Store::release_lease`].
    async fn release_lease(&self, lease: Lease) -> Result<(), Fault>;
    /// See [`Store::approval`].
    async fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, Fault>;
    /// See [`Store::artifacts`].
    fn artifacts(&self) -> Arc<dyn Artifacts>;
}

#[async_trait]
impl Log for Store {
    async fn append(&self, append: Append) -> Result<Vec<Event>, Fault> {
        Self::append(self, append).await
    }

    async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
        Self::events(self, run, after, limit).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        Self::changes(self)
    }

    async fn run(&self, run: &RunId) -> Result<Option<RunRow>, Fault> {
        Self::run(self, run).await
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        Self::runs(self, filter).await
    }

    async fn take_lease(&self, run: &RunId, span: Millis) -> Result<Option<Lease>, Fault> {
        Self::take_lease(self, run, span).await
    }

    async fn renew_lease(&self, lease: &Lease, span: Millis) -> Result<bool, Fault> {
        Self::renew_lease(self, lease, span).await
    }

    async fn release_lease(&self, lease: Lease) -> Result<(), Fault> {
        Self::release_lease(self, lease).await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, Fault> {
        Self::approval(self, id).await
    }

    fn artifacts(&self) -> Arc<dyn Artifacts> {
        Self::artifacts(self)
    }
}
