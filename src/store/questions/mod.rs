//! Questions to humans beyond the single row: how many may wait, what was allowed for a while, which runs asked too much.
//!
//! INVARIANT: limits, coalescing, grants and pauses are decided inside the writer's transaction, so two processes cannot both be the
//! last to ask. Does not know what a question is about: see `gateway`.

pub(super) mod read;
pub(super) mod state;
mod types;
pub(super) mod write;

pub use types::{AskLimits, Channel, GrantRow, GrantStatus, NewGrant, PausedRun};
