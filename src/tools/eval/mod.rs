//! `eval.run`: checks of a project (its tests, its linters) as commands in a sandbox, with what they found as data.
//!
//! INVARIANT: a command is an argument vector, never given to a shell. What it may do is bounded by the sandbox alone, whatever its
//! arguments say. A check that fails is an answer; a program that is not there is a fault.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::RelPath;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Millis};
use crate::packages::{Packages, Requirement};
use crate::sandbox::{GuestFile, Sandbox, SandboxOutcome};

use super::guest_files::{self, FileInput, PATH_PATTERN};
use super::native::Native;
use super::python::{Layers, Runtime};
use super::{CallContext, PACKAGE_INDEX, Tool};

mod checker;
mod command;
mod diagnostics;
mod place;

use checker::with_report;
use command::Invocation;
pub use diagnostics::Diagnostic;
use diagnostics::Ended;
use place::Place;

/// The tool, with what it needs of the house.
pub struct EvalRun {
    /// Where Python runs in WebAssembly.
    pub sandbox: Arc<dyn Sandbox>,
    /// Packages for it.
    pub packages: Arc<Packages>,
    /// Native programs.
    pub native: Native,
}

/// The arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Run one after the other.
    #[schemars(length(min = 1, max = 20), description = "")]
    pub commands: Vec<Command>,
    /// The project: true for the run's workspace, or a folder in it.
    #[serde(default)]
    #[schemars(description = "The project: true for the run's workspace, or a folder in it.")]
    pub workspace: Option<Project>,
    /// Files added to it.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub files: Vec<FileInput>,
    /// Default: `process` for other programs than python and for `requirements`.
    #[serde(default)]
    #[schemars(description = "Default: process for requirements and other programs than python.")]
    pub python: Option<Runtime>,
    /// `name==version`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub requirements: Vec<String>,
    /// Of each command.
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
    #[schemars(description = "")]
    Argv(#[schemars(length(min = 1, max = 1000))] Vec<String>),
}

/// Which part of the workspace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Project {
    /// All of it, or nothing.
    #[schemars(description = "")]
    Whole(bool),
    /// This folder of it.
    #[schemars(description = "")]
    Folder(#[schemars(regex(pattern = PATH_PATTERN))] String),
}

/// The answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Output {
    /// Every command ended with 0.
    pub passed: bool,
    /// In the order given.
    pub commands: Vec<CommandResult>,
    /// What stood between them and the machine.
    pub sandbox: Layers,
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
        let invocations: Vec<Invocation> = self.commands.iter().map(Invocation::read).collect::<Result<_, _>>()?;
        if self.runtime(&invocations) == Runtime::Wasm {
            invocations.iter().try_for_each(|invocation| invocation.for_wasm().map(drop))?;
        }
        Ok(invocations)
    }

    /// The runtime: the one asked for, else the one that has all that is named.
    fn runtime(&self, invocations: &[Invocation]) -> Runtime {
        let is_native = !self.requirements.is_empty() || !invocations.iter().all(Invocation::is_python);
        self.python.unwrap_or(if is_native { Runtime::Process } else { Runtime::Wasm })
    }

    fn pins(&self) -> Result<Vec<Requirement>, Fault> {
        Requirement::parse_all(&self.requirements)
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
        let invocations = input.invocations()?;
        guest_files::check(&input.files)?;
        let pins = input.pins()?;
        let cached = match input.runtime(&invocations) {
            Runtime::Wasm => self.packages.cached(&pins),
            Runtime::Process => self.native.environments.cached(&pins),
        };
        let fetches = !pins.is_empty() && cached.is_none();
        let reads = input.project()?.is_some() || guest_files::from_workspace(&input.files);
        let effects = reads.then_some(Effect::Read).into_iter().chain(fetches.then_some(Effect::Egress));
        Ok(Preparation::of(Effects::of(effects)).reaching(fetches.then(|| PACKAGE_INDEX.to_owned())))
    }

    async fn execute(&self, input: &Input, context: &CallContext) -> Result<Output, Fault> {
        let invocations = input.invocations()?;
        let project = input.project()?;
        let files = self.files(input, project.clone(), context).await?;
        let folder = project.flatten().map(|path| format!("{}/", path.as_str())).unwrap_or_default();
        let runtime = input.runtime(&invocations);
        let place = Place::of(self, runtime, &input.pins()?, files, context).await?;
        let total = invocations.len();
        let wall = Millis(u64::from(input.timeout_sec.max(1)) * 1000).min(context.limits.wall);
        let output = Bytes(context.limits.output.0 / total.max(1) as u64);
        let (mut commands, mut layers) = (Vec::with_capacity(total), Vec::new());
        for (n, invocation) in invocations.into_iter().enumerate() {
            let line = invocation.argv.join(" ");
            context.progress.note(&line, Some(n as f64), Some(total as f64));
            let (checker, report) = with_report(&invocation.argv, "/out");
            let spec = place.spec(&invocation, &report, super::guest_limits(wall, place.memory(), output))?;
            let mut outcome = place.sandbox().run(spec, context.cancel.clone(), context.progress.clone()).await?;
            layers = std::mem::take(&mut outcome.layers);
            let (stdout, stderr) = (outcome.stdout.text(), outcome.stderr.text());
            let written = report.file.and_then(|name| outcome.files.iter().find(|file| file.path == name));
            let ended = Ended {
                stdout: &stdout,
                stderr: &stderr,
                report: written.map(|file| file.bytes.as_slice()),
                return_code: outcome.return_code,
            };
            let diagnostics = diagnostics::read(checker, &ended, &folder);
            commands.push(CommandResult::of(invocation.argv, &outcome, (stdout, stderr), diagnostics));
        }
        let passed = commands.iter().all(|command| command.return_code == 0);
        Ok(Output { passed, commands, sandbox: Layers { runtime, layers } })
    }
}

impl EvalRun {
    /// The project's files, with the files of the call put over them.
    async fn files(&self, input: &Input, project: Option<Option<RelPath>>, context: &CallContext) -> Result<Vec<GuestFile>, Fault> {
        let added = guest_files::load(&input.files, context).await?;
        let Some(under) = project else { return Ok(added) };
        let mut files = guest_files::load_workspace(context, under).await?;
        files.retain(|file| !added.iter().any(|added| added.path == file.path));
        files.extend(added);
        Ok(files)
    }
}

impl CommandResult {
    fn of(argv: Vec<String>, outcome: &SandboxOutcome, (stdout, stderr): (String, String), diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            argv,
            return_code: outcome.return_code,
            stdout,
            stderr,
            diagnostics,
            duration_ms: super::millis(outcome.metrics.wall),
            limit: outcome.limit.map(|limit| limit.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
