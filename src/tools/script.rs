//! A tool written in Python: a manifest with a script beside it. The script reads its input as JSON from standard input, or under the name
//! `toolgate_input`, and answers with JSON: in the variable `result`, or on standard output.
//!
//! INVARIANT: a script runs in the sandbox with nothing but its input, so its effect is pure whatever it does; unless its manifest names
//! hosts. Then a call has all the effects that the manifest states, as what a request does over there shows only there, and it may go to
//! those hosts, with the secrets of the manifest, and nowhere else.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use crate::call::{ParsedArgs, Preparation, RawOutput};
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, SecretName};
use crate::egress::HostRules;
use crate::sandbox::{Entry, GuestFile, GuestHost, LimitHit, Sandbox, SandboxOutcome, SandboxSpec};
use crate::secrets::vault::unknown;

use super::network::{NetworkHost, NetworkPorts, User};
use super::{CallContext, Handler};

/// Memory of a script.
const MEMORY: Bytes = Bytes(256 << 20);

/// How much of a failed script's standard error is told.
const TOLD: usize = 2_000;

/// The script and the schemas of its manifest.
pub struct Script {
    /// The tool's id, which is the script's file name as well: its tracebacks show it, and secrets know the tool by it.
    pub name: String,
    /// Its text.
    pub source: Arc<str>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the answer.
    pub output_schema: Value,
    /// Where it runs.
    pub sandbox: Arc<dyn Sandbox>,
    /// Where it may go, where it may go anywhere.
    pub network: Option<ScriptNetwork>,
}

/// What a script with hosts may reach, as its manifest says.
pub struct ScriptNetwork {
    /// The hosts.
    pub hosts: HostRules,
    /// The secrets that may stand in its requests.
    pub secrets: Vec<SecretName>,
    /// The effects of every call.
    pub effects: Effects,
    /// The way there.
    pub ports: NetworkPorts,
}

impl ScriptNetwork {
    /// What this tool's calls are: shown to whoever approves one, and part of its digest.
    fn preparation(&self) -> Preparation {
        let hosts: Vec<String> = self.hosts.entries().collect();
        let target = json!({ "hosts": hosts, "secrets": self.secrets });
        Preparation::of(self.effects.clone()).reaching(hosts).about(target)
    }

    /// That its secrets are there, for this tool and for one of its hosts, before anybody is asked about the call.
    async fn check_secrets(&self, tool: &str) -> Result<(), Fault> {
        if self.secrets.is_empty() {
            return Ok(());
        }
        let usable = self.ports.secrets.usable(Some(tool)).await?;
        for name in &self.secrets {
            let secret = usable.iter().find(|secret| secret.name == *name).ok_or_else(|| unknown(name))?;
            if !secret.terms.hosts.iter().any(|host| self.hosts.allows(&host.origin())) {
                let hosts: Vec<String> = self.hosts.entries().collect();
                return Err(Fault::new(
                    ErrorCode::SecretRefused,
                    format!("secret `{name}` may go to none of the hosts of `{tool}`: {}", hosts.join(", ")),
                )
                .hint("the operator says where it may go with `toolgate vault set --hosts`"));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Handler for Script {
    fn input_schema(&self) -> Value {
        self.input_schema.clone()
    }

    fn output_schema(&self) -> Value {
        self.output_schema.clone()
    }

    fn parse(&self, arguments: Value) -> Result<ParsedArgs, Fault> {
        Ok(ParsedArgs::new(arguments.clone(), arguments))
    }

    async fn prepare(&self, _arguments: &ParsedArgs, _context: &CallContext) -> Result<Preparation, Fault> {
        let Some(network) = &self.network else { return Ok(Preparation::of(Effects::only(Effect::Pure))) };
        network.check_secrets(&self.name).await?;
        Ok(network.preparation())
    }

    async fn execute(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<RawOutput, Fault> {
        let input: &Value = arguments.typed()?;
        let mut limits = super::guest_limits(context.limits.wall, MEMORY, context.limits.output);
        // The answer is the output itself, so it may be as large.
        limits.stdout = context.limits.output;
        limits.result = context.limits.output;
        let (host, _ended) = self.host(context).await?.unzip();
        let spec = SandboxSpec {
            stdin: input.to_string().into_bytes(),
            input: Some(input.clone()),
            files: vec![GuestFile { path: self.name.clone(), bytes: self.source.as_bytes().into() }],
            limits,
            host: host.clone().map(|host| host as Arc<dyn GuestHost>),
            wall: context.wall.clone(),
            nested: context.from_code,
            ..SandboxSpec::new(Entry::File(self.name.clone()))
        };
        let outcome = self.sandbox.run(spec, context.cancel.clone(), context.progress.clone()).await?;
        let refused = host.map(|host| host.refused()).unwrap_or_default();
        self.answer(outcome, &refused).map(RawOutput)
    }
}

impl Script {
    /// The script's host, where it has a network, and what ends that.
    async fn host(&self, context: &CallContext) -> Result<Option<(Arc<NetworkHost>, DropGuard)>, Fault> {
        let Some(network) = &self.network else { return Ok(None) };
        let user = User { tool: &self.name, secrets_stand_in: "the tool's manifest" };
        let open = network.ports.open(network.hosts.clone(), &network.secrets, user, context).await?;
        Ok(Some(NetworkHost::new(open, network.ports.spawner.clone(), &context.cancel)))
    }

    fn answer(&self, outcome: SandboxOutcome, refused: &[Fault]) -> Result<Value, Fault> {
        let name = &self.name;
        if outcome.return_code != 0 {
            let said = outcome.stderr.text();
            let told: String = said.chars().skip(said.chars().count().saturating_sub(TOLD)).collect();
            // A script that ended with what its host told it failed for that reason, and has its code and hint.
            if let Some(reason) = refused.iter().rev().find(|reason| outcome.limit.is_none() && said.contains(&reason.message)) {
                let fault = Fault::new(reason.code, format!("the script `{name}` failed: {}", told.trim()));
                return Err(Fault { hint: reason.hint.clone(), ..fault });
            }
            let fault = |code, why: &str| Err(Fault::new(code, format!("the script `{name}` {why}: {}", told.trim())));
            return match outcome.limit {
                Some(LimitHit::Time) => fault(ErrorCode::Timeout, "ran out of time"),
                Some(LimitHit::Memory | LimitHit::Stack | LimitHit::Disk | LimitHit::Calls | LimitHit::Host) => {
                    fault(ErrorCode::LimitExceeded, "used more than it may")
                }
                Some(LimitHit::Output) | None => fault(ErrorCode::InvalidOutput, "failed"),
            };
        }
        if let Some(result) = outcome.result {
            return Ok(result);
        }
        if outcome.stdout.truncated {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("the script `{name}` wrote more than its manifest's output limit")));
        }
        serde_json::from_slice(&outcome.stdout.bytes).map_err(|error| {
            Fault::new(ErrorCode::InvalidOutput, format!("the script `{name}` left neither `result` nor JSON on standard output: {error}"))
        })
    }
}

#[cfg(test)]
mod tests;
