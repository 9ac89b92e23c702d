//! What is odd about rules that load: those that can never decide, those that say nothing new, those that let too much through.
//!
//! INVARIANT: a rule that is told to be unreachable never is among the reasons of a decision; what cannot be settled by comparing scopes
//! and conditions part by part is not told. Nothing here changes what is decided.

use serde::Serialize;
use serde_json::{Value, json};

use super::conditions::{self, is_context, is_literal, may_fail, operands, opposite};
use super::load::Rule;
use super::{CaseOutcome, PolicySet, Verdict};
use crate::domain::{Effect, Role};
use crate::manifest::ToolDef;

const ROLES: [Role; 3] = [Role::Agent, Role::Operator, Role::System];
const OUTWARD: [Effect; 2] = [Effect::Egress, Effect::ExternalWrite];

/// How much a finding matters; ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Probably not what was meant.
    Warning,
    /// Surely not what was meant.
    Error,
}

impl Level {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Of which sort a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The rule can never decide anything.
    Unreachable,
    /// Another rule, as strict or stricter, matches whenever this one does.
    Shadowed,
    /// The rule lets agents do more than is likely meant.
    OverBroad,
    /// No test is decided by the rule.
    Untested,
}

impl FindingKind {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Shadowed => "shadowed",
            Self::OverBroad => "over-broad",
            Self::Untested => "untested",
        }
    }
}

/// One thing that is odd about a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// Of which sort it is.
    pub kind: FindingKind,
    /// The rule's `@id`, else its file and line.
    pub rule: String,
    /// Its file.
    pub file: String,
    /// Its line, from 1.
    pub line: u64,
    /// What was found.
    pub what: String,
    /// What to do.
    pub mend: String,
}

/// A rule, taken apart for comparing.
struct View<'a> {
    rule: &'a Rule,
    /// What must hold all at once.
    parts: Vec<Value>,
    /// For each tool, for each role: whether it speaks of that.
    reach: Vec<[bool; 3]>,
    /// The one principal or role it names.
    who: Option<Value>,
    /// The one resource it names.
    on: Option<Value>,
    on_trial: bool,
}

impl PolicySet {
    /// What is odd about the rules, by file and line. `tools` are those the rules were loaded for; `tests` what came of the tests, where
    /// there are any.
    #[must_use]
    pub fn check(&self, tools: &[ToolDef], tests: &[CaseOutcome]) -> Vec<Finding> {
        let views: Vec<View<'_>> = self.rules().iter().map(|rule| View::of(rule, tools)).collect();
        let mut found = Vec::new();
        for (place, view) in views.iter().enumerate() {
            let reached = never(view, tools).or_else(|| overruled(view, &views));
            if let Some(what) = reached {
                found.push(view.finding(Level::Error, FindingKind::Unreachable, what, "mend its conditions, or take it out"));
            } else if let Some(finding) = shadowed(place, &views, tools) {
                found.push(finding);
            } else {
                found.extend(over_broad(view, &views, tools));
            }
            let is_tested =
                |outcome: &CaseOutcome| outcome.rules.contains(&view.rule.id) || outcome.expected_rule.as_ref() == Some(&view.rule.id);
            if !view.on_trial && !tests.iter().any(is_tested) {
                let mend = "add a call that it decides to a `*.test.yaml` beside the policies";
                found.push(view.finding(Level::Note, FindingKind::Untested, "no test is decided by it".to_owned(), mend));
            }
        }
        found.sort_by(|one, other| (&one.file, one.line, other.level).cmp(&(&other.file, other.line, one.level)));
        found
    }
}

impl<'a> View<'a> {
    fn of(rule: &'a Rule, tools: &[ToolDef]) -> Self {
        let json = rule.policy.to_json().unwrap_or_default();
        // Where only a kind is named, `reach` tells it for principals, and there is but one kind of resource.
        let named = |part: &str| {
            let entity = json.pointer(&format!("/{part}/entity")).or_else(|| json.pointer(&format!("/{part}/in/entity")));
            entity.cloned()
        };
        Self {
            rule,
            parts: conditions::of(&rule.policy),
            reach: tools.iter().map(|tool| ROLES.map(|role| rule.concerns(&tool.name, role))).collect(),
            who: named("principal"),
            on: named("resource"),
            on_trial: rule.log_only,
        }
    }

    /// The tools it speaks of, for anybody.
    fn tools<'t>(&self, tools: &'t [ToolDef]) -> impl Iterator<Item = &'t ToolDef> {
        let reach = self.reach.clone();
        tools.iter().zip(reach).filter(|(_, roles)| roles.contains(&true)).map(|(tool, _)| tool)
    }

    fn has(&self, part: &Value) -> bool {
        self.parts.contains(part)
    }

    /// Whether this rule matches whenever one with that scope and all these parts does.
    fn covers(&self, other: &Self, reach: &[[bool; 3]], holds: impl Fn(&Value) -> bool) -> bool {
        let wide = self.reach.iter().zip(reach).all(|(own, other)| own.iter().zip(other).all(|(own, other)| *own || !*other));
        let names = |own: &Option<Value>, other: &Option<Value>| own.is_none() || own == other;
        wide && names(&self.who, &other.who) && names(&self.on, &other.on) && self.parts.iter().all(holds)
    }

    fn finding(&self, level: Level, kind: FindingKind, what: String, mend: &str) -> Finding {
        let (rule, file) = (self.rule.id.clone(), self.rule.file.clone());
        Finding { level, kind, rule, file, line: self.rule.line, what, mend: mend.to_owned() }
    }
}

fn contains(attribute: &str, word: &str) -> Value {
    json!({ "contains": { "left": { ".": { "left": { "Var": "context" }, "attr": attribute } }, "right": { "Value": word } } })
}

/// `context.NAME.contains("word")` → word.
fn contained<'a>(part: &'a Value, attribute: &str) -> Option<&'a str> {
    let (left, right) = operands(part, "contains")?;
    is_context(left, attribute).then(|| right.get("Value")?.as_str())?
}

/// What manifests settle: whether every call of the tool, or none, has the word.
fn settled(part: &Value, tool: &ToolDef) -> Option<bool> {
    let (part, wanted) = match conditions::argument(part, "!") {
        Some(inner) => (inner, false),
        None => (part, true),
    };
    if let Some(word) = contained(part, "scopes") {
        return Some(tool.scopes.iter().any(|scope| scope == word) == wanted);
    }
    // Any call may be `pure`; else a call has only effects that its tool's manifest states.
    let word = contained(part, "effects")?;
    let may = word == Effect::Pure.as_str() || tool.effects.iter().any(|effect| effect.as_str() == word);
    (!may).then_some(!wanted)
}

/// Why a rule never matches.
fn never(view: &View<'_>, tools: &[ToolDef]) -> Option<String> {
    if view.parts.iter().any(may_fail) {
        return None;
    }
    for part in &view.parts {
        if view.has(&opposite(part)) {
            return Some(format!("it asks for `{}` and for the opposite", conditions::text(part)));
        }
        let mut concerned = view.tools(tools).peekable();
        if concerned.peek().is_some() && concerned.all(|tool| settled(part, tool) == Some(false)) {
            return Some(format!("`{}` holds for no call of the tools it speaks of", conditions::text(part)));
        }
        let two = view.parts.iter().find(|other| excludes(part, other));
        if let Some(other) = two {
            return Some(format!("`{}` and `{}` never hold together", conditions::text(part), conditions::text(other)));
        }
    }
    None
}

/// Whether both are equalities of one thing with different literals.
fn excludes(one: &Value, other: &Value) -> bool {
    let (Some((path, literal)), Some((same, different))) = (operands(one, "=="), operands(other, "==")) else { return false };
    path == same && is_literal(literal) && is_literal(different) && literal != different
}

/// Why a permit decides nothing: it is wholly under a forbid that asks for nothing.
fn overruled(view: &View<'_>, views: &[View<'_>]) -> Option<String> {
    if view.rule.verdict == Verdict::Deny || view.on_trial {
        return None;
    }
    let plain = |other: &&View<'_>| other.rule.verdict == Verdict::Deny && !other.on_trial && other.parts.is_empty();
    let forbid = views.iter().filter(plain).find(|forbid| forbid.covers(view, &view.reach, |_| true))?;
    Some(format!("whatever it permits, `{}` ({}) forbids", forbid.rule.id, place(forbid.rule)))
}

fn shadowed(place_of: usize, views: &[View<'_>], tools: &[ToolDef]) -> Option<Finding> {
    let view = views.get(place_of).filter(|view| !view.on_trial)?;
    let matches_with = |one: &View<'_>, other: &View<'_>| {
        let known = |part: &Value| other.has(part) || other.tools(tools).all(|tool| settled(part, tool) == Some(true));
        one.covers(other, &other.reach, known)
    };
    let by = views.iter().enumerate().find(|(n, other)| {
        let stricter = other.rule.verdict >= view.rule.verdict && *n != place_of && !other.on_trial;
        // Of two that say the same the later one is told.
        stricter && matches_with(other, view) && (*n < place_of || other.rule.verdict > view.rule.verdict || !matches_with(view, other))
    })?;
    let other = by.1.rule;
    let how = if other.verdict > view.rule.verdict { "and is stricter" } else { "with the same verdict" };
    let what = format!("`{}` ({}) matches whenever it does, {how}", other.id, place(other));
    Some(view.finding(Level::Warning, FindingKind::Shadowed, what, "take one of them out, or make their conditions differ"))
}

/// A permit that does not ask, and how far it lets agents out.
fn over_broad(view: &View<'_>, views: &[View<'_>], tools: &[ToolDef]) -> Option<Finding> {
    let agents = |view: &View<'_>| view.reach.iter().map(|[agent, ..]| *agent).collect::<Vec<bool>>();
    let reach = agents(view);
    if view.rule.verdict != Verdict::Allow || view.on_trial || !reach.contains(&true) {
        return None;
    }
    let mut unasked = Vec::new();
    let mut asked = Vec::new();
    for effect in OUTWARD {
        let concerned: Vec<[bool; 3]> =
            tools.iter().zip(&reach).map(|(tool, own)| [*own && tool.effects.contains(effect), false, false]).collect();
        if concerned.iter().any(|[agent, ..]| *agent) && !shuts_out(&view.parts, effect) {
            let with = contains("effects", effect.as_str());
            let stricter = views.iter().filter(|other| other.rule.verdict > Verdict::Allow && !other.on_trial);
            let tempered = stricter.into_iter().find(|other| other.covers(view, &concerned, |part| *part == with || view.has(part)));
            match tempered {
                Some(other) => asked.push(other.rule.id.clone()),
                None => unasked.push(effect.as_str()),
            }
        }
    }
    let looks = |name: &str| view.parts.iter().any(|part| mentions(part, name));
    let every = !reach.contains(&false) && !looks("effects") && view.who.is_none();
    let goes_out = unasked.join("` and `");
    let (level, what) = match (every, unasked.is_empty()) {
        (true, true) if asked.is_empty() => (Level::Note, "it lets agents use every tool, whatever the effect".to_owned()),
        (true, true) => {
            asked.dedup();
            (
                Level::Note,
                format!("it lets agents use every tool, whatever the effect; what goes out is held back only by `{}`", asked.join("`, `")),
            )
        }
        (true, false) => {
            (Level::Warning, format!("it lets every agent use every tool, also where the effect is `{goes_out}`, and nobody is asked"))
        }
        (false, true) => return None,
        (false, false) => {
            let narrow = looks("input") || looks("hosts") || view.who.is_some();
            let level = if narrow { Level::Note } else { Level::Warning };
            (level, format!("it lets agents do what has the effect `{goes_out}`, and nobody is asked"))
        }
    };
    let mend = "ask with `@ask(\"…\")`, or leave it out: `unless { context.effects.containsAny([\"egress\", \"external_write\"]) }`";
    Some(view.finding(level, FindingKind::OverBroad, what, mend))
}

/// Whether the parts keep out every call with this effect.
fn shuts_out(parts: &[Value], effect: Effect) -> bool {
    let none = opposite(&contains("effects", effect.as_str()));
    let lacks = |set: &Value| {
        let items = set.get("Set").and_then(Value::as_array);
        items.is_some_and(|items| {
            items.iter().all(|item| item.get("Value").and_then(Value::as_str).is_some_and(|word| word != effect.as_str()))
        })
    };
    let within = |part: &Value| match (operands(part, "containsAll"), operands(part, "==")) {
        (Some((set, of)), _) => is_context(of, "effects") && lacks(set),
        (_, Some((of, set))) => is_context(of, "effects") && lacks(set),
        (None, None) => false,
    };
    parts.iter().any(|part| *part == none || within(part))
}

fn mentions(part: &Value, name: &str) -> bool {
    match part {
        Value::Object(fields) => is_context(part, name) || fields.values().any(|field| mentions(field, name)),
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn place(rule: &Rule) -> String {
    format!("{}:{}", rule.file, rule.line)
}
