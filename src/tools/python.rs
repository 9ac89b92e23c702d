//! `python.run`: one Python program in the sandbox, with files in and files out.
//!
//! INVARIANT: the program's files are copies, its state ends with the call, and whatever a limit cut short is in the answer with the
//! limit's name. Does not offer network, packages or tools: the schema has no word for them.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{Artifacts, Preparation};
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Millis};
use crate::sandbox::{Entry, Sandbox, SandboxLimits, SandboxOutcome, SandboxSpec};

use super::guest_files::{self, FileInput};
use super::{CallContext, Tool};

/// The entrypoint that stands for `code`.
const INLINE: &str = "inline";

/// The tool, with what it needs of the house.
pub struct PythonRun {
    /// Where programs run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where produced files go, and where files may come from.
    pub artifacts: Arc<dyn Artifacts>,
}

/// The arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `inline` runs `code`; else the path of one of `files`.
    #[serde(default = "inline")]
    pub entrypoint: String,
    /// The program, for `inline`.
    #[serde(default)]
    #[schemars(length(max = 1_000_000))]
    pub code: Option<String>,
    /// `sys.argv[1:]`.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub args: Vec<String>,
    /// Standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Files in the working folder, read-only.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub files: Vec<FileInput>,
    /// Wall time in seconds.
    #[serde(default = "timeout_sec")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_sec: u32,
    /// Memory in MB.
    #[serde(default = "memory_mb")]
    #[schemars(range(min = 64, max = 1024))]
    pub memory_mb: u32,
    /// Default: the current run.
    #[serde(default)]
    pub run_id: Option<String>,
}

fn inline() -> String {
    INLINE.to_owned()
}

fn timeout_sec() -> u32 {
    30
}

fn memory_mb() -> u32 {
    256
}

/// The sandbox's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Runtime {
    /// CPython in WebAssembly.
    Wasm,
}

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
    /// What the program left in the variable `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<serde_json::Value>,
    /// Files left in /out.
    pub produced_files: Vec<ProducedFile>,
    /// The limit that struck: time, memory, stack, disk or output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
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
}

/// The runtime and its layers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Layers {
    /// Kind.
    pub runtime: Runtime,
    /// Layers.
    pub layers: Vec<&'static str>,
}

impl Input {
    fn entry(&self) -> Result<Entry, Fault> {
        let bad = |message: String| Err(Fault::new(ErrorCode::InvalidInput, message));
        match (&self.code, self.entrypoint.as_str()) {
            (Some(code), INLINE) => Ok(Entry::Code(code.clone())),
            (None, INLINE) => bad("entrypoint `inline` needs `code`".to_owned()),
            (Some(_), path) => bad(format!("`code` goes with entrypoint `inline`, not with the file `{path}`")),
            (None, path) if self.files.iter().any(|file| file.path == path) => Ok(Entry::File(path.to_owned())),
            (None, path) => bad(format!("entrypoint `{path}` is not among `files`")),
        }
    }

    /// What is asked for, never more than the call's own limits.
    fn limits(&self, context: &CallContext) -> SandboxLimits {
        let wall = Millis(u64::from(self.timeout_sec.max(1)) * 1000).min(context.limits.wall);
        let memory = Bytes(u64::from(self.memory_mb.max(64)) << 20);
        super::guest_limits(wall, memory, context.limits.output)
    }
}

#[async_trait]
impl Tool for PythonRun {
    type Input = Input;
    type Output = Output;

    async fn prepare(&self, input: &Input, _context: &CallContext) -> Result<Preparation, Fault> {
        input.entry()?;
        guest_files::check(&input.files)?;
        let effect = if guest_files::from_workspace(&input.files) { Effect::Read } else { Effect::Pure };
        Ok(Preparation::of(Effects::only(effect)))
    }

    async fn execute(&self, input: &Input, context: &CallContext) -> Result<Output, Fault> {
        let spec = SandboxSpec {
            entry: input.entry()?,
            args: input.args.clone(),
            stdin: input.stdin.clone().unwrap_or_default().into_bytes(),
            input: None,
            files: guest_files::load(&input.files, &*self.artifacts, &context.workspace).await?,
            limits: input.limits(context),
        };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        self.answer(outcome).await
    }
}

impl PythonRun {
    async fn answer(&self, outcome: SandboxOutcome) -> Result<Output, Fault> {
        let mut produced_files = Vec::with_capacity(outcome.files.len());
        for file in outcome.files {
            let stored = self.artifacts.put(file.bytes, media_type(&file.path)).await?;
            produced_files.push(ProducedFile {
                path: file.path,
                sha256: stored.artifact.to_string(),
                size: stored.size,
                mode: format!("{:04o}", file.mode),
                artifact: stored.artifact.to_string(),
            });
        }
        let used = outcome.metrics;
        Ok(Output {
            return_code: outcome.return_code,
            stdout: outcome.stdout.text(),
            stderr: outcome.stderr.text(),
            stdout_truncated: outcome.stdout.truncated,
            stderr_truncated: outcome.stderr.truncated,
            result: outcome.result,
            produced_files,
            limit: outcome.limit.map(|limit| limit.as_str()),
            metrics: Metrics {
                wall_ms: super::millis(used.wall),
                start_ms: super::millis(used.start),
                cpu_ms: super::millis(used.cpu),
                peak_memory_bytes: used.peak_memory,
            },
            sandbox: Layers { runtime: Runtime::Wasm, layers: outcome.layers.to_vec() },
        })
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

#[cfg(test)]
mod tests;
