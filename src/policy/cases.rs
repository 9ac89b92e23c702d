//! Tests that stand beside policies: a call and the verdict that is expected.
//!
//! ```yaml
//! tests:
//!   - name: an agent may read          # optional
//!     call: {tool: workspace.read, arguments: {paths: [a.txt]}, role: agent, principal: local, origin: client, effects: [read]}
//!     expect: allow                    # allow | ask | deny
//!     rule: agent-inside               # optional: a rule that must be among the reasons
//! ```
//! Of `call` only `tool` is needed: arguments are then `{}`, the role is `agent`, and the effects the widest of the manifest. What is known
//! of the surroundings can be added: `labels: [untrusted, private]` of the run, `workflow: NAME`, the `hosts: [..]` it would reach, and the
//! principal's `roles: [..]`, whatever settings give.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::context::{ORIGINS, Question};
use super::{Facts, PolicySet, PolicySource, Verdict};
use crate::domain::{Effects, Problem, Problems, Role};
use crate::manifest::ToolDef;
use crate::manifest::fields::Fields;
use crate::manifest::yaml::Node;

/// The fields of a call.
const CALL: [&str; 10] = ["tool", "arguments", "role", "principal", "roles", "origin", "effects", "labels", "workflow", "hosts"];

/// What became of one test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaseOutcome {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: Option<u64>,
    /// The test's name, else its tool and verdict.
    pub name: String,
    /// What was expected.
    pub expected: Verdict,
    /// The rule that was expected among the reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_rule: Option<String>,
    /// What was decided.
    pub found: Verdict,
    /// By which rules.
    pub rules: Vec<String>,
}

impl CaseOutcome {
    /// Whether all was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.expected == self.found && self.expected_rule.as_ref().is_none_or(|rule| self.rules.contains(rule))
    }
}

/// Runs the tests of these files, in their order.
///
/// # Errors
/// Every problem of every file: an unknown field, tool or verdict, effects beyond the tool's widest, arguments that do not fit the
/// tool's schema, a file without tests.
pub fn tests_of(policies: &PolicySet, tools: &[ToolDef], files: &[PolicySource]) -> Result<Vec<CaseOutcome>, Problems> {
    let mut problems = Vec::new();
    let mut outcomes = Vec::new();
    for file in files {
        let Some(node) = Node::read(&file.name, &file.text).map_err(|problem| problems.push(problem)).ok() else { continue };
        let mut reader = Reader { file: &file.name, policies, tools, problems: &mut problems };
        outcomes.extend(reader.file(&node));
    }
    Problems::check(problems)?;
    Ok(outcomes)
}

struct Reader<'a> {
    file: &'a str,
    policies: &'a PolicySet,
    tools: &'a [ToolDef],
    problems: &'a mut Vec<Problem>,
}

/// Who asks, and for what.
struct Call<'a> {
    tool: &'a ToolDef,
    role: Role,
    principal: String,
    /// Those of the principal, whatever settings give; `None` is what settings give.
    roles: Option<BTreeSet<String>>,
    origin: &'static str,
    effects: Effects,
    hosts: BTreeSet<String>,
    facts: Facts,
    arguments: Value,
}

impl<'a> Reader<'a> {
    fn problem(&mut self, line: Option<u64>, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, message).at(line));
    }

    fn file(&mut self, node: &Node) -> Vec<CaseOutcome> {
        let Some(fields) = Fields::of(self.file, "the file", node, &["tests"], self.problems) else { return Vec::new() };
        let Some(node) = fields.need("tests", self.problems) else { return Vec::new() };
        let items = fields.list("tests", self.problems).unwrap_or_default();
        if items.is_empty() {
            self.problem(node.line, "the file has no tests");
        }
        items.iter().filter_map(|item| self.case(item)).collect()
    }

    fn case(&mut self, item: &Node) -> Option<CaseOutcome> {
        let fields = Fields::of(self.file, "a test", item, &["name", "call", "expect", "rule"], self.problems)?;
        let call = fields.need("call", self.problems).and_then(|node| self.call(node));
        let expected = fields.need_text("expect", self.problems).and_then(|(text, line)| {
            let verdict = [Verdict::Allow, Verdict::Ask, Verdict::Deny].into_iter().find(|verdict| verdict.as_str() == text);
            if verdict.is_none() {
                self.problem(line, format!("`{}` is not a verdict; known: allow, ask, deny", text.chars().take(40).collect::<String>()));
            }
            verdict
        });
        let name = fields.text("name", self.problems).map(|(text, _)| text.to_owned());
        let rule = fields.text("rule", self.problems).map(|(text, _)| text.to_owned());
        let (call, expected) = (call?, expected?);
        let question = Question {
            tool: &call.tool.name,
            role: call.role,
            principal: &call.principal,
            origin: call.origin,
            run: "run_test",
            step: (call.origin == "step").then_some("test"),
            facts: &call.facts,
            effects: &call.effects,
            hosts: &call.hosts,
            arguments: &call.arguments,
        };
        let decision = match &call.roles {
            None => self.policies.would(&question),
            Some(roles) => {
                let told = self.policies.would_in_roles(&question, roles);
                told.map_err(|problems| self.problem(item.line, problems.to_string())).ok()?
            }
        };
        Some(CaseOutcome {
            file: self.file.to_owned(),
            line: item.line,
            name: name.unwrap_or_else(|| format!("{} {} for {}", expected.as_str(), call.tool.name, call.role.as_str())),
            expected,
            expected_rule: rule,
            found: decision.verdict,
            rules: decision.reasons.into_iter().map(|reason| reason.rule).collect(),
        })
    }

    fn call(&mut self, node: &Node) -> Option<Call<'a>> {
        let fields = Fields::of(self.file, "a call", node, &CALL, self.problems)?;
        let (name, line) = fields.need_text("tool", self.problems)?;
        let Some(tool) = self.tools.iter().find(|tool| tool.name.as_str() == name) else {
            self.problem(line, format!("unknown tool `{}`", name.chars().take(60).collect::<String>()));
            return None;
        };
        let role = match fields.text("role", self.problems) {
            None => Role::Agent,
            Some((text, line)) => match [Role::Agent, Role::Operator, Role::System].into_iter().find(|role| role.as_str() == text) {
                Some(role) => role,
                None => {
                    self.problem(line, "`role` is one of agent, operator, system");
                    return None;
                }
            },
        };
        let origin = match fields.text("origin", self.problems) {
            None => "client",
            Some((text, line)) => match ORIGINS.into_iter().find(|origin| *origin == text) {
                Some(origin) => origin,
                None => {
                    self.problem(line, format!("`origin` is one of {}", ORIGINS.join(", ")));
                    return None;
                }
            },
        };
        let own = if role == Role::Agent { "local" } else { role.as_str() };
        let principal = fields.text("principal", self.problems).map_or(own, |(text, _)| text);
        let effects = match fields.get("effects") {
            None => tool.effects.clone(),
            Some(node) => match serde_json::from_value::<Effects>(node.to_json()) {
                Ok(effects) if effects.within(&tool.effects) => effects,
                Ok(_) => {
                    self.problem(node.line, format!("`{name}` has no such effects by its manifest"));
                    return None;
                }
                Err(error) => {
                    self.problem(node.line, format!("`effects`: {error}"));
                    return None;
                }
            },
        };
        let arguments = fields.get("arguments").map_or_else(|| json!({}), Node::to_json);
        if fields.get("arguments").is_some()
            && let Err(fault) = tool.input.check(&arguments)
        {
            self.problem(node.line, format!("the arguments do not fit `{name}`: {}", fault.message));
            return None;
        }
        let hosts = fields.texts("hosts", self.problems).unwrap_or_default().into_iter().map(|(host, _)| host.to_owned()).collect();
        let facts = self.facts(&fields);
        let roles = self.roles(&fields);
        Some(Call { tool, role, principal: principal.to_owned(), roles, origin, effects, hosts, facts, arguments })
    }

    /// The roles of the principal, where they are stated.
    fn roles(&mut self, fields: &Fields<'_>) -> Option<BTreeSet<String>> {
        fields.get("roles")?;
        let mut roles = BTreeSet::new();
        for (role, line) in fields.texts("roles", self.problems).unwrap_or_default() {
            if self.policies.known_roles().contains(role) {
                roles.insert(role.to_owned());
                continue;
            }
            let known: Vec<&str> = self.policies.known_roles().iter().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            self.problem(line, format!("`{}` is no role that rules may name; known: {known}", role.chars().take(40).collect::<String>()));
        }
        Some(roles)
    }

    /// What is known of the call's surroundings.
    fn facts(&mut self, fields: &Fields<'_>) -> Facts {
        let mut facts = Facts::default();
        for (label, line) in fields.texts("labels", self.problems).unwrap_or_default() {
            match label {
                "untrusted" => facts.labels.untrusted = true,
                "private" => facts.labels.private = true,
                _ => {
                    let label: String = label.chars().take(40).collect();
                    self.problem(line, format!("`{label}` is not a label; known: untrusted, private"));
                }
            }
        }
        facts.workflow = fields.text("workflow", self.problems).map(|(text, _)| text.to_owned());
        facts
    }
}
