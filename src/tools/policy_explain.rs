//! `policy.explain`: why a call would be decided so, as far as whoever asks may know.
//!
//! INVARIANT: it is asked as the one who calls, never as another. Of a rule that refuses only its own words are told, not what it looks
//! at; rules that speak of others are not told at all. Nothing is recorded of the call that is asked about, and it does not run.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Preparation;
use crate::domain::{Actor, Effect, Effects, Fault, RunId};

use super::{CallContext, Tool};

/// Where the answer comes from; the gateway is behind it.
#[async_trait]
pub trait Explain: Send + Sync {
    /// Why this call by this one in this run would be decided so. Fails as the call would before it is decided.
    async fn explain(&self, who: &Actor, run: RunId, tool: &str, arguments: Value) -> Result<Told, Fault>;
}

/// The tool.
pub struct PolicyExplain(pub Arc<dyn Explain>);

/// The call to be explained.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Asked {
    /// The tool that would be called.
    #[schemars(length(min = 1, max = 120))]
    pub tool: String,
    /// The arguments it would be called with.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// Why it would be decided so.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Told {
    /// What would become of it: `allow`, `ask` (a human must say yes) or `deny`.
    pub verdict: String,
    /// The rules that lead there, and why, in their own words.
    pub reasons: Vec<ToldReason>,
    /// What would have to differ for it to be allowed; empty where it is. Of rules that must match, one is enough.
    pub differ: Vec<ToldDifference>,
    /// Where a human would be asked: what the operator allowed for a while, whoever asks.
    pub grants: Vec<ToldGrant>,
    /// Digest of the rules that were asked.
    pub policy: String,
    /// Whether changed policy files do not load, so that older rules are in force. The operator should be told.
    pub files_rejected: bool,
}

/// A rule that leads to the verdict.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ToldReason {
    /// The rule; `default` where none matches.
    pub rule: String,
    /// Why.
    pub text: String,
}

/// A standing grant.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ToldGrant {
    /// The grant.
    pub grant_id: String,
    /// By which way a human gave it; `null` where that is not known any more.
    pub channel: Option<String>,
    /// When it ends or ended by itself.
    pub until: String,
    /// Whether it answers, so that nobody is asked.
    pub answers: bool,
    /// Why it does not.
    pub misses: Vec<String>,
}

/// One thing that would have to differ.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ToldDifference {
    /// The rule.
    pub rule: String,
    /// The verdict it gives.
    pub verdict: String,
    /// Why, in its own words.
    pub text: String,
    /// `match` or `not_match`.
    pub must: String,
    /// For a rule that must match, what does not hold yet; for one that must not, what holds, of which one may not. Left out of rules
    /// that refuse.
    pub conditions: Vec<ToldCondition>,
}

/// What a rule asks for, and what the call has.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ToldCondition {
    /// What must hold.
    pub wanted: String,
    /// What it looks at, and what that is in the call; `null` where it is not there.
    pub found: Vec<ToldFound>,
}

/// What a condition looks at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ToldFound {
    /// The path.
    pub path: String,
    /// Its value.
    pub value: Option<String>,
}

#[async_trait]
impl Tool for PolicyExplain {
    type Input = Asked;
    type Output = Told;

    async fn prepare(&self, _input: &Asked, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Asked, context: &CallContext) -> Result<Told, Fault> {
        self.0.explain(&context.actor, context.run, &input.tool, Value::Object(input.arguments.clone())).await
    }
}
