//! The built-in tools. Each gets narrow ports and sees no other tool.
//!
//! INVARIANT: a handler's `prepare` only reads; whatever changes the world is in `execute`, which the registry lets nobody call
//! without a Grant. Does not decide whether a call may run.

pub mod control;
pub mod handler;

pub use handler::{CallContext, Handler, Tool, handler};
