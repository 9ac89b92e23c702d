//! What makes the journal provable: the audit key, signed checkpoints over the tree, where they are kept, and proofs.
//!
//! INVARIANT: nothing is written to a database whose newest known checkpoint does not hold, except by the operator's word.

mod act;
mod anchor;
mod check;
mod give;
mod key;
mod keyfile;
mod open;
mod rows;
mod start;

pub use give::InclusionProof;
pub use key::SignedCheckpoint;
pub use open::AuditOptions;

pub(super) use act::{Act, Proofs, Sealing};
pub(super) use check::{Checks, Signatures};
pub(super) use give::prove;
pub(super) use open::{Outside, Refused, accept, name, newest, open, public_keys, rotate};
pub(super) use rows::{covering, keys};
pub(super) use start::Broken;
