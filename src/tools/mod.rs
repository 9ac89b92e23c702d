//! The built-in tools. Each gets narrow ports and sees no other tool.
//!
//! INVARIANT: a handler's `prepare` only reads; whatever changes the world is in `execute`, which the registry lets nobody call
//! without a Grant. Does not decide whether a call may run.

mod blocking;
mod borrowed;
mod brought;
pub mod control;
pub mod drive;
pub mod eval;
#[cfg(debug_assertions)]
pub mod fixtures;
pub(crate) mod guest_files;
pub mod handler;
pub mod native;
pub mod network;
pub mod notify;
pub mod policy_explain;
pub mod python;
pub mod repo_git;
pub mod sandbox_status;
pub mod script;
pub mod secret_list;
pub mod status;
mod text;
pub mod tool_search;
pub mod transform;
pub mod web;
pub mod workers;
pub mod workspace;

#[cfg(test)]
mod guest_testing;
#[cfg(test)]
pub(crate) mod testing;

/// What stands among the hosts of a call that fetches packages: the installer is told by its own settings where to go.
pub(crate) const PACKAGE_INDEX: &str = "package-index";

pub use blocking::blocking;
pub use brought::Brought;
pub use handler::{CallContext, Handler, Tool, handler};
pub use text::plain;

use crate::domain::{Bytes, Millis};
use crate::sandbox::SandboxLimits;

/// Limits of a sandboxed program whose answer must fit `output` even if every byte of its text needs six in JSON.
fn guest_limits(wall: Millis, memory: Bytes, output: Bytes) -> SandboxLimits {
    let defaults = SandboxLimits::default();
    let share = |most: Bytes, part: u64| most.min(Bytes(output.0 / part));
    SandboxLimits {
        wall,
        memory,
        stdout: share(defaults.stdout, 14),
        stderr: share(defaults.stderr, 28),
        result: share(defaults.result, 8),
        ..defaults
    }
}

/// Milliseconds with two decimals, as answers have them.
fn millis(span: std::time::Duration) -> f64 {
    (span.as_secs_f64() * 100_000.0).round() / 100.0
}
