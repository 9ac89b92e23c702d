//! `sandbox.status`: which runtimes work on this machine, and behind which walls.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{NoProgress, Preparation};
use crate::domain::{Effect, Effects, Fault};
use crate::sandbox::process::{Interpreter, Job, ProcessSandbox};

use super::{CallContext, Tool};

/// Asks the interpreter, from inside, whether it can install packages by itself.
const HAS_PIP: &str = "import importlib.util as u; print(any(u.find_spec(n) for n in ('pip', 'ensurepip')))";

/// The tool.
pub struct SandboxStatus {
    /// The runtime `process`.
    pub process: Arc<ProcessSandbox>,
    /// Whether the machine has `uv`.
    pub has_uv: bool,
}

/// No arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Nothing {}

/// The runtimes.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Status {
    /// Python in WebAssembly, which is part of this program.
    pub wasm: WasmStatus,
    /// Native programs, confined by the operating system.
    pub process: ProcessStatus,
}

/// The runtime `wasm`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WasmStatus {
    /// The version of Python.
    pub python: &'static str,
}

/// The runtime `process`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ProcessStatus {
    /// Whether calls can use it.
    pub available: bool,
    /// Its layers, all of them up.
    pub layers: Vec<String>,
    /// The machine's Python.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<NativePython>,
    /// What is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// The machine's Python.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct NativePython {
    /// Its program.
    pub path: String,
    /// Such as 3.11.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What installs packages for it: uv or pip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installer: Option<&'static str>,
}

#[async_trait]
impl Tool for SandboxStatus {
    type Input = Nothing;
    type Output = Status;

    async fn prepare(&self, _input: &Nothing, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, _input: &Nothing, context: &CallContext) -> Result<Status, Fault> {
        let (layers, interpreter) = (self.process.ready().await, self.process.interpreter());
        let missing = layers.as_ref().err().or_else(|| interpreter.as_ref().err()).map(|fault| fault.message.clone());
        let python = match interpreter {
            Ok(found) if missing.is_none() => Some(NativePython {
                path: found.exe.display().to_string(),
                version: found.version.map(|(major, minor)| format!("{major}.{minor}")),
                installer: self.installer(found, context).await,
            }),
            Ok(_) | Err(_) => None,
        };
        Ok(Status {
            wasm: WasmStatus { python: crate::packages::PYTHON },
            process: ProcessStatus {
                available: missing.is_none(),
                layers: layers.map(|layers| layers.to_vec()).unwrap_or_default(),
                python,
                missing,
            },
        })
    }
}

impl SandboxStatus {
    async fn installer(&self, python: &Interpreter, context: &CallContext) -> Option<&'static str> {
        if self.has_uv {
            return Some("uv");
        }
        let argv = [python.exe.as_os_str(), "-I".as_ref(), "-c".as_ref(), HAS_PIP.as_ref()].map(ToOwned::to_owned);
        let job = Job { mounts: python.mount().into_iter().collect(), ..Job::new(argv.to_vec()) };
        let asked = self.process.run_job(job, context.cancel.clone(), Arc::new(NoProgress)).await.ok()?;
        (asked.stdout.text().trim() == "True").then_some("pip")
    }
}
