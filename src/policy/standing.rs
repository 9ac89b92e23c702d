//! What an operator has allowed for a while: an expiring permit that turns a question into a yes.
//!
//! INVARIANT: it answers only what would be asked anyway, by the rules that asked when it was given, of the same tool, manifest and
//! principal, towards the same places; it never lifts a refusal. Does not keep time: whoever reads grants leaves out those that ended.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Decision, Grant, Reason, Verdict};
use crate::call::PreparedCall;
use crate::domain::{Digest, Effect, Effects, GrantId, Principal, Role, RunId, Timestamp, ToolName};

/// Arguments and fields of a target that say where a call goes.
const PLACES: [&str; 10] = ["allowed_hosts", "channel", "endpoint", "host", "hosts", "provider", "ref", "remote", "url", "urls"];

/// Deeper values are not looked into; a call with such is covered only by its whole arguments.
const DEEPEST: usize = 16;

/// Calls that are alike enough for one yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// The tool.
    pub tool: ToolName,
    /// Its manifest: a changed tool is another one.
    pub manifest: Digest,
    /// Who calls.
    pub principal: Principal,
    /// In which capacity.
    pub role: Role,
    /// A call may have these effects and no other.
    pub effects: Effects,
    /// It may go to these places and no other: hosts from its arguments, whole values from its target.
    pub places: BTreeSet<String>,
    /// The rules that asked; a question of another rule is another question.
    pub rules: BTreeSet<String>,
    /// Where nothing says where the call goes: the arguments, all of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arguments: Option<Digest>,
}

impl Coverage {
    /// Of this call, asked about for these reasons.
    #[must_use]
    pub fn of(call: &PreparedCall, reasons: &[Reason]) -> Self {
        let parsed = call.parsed();
        let mut places = Places { found: BTreeSet::new(), whole: true };
        places.of_arguments(parsed.args.value(), None, 0);
        places.of_target(call.target());
        // A handler that does not know says `*`, which is no place.
        places.found.extend(call.hosts().iter().filter(|name| *name != "*").map(|name| host(name)));
        let Places { found, whole } = places;
        let goes_out = call.effects().contains(Effect::Egress) || call.effects().contains(Effect::ExternalWrite);
        let arguments = (!whole || (goes_out && found.is_empty())).then(|| arguments_digest(parsed.args.value()));
        Self {
            tool: parsed.tool.name.clone(),
            manifest: parsed.tool.manifest,
            principal: parsed.actor.principal.clone(),
            role: parsed.actor.role,
            effects: call.effects().clone(),
            places: found,
            rules: reasons.iter().map(|reason| reason.rule.clone()).collect(),
            arguments,
        }
    }

    /// Whether a call like `other` needs no further yes.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.misses(other).is_empty()
    }

    /// What a call like `other` has that is not covered, in words; empty where it needs no further yes.
    #[must_use]
    pub fn misses(&self, other: &Self) -> Vec<String> {
        let mut misses = Vec::new();
        if self.tool != other.tool || self.manifest != other.manifest {
            misses.push("the tool is another one by now".to_owned());
        }
        if self.principal != other.principal || self.role != other.role {
            misses.push(format!("it was given to {} {}", self.role.as_str(), self.principal));
        }
        if self.arguments != other.arguments {
            misses.push("it is for other arguments".to_owned());
        }
        let effects = other.effects.iter().filter(|effect| !self.effects.contains(*effect));
        misses.extend(effects.map(|effect| format!("it does not cover the effect `{}`", effect.as_str())));
        misses.extend(other.places.difference(&self.places).map(|place| format!("it does not cover `{place}`")));
        misses.extend(other.rules.difference(&self.rules).map(|rule| format!("rule `{rule}` did not ask when it was given")));
        misses
    }
}

/// An operator's leave that stands for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingGrant {
    /// Its id.
    pub id: GrantId,
    /// The run it is bound to; `None` where time alone ends it.
    pub run: Option<RunId>,
    /// When it ends.
    pub until: Timestamp,
    /// For which calls.
    pub covers: Coverage,
}

impl StandingGrant {
    /// Whether it answers the question that this call raises.
    #[must_use]
    pub fn answers(&self, call: &PreparedCall, decision: &Decision) -> bool {
        decision.verdict == Verdict::Ask && self.misses(call, &decision.reasons).is_empty()
    }

    /// Why it does not answer a question that this call raises for these reasons, in words; empty where it does.
    #[must_use]
    pub fn misses(&self, call: &PreparedCall, reasons: &[Reason]) -> Vec<String> {
        let mut misses = self.covers.misses(&Coverage::of(call, reasons));
        if let Some(run) = self.run.filter(|run| *run != call.parsed().run) {
            misses.push(format!("it is for run `{run}`"));
        }
        misses
    }

    /// The Grant it gives for this call, if it answers its question; its use must be recorded with the intent.
    #[must_use]
    pub fn leave(&self, call: &PreparedCall, decision: &Decision) -> Option<Grant> {
        self.answers(call, decision).then(|| Grant::by_policy(*call.digest()))
    }
}

fn arguments_digest(arguments: &Value) -> Digest {
    // What has no canonical form was refused before, by the call's own digest.
    let canonical = serde_json_canonicalizer::to_vec(arguments).unwrap_or_default();
    Digest::of_parts("toolgate/arguments/v1", &[&canonical])
}

struct Places {
    found: BTreeSet<String>,
    whole: bool,
}

impl Places {
    /// Everything under a name of [`PLACES`], and whatever reads as a URL.
    fn of_arguments(&mut self, value: &Value, name: Option<&str>, depth: usize) {
        if depth > DEEPEST {
            self.whole = false;
            return;
        }
        match value {
            Value::String(text) if name.is_some_and(|name| PLACES.contains(&name)) => {
                self.found.insert(host(text));
            }
            Value::Array(items) => items.iter().for_each(|item| self.of_arguments(item, name, depth + 1)),
            Value::Object(fields) => fields.iter().for_each(|(name, field)| self.of_arguments(field, Some(name), depth + 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn of_target(&mut self, target: &Value) {
        match target {
            Value::Null => {}
            Value::Object(fields) => {
                for (name, field) in fields.iter().filter(|(name, _)| PLACES.contains(&name.as_str())) {
                    self.found.insert(format!("{name}={}", field.as_str().map_or_else(|| field.to_string(), bare)));
                }
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => self.whole = false,
        }
    }
}

/// A text of a target; of a URL with a password or a query, which may be secret, only that it is this one.
fn bare(text: &str) -> String {
    let Ok(mut url) = url::Url::parse(text) else { return text.to_owned() };
    if url.username().is_empty() && url.password().is_none() && url.query().is_none() {
        return text.to_owned();
    }
    let digest = Digest::of(text.as_bytes()).to_string();
    url.set_query(None);
    url.set_fragment(digest.get(..16));
    // Fails for URLs that cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The host and port of a URL; the text itself where it is none.
fn host(text: &str) -> String {
    let parsed = url::Url::parse(text).ok().filter(url::Url::has_host);
    let with_port = parsed.and_then(|url| {
        let host = url.host_str()?.to_owned();
        Some(url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}")))
    });
    with_port.unwrap_or_else(|| text.to_ascii_lowercase())
}
