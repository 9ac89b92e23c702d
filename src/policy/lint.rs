//! What Cedar's own checks do not see: words in texts, and what of a call rules look at.

use std::collections::{BTreeMap, BTreeSet};

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

/// What of a call's context rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reads {
    /// These parts of it, and of each all or some fields.
    Parts(BTreeMap<String, Part>),
    /// Perhaps all of it.
    All,
}

/// What of one part of the context rules look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// These fields, and whether they are there.
    Fields(BTreeSet<String>),
    /// Perhaps all of it.
    All,
}

impl Reads {
    pub(super) fn nothing() -> Self {
        Self::Parts(BTreeMap::new())
    }

    fn part(name: &str, part: Part) -> Self {
        Self::Parts(BTreeMap::from([(name.to_owned(), part)]))
    }

    /// Looks at what the other does as well.
    pub(super) fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Parts(own), Self::Parts(more)) => {
                for (name, part) in more {
                    own.entry(name.clone()).or_insert_with(|| Part::Fields(BTreeSet::new())).add(part);
                }
            }
            (Self::All, _) | (_, Self::All) => *self = Self::All,
        }
    }

    /// Which fields of a part may be looked at; `None` where not even whether the part is there.
    pub(super) fn of(&self, part: &str) -> Option<&Part> {
        match self {
            Self::Parts(parts) => parts.get(part),
            Self::All => Some(&Part::All),
        }
    }
}

impl Part {
    fn add(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Fields(own), Self::Fields(more)) => own.extend(more.iter().cloned()),
            (Self::All, _) | (_, Self::All) => *self = Self::All,
        }
    }

    /// Whether a field may be looked at.
    pub(super) fn field(&self, name: &str) -> bool {
        match self {
            Self::Fields(fields) => fields.contains(name),
            Self::All => true,
        }
    }
}

/// What of the context a rule may look at. Whatever is not plainly a field of a part, or a part, counts as all.
pub(super) fn reads(rule: &Value) -> Reads {
    let mut found = Reads::nothing();
    match rule {
        Value::Object(_) if is_context(Some(rule)) => return Reads::All,
        Value::Object(fields) => {
            for (operator, operands) in fields {
                let attribute = operands.get("attr").and_then(Value::as_str);
                let left = operands.get("left");
                found.add(&match (operator.as_str(), attribute, part_of(left)) {
                    ("." | "has", Some(name), Some(part)) => Reads::part(part, Part::Fields(BTreeSet::from([name.to_owned()]))),
                    (".", Some(part), None) if is_context(left) => Reads::part(part, Part::All),
                    ("has", Some(part), None) if is_context(left) => Reads::part(part, Part::Fields(BTreeSet::new())),
                    _ => reads(operands),
                });
            }
        }
        Value::Array(items) => items.iter().for_each(|item| found.add(&reads(item))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

/// `part`, of `context.part`.
fn part_of(node: Option<&Value>) -> Option<&str> {
    let access = node?.get(".")?;
    if is_context(access.get("left")) { access.get("attr").and_then(Value::as_str) } else { None }
}

fn is_context(node: Option<&Value>) -> bool {
    node.and_then(|node| node.get("Var")).and_then(Value::as_str) == Some("context")
}

fn is_attribute(node: Option<&Value>, name: &str) -> bool {
    part_of(node) == Some(name)
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

    fn parts(parts: &[(&str, Option<&[&str]>)]) -> Reads {
        let part =
            |fields: &Option<&[&str]>| fields.map_or(Part::All, |fields| Part::Fields(fields.iter().map(ToString::to_string).collect()));
        Reads::Parts(parts.iter().map(|(name, fields)| ((*name).to_owned(), part(fields))).collect())
    }

    #[test]
    fn only_what_rules_look_at_is_read() {
        assert_eq!(read("principal == resource"), Reads::nothing());
        assert_eq!(
            read("context.effects.contains(\"read\") && context.run has step"),
            parts(&[("effects", None), ("run", Some(&["step"]))])
        );
        assert_eq!(
            read("context.input has a && context.input.b.c == 1 || context.input.a like \"x\""),
            parts(&[("input", Some(&["a", "b"]))])
        );
        assert_eq!(read("context.input[\"odd name\"] == 1"), parts(&[("input", Some(&["odd name"]))]));
        assert_eq!(read("context[\"origin\"] == \"step\""), parts(&[("origin", None)]));
        assert_eq!(read("context has input"), parts(&[("input", Some(&[]))]));
        for whole in ["context.input == {}", "context.input has a.b.c", "[context.input].contains({})", "{x: context.input}.x.a"] {
            assert_eq!(read(whole), parts(&[("input", None)]), "{whole}");
        }
        assert_eq!(read("context.run.id == \"x\" && context.run == {id: \"x\"}"), parts(&[("run", None)]));
        for all in ["context == {}", "context has input.a", "{a: context} has a", "(if true then context else context).input.a"] {
            assert_eq!(read(all), Reads::All, "{all}");
        }
    }
}
