//! The only SQL of the house: journal, runs, approvals, leases; and the files of artifacts.
//!
//! INVARIANT: whatever [`Store::append`] acknowledged is on disk, chained to what was before it, whichever process wrote that.
//! Does not interpret events: state is `run::fold`'s, decisions are `policy`'s.

mod types;

pub use types::{
    Append, ApprovalFilter, ApprovalRow, ApprovalStatus, Change, Durability, Guard, Lease, NewApproval, OpenCall, OpenOptions,
    RecordColumns, RunFilter, RunRow, StoreResult, StoredRecord,
};

use std::sync::Arc;

use crate::call::Artifacts;
use crate::domain::{ApprovalId, Digest, Fault, Millis, OwnerId, RunId};
use crate::run::Event;

/// A handle to one home's database; cheap to clone, safe beside other processes on the same home.
#[derive(Clone)]
pub struct Store {}

#[expect(clippy::unused_async, reason = "skeleton")]
impl Store {
    /// Opens or creates the database of a home and takes the lock of `options.owner`.
    pub async fn open(options: OpenOptions) -> Result<Self, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// This process.
    pub fn owner(&self) -> OwnerId {
        unimplemented!()
    }

    /// Appends events to one run and makes the changes that go with them, in one durable transaction, or nothing at all.
    /// Waits in a queue with other callers' appends and shares their commit.
    pub async fn append(&self, append: Append) -> Result<Vec<Event>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Events of a run with `seq > after`, at most `limit`, in order.
    pub async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Fires whenever this process has committed something (the value is a counter). Other processes' commits are not seen here:
    /// who waits for those polls as well.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        unimplemented!()
    }

    /// One run.
    pub async fn run(&self, run: &RunId) -> Result<Option<RunRow>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Runs, the newest first.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Takes the right to drive a run for `span`, unless a living process has it. Each taking raises the fencing token.
    pub async fn take_lease(&self, run: &RunId, span: Millis) -> Result<Option<Lease>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Extends a lease; `false` when it was lost.
    pub async fn renew_lease(&self, lease: &Lease, span: Millis) -> Result<bool, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Gives a lease back.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// One approval.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Approvals, the newest first.
    pub async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// The newest approval of a call digest that is pending, approved or denied (not used, not expired).
    pub async fn approval_of(&self, digest: &Digest) -> Result<Option<ApprovalRow>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Intents without an outcome whose owner process is gone.
    pub async fn orphaned_calls(&self) -> Result<Vec<OpenCall>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// Raw rows of the journal with `index >= from`, at most `limit`, for verification and export.
    pub async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, Fault> {
        Err(Fault::internal("skeleton"))
    }

    /// The artifact files.
    pub fn artifacts(&self) -> Arc<dyn Artifacts> {
        unimplemented!()
    }

    /// Stops the writer after what is queued, and gives the owner lock back.
    pub async fn close(self) {}
}
