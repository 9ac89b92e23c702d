//! What Cedar's own checks do not see: words in texts, and what of the input rules look at.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Principals;
use super::context::ORIGINS;
use super::vocabulary::Vocabulary;
use crate::domain::{Effect, nearest};

/// The entity type of roles, as rules write it.
pub(super) const ROLE: &str = "toolgate::Role";

/// The words that texts in rules can be.
pub(super) struct Known {
    effects: BTreeSet<String>,
    origins: BTreeSet<String>,
    scopes: BTreeSet<String>,
    roles: BTreeSet<String>,
}

impl Known {
    pub(super) fn of(words: &Vocabulary, principals: &Principals) -> Self {
        Self {
            effects: Effect::ALL.map(|effect| effect.as_str().to_owned()).into(),
            origins: ORIGINS.map(str::to_owned).into(),
            scopes: words.scopes.clone(),
            roles: principals.known().clone(),
        }
    }
}

/// Words that a rule compares `context.effects`, `context.origin` or `context.scopes` with and that these can never be, and roles that
/// nobody knows.
pub(super) fn unknown_words(rule: &Value, known: &Known) -> Vec<String> {
    let mut found = Vec::new();
    compare(rule, "effects", &known.effects, &mut found);
    compare(rule, "origin", &known.origins, &mut found);
    compare(rule, "scopes", &known.scopes, &mut found);
    roles(rule, &known.roles, &mut found);
    found
}

/// Every role that is named, wherever: `{"type": "toolgate::Role", "id": "…"}`.
fn roles(node: &Value, known: &BTreeSet<String>, found: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            let text = |name: &str| fields.get(name).and_then(Value::as_str);
            if let (Some(ROLE), Some(id)) = (text("type"), text("id"))
                && !known.contains(id)
            {
                let meant = nearest(id, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
                let told = meant.unwrap_or_else(|| match known.is_empty() {
                    true => "no principal has a role: give one by `[principals.NAME] roles`".to_owned(),
                    false => format!("known: {}", listed(known)),
                });
                found.push(format!("nobody has the role `{}`; {told}", id.escape_debug()));
            }
            fields.values().for_each(|field| roles(field, known, found));
        }
        Value::Array(items) => items.iter().for_each(|item| roles(item, known, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn listed(words: &BTreeSet<String>) -> String {
    words.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What of the input rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reads {
    /// These fields, and whether they are there; none of them where the set is empty.
    Fields(BTreeSet<String>),
    /// Perhaps all of it.
    All,
}

impl Reads {
    /// What either looks at.
    pub(super) fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Fields(mut fields), Self::Fields(more)) => {
                fields.extend(more.iter().cloned());
                Self::Fields(fields)
            }
            (Self::All, _) | (_, Self::All) => Self::All,
        }
    }

    /// Whether a field may be looked at.
    pub(super) fn field(&self, name: &str) -> bool {
        match self {
            Self::Fields(fields) => fields.contains(name),
            Self::All => true,
        }
    }

    /// Whether nothing is looked at.
    pub(super) fn nothing(&self) -> bool {
        matches!(self, Self::Fields(fields) if fields.is_empty())
    }
}

/// What of the input a rule may look at. Whatever is not plainly `context.input.field`, or of another part of the context, counts as all.
pub(super) fn reads(rule: &Value) -> Reads {
    let nothing = Reads::Fields(BTreeSet::new());
    match rule {
        Value::Object(fields) => {
            if is_context(Some(rule)) {
                return Reads::All;
            }
            fields.iter().fold(nothing, |found, (operator, operands)| {
                let attribute = operands.get("attr").and_then(Value::as_str);
                let left = operands.get("left");
                found.and(&match (operator.as_str(), attribute) {
                    ("." | "has", Some(name)) if is_context(left) && name != "input" => Reads::Fields(BTreeSet::new()),
                    ("." | "has", Some(name)) if is_attribute(left, "input") => Reads::Fields(BTreeSet::from([name.to_owned()])),
                    _ => reads(operands),
                })
            })
        }
        Value::Array(items) => items.iter().fold(nothing, |found, item| found.and(&reads(item))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => nothing,
    }
}

fn is_context(node: Option<&Value>) -> bool {
    node.and_then(|node| node.get("Var")).and_then(Value::as_str) == Some("context")
}

fn is_attribute(node: Option<&Value>, name: &str) -> bool {
    let access = node.and_then(|node| node.get("."));
    access.is_some_and(|access| is_context(access.get("left")) && access.get("attr").and_then(Value::as_str) == Some(name))
}

fn compare(node: &Value, attribute: &str, words: &BTreeSet<String>, found: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            let (left, right) = (fields.get("left"), fields.get("right"));
            for other in
                [(left, right), (right, left)].into_iter().filter(|(side, _)| is_attribute(*side, attribute)).filter_map(|(_, other)| other)
            {
                let mut texts = Vec::new();
                literals(other, &mut texts);
                let unknown = texts.into_iter().filter(|text| !words.contains(*text));
                found.extend(unknown.map(|text| format!("`{text}` is never in `context.{attribute}`; known: {}", listed(words))));
            }
            fields.values().for_each(|field| compare(field, attribute, words, found));
        }
        Value::Array(items) => items.iter().for_each(|item| compare(item, attribute, words, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn literals<'a>(node: &'a Value, texts: &mut Vec<&'a str>) {
    if let Some(text) = node.get("Value").and_then(Value::as_str) {
        texts.push(text);
    }
    if let Some(items) = node.get("Set").and_then(Value::as_array) {
        items.iter().for_each(|item| literals(item, texts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(condition: &str) -> Reads {
        let text = format!("permit (principal, action, resource) when {{ {condition} }};");
        reads(&text.parse::<cedar_policy::Policy>().unwrap().to_json().unwrap())
    }

    #[test]
    fn only_the_fields_that_rules_look_at_are_read() {
        let fields = |names: &[&str]| Reads::Fields(names.iter().map(ToString::to_string).collect());
        assert_eq!(read("context.effects.contains(\"read\") && context.run has step"), fields(&[]));
        assert_eq!(read("context.input has a && context.input.b.c == 1 || context.input.a like \"x\""), fields(&["a", "b"]));
        assert_eq!(read("context.input[\"odd name\"] == 1"), fields(&["odd name"]));
        for all in [
            "context == {}",
            "context.input == {}",
            "context has input",
            "context.input has a.b.c",
            "[context.input].contains({})",
            "{a: context} has a",
            "(if true then context else context).input.a",
            "{x: context.input}.x.a",
        ] {
            assert_eq!(read(all), Reads::All, "{all}");
        }
    }
}
