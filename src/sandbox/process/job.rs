//! What one job is given. `Job::new` grants nothing but the system, read-only, and folders of its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::call::WallTime;
use crate::sandbox::{Captured, Door, LimitHit, Metrics, ProducedFile, SandboxLimits};

/// A folder or file of the machine that a job sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the machine; absolute, without links.
    pub host: PathBuf,
    /// In the sandbox; absolute.
    pub inside: PathBuf,
    /// Whether the job may write there.
    pub writable: bool,
}

/// A native program with all that it is given.
#[derive(Clone)]
pub struct Job {
    /// The program and its arguments: a path inside, or a name that is looked for on the sandbox's `PATH`.
    pub argv: Vec<OsString>,
    /// Added to the few variables that every job has, or in place of them.
    pub environment: Vec<(OsString, OsString)>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Files in `/work`, by path below it.
    pub files: Vec<crate::sandbox::GuestFile>,
    /// Files in `/toolgate`, which the job cannot write to.
    pub fixed: Vec<(String, Vec<u8>)>,
    /// What of the machine is shown besides the system.
    pub mounts: Vec<Mount>,
    /// Whether it may write in `/work`; in `/out`, `/tmp`, `/run` and `/dev/shm` it always may.
    pub may_write_work: bool,
    /// Who serves its proxy; nobody, and there is no network.
    pub door: Option<Arc<dyn Door>>,
    /// What it may use up.
    pub limits: SandboxLimits,
    /// The wall time that `limits.wall` is measured by.
    pub wall: Arc<WallTime>,
}

impl Job {
    /// The program alone.
    #[must_use]
    pub fn new(argv: Vec<OsString>) -> Self {
        Self {
            argv,
            environment: Vec::new(),
            stdin: Vec::new(),
            files: Vec::new(),
            fixed: Vec::new(),
            mounts: Vec::new(),
            may_write_work: true,
            door: None,
            limits: SandboxLimits::default(),
            wall: Arc::default(),
        }
    }
}

/// What came of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobOutcome {
    /// Its status; 128 and the signal's number where one ended it, 124 out of time, 137 out of memory.
    pub return_code: i32,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// Files in `/out`, sorted by path.
    pub files: Vec<ProducedFile>,
    /// Files in `/run`, where our own programs leave what is not the caller's.
    pub left: Vec<ProducedFile>,
    /// What it used.
    pub metrics: Metrics,
    /// The limit that struck.
    pub limit: Option<LimitHit>,
    /// The walls around it.
    pub layers: Vec<String>,
}
