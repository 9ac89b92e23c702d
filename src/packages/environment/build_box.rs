//! The port to a confined place, in which everything that makes an environment runs, and the Python it is made for.

use std::ffi::OsString;
use std::path::PathBuf;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::domain::{Bytes, Fault, Millis};

/// The machine's Python that environments are made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonAt {
    /// The real path of its program: no link, and the same path inside every sandbox.
    pub exe: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
    /// Whatever else makes environments differ: machine and C library. One word or more, on one line.
    pub tag: String,
}

/// A confined place to run an installer in: it sees the system's folders, the Python's own folder, an empty `/tmp`, and what its job names.
#[async_trait]
pub trait BuildBox: Send + Sync {
    /// Runs a job until it ends. Dropping the future ends it as well.
    ///
    /// # Errors
    /// `CANCELLED`; that the sandbox is missing or failed. A program that fails, or is stopped by a limit, is no error.
    async fn run(&self, job: BuildJob, cancel: &CancellationToken) -> Result<BuildOutcome, Fault>;
}

/// One confined run of a program.
#[derive(Debug, Clone)]
pub struct BuildJob {
    /// Program, by its absolute path, and arguments.
    pub argv: Vec<OsString>,
    /// All of the environment. Where hosts are named the box adds the variables of its own proxy.
    pub environment: Vec<(OsString, OsString)>,
    /// A folder of the machine that may be written, and its path inside.
    pub writable: Option<(PathBuf, &'static str)>,
    /// Files and folders of the machine that may be read, each with its path inside. Those with the same path twice are the same.
    pub read_only: Vec<(PathBuf, PathBuf)>,
    /// Small files, by their name in `/work`, the working folder.
    pub files: Vec<(String, Vec<u8>)>,
    /// `host:port` that may be reached, at private addresses too: the machine's own configuration names them.
    pub hosts: Vec<String>,
    /// `host:port` that may be reached at public addresses only: an answer of one of `hosts` named them.
    pub linked: Vec<String>,
    /// How long it may take.
    pub wall: Millis,
    /// How much it may write, to the writable folder and to `/tmp` together.
    pub disk: Bytes,
    /// How much memory it may have.
    pub memory: Bytes,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct BuildOutcome {
    /// The program's exit code, or a negative number where it has none.
    pub code: i32,
    /// What it wrote; at least the first MiB of it.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// The limit that ended it, by the word results have for it: `time`, `disk`, `memory`.
    pub limit: Option<&'static str>,
}
