//! What `python.run` is asked: the arguments and what they mean.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{ErrorCode, Fault};
use crate::sandbox::Entry;
use crate::secrets::vault::SecretName;
use crate::tools::guest_files::FileInput;

/// The entrypoint that stands for `code`.
const INLINE: &str = "inline";

/// What stands before a module's name in `entrypoint`.
const MODULE: &str = "-m ";

/// The arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// `inline` runs `code`; else the path of one of `files`, or `-m NAME`.
    #[serde(default = "inline")]
    #[schemars(length(max = 512))]
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
    #[schemars(description = "")]
    pub stdin: Option<String>,
    /// Files in the working folder, read-only.
    #[serde(default)]
    #[schemars(length(max = 1000))]
    pub files: Vec<FileInput>,
    /// Wall time in seconds.
    #[serde(default = "timeout_sec")]
    #[schemars(range(min = 1, max = 300), description = "")]
    pub timeout_sec: u32,
    /// Memory in MB.
    #[serde(default = "memory_mb")]
    #[schemars(range(min = 64, max = 1024), description = "")]
    pub memory_mb: u32,
    /// HTTP to allowed_hosts.
    #[serde(default)]
    pub allow_network: bool,
    /// `host`, `*.suffix` or `host:port`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub allowed_hosts: Vec<String>,
    /// For `{{secret:NAME}}` in requests.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub secrets: Vec<String>,
    /// Packages, `name==version`; native ones with `process`.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub requirements: Vec<String>,
    /// Tools it may call.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub tools: Vec<String>,
    /// Process: the machine's Python.
    #[serde(default)]
    pub runtime: Runtime,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Runtime {
    /// CPython in WebAssembly.
    #[default]
    Wasm,
    /// A native interpreter, confined by the operating system.
    Process,
}

impl Input {
    /// What is to be run.
    ///
    /// # Errors
    /// `INVALID_INPUT` where entrypoint, code and files do not go together.
    pub(super) fn entry(&self) -> Result<Entry, Fault> {
        let bad = |message: String| Err(Fault::new(ErrorCode::InvalidInput, message));
        let module = self.entrypoint.strip_prefix(MODULE).map(str::trim);
        match (&self.code, self.entrypoint.as_str(), module) {
            (Some(code), INLINE, _) => Ok(Entry::Code(code.clone())),
            (None, INLINE, _) => bad("entrypoint `inline` needs `code`".to_owned()),
            (Some(_), path, _) => bad(format!("`code` goes with entrypoint `inline`, not with `{path}`")),
            (None, _, Some(module)) if is_module_name(module) => Ok(Entry::Module(module.to_owned())),
            (None, _, Some(module)) => bad(format!("`{module}` is not the name of a module")),
            (None, path, None) if self.files.iter().any(|file| file.path == path) => Ok(Entry::File(path.to_owned())),
            (None, path, None) => bad(format!("entrypoint `{path}` is not among `files`")),
        }
    }

    /// Whether the program can use the network at all: allowed, and some host named.
    pub(super) fn has_network(&self) -> bool {
        self.allow_network && !self.allowed_hosts.is_empty()
    }

    /// The secrets it may use.
    ///
    /// # Errors
    /// `INVALID_INPUT` for what is no name.
    pub(super) fn secrets(&self) -> Result<Vec<SecretName>, Fault> {
        self.secrets.iter().map(|name| name.parse()).collect()
    }

    /// Refuses what contradicts itself or is not here.
    ///
    /// # Errors
    /// `INVALID_INPUT`.
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.entry()?;
        if !self.allow_network && !self.allowed_hosts.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "`allowed_hosts` without `allow_network`")
                .hint("set allow_network to true, or leave allowed_hosts out"));
        }
        if !self.secrets.is_empty() && (!self.has_network() || self.runtime == Runtime::Process) {
            return Err(Fault::new(ErrorCode::InvalidInput, "`secrets` without the sandbox's own network")
                .hint("secrets go into HTTP requests: set allow_network and allowed_hosts, with the runtime `wasm`"));
        }
        if self.runtime == Runtime::Process && !self.tools.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "a program in the runtime `process` cannot call tools")
                .hint("leave `tools` out, or use the runtime `wasm`"));
        }
        Ok(())
    }
}

fn is_module_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut letters = part.chars();
        letters.next().is_some_and(|first| first.is_alphabetic() || first == '_') && letters.all(|c| c.is_alphanumeric() || c == '_')
    })
}
