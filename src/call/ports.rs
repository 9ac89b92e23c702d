//! What tools need from rooms above or beside them, as traits; wired in `app`.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::domain::{ArtifactId, Fault};

use super::{Answers, Inquiry, Question};

/// A reference to stored bytes, as it stands in outputs and events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ArtifactRef {
    /// SHA-256 of the bytes.
    #[schemars(with = "String")]
    pub artifact: ArtifactId,
    /// How many bytes.
    pub size: u64,
    /// Media type, as far as known.
    pub media_type: String,
}

/// Bytes stored once under their SHA-256.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// Stores `bytes` durably.
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault>;
    /// Stores what a program wrote to one of its streams, without secrets: unlike a file it is nobody's own.
    async fn put_output(&self, bytes: Vec<u8>) -> Result<ArtifactRef, Fault> {
        self.put(bytes, "text/plain").await
    }
    /// Up to `limit` bytes from `offset` on, and the whole size. Fails with `UNKNOWN_ARTIFACT`.
    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault>;
}

/// A program's output stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How much a line of [`Progress::log`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For whoever looks for a fault.
    Debug,
    /// For whoever reads along.
    Info,
    /// Something wants attention.
    Warning,
    /// Something failed.
    Error,
}

/// Whoever made a running call: is told how far it is, and can be asked.
pub trait Progress: Send + Sync {
    /// A note for whoever waits; never awaited, may be dropped.
    fn note(&self, message: &str, done: Option<f64>, total: Option<f64>);

    /// Whether anybody would see output while the call runs; where not, none is prepared.
    fn wants_output(&self) -> bool {
        false
    }

    /// A piece of what a program wrote, in the order it was written; never awaited, may be dropped where too much comes too fast.
    fn output(&self, _stream: OutStream, _text: &str) {}

    /// A line for whoever reads along; never awaited, may be dropped.
    fn log(&self, _level: LogLevel, _text: &str) {}

    /// Whether this can be asked.
    fn can_answer(&self, _question: &Question) -> bool {
        false
    }

    /// Puts questions to the client. Tools ask by `CallContext::ask`.
    ///
    /// # Errors
    /// `CLIENT_CAPABILITY` where it cannot be asked. `INPUT_REQUIRED` where the answers come with a call that is made anew: the tool gives
    /// this fault back and has done nothing yet.
    fn ask(&self, inquiry: Inquiry) -> BoxFuture<'_, Result<Answers, Fault>> {
        Box::pin(std::future::ready(inquiry.by_nobody()))
    }

    /// The call has begun (`true`) or ended (`false`) to wait for a human.
    fn waits_for_human(&self, _waiting: bool) {}
}

/// Nobody listens.
pub struct NoProgress;

impl Progress for NoProgress {
    fn note(&self, _message: &str, _done: Option<f64>, _total: Option<f64>) {}
}

/// Starts background tasks, so that `app` can end them all.
pub trait Spawner: Send + Sync {
    /// Runs `task` until it ends or the process does. `name` is for the log.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);
}
