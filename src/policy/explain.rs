//! Why a call would be decided so: the rules that match, those that nearly do, and what would have to differ.
//!
//! INVARIANT: says what `decide` would say, and changes nothing. A rule's conditions are asked part by part, each alone.

use cedar_policy::Policy;
use serde::Serialize;
use serde_json::Value;

use super::conditions::{self, Asker};
use super::context::{Question, request, with_question};
use super::lint::Reads;
use super::load::Rule;
use super::{Facts, PolicySet, Reason, Trial, Verdict};
use crate::call::PreparedCall;
use crate::domain::Role;

/// Permits that are offered where none matches.
const MOST_OFFERED: usize = 3;

/// A rule that matched a call, with its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MatchedRule {
    /// The rule's `@id`, else its file and line.
    pub rule: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// The verdict it gives; `deny` for a rule that could not be evaluated.
    pub verdict: Verdict,
    /// The words of its `@ask` or `@reason`.
    pub text: String,
    /// Why it could not be evaluated, where it could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// One thing that a rule asks for, and what the call has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// What must hold, as it would be written.
    pub wanted: String,
    /// What it looks at.
    pub found: Vec<Found>,
}

/// What a condition looks at, and what that is in this call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The path, as it would be written.
    pub path: String,
    /// Its value; `null` where it is not there.
    pub value: Option<String>,
}

/// A rule that does not match because of one thing only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearMiss {
    /// The rule's `@id`, else its file and line.
    pub rule: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// The verdict it would give.
    pub verdict: Verdict,
    /// The words of its `@ask` or `@reason`.
    pub text: String,
    /// The one thing.
    pub misses: Condition,
}

/// What must become of a rule for the call to be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Must {
    /// It must match: all its conditions must hold.
    Match,
    /// It must not match: one of its conditions must not hold.
    NotMatch,
}

/// One thing that would have to differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The rule's `@id`, else its file and line.
    pub rule: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// The verdict it gives.
    pub verdict: Verdict,
    /// The words of its `@ask` or `@reason`.
    pub text: String,
    /// What must become of it.
    pub must: Must,
    /// For a rule that must match, what does not hold yet; for one that must not, what holds, of which one may not.
    pub conditions: Vec<Condition>,
}

/// Why a call would be decided so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What may become of the call.
    pub verdict: Verdict,
    /// The reasons the caller would be told.
    pub reasons: Vec<Reason>,
    /// Every rule that matched, in the order of files and lines.
    pub matching: Vec<MatchedRule>,
    /// How many rules were looked at: those that speak of this tool and this kind of principal.
    pub considered: usize,
    /// Rules that do not match because of one thing only.
    pub near: Vec<NearMiss>,
    /// What would have to differ for the call to be allowed; empty where it is. Of rules that must match, one is enough.
    pub differ: Vec<Difference>,
    /// What rules on trial would have made of it.
    pub trials: Vec<Trial>,
}

/// A rule beside the call.
struct Compared<'a> {
    rule: &'a Rule,
    /// Whether it matches, or why it cannot be evaluated.
    matches: Result<bool, String>,
    /// Whether it speaks of the one who asks.
    of_caller: bool,
    holds: Vec<Value>,
    misses: Vec<Value>,
}

impl PolicySet {
    /// Why a call would be decided so: each rule is asked alone.
    #[must_use]
    pub fn explain(&self, call: &PreparedCall, facts: &Facts) -> Explanation {
        with_question(call, facts, |question| self.explain_question(question))
    }

    /// The same for a question.
    #[must_use]
    pub fn explain_question(&self, question: &Question<'_>) -> Explanation {
        let decision = self.would(question);
        let mut told = Explanation {
            verdict: decision.verdict,
            reasons: decision.reasons,
            matching: Vec::new(),
            considered: 0,
            near: Vec::new(),
            differ: Vec::new(),
            trials: decision.trials,
        };
        let Some((word, slice)) = self.find(question) else { return told };
        // Conditions of other rules may look at more than those of the slice do.
        let whole = request(self.words(), word, question, &Reads::All);
        let Ok(request) = whole.or_else(|_| request(self.words(), word, question, slice.reads())) else { return told };
        let asker = Asker { by: self.authorizer(), request: &request, entities: self.entities() };
        let of_tool = |rule: &&Rule| {
            let any = [Role::Agent, Role::Operator, Role::System].into_iter().any(|role| rule.concerns(question.tool, role));
            any && !rule.log_only
        };
        let compared: Vec<Compared<'_>> = self.rules().iter().filter(of_tool).map(|rule| Compared::of(rule, &asker)).collect();
        told.considered = compared.iter().filter(|one| one.rule.concerns(question.tool, question.role)).count();
        told.matching = compared.iter().filter_map(Compared::matched).collect();
        told.near = compared.iter().filter_map(|one| one.near(&asker)).collect();
        if told.verdict > Verdict::Allow {
            told.differ = differences(&compared, &asker);
        }
        told
    }
}

impl<'a> Compared<'a> {
    fn of(rule: &'a Rule, asker: &Asker<'_>) -> Self {
        let matches = asker.matches(&rule.policy);
        let of_caller = asker.matches(&without_conditions(&rule.policy)).unwrap_or(false);
        let (holds, misses) = conditions::of(&rule.policy).into_iter().partition(|part| asker.holds(part));
        Self { rule, matches, of_caller, holds, misses }
    }

    fn matched(&self) -> Option<MatchedRule> {
        let failure = match &self.matches {
            Ok(true) => None,
            Ok(false) => return None,
            Err(failure) => Some(failure.clone()),
        };
        let verdict = if failure.is_some() { Verdict::Deny } else { self.rule.verdict };
        let Rule { id, file, line, text, .. } = self.rule;
        Some(MatchedRule { rule: id.clone(), file: file.clone(), line: *line, verdict, text: text.clone(), failure })
    }

    fn near(&self, asker: &Asker<'_>) -> Option<NearMiss> {
        let misses = match (&self.matches, self.of_caller, self.misses.as_slice()) {
            (Ok(false), true, [only]) => condition(only, asker),
            (Ok(false), false, []) => self.wrong_caller(asker),
            _ => return None,
        };
        let Rule { id, file, line, text, verdict, .. } = self.rule;
        Some(NearMiss { rule: id.clone(), file: file.clone(), line: *line, verdict: *verdict, text: text.clone(), misses })
    }

    /// The scope as a condition: the call is of the tool, so it is about who asks, or in which run.
    fn wrong_caller(&self, asker: &Asker<'_>) -> Condition {
        let shown = without_conditions(&self.rule.policy).to_string();
        let scope = shown.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(scope, _)| scope);
        // The action fits already, so it is not told.
        let wanted = scope.split(", action").next().unwrap_or_default().trim();
        let resource = scope.rsplit_once(", resource").map_or("", |(_, rest)| rest.trim());
        let resource = if resource.is_empty() { String::new() } else { format!(", resource {resource}") };
        let principal = asker.request.principal().map(ToString::to_string);
        Condition { wanted: format!("{wanted}{resource}"), found: vec![Found { path: "principal".to_owned(), value: principal }] }
    }

    fn difference(&self, must: Must, conditions: Vec<Condition>) -> Difference {
        let Rule { id, file, line, text, verdict, .. } = self.rule;
        let verdict = if self.matches.is_err() { Verdict::Deny } else { *verdict };
        Difference { rule: id.clone(), file: file.clone(), line: *line, verdict, text: text.clone(), must, conditions }
    }
}

/// What keeps the call from being allowed: each stricter rule that matches, and that no permit does.
fn differences(compared: &[Compared<'_>], asker: &Asker<'_>) -> Vec<Difference> {
    let told = |parts: &[Value]| parts.iter().map(|part| condition(part, asker)).collect::<Vec<_>>();
    let mut differ = Vec::new();
    for one in compared {
        let stricter = matches!(one.matches, Ok(true)) && one.rule.verdict > Verdict::Allow;
        if stricter || one.matches.is_err() {
            differ.push(one.difference(Must::NotMatch, told(&one.holds)));
        }
    }
    let speaks = |one: &&Compared<'_>| matches!(one.matches, Ok(true)) && one.rule.verdict < Verdict::Deny;
    let is_permitted = compared.iter().filter(speaks).any(|one| one.rule.verdict == Verdict::Allow);
    if !is_permitted {
        // Where nothing matches, a permit that asks is better than none.
        let nothing = !compared.iter().any(|one| speaks(&one));
        let fits = |one: &&Compared<'_>| {
            let laxer = one.rule.verdict == Verdict::Allow || (nothing && one.rule.verdict == Verdict::Ask);
            laxer && one.of_caller && matches!(one.matches, Ok(false))
        };
        let mut offered: Vec<&Compared<'_>> = compared.iter().filter(fits).collect();
        offered.sort_by_key(|one| (one.misses.len(), one.rule.verdict));
        differ.extend(offered.into_iter().take(MOST_OFFERED).map(|one| one.difference(Must::Match, told(&one.misses))));
    }
    differ
}

fn condition(part: &Value, asker: &Asker<'_>) -> Condition {
    let found = asker.found(part).into_iter().map(|(path, value)| Found { path, value }).collect();
    Condition { wanted: conditions::text(part), found }
}

fn without_conditions(policy: &Policy) -> Policy {
    let mut json = policy.to_json().unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        fields.insert("conditions".to_owned(), Value::Array(Vec::new()));
        fields.remove("annotations");
    }
    Policy::from_json(None, json).unwrap_or_else(|_| policy.clone())
}
