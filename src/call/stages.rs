//! The stage types up to the point of decision.

use std::any::Any;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::domain::{Actor, CallId, Digest, Effect, Effects, Fault, Limits, RunId, StepId, ToolName};

use super::{Along, Progress, call_digest};

/// What stands for hosts that nobody named.
const ANY_HOST: &str = "*";

/// Where a call comes from. One path serves all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An MCP client.
    Client,
    /// The command line.
    Cli,
    /// A step of a workflow run.
    Step {
        /// The run whose step it is.
        run: RunId,
        /// The step.
        step: StepId,
    },
    /// Python code inside the sandbox, during this call.
    Code {
        /// The call whose code asks.
        call: CallId,
        /// The number of this operation in that program, from 0.
        number: u32,
        /// What the program had seen since its last call, so that it can be brought to this point again; recorded with the intent.
        seen: Value,
    },
}

/// How a human is to be asked about a call, should one have to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Asking {
    /// Why the model makes the call, in its own words: shown to the human as the model's, never as ours. No part of the digest.
    pub reason: Option<String>,
    /// Whoever makes the call puts the question to its human itself, so the call does not wait for the answer.
    pub elsewhere: bool,
}

/// A call as it arrived: nothing about it has been checked.
pub struct RawCall {
    /// The tool's canonical or exposed name, as the caller wrote it.
    pub tool: String,
    /// The arguments, parsed from the wire exactly once.
    pub arguments: Value,
    /// Where it comes from.
    pub origin: Origin,
    /// Who asks.
    pub actor: Actor,
    /// The run it belongs to, where the caller did not name one in the arguments.
    pub run: RunId,
    /// How a human is asked about it.
    pub asking: Asking,
    /// Tokens that the agent says it used up to come to this call.
    pub tokens: u64,
    /// What travels with it.
    pub along: Along,
    /// Fires when the caller no longer wants the answer.
    pub cancel: CancellationToken,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
}

/// Which tool, exactly: a changed manifest is another tool.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ToolRef {
    /// Canonical name.
    pub name: ToolName,
    /// Version of the manifest.
    pub version: semver::Version,
    /// Digest of the manifest and its schemas.
    pub manifest: Digest,
}

/// Arguments after the one parse: the value that policy sees and the typed form that the handler executes, both from the same
/// parse, so they cannot differ.
pub struct ParsedArgs {
    value: Value,
    typed: Box<dyn Any + Send + Sync>,
}

impl ParsedArgs {
    /// Joins a value with the typed form that was read from it. Only handlers' `parse` makes these.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(value: Value, typed: T) -> Self {
        Self { value, typed: Box::new(typed) }
    }

    /// What policy, digest and journal see.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// What the handler executes.
    ///
    /// # Errors
    /// Where another handler made these arguments: a fault of ours.
    pub fn typed<T: Any>(&self) -> Result<&T, Fault> {
        self.typed.downcast_ref().ok_or_else(|| Fault::internal("arguments were parsed for another handler"))
    }
}

impl fmt::Debug for ParsedArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A call of a known tool with arguments that fit its schema.
pub struct ParsedCall {
    /// This call.
    pub id: CallId,
    /// The tool.
    pub tool: ToolRef,
    /// The widest effects its manifest states.
    pub widest: Effects,
    /// The arguments.
    pub args: ParsedArgs,
    /// Who asks.
    pub actor: Actor,
    /// Where from.
    pub origin: Origin,
    /// The run it belongs to.
    pub run: RunId,
    /// How a human is asked about it.
    pub asking: Asking,
    /// Tokens that the agent reports with it.
    pub tokens: u64,
    /// What travels with it.
    pub along: Along,
    /// What it may use up.
    pub limits: Limits,
    /// Fires when the caller no longer wants the answer.
    pub cancel: CancellationToken,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
}

/// What a handler says of a call before anything happens; found by reading only.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// The effects of this very call.
    pub effects: Effects,
    /// The state of the world the effect depends on: for a push the URL, ref and object id. `null` where there is none.
    pub target: Value,
    /// The hosts it may reach: names or addresses, with a port where it is not the scheme's own. Empty where it reaches none.
    pub hosts: BTreeSet<String>,
    /// Whether the call itself makes calls: then its intent is durable before it begins, whatever its effects.
    pub makes_calls: bool,
}

impl Preparation {
    /// Effects that depend on nothing outside the arguments.
    #[must_use]
    pub fn of(effects: Effects) -> Self {
        Self { effects, target: Value::Null, hosts: BTreeSet::new(), makes_calls: false }
    }

    /// With the state of the world the effect depends on.
    #[must_use]
    pub fn about(self, target: Value) -> Self {
        Self { target, ..self }
    }

    /// A rule that allows some hosts alone must not be met by a call that says nothing of where it goes.
    fn complete(mut self) -> Self {
        if self.effects.contains(Effect::Egress) && self.hosts.is_empty() {
            self.hosts.insert(ANY_HOST.to_owned());
        }
        self
    }

    /// With the hosts it may reach.
    #[must_use]
    pub fn reaching(self, hosts: impl IntoIterator<Item = String>) -> Self {
        Self { hosts: hosts.into_iter().collect(), ..self }
    }
}

/// A call whose effects and target are known and whose digest is fixed: what policy decides on and a human approves.
pub struct PreparedCall {
    parsed: ParsedCall,
    preparation: Preparation,
    digest: Digest,
}

impl PreparedCall {
    /// Fixes the call's digest.
    ///
    /// # Errors
    /// Where the handler claims an effect that the manifest does not state: a fault of ours, and the call must not run.
    pub fn new(parsed: ParsedCall, preparation: Preparation, policy: &Digest) -> Result<Self, Fault> {
        if !preparation.effects.within(&parsed.widest) {
            return Err(Fault::internal(format!("the handler of `{}` claims an effect its manifest does not state", parsed.tool.name)));
        }
        let preparation = preparation.complete();
        let digest = call_digest(&parsed, &preparation, policy)?;
        Ok(Self { parsed, preparation, digest })
    }

    /// Whether the handler, asked again, says the same of the call: effects, hosts and what it acts on.
    #[must_use]
    pub fn is_still(&self, again: Preparation) -> bool {
        again.complete() == self.preparation
    }

    /// The call as parsed.
    #[must_use]
    pub fn parsed(&self) -> &ParsedCall {
        &self.parsed
    }

    /// The effects of this very call.
    #[must_use]
    pub fn effects(&self) -> &Effects {
        &self.preparation.effects
    }

    /// The state its effect depends on.
    #[must_use]
    pub fn target(&self) -> &Value {
        &self.preparation.target
    }

    /// The hosts it may reach; `*` where it uses the network and its handler does not say which.
    #[must_use]
    pub fn hosts(&self) -> &BTreeSet<String> {
        &self.preparation.hosts
    }

    /// Whether intent and outcome may share one commit: nothing outside can be left half done.
    #[must_use]
    pub fn may_share_commit(&self) -> bool {
        // A program's calls are found again after an interruption only if they are recorded before they begin.
        let from_code = matches!(self.parsed.origin, Origin::Code { .. });
        // What it asks of a host is recorded under its intent.
        let stays_here = self.preparation.hosts.is_empty();
        self.preparation.effects.leave_nothing_behind() && !self.preparation.makes_calls && !from_code && stays_here
    }

    /// Whether the call makes calls itself.
    #[must_use]
    pub fn makes_calls(&self) -> bool {
        self.preparation.makes_calls
    }

    /// The digest an approval names and a Grant covers.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}
