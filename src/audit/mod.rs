//! The record's bytes, its hash, and the chain of all records: what an auditor recomputes.
//!
//! INVARIANT: pure, and fixed for ever for every version of the envelope ever written; `docs/decisions/record-format.md` is the
//! description, `record/fixture.json` the proof. Does not store, and does not know what an event means.

pub mod chain;
mod lossless;
pub mod record;

pub use toolgate_evidence::canonical;

pub use chain::{Bad, Chain, Link, View, Why, check};
pub use record::{Draft, Opened, Place, Prepared, RecordError, Sealed};
