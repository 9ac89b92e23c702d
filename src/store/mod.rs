//! The only SQL of the house: journal, runs, approvals, leases; and the files of artifacts.
//!
//! INVARIANT: whatever [`Store::append`] acknowledged is on disk, chained to what was before it, whichever process wrote that.
//! Does not interpret events: state is `run::fold`'s, decisions are `policy`'s.

mod apply;
mod approvals;
mod artifacts;
mod budgets;
mod drive_index;
mod events;
mod evidence;
mod fault;
mod flush;
mod handle;
mod home;
mod keep;
mod known;
mod leases;
mod open;
mod outbox;
mod owners;
mod proof;
mod questions;
mod remembered;
mod room;
mod runs;
mod scrub;
mod state;
mod tally;
mod tree;
mod types;
mod vault;
mod verify;
mod writer;

pub use artifacts::{StoredArtifact, unknown as unknown_artifact};
pub use drive_index::DriveIndex;
pub use handle::{Shut, Store, fold, shut};
pub use keep::SealedRow;
pub use outbox::{OutboxRow, OutboxWrite};
pub use proof::{AuditOptions, InclusionProof, SignedCheckpoint};
pub use questions::{AskLimits, Channel, GrantRow, GrantStatus, NewGrant, PausedRun};
pub use room::{NoRoom, RoomLimits, Usage};
pub use tally::Tally;
pub use types::{
    Append, ApprovalFilter, ApprovalRow, ApprovalStatus, BadRecord, Change, Durability, Guard, Lease, NewApproval, OpenCall, OpenOptions,
    RecordColumns, RunFilter, RunRow, StoreResult, StoredRecord, Taken, VerifyReport,
};
pub use vault::VaultRows;

#[cfg(test)]
mod tests;
