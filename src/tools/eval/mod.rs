//! `eval.run`: checks of a project, one command after the other, each in a fresh sandbox over the same files.
//!
//! INVARIANT: a command is argv, never given to a shell, and its program is the sandboxed interpreter. A check that fails is data
//! (`passed: false`); a program that is not there is a fault. Files are copies: no command changes the workspace.

mod command;
mod unittest;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::{Folder, RelPath, twins};
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Millis};
use crate::sandbox::{GuestFile, Sandbox, SandboxLimits, SandboxSpec};

use super::{CallContext, Tool, blocking};

pub use command::CommandLine;
pub use unittest::Diagnostic;

/// Files that a project may have.
const MOST_FILES: usize = 2_000;
/// Bytes of all its files together.
const MOST_BYTES: u64 = 64 << 20;

/// The tool.
pub struct EvalRun {
    sandbox: Arc<dyn Sandbox>,
}

impl EvalRun {
    /// Commands run in `sandbox`.
    #[must_use]
    pub fn new(sandbox: Arc<dyn Sandbox>) -> Self {
        Self { sandbox }
    }
}

/// What to check, and how.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct EvalInput {
    /// Each an argv array, or text that is split like one; `python -m unittest ...`, `python FILE ...` or `python -c CODE`.
    #[schemars(length(min = 1, max = 32))]
    commands: Vec<CommandLine>,
    /// Give the commands a copy of the run's workspace.
    #[serde(default)]
    workspace: bool,
    /// Further files, which stand above the workspace's.
    #[serde(default)]
    #[schemars(length(max = 512))]
    files: Vec<EvalFile>,
    /// For all commands together.
    #[serde(default = "two_minutes")]
    #[schemars(range(min = 1, max = 600))]
    timeout_sec: u32,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct EvalFile {
    path: RelPath,
    content: String,
}

/// How the checks went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct EvalOutput {
    /// Whether every command ended with 0.
    passed: bool,
    commands: Vec<CommandResult>,
}

/// How one command went.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct CommandResult {
    argv: Vec<String>,
    return_code: i32,
    stdout: String,
    stderr: String,
    diagnostics: Vec<Diagnostic>,
    duration_ms: u64,
    /// The limit that struck: time, memory, stack, disk, output.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<String>,
}

fn two_minutes() -> u32 {
    120
}

#[async_trait]
impl Tool for EvalRun {
    type Input = EvalInput;
    type Output = EvalOutput;

    async fn prepare(&self, input: &EvalInput, _context: &CallContext) -> Result<Preparation, Fault> {
        for command in &input.commands {
            command::entry(&command.argv()?)?;
        }
        if let Some((one, other)) = twins(input.files.iter().map(|file| &file.path)) {
            return Err(Fault::new(ErrorCode::PathRefused, format!("`{one}` and `{other}` are the same file on some systems")));
        }
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &EvalInput, context: &CallContext) -> Result<EvalOutput, Fault> {
        let files = self.files(input, context).await?;
        let mut left = u64::from(input.timeout_sec) * 1_000;
        let mut commands = Vec::with_capacity(input.commands.len());
        for (n, command) in input.commands.iter().enumerate() {
            let argv = command.argv()?;
            context.progress.note(&argv.join(" "), Some(n as f64), Some(input.commands.len() as f64));
            let result = self.run(argv, files.clone(), Millis(left), context).await?;
            left = left.saturating_sub(result.duration_ms).max(1);
            commands.push(result);
        }
        Ok(EvalOutput { passed: commands.iter().all(|command| command.return_code == 0), commands })
    }
}

impl EvalRun {
    async fn run(&self, argv: Vec<String>, files: Vec<GuestFile>, wall: Millis, context: &CallContext) -> Result<CommandResult, Fault> {
        let (entry, args) = command::entry(&argv)?;
        let mut spec = SandboxSpec::new(entry);
        spec.args = args;
        spec.files = files;
        spec.limits = SandboxLimits { wall, memory: Bytes(512 << 20), ..SandboxLimits::default() };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
        let diagnostics = if outcome.return_code == 0 { Vec::new() } else { unittest::diagnostics(&stderr) };
        Ok(CommandResult {
            argv,
            return_code: outcome.return_code,
            stdout,
            stderr,
            diagnostics,
            duration_ms: u64::try_from(outcome.metrics.wall.as_millis()).unwrap_or(u64::MAX),
            limit: outcome.limit.map(|limit| limit.as_str().to_owned()),
        })
    }

    async fn files(&self, input: &EvalInput, context: &CallContext) -> Result<Vec<GuestFile>, Fault> {
        let mut files = if input.workspace {
            let folder = context.workspace.clone();
            blocking(move || project(&folder)).await?
        } else {
            Vec::new()
        };
        for file in &input.files {
            files.retain(|known| known.path != file.path.as_str());
            files.push(GuestFile { path: file.path.as_str().to_owned(), bytes: file.content.clone().into_bytes().into() });
        }
        Ok(files)
    }
}

/// The plain files of a workspace, without git's own.
fn project(folder: &Folder) -> Result<Vec<GuestFile>, Fault> {
    let survey = folder.survey(None, MOST_FILES, RelPath::touches_git)?;
    let mut left = MOST_BYTES;
    let mut files = Vec::with_capacity(survey.files.len());
    for file in survey.files {
        let bytes = folder.read(&file.path, Bytes(left))?;
        left = left.saturating_sub(bytes.len() as u64);
        files.push(GuestFile { path: file.path.as_str().to_owned(), bytes: bytes.into() });
    }
    Ok(files)
}
