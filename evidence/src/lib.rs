//! What proves toolgate's log to somebody who has no toolgate: a Merkle tree over the records, signed checkpoints, and bundles that carry
//! one run with all that is needed to check it.
//!
//! INVARIANT: pure: no clock, no files, no network. Does not know what an event means, beyond the few words that `bundle::claims` reads.

pub mod bundle;
pub mod canonical;
pub mod checkpoint;
pub mod tree;
