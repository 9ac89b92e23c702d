//! What one guest is given. `SandboxSpec::new` grants nothing but the program itself.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::WallTime;
use crate::domain::{Bytes, Millis};

use super::{GuestHost, Recording};

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// This text, as `python -c` would.
    Code(String),
    /// A file among the guest's files, as `python file.py` would. Relative paths start in the folder of the guest's files.
    File(String),
    /// A module, as `python -m module` would.
    Module(String),
    /// A native program by its path inside or by its name; only the process sandbox has any.
    Program(String),
}

/// Serves the proxy of one program.
pub trait Door: Send + Sync {
    /// Serves on the listener, which stands on the program's own loopback, until `over`. Returns at once.
    fn open(&self, listener: TcpListener, over: CancellationToken);
}

/// A file that the guest can read.
#[derive(Debug, Clone)]
pub struct GuestFile {
    /// Where, relative to the folder of the guest's files; `/` between the parts.
    pub path: String,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// What a guest may use up. Each has a default that suits a small program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxLimits {
    /// Wall time, counted from the moment the guest's own code can run.
    pub wall: Millis,
    /// Memory of the guest.
    pub memory: Bytes,
    /// What is kept of standard output; the rest is dropped as it comes.
    pub stdout: Bytes,
    /// What is kept of standard error.
    pub stderr: Bytes,
    /// How much of each stream is kept whole beside the cut text, for those who want all of it.
    pub whole: Bytes,
    /// How long the JSON of the result may be.
    pub result: Bytes,
    /// Bytes of all files that the guest writes, at any moment.
    pub disk: Bytes,
    /// How many files and folders the guest may have made, at any moment.
    pub files: u32,
    /// How many operations the guest may ask of its host in all.
    pub operations: u32,
    /// How many of them may be under way at once; more wait.
    pub at_once: u32,
    /// Processes and threads, where a guest can have more than one.
    pub processes: u32,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            wall: Millis(30_000),
            memory: Bytes(256 << 20),
            stdout: Bytes(512 << 10),
            stderr: Bytes(256 << 10),
            result: Bytes(256 << 10),
            disk: Bytes(64 << 20),
            files: 1_000,
            whole: Bytes(8 << 20),
            operations: 1_000,
            at_once: 16,
            processes: 128,
        }
    }
}

/// All that one guest is given.
#[derive(Clone)]
pub struct SandboxSpec {
    /// What to run.
    pub entry: Entry,
    /// Arguments after the program's name.
    pub args: Vec<String>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// A value that the program finds under the name `toolgate_input`.
    pub input: Option<serde_json::Value>,
    /// Files to read, in the guest's working folder.
    pub files: Vec<GuestFile>,
    /// Packages to import from, mounted read-only; for the runtime `wasm`.
    pub packages: Vec<GuestFile>,
    /// Whether it may write in the folder of its files; for the runtime `process`, and for nobody but itself.
    pub may_write_work: bool,
    /// A folder of the machine with a virtual environment, mounted read-only; for the runtime `process`.
    pub environment: Option<PathBuf>,
    /// Environment variables besides those that every program has; for the runtime `process`.
    pub variables: Vec<(String, String)>,
    /// Who serves the proxy through which the program reaches its hosts; for the runtime `process`.
    pub door: Option<Arc<dyn Door>>,
    /// Who answers what the guest asks for; nobody, and all is refused.
    pub host: Option<Arc<dyn GuestHost>>,
    /// An earlier run of this very program, to be brought to the same point again.
    pub recording: Option<Recording>,
    /// The wall time that `limits.wall` is measured by.
    pub wall: Arc<WallTime>,
    /// Whether another guest waits for this one; such guests have places of their own, so that none waits in a circle.
    pub nested: bool,
    /// What it may use up.
    pub limits: SandboxLimits,
}

impl SandboxSpec {
    /// The program alone: no arguments, no input, no files, default limits.
    #[must_use]
    pub fn new(entry: Entry) -> Self {
        Self {
            entry,
            args: Vec::new(),
            stdin: Vec::new(),
            input: None,
            files: Vec::new(),
            packages: Vec::new(),
            may_write_work: false,
            environment: None,
            variables: Vec::new(),
            door: None,
            host: None,
            recording: None,
            wall: Arc::default(),
            nested: false,
            limits: SandboxLimits::default(),
        }
    }
}
