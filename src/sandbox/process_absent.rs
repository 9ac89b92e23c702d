//! The process sandbox where there is none: every use says so.
//!
//! It needs Linux; on other systems the tools that need it answer `SANDBOX_UNAVAILABLE`, and everything else works.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::{ErrorCode, Fault};

use super::{Sandbox, SandboxOutcome, SandboxSpec};

#[path = "process/job.rs"]
mod job;
#[path = "process/options.rs"]
mod options;

pub use job::{Job, JobOutcome, Mount};
pub use options::{Launcher, ProcessOptions};

/// Where an environment of packages would be seen.
pub const ENVIRONMENT: &str = "/env";

/// The launcher, which cannot be one here.
pub mod init {
    /// The word that makes the program a launcher.
    pub const VERB: &str = "sandbox-init";

    /// Says that there is no launcher.
    #[must_use]
    pub fn main() -> u8 {
        1
    }
}

/// The machine's Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Its real path.
    pub exe: PathBuf,
    /// Its installation.
    pub prefix: Option<PathBuf>,
    /// Its version.
    pub version: Option<(u32, u32)>,
}

impl Interpreter {
    /// None that a job could be shown.
    #[must_use]
    pub fn find(_path: &OsStr) -> Option<Self> {
        None
    }

    /// No mount.
    #[must_use]
    pub fn mount(&self) -> Option<Mount> {
        None
    }
}

/// Runs nothing.
#[derive(Clone)]
pub struct ProcessSandbox;

impl ProcessSandbox {
    /// Looks at nothing.
    #[must_use]
    pub fn new(_options: ProcessOptions) -> Self {
        Self
    }

    /// Does nothing.
    pub fn warm(&self) {}

    /// That there is none.
    #[must_use]
    pub fn readiness(&self) -> Option<Result<Arc<[String]>, Fault>> {
        Some(Err(absent()))
    }

    /// That there is none.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`.
    pub async fn ready(&self) -> Result<Arc<[String]>, Fault> {
        Err(absent())
    }

    /// That there is none.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`.
    pub fn interpreter(&self) -> Result<&Interpreter, Fault> {
        Err(absent())
    }

    /// That there is none.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`.
    pub async fn run_job(&self, _job: Job, _cancel: CancellationToken, _progress: Arc<dyn Progress>) -> Result<JobOutcome, Fault> {
        Err(absent())
    }
}

#[async_trait]
impl Sandbox for ProcessSandbox {
    async fn run(&self, _spec: SandboxSpec, _cancel: CancellationToken, _progress: Arc<dyn Progress>) -> Result<SandboxOutcome, Fault> {
        Err(absent())
    }
}

fn absent() -> Fault {
    Fault::new(ErrorCode::SandboxUnavailable, "the process sandbox needs Linux, and this system is another")
        .hint("use the runtime `wasm`, or run toolgate on Linux for native programs")
        .details(serde_json::json!({ "layer": "platform", "kernel": std::env::consts::OS }))
}
