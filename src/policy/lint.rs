//! What Cedar's own checks do not see: words in texts, and which rules look at the input.

use serde_json::Value;

use super::context::ORIGINS;
use crate::domain::Effect;

const EFFECTS: [Effect; 5] = [Effect::Pure, Effect::Read, Effect::Write, Effect::Egress, Effect::ExternalWrite];

/// Words that a rule compares `context.effects` or `context.origin` with and that these can never be.
pub(super) fn unknown_words(rule: &Value) -> Vec<String> {
    let effects = EFFECTS.map(Effect::as_str);
    let mut found = Vec::new();
    compare(rule, "effects", &effects, &mut found);
    compare(rule, "origin", &ORIGINS, &mut found);
    found
}

/// Whether a rule may look at `context.input`: it names it, or takes the context as a whole.
pub(super) fn reads_input(rule: &Value) -> bool {
    match rule {
        Value::Object(fields) => {
            if fields.get("Var").and_then(Value::as_str) == Some("context") {
                return true;
            }
            fields.iter().any(|(operator, operands)| {
                let of_context = matches!(operator.as_str(), "." | "has") && is_context(operands.get("left"));
                let names = |name: &str| operands.get("attr").and_then(Value::as_str).is_some_and(|attr| attr != name);
                if of_context && names("input") { false } else { reads_input(operands) }
            })
        }
        Value::Array(items) => items.iter().any(reads_input),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn is_context(node: Option<&Value>) -> bool {
    node.and_then(|node| node.get("Var")).and_then(Value::as_str) == Some("context")
}

fn is_attribute(node: Option<&Value>, name: &str) -> bool {
    let access = node.and_then(|node| node.get("."));
    access.is_some_and(|access| is_context(access.get("left")) && access.get("attr").and_then(Value::as_str) == Some(name))
}

fn compare(node: &Value, attribute: &str, words: &[&str], found: &mut Vec<String>) {
    match node {
        Value::Object(fields) => {
            let (left, right) = (fields.get("left"), fields.get("right"));
            for other in [(left, right), (right, left)].into_iter().filter(|(side, _)| is_attribute(*side, attribute)).filter_map(|(_, other)| other)
            {
                let mut texts = Vec::new();
                literals(other, &mut texts);
                let unknown = texts.into_iter().filter(|text| !words.contains(text));
                found.extend(unknown.map(|text| format!("`{text}` is never in `context.{attribute}`; known: {}", words.join(", "))));
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
