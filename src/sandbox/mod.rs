//! Where untrusted code runs: a specification that grants nothing by default, what came of it, and the runtimes behind one trait.
//!
//! INVARIANT: a guest has exactly what its [`SandboxSpec`] names. A layer that is missing makes the sandbox unavailable; nothing runs
//! without it. Does not know tools, runs or policy.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::Fault;

mod host;
mod kept;
mod outcome;
pub mod peer;
#[cfg_attr(not(target_os = "linux"), path = "process_absent.rs")]
pub mod process;
pub mod reader;
mod spec;
mod tape;
pub mod wasm;

pub use host::{Answer, Asked, GuestHost, HttpAnswer, HttpRequest, Operation, Powers, Reply};
pub use outcome::{Captured, LimitHit, Metrics, ProducedFile, SandboxOutcome};
pub use spec::{Door, Entry, GuestFile, SandboxLimits, SandboxSpec};
pub use tape::{Recorded, Recording, Seen, SeenHttp, Tape};

/// A runtime for untrusted code.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs one program to its end, to a limit or to the cancel, whichever is first. A program that fails, or strikes a limit, is an
    /// outcome; only what the guest did not cause is a fault.
    ///
    /// # Errors
    /// `PATH_REFUSED` or `INVALID_INPUT` for a specification that cannot be laid out, `CANCELLED`, `SANDBOX_UNAVAILABLE` where the runtime
    /// cannot be made ready, `REPLAY_DIVERGED` where a recorded program does something else, `SANDBOX_FAILED`.
    async fn run(&self, spec: SandboxSpec, cancel: CancellationToken, progress: Arc<dyn Progress>) -> Result<SandboxOutcome, Fault>;
}
