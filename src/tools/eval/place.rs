//! Where the commands of one call run: a runtime with its packages and the project's files.

use std::sync::Arc;

use crate::domain::{Bytes, Fault};
use crate::packages::{Environment, Requirement};
use crate::sandbox::{Entry, GuestFile, Sandbox, SandboxLimits, SandboxSpec};
use crate::tools::CallContext;
use crate::tools::python::Runtime;

use super::EvalRun;
use super::checker::Report;
use super::command::Invocation;

/// Memory of a command: in WebAssembly, and natively, where type checkers live.
const MEMORY: Bytes = Bytes(512 << 20);
const NATIVE_MEMORY: Bytes = Bytes(2 << 30);

/// What native commands may write, over the project itself.
const NATIVE_DISK: Bytes = Bytes(256 << 20);
const NATIVE_FILES: u32 = 20_000;

/// Caches go nowhere: the next command has a fresh place, and reads none of them.
const VARIABLES: &[(&str, &str)] = &[
    ("MYPY_CACHE_DIR", "/dev/null"),
    ("RUFF_NO_CACHE", "true"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("COVERAGE_FILE", "/tmp/coverage"),
    ("NO_COLOR", "1"),
    ("COLUMNS", "160"),
];

/// A runtime, made ready for the commands.
pub(super) enum Place {
    /// Python in WebAssembly.
    Wasm { sandbox: Arc<dyn Sandbox>, files: Vec<GuestFile>, packages: Vec<GuestFile>, nested: bool },
    /// The process sandbox.
    Process { sandbox: Arc<dyn Sandbox>, files: Vec<GuestFile>, environment: Option<Arc<Environment>> },
}

impl Place {
    pub(super) async fn of(
        tool: &EvalRun,
        runtime: Runtime,
        pins: &[Requirement],
        files: Vec<GuestFile>,
        context: &CallContext,
    ) -> Result<Self, Fault> {
        match runtime {
            Runtime::Process => {
                let environment = tool.native.environment(pins, context).await?;
                Ok(Self::Process { sandbox: tool.native.sandbox.clone(), files, environment })
            }
            Runtime::Wasm => {
                let progress = context.progress.clone();
                let note = move |message: &str| progress.note(message, None, None);
                let packages = if pins.is_empty() {
                    Vec::new()
                } else {
                    let set = tool.packages.get(pins, &context.cancel, &note).await?;
                    set.files.iter().map(|(path, bytes)| GuestFile { path: path.clone(), bytes: bytes.clone() }).collect()
                };
                Ok(Self::Wasm { sandbox: tool.sandbox.clone(), files, packages, nested: context.from_code })
            }
        }
    }

    pub(super) fn sandbox(&self) -> &dyn Sandbox {
        match self {
            Self::Wasm { sandbox, .. } | Self::Process { sandbox, .. } => &**sandbox,
        }
    }

    pub(super) fn memory(&self) -> Bytes {
        match self {
            Self::Wasm { .. } => MEMORY,
            Self::Process { .. } => NATIVE_MEMORY,
        }
    }

    /// What one command is given.
    pub(super) fn spec(&self, invocation: &Invocation, report: &Report, limits: SandboxLimits) -> Result<SandboxSpec, Fault> {
        match self {
            Self::Wasm { files, packages, nested, .. } => {
                let (entry, args) = invocation.for_wasm()?;
                Ok(SandboxSpec {
                    args,
                    files: files.clone(),
                    packages: packages.clone(),
                    limits,
                    nested: *nested,
                    ..SandboxSpec::new(entry)
                })
            }
            Self::Process { files, environment, .. } => {
                let (program, args) = invocation.argv.split_first().map_or(("", &[][..]), |(program, args)| (program.as_str(), args));
                let own = VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                let asked = report.env.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                Ok(SandboxSpec {
                    args: args.to_vec(),
                    files: files.clone(),
                    environment: environment.as_ref().map(|environment| environment.folder.clone()),
                    // Checkers write beside what they check; the project is a copy.
                    may_write_work: true,
                    variables: own.chain(asked).collect(),
                    limits: SandboxLimits { disk: NATIVE_DISK, files: NATIVE_FILES, ..limits },
                    ..SandboxSpec::new(Entry::Program(program.to_owned()))
                })
            }
        }
    }
}
