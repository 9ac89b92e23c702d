//! `eval.run`: checks of a project (its tests, its linters) as commands in the sandbox, with what they found as data.
//!
//! INVARIANT: a command is an argument vector, never given to a shell, and its program is one that the sandbox has. A check that fails is
//! an answer, not a fault.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::call::{Artifacts, Preparation};
use crate::confine::RelPath;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Millis};
use crate::sandbox::{GuestFile, Sandbox, SandboxSpec};

use super::guest_files::{self, FileInput, PATH_PATTERN};
use super::{CallContext, Tool};

mod command;
mod diagnostics;

use command::Invocation;
pub use diagnostics::Diagnostic;

/// Memory of a command.
const MEMORY: Bytes = Bytes(512 << 20);

/// The tool, with what it needs of the house.
pub struct EvalRun {
    /// Where commands run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where files may come from.
    pub artifacts: Arc<dyn Artifacts>,
}

/// The arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Run one after the other.
    #[schemars(length(min = 1, max = 20))]
    pub commands: Vec<Command>,
    /// The project: true for the run's workspace, or a folder in it.
    #[serde(default)]
    pub workspace: Option<Project>,
    /// The project as files, or files added to it.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub files: Vec<FileInput>,
    /// Wall time of each command in seconds.
    #[serde(default = "timeout_sec")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_sec: u32,
    /// Default: the current run.
    #[serde(default)]
    pub run_id: Option<String>,
}

fn timeout_sec() -> u32 {
    120
}

/// A command: an argument vector, or a text that is split into one.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, description = "")]
pub enum Command {
    /// Split like a shell would.
    Line(#[schemars(length(min = 1, max = 4096))] String),
    /// Run as it is.
    Argv(#[schemars(length(min = 1, max = 1000))] Vec<String>),
}

/// Which part of the workspace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Project {
    /// All of it, or nothing.
    Whole(bool),
    /// This folder of it.
    Folder(#[schemars(regex(pattern = PATH_PATTERN))] String),
}

/// The answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Output {
    /// Every command ended with 0.
    pub passed: bool,
    /// In the order given.
    pub commands: Vec<CommandResult>,
}

/// What came of one command.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CommandResult {
    /// As it was run.
    pub argv: Vec<String>,
    /// Exit status; 124 out of time.
    pub return_code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// What it found, read from its output.
    pub diagnostics: Vec<Diagnostic>,
    /// Wall time.
    pub duration_ms: f64,
    /// The limit that struck, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'static str>,
}

impl Input {
    fn invocations(&self) -> Result<Vec<Invocation>, Fault> {
        if self.commands.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "`commands` is empty"));
        }
        self.commands.iter().map(Invocation::read).collect()
    }

    /// The folder of the workspace that is the project: `None` for no workspace, `Some(None)` for all of it.
    fn project(&self) -> Result<Option<Option<RelPath>>, Fault> {
        match &self.workspace {
            None | Some(Project::Whole(false)) => Ok(None),
            Some(Project::Whole(true)) => Ok(Some(None)),
            Some(Project::Folder(path)) => RelPath::parse(path).map(|path| Some(Some(path))),
        }
    }
}

#[async_trait]
impl Tool for EvalRun {
    type Input = Input;
    type Output = Output;

    async fn prepare(&self, input: &Input, _context: &CallContext) -> Result<Preparation, Fault> {
        input.invocations()?;
        guest_files::check(&input.files)?;
        let reads = input.project()?.is_some() || guest_files::from_workspace(&input.files);
        Ok(Preparation::of(Effects::only(if reads { Effect::Read } else { Effect::Pure })))
    }

    async fn execute(&self, input: &Input, context: &CallContext) -> Result<Output, Fault> {
        let invocations = input.invocations()?;
        let project = input.project()?;
        let files = self.files(input, project.clone(), context).await?;
        let folder = project.flatten().map(|path| format!("{}/", path.as_str())).unwrap_or_default();
        let total = invocations.len();
        let mut commands = Vec::with_capacity(total);
        for (n, invocation) in invocations.into_iter().enumerate() {
            let line = invocation.argv.join(" ");
            context.progress.note(&line, Some(n as f64), Some(total as f64));
            let limits = super::guest_limits(
                Millis(u64::from(input.timeout_sec.max(1)) * 1000).min(context.limits.wall),
                MEMORY,
                Bytes(context.limits.output.0 / total.max(1) as u64),
            );
            let spec = SandboxSpec {
                args: invocation.args,
                files: files.clone(),
                limits,
                nested: context.from_code,
                ..SandboxSpec::new(invocation.entry)
            };
            commands.push(self.run_one(invocation.argv, spec, &folder, context.cancel.clone(), context).await?);
        }
        let passed = commands.iter().all(|command| command.return_code == 0);
        Ok(Output { passed, commands })
    }
}

impl EvalRun {
    /// The project's files, with the files of the call put over them.
    async fn files(&self, input: &Input, project: Option<Option<RelPath>>, context: &CallContext) -> Result<Vec<GuestFile>, Fault> {
        let added = guest_files::load(&input.files, &*self.artifacts, &context.workspace).await?;
        let Some(under) = project else { return Ok(added) };
        let mut files = guest_files::load_workspace(&context.workspace, under).await?;
        files.retain(|file| !added.iter().any(|added| added.path == file.path));
        files.extend(added);
        Ok(files)
    }

    async fn run_one(
        &self,
        argv: Vec<String>,
        spec: SandboxSpec,
        folder: &str,
        cancel: CancellationToken,
        context: &CallContext,
    ) -> Result<CommandResult, Fault> {
        let outcome = self.sandbox.run(spec, cancel, context.progress.clone()).await?;
        let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
        let diagnostics = if outcome.return_code == 0 { Vec::new() } else { diagnostics::read(&stdout, &stderr, folder) };
        Ok(CommandResult {
            argv,
            return_code: outcome.return_code,
            stdout,
            stderr,
            diagnostics,
            duration_ms: super::millis(outcome.metrics.wall),
            limit: outcome.limit.map(|limit| limit.as_str()),
        })
    }
}

#[cfg(test)]
mod tests;
