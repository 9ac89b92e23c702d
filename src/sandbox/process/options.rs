//! What the process sandbox is told when it is made.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use crate::call::Spawner;

/// How the launcher is started: this program, as a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Arguments before the launcher's own word.
    pub first: Vec<OsString>,
}

impl Launcher {
    /// This very program, also where its file was replaced since it started.
    #[must_use]
    pub fn own() -> Self {
        Self { program: "/proc/self/exe".into(), first: Vec::new() }
    }
}

/// What a [`super::ProcessSandbox`] needs to know.
pub struct ProcessOptions {
    /// How the launcher is started.
    pub launcher: Launcher,
    /// Where the machine's Python is looked for, as `PATH` has it.
    pub path: OsString,
    /// A control group folder that the operator has delegated.
    pub cgroup: Option<PathBuf>,
    /// Whether no job may run without a control group.
    pub require_cgroup: bool,
    /// Jobs at the same time; more wait.
    pub at_once: usize,
    /// For the canary that runs in the background.
    pub spawner: Arc<dyn Spawner>,
}
