//! What other rules would have made of calls that were recorded.
//!
//! INVARIANT: a call is asked about only as it was recorded; what is not known of it is not guessed, it is counted apart. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::context::Question;
use super::{Facts, PolicySet, Verdict};
use crate::domain::{Actor, CallId, Effects, RunId, StepId, Timestamp, ToolName};
use crate::manifest::ToolDef;

/// A call as policy saw it, read back from its record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedCall {
    /// Its id.
    pub call: CallId,
    /// Its run.
    pub run: RunId,
    /// When it was recorded.
    pub at: Timestamp,
    /// The tool's name, as it was recorded.
    pub tool: String,
    /// Who asked.
    pub actor: Actor,
    /// `client`, `cli`, `step` or `code`.
    pub origin: String,
    /// The step, where one asked.
    pub step: Option<StepId>,
    /// Its effects.
    pub effects: Effects,
    /// The hosts it would have reached.
    pub hosts: BTreeSet<String>,
    /// What was known of its surroundings.
    pub facts: Facts,
    /// The arguments.
    pub arguments: Value,
    /// The verdict at the time.
    pub verdict: Verdict,
}

/// Why a recorded call cannot be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unasked {
    /// Its arguments were redacted, whole or in part.
    Redacted,
    /// Its tool is no more.
    NoTool,
    /// Its arguments or effects do not fit its tool any more.
    NotFitting,
    /// The record does not hold all that policy saw, as records of old versions do not.
    Incomplete,
    /// It was turned away before policy was asked.
    NotDecided,
}

impl Unasked {
    /// In words, after a number of calls.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redacted => "with redacted arguments",
            Self::NoTool => "of tools that are no more",
            Self::NotFitting => "that no longer fit their tools",
            Self::Incomplete => "whose records do not hold all that policy saw",
            Self::NotDecided => "turned away before policy was asked",
        }
    }
}

/// A call that is decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangedVerdict {
    /// The call.
    pub call: CallId,
    /// Its run.
    pub run: RunId,
    /// When it was recorded.
    pub at: Timestamp,
    /// Its tool.
    pub tool: ToolName,
    /// Who asked.
    pub principal: String,
    /// By the rules in force.
    pub old: Verdict,
    /// The rules behind that.
    pub old_rules: Vec<String>,
    /// By the changed rules.
    pub new: Verdict,
    /// The rules behind that.
    pub new_rules: Vec<String>,
    /// The verdict at the time it was recorded.
    pub recorded: Verdict,
}

/// What came of asking again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Replay {
    /// Calls that both sets were asked about.
    pub asked: u64,
    /// Those of them that are decided otherwise.
    pub changed: Vec<ChangedVerdict>,
    /// Calls that could not be asked about.
    pub unasked: BTreeMap<Unasked, u64>,
}

impl Replay {
    /// A call that could not be read back.
    pub fn skip(&mut self, why: Unasked) {
        *self.unasked.entry(why).or_default() += 1;
    }

    /// Asks both sets about one call.
    pub fn ask(&mut self, old: &PolicySet, new: &PolicySet, tools: &[ToolDef], call: &RecordedCall) {
        let Some(tool) = tools.iter().find(|tool| tool.name.as_str() == call.tool) else { return self.skip(Unasked::NoTool) };
        if !call.effects.within(&tool.effects) || tool.input.check(&call.arguments).is_err() {
            return self.skip(Unasked::NotFitting);
        }
        let question = Question {
            tool: &tool.name,
            role: call.actor.role,
            principal: call.actor.principal.as_str(),
            origin: &call.origin,
            run: &call.run.to_string(),
            step: call.step.as_ref().map(StepId::as_str),
            facts: &call.facts,
            effects: &call.effects,
            hosts: &call.hosts,
            arguments: &call.arguments,
        };
        self.asked += 1;
        let (before, after) = (old.would(&question), new.would(&question));
        if before.verdict != after.verdict {
            let rules = |reasons: Vec<super::Reason>| reasons.into_iter().map(|reason| reason.rule).collect();
            self.changed.push(ChangedVerdict {
                call: call.call,
                run: call.run,
                at: call.at,
                tool: tool.name.clone(),
                principal: call.actor.principal.to_string(),
                old: before.verdict,
                old_rules: rules(before.reasons),
                new: after.verdict,
                new_rules: rules(after.reasons),
                recorded: call.verdict,
            });
        }
    }
}
