//! Policy files → rules, or everything that is wrong with them.

use std::collections::BTreeMap;

use cedar_policy::{ActionConstraint, Effect, Policy, PolicyId, PrincipalConstraint, ValidationMode, Validator};
use miette::Diagnostic;
use serde_json::Value;

use super::lint::Reads;
use super::ready::Ready;
use super::vocabulary::Vocabulary;
use super::{PolicySource, Principals, Verdict, lint};
use crate::domain::{Problem, Problems, Role, ToolName};

/// One rule, ready to be asked.
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) verdict: Verdict,
    /// The words of its `@ask` or `@reason`.
    pub(super) text: String,
    /// As it was written.
    pub(super) policy: Policy,
    /// When it matches, without what its slice has settled already: tool, kind of principal, and principal where it names one.
    pub(super) ready: Ready,
    /// The one principal it speaks of; `None` is all of its kind.
    pub(super) principal: Option<String>,
    /// The role it speaks of; `None` is any or none.
    pub(super) member: Option<String>,
    /// On trial: it is asked and what it says is recorded, but it never counts.
    pub(super) log_only: bool,
    /// What of the call it looks at.
    pub(super) reads: Reads,
    /// The tools it speaks of; `None` is all.
    tools: Option<Vec<String>>,
    /// The kind of principal it speaks of; `None` is all.
    role: Option<Role>,
}

impl Rule {
    /// Whether the rule can match a call of this tool by this kind of principal.
    pub(super) fn concerns(&self, tool: &ToolName, role: Role) -> bool {
        self.tools.as_ref().is_none_or(|tools| tools.iter().any(|name| name == tool.as_str())) && self.role.is_none_or(|own| own == role)
    }
}

/// Reads all files.
pub(super) fn rules(sources: &[PolicySource], words: &Vocabulary, principals: &Principals) -> Result<Vec<Rule>, Problems> {
    let validator = Validator::new(words.schema.clone());
    let known = lint::Known::of(words, principals);
    let mut problems = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for source in sources {
        for rule in file(source, (words, &known), &validator, &mut problems) {
            let place = format!("{}:{}", rule.file, rule.line);
            if let Some(other) = places.insert(rule.id.clone(), place) {
                problems.push(
                    Problem::new(&rule.file, format!("rule `{}` is already at {other}", rule.id))
                        .at(Some(rule.line))
                        .hint("give it another `@id`"),
                );
            }
            rules.push(rule);
        }
    }
    Problems::check(problems)?;
    Ok(rules)
}

/// The vocabulary, and the words in texts that go with it.
type Words<'a> = (&'a Vocabulary, &'a lint::Known);

fn file(source: &PolicySource, words: Words<'_>, validator: &Validator, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let set: cedar_policy::PolicySet = match source.text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: &cedar_policy::ParseErrors = &errors;
            problems.extend(errors.iter().map(|error| {
                let told = with_help(error.to_string(), error);
                Problem::new(&source.name, format!("not readable as Cedar: {told}")).at(line_of(error, &source.text))
            }));
            return Vec::new();
        }
    };
    for template in set.templates() {
        let line = template.as_ref().loc().map(|place| line_at(&source.text, place.start()));
        problems.push(Problem::new(&source.name, "templates with `?principal` or `?resource` are not supported").at(line));
    }
    let mut policies: Vec<(usize, &Policy)> =
        set.policies().map(|policy| (policy.as_ref().loc().map_or(0, |place| place.start()), policy)).collect();
    policies.sort_by_key(|(start, _)| *start);
    let mut named = cedar_policy::PolicySet::new();
    let mut rules = Vec::new();
    for (start, policy) in policies {
        let line = line_at(&source.text, start);
        let before = problems.len();
        let mut unnamed = format!("{}:{line}", source.name);
        if named.policy(&PolicyId::new(&unnamed)).is_some() {
            unnamed = format!("{unnamed}:{start}");
        }
        let rule = rule(source, (line, unnamed), policy, words, problems);
        // Two rules of one name in one file are told by whoever gathers all files.
        let unique = named.add(rule.policy.clone()).is_ok();
        if problems.len() == before || !unique {
            rules.push(rule);
        }
    }
    validate(source, words.0, validator, &named, problems);
    rules
}

/// Cedar's own checks. What it finds for each of many tools is told once.
fn validate(source: &PolicySource, words: &Vocabulary, validator: &Validator, set: &cedar_policy::PolicySet, problems: &mut Vec<Problem>) {
    let result = validator.validate(set, ValidationMode::Strict);
    let rule_line =
        |id: &PolicyId| set.policy(id).and_then(|policy| policy.as_ref().loc()).map(|place| line_at(&source.text, place.start()));
    let mut found = BTreeMap::<(Option<u64>, String), Vec<_>>::new();
    let mut note = |line: Option<u64>, message: String, hint: &'static str| {
        found.entry((line, without_actions(&message))).or_default().push((message, hint));
    };
    for error in result.validation_errors() {
        let line = line_of(error, &source.text).or_else(|| rule_line(error.policy_id()));
        note(line, with_help(error.to_string().replacen("for policy", "rule", 1), error), "");
    }
    // Where there are no tools, no rule can match, and none is to blame.
    for warning in result.validation_warnings().filter(|_| !words.tools.is_empty()) {
        let line = line_of(warning, &source.text).or_else(|| rule_line(warning.policy_id()));
        let told = with_help(warning.to_string().replacen("for policy", "rule", 1), warning);
        note(line, told, "what can never match or be told apart is taken for a mistake");
    }
    for ((line, _), mut told) in found {
        told.sort();
        let more = told.len().saturating_sub(1);
        let Some((mut message, hint)) = told.into_iter().next() else { continue };
        if more > 0 {
            message.push_str(&format!("; and for {more} other tools or principals"));
        }
        let problem = Problem::new(&source.name, message).at(line);
        problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }
}

/// A message with the names of actions taken out.
fn without_actions(message: &str) -> String {
    message.split("Action::\"").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect()
}

/// `place` is the rule's line and what it is called where it has no `@id`.
fn rule(source: &PolicySource, place: (u64, String), policy: &Policy, words: Words<'_>, problems: &mut Vec<Problem>) -> Rule {
    let ((line, unnamed), (words, known)) = (place, words);
    let mut wrong = |message: String, hint: &str| problems.push(Problem::new(&source.name, message).at(Some(line)).hint(hint));
    let permit = policy.effect() == Effect::Permit;
    for (name, value) in policy.annotations() {
        match (name, permit) {
            ("id", _) | ("ask", true) | ("reason", false) if value.trim().is_empty() => {
                wrong(format!("`@{name}` is empty"), "say it in words")
            }
            ("id", _) if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)) => {
                wrong(format!("`@id(\"{value}\")` is not a name"), "use letters, digits, `_`, `-` and `.`");
            }
            ("mode", _) if value != "log" => {
                wrong(format!("`@mode(\"{value}\")` is no mode"), "the one mode is `@mode(\"log\")`: a rule on trial")
            }
            ("id" | "mode", _) | ("ask", true) | ("reason", false) => {}
            ("ask", false) => wrong("`@ask` stands on a forbid".to_owned(), "only a permit can ask; a forbid refuses"),
            ("reason", true) => wrong("`@reason` stands on a permit".to_owned(), "only a forbid gives a reason"),
            _ => wrong(format!("unknown annotation `@{name}`"), "known: @id, @ask (on a permit), @reason (on a forbid), @mode"),
        }
    }
    let json = policy.to_json().unwrap_or_default();
    for message in lint::unknown_words(&json, known) {
        wrong(message, "mend the word");
    }
    let id = policy.annotation("id").map_or(unnamed, str::to_owned);
    let text = policy.annotation("ask").or_else(|| policy.annotation("reason")).unwrap_or_default().trim().to_owned();
    let verdict = match (permit, policy.annotation("ask")) {
        (true, None) => Verdict::Allow,
        (true, Some(_)) => Verdict::Ask,
        (false, _) => Verdict::Deny,
    };
    let name = |uid: &cedar_policy::EntityUid| uid.id().unescaped().to_owned();
    let tools = match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => Some(vec![name(&uid)]),
        ActionConstraint::In(uids) => {
            let members = |name: String| words.groups.get(&name).into_iter().flatten().cloned().chain([name.clone()]).collect::<Vec<_>>();
            Some(uids.iter().flat_map(|uid| members(name(uid))).collect())
        }
    };
    // Only roles have members, so `in` another thing is `==`.
    let (role, principal, member) = match policy.principal_constraint() {
        PrincipalConstraint::Any => (None, None, None),
        PrincipalConstraint::Is(kind) => (words.roles.role(&kind), None, None),
        PrincipalConstraint::In(uid) if *uid.type_name() == words.roles.member => (None, None, Some(name(&uid))),
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) => (words.roles.role(uid.type_name()), Some(name(&uid)), None),
        PrincipalConstraint::IsIn(kind, uid) if *uid.type_name() == words.roles.member => (words.roles.role(&kind), None, Some(name(&uid))),
        PrincipalConstraint::IsIn(kind, uid) => (words.roles.role(&kind), Some(name(&uid)), None),
    };
    let log_only = policy.annotation("mode") == Some("log");
    let policy = policy.new_id(PolicyId::new(&id));
    Rule {
        principal,
        member,
        log_only,
        reads: lint::reads(&json),
        ready: Ready::of(&lean(&policy, json)),
        policy,
        file: source.name.clone(),
        id,
        line,
        verdict,
        text,
        tools,
        role,
    }
}

/// The rule for use in a slice, where the action is the one it names and the principal the one, or of the kind, it names.
fn lean(policy: &Policy, mut json: Value) -> Policy {
    let any = serde_json::json!({ "op": "All" });
    // Which slice a rule is in, and under which name, says all that its principal's part does; but `is A in B::"x"` may be of two kinds.
    let settled = match json.pointer("/principal/op").and_then(Value::as_str) {
        Some("is") => json.pointer("/principal/in").is_none_or(is_role),
        Some(other) => matches!(other, "==" | "in"),
        None => false,
    };
    if let Some(fields) = json.as_object_mut() {
        fields.insert("action".to_owned(), any.clone());
        if settled {
            fields.insert("principal".to_owned(), any);
        }
    }
    Policy::from_json(Some(policy.id().clone()), json).unwrap_or_else(|_| policy.clone())
}

fn is_role(within: &Value) -> bool {
    within.pointer("/entity/type").and_then(Value::as_str) == Some(lint::ROLE)
}

fn with_help(message: String, error: &dyn Diagnostic) -> String {
    let message = message.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
    match error.help() {
        Some(help) => format!("{message}; {}", help.to_string().lines().next().unwrap_or_default()),
        None => message,
    }
}

fn line_of(error: &dyn Diagnostic, text: &str) -> Option<u64> {
    let label = error.labels()?.next()?;
    Some(line_at(text, label.offset()))
}

fn line_at(text: &str, offset: usize) -> u64 {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() as u64 + 1
}
