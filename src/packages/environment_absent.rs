//! Environments where there is no process sandbox to use them in: none can be had, and every wish says so.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::{Digest, ErrorCode, Fault};

use super::Requirement;

#[path = "environment/build_box.rs"]
mod build_box;
#[path = "environment/options.rs"]
mod options;

pub use build_box::{BuildBox, BuildJob, BuildOutcome, PythonAt};
pub use options::EnvironmentsOptions;

/// Where an environment would be mounted.
pub const MOUNTED_AT: &str = "/env";

/// An environment.
#[derive(Debug)]
pub struct Environment {
    /// What is in it.
    pub lock: String,
    /// What that is known by.
    pub digest: Digest,
    /// The folder to be mounted.
    pub folder: PathBuf,
    /// Its programs.
    pub bin: Vec<String>,
}

/// Has none.
pub struct Environments;

impl Environments {
    /// Touches nothing.
    #[must_use]
    pub fn new(_options: EnvironmentsOptions) -> Self {
        Self
    }

    /// None is.
    #[must_use]
    pub fn cached(&self, _requirements: &[Requirement]) -> Option<Digest> {
        None
    }

    /// That there is none.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`.
    pub async fn get(
        &self,
        _requirements: &[Requirement],
        _cancel: &CancellationToken,
        _note: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Arc<Environment>, Fault> {
        Err(Fault::new(ErrorCode::SandboxUnavailable, "packages with native code need the process sandbox, which needs Linux")
            .hint("use the runtime `wasm` with pure-Python packages, or run toolgate on Linux")
            .details(serde_json::json!({ "layer": "platform", "kernel": std::env::consts::OS })))
    }
}
