//! `python.run`: one Python program in a fresh sandbox, with its files in and its files out.
//!
//! INVARIANT: the guest gets what the arguments name and nothing else; two calls share nothing. A program that fails, or strikes a limit,
//! is an answer, not a fault. Does not run anything outside the sandbox.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{Artifacts, Preparation};
use crate::confine::{RelPath, twins};
use crate::domain::{ArtifactId, Bytes, Digest, Effect, Effects, ErrorCode, Fault, Millis};
use crate::sandbox::{Entry, GuestFile, Sandbox, SandboxLimits, SandboxOutcome, SandboxSpec};

use super::{CallContext, Tool, blocking};

/// Bytes of all files of one call together.
const MOST_BYTES: u64 = 64 << 20;

/// The tool.
pub struct PythonRun {
    sandbox: Arc<dyn Sandbox>,
    artifacts: Arc<dyn Artifacts>,
}

impl PythonRun {
    /// Programs run in `sandbox`; `artifacts` serves files given by reference and keeps what is produced.
    #[must_use]
    pub fn new(sandbox: Arc<dyn Sandbox>, artifacts: Arc<dyn Artifacts>) -> Self {
        Self { sandbox, artifacts }
    }
}

/// What to run, on what, within which bounds.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct PythonInput {
    /// "inline" runs `code`; else the path of one of `files`.
    #[schemars(length(min = 1, max = 512))]
    entrypoint: String,
    /// The program, for "inline". Assign JSON data to `result` to get it back.
    #[serde(default)]
    #[schemars(length(max = 1_048_576))]
    code: Option<String>,
    #[serde(default)]
    #[schemars(length(max = 256))]
    args: Vec<String>,
    #[serde(default)]
    stdin: Option<String>,
    /// Read-only files in the working folder.
    #[serde(default)]
    #[schemars(length(max = 512))]
    files: Vec<InputFile>,
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 300))]
    timeout_sec: u32,
    #[serde(default = "quarter")]
    #[schemars(range(min = 64, max = 1024))]
    memory_mb: u32,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the registry, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// Has one of content, content_base64, artifact, workspace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct InputFile {
    path: RelPath,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    content_base64: Option<String>,
    /// SHA-256 of stored bytes.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    artifact: Option<ArtifactId>,
    /// Path in the run's workspace.
    #[serde(default)]
    workspace: Option<RelPath>,
}

/// How it went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PythonOutput {
    /// Exit status; 124 where the time was over.
    return_code: i32,
    stdout: String,
    stderr: String,
    /// stdout or stderr was cut.
    truncated: bool,
    /// What the program assigned to `result`.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    /// Files left in /out.
    produced_files: Vec<Produced>,
    /// The limit that struck: time, memory, stack, disk, output.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
    metrics: Metrics,
    sandbox: Layers,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Produced {
    path: String,
    #[schemars(with = "String")]
    sha256: Digest,
    size: u64,
    mode: u32,
    /// For artifact.read.
    #[schemars(with = "String")]
    artifact: ArtifactId,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Metrics {
    wall_ms: f64,
    start_ms: f64,
    cpu_ms: f64,
    peak_memory_bytes: u64,
    tool_calls: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct Layers {
    runtime: &'static str,
    layers: Vec<&'static str>,
}

fn thirty() -> u32 {
    30
}

fn quarter() -> u32 {
    256
}

#[async_trait]
impl Tool for PythonRun {
    type Input = PythonInput;
    type Output = PythonOutput;

    async fn prepare(&self, input: &PythonInput, _context: &CallContext) -> Result<Preparation, Fault> {
        entry(input)?;
        if let Some((one, other)) = twins(input.files.iter().map(|file| &file.path)) {
            return Err(Fault::new(ErrorCode::PathRefused, format!("`{one}` and `{other}` are the same file on some systems"))
                .hint("give each file a path of its own"));
        }
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &PythonInput, context: &CallContext) -> Result<PythonOutput, Fault> {
        let mut spec = SandboxSpec::new(entry(input)?);
        spec.args.clone_from(&input.args);
        spec.stdin = input.stdin.clone().unwrap_or_default().into_bytes();
        spec.files = self.files(&input.files, context).await?;
        spec.limits = SandboxLimits {
            wall: Millis(u64::from(input.timeout_sec) * 1_000),
            memory: Bytes(u64::from(input.memory_mb) << 20),
            ..SandboxLimits::default()
        };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        self.answer(outcome).await
    }
}

/// What the arguments say is to be run.
fn entry(input: &PythonInput) -> Result<Entry, Fault> {
    let inline = input.entrypoint == "inline";
    match &input.code {
        Some(code) if inline => Ok(Entry::Code(code.clone())),
        None if !inline && input.files.iter().any(|file| file.path.as_str() == input.entrypoint) => {
            Ok(Entry::File(input.entrypoint.clone()))
        }
        Some(_) => Err(Fault::new(ErrorCode::InvalidInput, "`code` goes with `entrypoint: \"inline\"` only")),
        None if inline => Err(Fault::new(ErrorCode::InvalidInput, "`entrypoint: \"inline\"` needs `code`")),
        None => Err(Fault::new(ErrorCode::InvalidInput, format!("`entrypoint` `{}` is not among `files`", input.entrypoint))
            .hint("give the file with its path in `files`, or use \"inline\" and `code`")),
    }
}

impl PythonRun {
    async fn files(&self, files: &[InputFile], context: &CallContext) -> Result<Vec<GuestFile>, Fault> {
        let mut left = MOST_BYTES;
        let mut ready = Vec::with_capacity(files.len());
        for file in files {
            let bytes = self.bytes(file, left, context).await?;
            left = left.checked_sub(bytes.len() as u64).ok_or_else(too_many)?;
            ready.push(GuestFile { path: file.path.as_str().to_owned(), bytes: bytes.into() });
        }
        Ok(ready)
    }

    async fn bytes(&self, file: &InputFile, most: u64, context: &CallContext) -> Result<Vec<u8>, Fault> {
        match (&file.content, &file.content_base64, &file.artifact, &file.workspace) {
            (Some(text), None, None, None) => Ok(text.clone().into_bytes()),
            (None, Some(text), None, None) => base64::engine::general_purpose::STANDARD.decode(text).map_err(|error| {
                Fault::new(ErrorCode::InvalidInput, format!("`content_base64` of `{}` is not base64: {error}", file.path))
            }),
            (None, None, Some(id), None) => {
                let (bytes, size) = self.artifacts.read(id, 0, most).await?;
                if bytes.len() as u64 == size { Ok(bytes) } else { Err(too_many()) }
            }
            (None, None, None, Some(path)) => {
                let (folder, path) = (context.workspace.clone(), path.clone());
                blocking(move || folder.read(&path, Bytes(most))).await
            }
            _ => Err(Fault::new(
                ErrorCode::InvalidInput,
                format!("`{}` needs exactly one of `content`, `content_base64`, `artifact`, `workspace`", file.path),
            )),
        }
    }

    async fn answer(&self, outcome: SandboxOutcome) -> Result<PythonOutput, Fault> {
        let mut produced_files = Vec::with_capacity(outcome.files.len());
        for file in outcome.files {
            let size = file.bytes.len() as u64;
            let stored = self.artifacts.put(file.bytes, "application/octet-stream").await?;
            produced_files.push(Produced {
                path: file.path,
                sha256: *stored.artifact.digest(),
                size,
                mode: file.mode,
                artifact: stored.artifact,
            });
        }
        let millis = |span: std::time::Duration| (span.as_secs_f64() * 1e6).round() / 1e3;
        Ok(PythonOutput {
            return_code: outcome.return_code,
            stdout: outcome.stdout.text(),
            stderr: outcome.stderr.text(),
            truncated: outcome.stdout.truncated || outcome.stderr.truncated,
            result: outcome.result,
            produced_files,
            limit: outcome.limit.map(|limit| limit.as_str().to_owned()),
            metrics: Metrics {
                wall_ms: millis(outcome.metrics.wall),
                start_ms: millis(outcome.metrics.start),
                cpu_ms: millis(outcome.metrics.cpu),
                peak_memory_bytes: outcome.metrics.peak_memory,
                tool_calls: 0,
            },
            sandbox: Layers { runtime: "wasm", layers: outcome.layers.to_vec() },
        })
    }
}

fn too_many() -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the files have more than {MOST_BYTES} bytes together"))
        .hint("give fewer or smaller files")
}
