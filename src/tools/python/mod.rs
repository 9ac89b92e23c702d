//! `python.run`: one Python program in the sandbox, with files in and files out, and if the call says so with packages, HTTP and tools.
//!
//! INVARIANT: the program's files are copies, its state ends with the call, and whatever a limit cut short is in the answer with the
//! limit's name. It reaches the hosts and tools that the call names, through the host, and nothing else.

mod host;
mod input;
mod output;
mod ports;

pub use input::{Input, Runtime};
pub use output::{Layers, Metrics, Output, ProducedFile};
pub use ports::{CodeCall, CodeCalls, CodeTool, Resumed};

pub use crate::sandbox::{Answer as ProgramAnswer, Recorded, Recording, Seen};

use std::sync::Arc;

use async_trait::async_trait;

use crate::call::Preparation;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Labels, Millis};
use crate::egress::HostRules;
use crate::packages::{Packages, Requirement};
use crate::sandbox::{GuestFile, GuestHost, Sandbox, SandboxLimits, SandboxSpec};
use crate::secrets::vault::unknown;

use super::guest_files;
use super::native::Native;
use super::network::{NetworkPorts, User};
use super::{CallContext, PACKAGE_INDEX, Tool};

use host::ProgramHost;

/// What secrets know this tool by.
const USER: User<'static> = User { tool: "python.run", secrets_stand_in: "python.run" };

/// The tool, with what it needs of the house.
pub struct PythonRun {
    /// Where programs run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Packages by their pins.
    pub packages: Arc<Packages>,
    /// HTTP, and the secrets that may go out by it.
    pub network: NetworkPorts,
    /// Calls of tools.
    pub calls: Arc<dyn CodeCalls>,
    /// The runtime `process`.
    pub native: Native,
}

impl Input {
    /// What is asked for, never more than the call's own limits.
    fn limits(&self, context: &CallContext) -> SandboxLimits {
        let wall = Millis(u64::from(self.timeout_sec.max(1)) * 1000).min(context.limits.wall);
        let memory = Bytes(u64::from(self.memory_mb.max(64)) << 20);
        super::guest_limits(wall, memory, context.limits.output)
    }

    fn pins(&self) -> Result<Vec<Requirement>, Fault> {
        Requirement::parse_all(&self.requirements)
    }

    fn rules(&self) -> Result<HostRules, Fault> {
        HostRules::parse(&self.allowed_hosts)
    }
}

#[async_trait]
impl Tool for PythonRun {
    type Input = Input;
    type Output = Output;

    async fn prepare(&self, input: &Input, context: &CallContext) -> Result<Preparation, Fault> {
        input.check()?;
        guest_files::check(&input.files)?;
        let pins = input.pins()?;
        input.rules()?;
        self.check_secrets(input).await?;
        if context.from_code && !input.tools.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, "a program that a program started cannot call tools")
                .hint("call the tools from the outer program"));
        }
        // What is not in the cache yet is fetched from the package index.
        let cached = match input.runtime {
            Runtime::Wasm => self.packages.cached(&pins),
            Runtime::Process => self.native.environments.cached(&pins),
        };
        let fetches = !pins.is_empty() && cached.is_none();
        let reads = guest_files::from_workspace(&input.files);
        let tools = self.calls.describe(&input.tools)?;
        let effects = reads.then_some(Effect::Read).into_iter();
        let effects = effects.chain((input.has_network() || fetches).then_some(Effect::Egress));
        let effects = Effects::of(effects.chain(tools.iter().flat_map(|tool| tool.effects.iter())));
        let hosts = if input.has_network() { input.rules()?.entries().collect::<Vec<_>>() } else { Vec::new() };
        let hosts = hosts.into_iter().chain(fetches.then(|| PACKAGE_INDEX.to_owned()));
        // Where its tools go they say themselves, each call by itself.
        let hosts = hosts.chain(tools.iter().any(|tool| tool.effects.contains(Effect::Egress)).then(|| "*".to_owned()));
        Ok(Preparation { makes_calls: !tools.is_empty(), ..Preparation::of(effects).reaching(hosts) })
    }

    async fn execute(&self, input: &Input, context: &CallContext) -> Result<Output, Fault> {
        let files = guest_files::load(&input.files, context).await?;
        match input.runtime {
            Runtime::Wasm => self.in_wasm(input, files, context).await,
            Runtime::Process => self.natively(input, files, context).await,
        }
    }
}

impl PythonRun {
    /// That there are secrets of these names, before anybody is asked about the call.
    async fn check_secrets(&self, input: &Input) -> Result<(), Fault> {
        let names = input.secrets()?;
        if names.is_empty() {
            return Ok(());
        }
        let usable = self.network.secrets.usable(Some(USER.tool)).await?;
        match names.iter().find(|name| !usable.iter().any(|secret| secret.name == **name)) {
            Some(name) => Err(unknown(name)),
            None => Ok(()),
        }
    }

    async fn in_wasm(&self, input: &Input, files: Vec<GuestFile>, context: &CallContext) -> Result<Output, Fault> {
        let (packages, lock) = self.packages(input, context).await?;
        let tools = self.calls.describe(&input.tools)?;
        let resumed = if tools.is_empty() { None } else { self.calls.resume(context).await? };
        let run = resumed.as_ref().map_or(context.run, |resumed| resumed.run);
        let network = if input.has_network() {
            if !input.secrets.is_empty() {
                // What a secret opens is not for everybody.
                context.brought.add(Labels { private: true, ..Labels::default() });
            }
            Some(self.network.open(input.rules()?, &input.secrets()?, USER, context).await?)
        } else {
            None
        };
        // Its end cancels what the program left under way.
        let inside = CallContext { run, ..context.clone() };
        let (host, _ended) = ProgramHost::new(inside, tools, self.calls.clone(), network, self.network.spawner.clone());
        let spec = SandboxSpec {
            args: input.args.clone(),
            stdin: input.stdin.clone().unwrap_or_default().into_bytes(),
            files,
            packages,
            host: Some(host as Arc<dyn GuestHost>),
            recording: resumed.map(|resumed| resumed.recording),
            wall: context.wall.clone(),
            nested: context.from_code,
            limits: input.limits(context),
            ..SandboxSpec::new(input.entry()?)
        };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await;
        if run != context.run {
            // A program that was brought back tells here what it learned in the run it began in.
            context.brought.add(self.calls.labels_of(run).await?);
        }
        output::answer(outcome?, input.runtime, lock, &*context.artifacts).await
    }

    /// The same contract on the machine's own CPython, confined.
    async fn natively(&self, input: &Input, files: Vec<GuestFile>, context: &CallContext) -> Result<Output, Fault> {
        let environment = self.native.environment(&input.pins()?, context).await?;
        let door = match input.has_network() {
            true => Some(self.native.door(input.rules()?, context.limits.wall, self.network.http_events.of(context))),
            false => None,
        };
        let spec = SandboxSpec {
            args: input.args.clone(),
            stdin: input.stdin.clone().unwrap_or_default().into_bytes(),
            files,
            environment: environment.as_ref().map(|environment| environment.folder.clone()),
            door,
            wall: context.wall.clone(),
            limits: input.limits(context),
            ..SandboxSpec::new(input.entry()?)
        };
        let outcome = self.native.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        let lock = environment.map(|environment| environment.lock.clone());
        output::answer(outcome, input.runtime, lock, &*context.artifacts).await
    }

    /// The packages the call asks for, and their lock.
    async fn packages(&self, input: &Input, context: &CallContext) -> Result<(Vec<GuestFile>, Option<String>), Fault> {
        let pins = input.pins()?;
        if pins.is_empty() {
            return Ok((Vec::new(), None));
        }
        let progress = context.progress.clone();
        let note = move |message: &str| progress.note(message, None, None);
        let set = self.packages.get(&pins, &context.cancel, &note).await?;
        let files = set.files.iter().map(|(path, bytes)| GuestFile { path: path.clone(), bytes: bytes.clone() }).collect();
        Ok((files, Some(set.lock.to_string())))
    }
}

#[cfg(test)]
mod tests;
