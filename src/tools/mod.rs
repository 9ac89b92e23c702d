//! The built-in tools. Each gets narrow ports and sees no other tool.
//!
//! INVARIANT: a handler's `prepare` only reads; whatever changes the world is in `execute`, which the registry lets nobody call
//! without a Grant. Does not decide whether a call may run.

mod blocking;
pub mod control;
pub mod drive;
pub mod eval;
pub mod handler;
pub mod notify;
pub mod python;
pub mod repo_git;
pub mod script;
mod text;
pub mod transform;
pub mod workers;
pub mod workspace;

#[cfg(test)]
mod testing;

pub use blocking::blocking;
pub use handler::{CallContext, Handler, Tool, handler};
pub use text::plain;
