//! What `python.run` answers.

use schemars::JsonSchema;
use serde::Serialize;

use crate::call::Artifacts;
use crate::domain::Fault;
use crate::sandbox::{Captured, SandboxOutcome};

use super::input::Runtime;

/// The answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Output {
    /// Exit status; 124 out of time, 134 ended by the sandbox.
    pub return_code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Part of stdout was left out.
    pub stdout_truncated: bool,
    /// Part of stderr was left out.
    pub stderr_truncated: bool,
    /// The whole stdout, where it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdout_artifact: Option<String>,
    /// The whole stderr, where it was cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stderr_artifact: Option<String>,
    /// What the program left in the variable `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Files left in /out.
    pub produced_files: Vec<ProducedFile>,
    /// The limit that struck: time, memory, stack, disk, output, tool_calls or host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
    /// The packages with their versions and hashes, as an artifact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock: Option<String>,
    /// What it used.
    pub metrics: Metrics,
    /// What stood between it and the machine.
    pub sandbox: Layers,
}

/// A file left in /out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ProducedFile {
    /// Relative to /out.
    pub path: String,
    /// Of its bytes.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Octal permission bits.
    pub mode: String,
    /// For `artifact.read`.
    pub artifact: String,
}

/// What a program used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Metrics {
    /// Start to end.
    pub wall_ms: f64,
    /// The sandbox's own start.
    pub start_ms: f64,
    /// Processor time.
    pub cpu_ms: f64,
    /// Most memory at once.
    pub peak_memory_bytes: u64,
    /// Tools called and HTTP requests made.
    pub tool_calls: u32,
}

/// The runtime and its layers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Layers {
    /// Kind.
    pub runtime: Runtime,
    /// Layers.
    pub layers: Vec<String>,
}

/// Makes the answer: stores what the program left behind.
///
/// # Errors
/// Where an artifact cannot be stored.
pub(super) async fn answer(
    outcome: SandboxOutcome,
    runtime: Runtime,
    lock: Option<String>,
    artifacts: &dyn Artifacts,
) -> Result<Output, Fault> {
    let mut produced_files = Vec::with_capacity(outcome.files.len());
    for file in outcome.files {
        let stored = artifacts.put(file.bytes, media_type(&file.path)).await?;
        produced_files.push(ProducedFile {
            path: file.path,
            sha256: stored.artifact.to_string(),
            size: stored.size,
            mode: format!("{:04o}", file.mode),
            artifact: stored.artifact.to_string(),
        });
    }
    let lock = match lock {
        Some(lock) => Some(artifacts.put(lock.into_bytes(), "text/plain").await?.artifact.to_string()),
        None => None,
    };
    let used = outcome.metrics;
    Ok(Output {
        return_code: outcome.return_code,
        stdout: outcome.stdout.text(),
        stderr: outcome.stderr.text(),
        stdout_truncated: outcome.stdout.truncated,
        stderr_truncated: outcome.stderr.truncated,
        stdout_artifact: whole(outcome.stdout, artifacts).await?,
        stderr_artifact: whole(outcome.stderr, artifacts).await?,
        result: outcome.result,
        produced_files,
        limit: outcome.limit.map(|limit| limit.as_str()),
        lock,
        metrics: Metrics {
            wall_ms: crate::tools::millis(used.wall),
            start_ms: crate::tools::millis(used.start),
            cpu_ms: crate::tools::millis(used.cpu),
            peak_memory_bytes: used.peak_memory,
            tool_calls: used.operations,
        },
        sandbox: Layers { runtime, layers: outcome.layers },
    })
}

async fn whole(stream: Captured, artifacts: &dyn Artifacts) -> Result<Option<String>, Fault> {
    match stream.whole {
        Some(bytes) => Ok(Some(artifacts.put_output(bytes).await?.artifact.to_string())),
        None => Ok(None),
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).as_deref() {
        Some("txt" | "log" | "py" | "rs" | "toml" | "yaml" | "yml") => "text/plain",
        Some("md") => "text/markdown",
        Some("csv") => "text/csv",
        Some("html") => "text/html",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("pdf") => "application/pdf",
        Some("zip") => "application/zip",
        _ => "application/octet-stream",
    }
}
