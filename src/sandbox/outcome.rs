//! What came of a guest.

use std::time::Duration;

use serde_json::Value;

/// What is kept of one output stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes; where the stream was longer than its limit, its beginning and its end with a line between them that says so.
    pub bytes: Vec<u8>,
    /// How many bytes the guest wrote.
    pub total: u64,
    /// Whether something was left out.
    pub truncated: bool,
    /// All of it, where something was left out and all is not too much to keep.
    pub whole: Option<Vec<u8>>,
}

impl Captured {
    /// The text, with what is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A limit that struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitHit {
    /// Wall time: the guest was stopped.
    Time,
    /// Memory was refused, and the program failed.
    Memory,
    /// Calls nested too deep: the guest was stopped.
    Stack,
    /// Bytes or number of the files it wrote: the write was refused.
    Disk,
    /// Standard output or standard error: the rest was dropped.
    Output,
    /// Operations asked of the host: more were refused.
    Calls,
    /// What the guest holds at the host (handles, streams, bytes sent over at once): it was stopped.
    Host,
}

impl LimitHit {
    /// The word as it stands in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Disk => "disk",
            Self::Output => "output",
            Self::Calls => "tool_calls",
            Self::Host => "host",
        }
    }
}

/// A file that the guest left in its output folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedFile {
    /// Where, relative to the output folder.
    pub path: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Unix permission bits.
    pub mode: u32,
}

/// What a guest used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// From the start of the sandbox to the guest's end.
    pub wall: Duration,
    /// The part of it before the guest's own code could run.
    pub start: Duration,
    /// Processor time.
    pub cpu: Duration,
    /// The most memory it had at once, in bytes.
    pub peak_memory: u64,
    /// Operations it asked of its host.
    pub operations: u32,
}

/// What came of a guest. Whatever was produced before a limit struck is here.
#[derive(Debug, Clone, PartialEq)]
pub struct SandboxOutcome {
    /// The exit status: 0 well, 124 stopped by its time, 134 ended by a trap.
    pub return_code: i32,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
    /// What the program left under the name `result`.
    pub result: Option<Value>,
    /// Files in its output folder, sorted by path.
    pub files: Vec<ProducedFile>,
    /// What it used.
    pub metrics: Metrics,
    /// The limit that struck first in importance, if one did.
    pub limit: Option<LimitHit>,
    /// The layers between the guest and the machine.
    pub layers: Vec<String>,
}
