//! Makes a tool's schemas small for `tools/list`, where every byte is read by every model in every chat.
//!
//! INVARIANT: whatever fits the full output schema fits the lean one; the lean input schema leaves out bounds on length and spelling alone. The full
//! schemas are what calls are checked against; `tool.search` and `toolgate tools show` give them.

use serde_json::{Map, Value};

/// The arguments' schema without what a model does not need: titles, machine widths of numbers, bounds on length and spelling, and `null` as a
/// second way of leaving an optional member out.
pub(super) fn input(schema: &Value) -> Map<String, Value> {
    if has_places(schema) {
        return object(schema);
    }
    let mut root = object(&inline_once(&walk(schema, Side::Input)));
    // The tool's own description says what the arguments as a whole are.
    root.remove("description");
    root.entry("type").or_insert_with(|| "object".into());
    if let Some(members) = root.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, told) in TOLD_ONCE {
            if let Some(member) = members.get_mut(name).and_then(Value::as_object_mut) {
                member.retain(|word, value| word != "description" || value != told);
            }
        }
    }
    root
}

/// Members of many tools, with what each tool says of them: the instructions say it once for all.
const TOLD_ONCE: [(&str, &str); 2] = [("run_id", "Default: the current run."), ("idempotency_key", "Same key, same outcome.")];

/// The answer's schema as the names of its members and their types only; `None` where the answer is not always an object, as clients of the older
/// generation accept nothing else.
pub(super) fn output(schema: &Value) -> Option<Map<String, Value>> {
    if !always_object(schema, schema, 0) {
        return None;
    }
    let lean = walk(schema, Side::Output);
    let mut root = object(&shallow(&lean, &lean, 0));
    root.entry("type").or_insert_with(|| "object".into());
    Some(root)
}

/// The members of an object, or of each form of it, with the types of their values and nothing below.
fn shallow(schema: &Value, root: &Value, depth: usize) -> Value {
    let schema = resolved(schema, root, depth);
    let mut flat = Map::new();
    for word in ["anyOf", "oneOf"] {
        if let Some(forms) = schema.get(word).and_then(Value::as_array).filter(|_| depth < 8) {
            flat.insert("anyOf".to_owned(), forms.iter().map(|form| shallow(form, root, depth + 1)).collect());
        }
    }
    if let Some(members) = schema.get("properties").and_then(Value::as_object) {
        let kind = |member: &Value| {
            let kind = resolved(member, root, 0).get("type").cloned();
            Value::Object(kind.into_iter().map(|kind| ("type".to_owned(), kind)).collect())
        };
        flat.insert("properties".to_owned(), Value::Object(members.iter().map(|(name, member)| (name.clone(), kind(member))).collect()));
    }
    flat.extend(schema.get("type").cloned().map(|kind| ("type".to_owned(), kind)));
    Value::Object(flat)
}

/// What a reference leads to.
fn resolved<'a>(schema: &'a Value, root: &'a Value, depth: usize) -> &'a Value {
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    match target.and_then(|pointer| root.pointer(pointer)).filter(|_| depth < 8) {
        Some(found) => resolved(found, root, depth + 1),
        None => schema,
    }
}

/// Whether parts of the schema have names of their own. What refers to them may be anywhere, so nothing can be moved or left out: such a schema, which
/// only somebody who knows it writes, is listed as it is.
fn has_places(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.keys().any(|word| word == "$anchor") || members.values().any(has_places),
        Value::Array(items) => items.iter().any(has_places),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn walk(schema: &Value, side: Side) -> Value {
    let Value::Object(members) = schema else { return schema.clone() };
    let mut lean = Map::new();
    for (word, value) in members {
        match word.as_str() {
            "anyOf" | "oneOf" if constants(value).is_some() => {
                // A choice among words, told as one.
                lean.extend(constants(value).into_iter().map(|words| ("enum".to_owned(), words)));
            }
            "$schema" | "$id" | "$comment" | "title" => {}
            "format" if side == Side::Output || is_number_width(value) => {}
            "default" if side == Side::Output || value.is_null() || value.as_array().is_some_and(Vec::is_empty) => {}
            // A call beyond these bounds is refused with the field's path; until then they guide nobody.
            "minLength" | "maxLength" | "minItems" | "maxItems" | "pattern" => {}
            "description"
            | "examples"
            | "minimum"
            | "maximum"
            | "exclusiveMinimum"
            | "exclusiveMaximum"
            | "uniqueItems"
            | "minProperties"
            | "maxProperties"
            | "propertyNames"
            | "contains"
            | "unevaluatedProperties"
            | "required"
                if side == Side::Output => {}
            "additionalProperties" if side == Side::Output && value == &Value::Bool(false) => {}
            // Without their bounds two branches may both fit, so "exactly one" becomes "at least one".
            "oneOf" if side == Side::Output => {
                lean.insert("anyOf".to_owned(), each(value, side));
            }
            "properties" => {
                let required = members.get("required");
                lean.insert(word.clone(), properties(value, required, side));
            }
            "$defs" | "definitions" | "patternProperties" => {
                lean.insert(word.clone(), named(value, side));
            }
            "items" | "additionalProperties" => {
                lean.insert(word.clone(), walk(value, side));
            }
            "anyOf" | "oneOf" | "allOf" | "prefixItems" => {
                lean.insert(word.clone(), each(value, side));
            }
            "required" if value.as_array().is_some_and(Vec::is_empty) => {}
            _ => {
                lean.insert(word.clone(), value.clone());
            }
        }
    }
    Value::Object(lean)
}

/// The words, where every branch is one.
fn constants(branches: &Value) -> Option<Value> {
    let only_word = |branch: &Value| {
        let members = branch.as_object()?;
        let plain = members.keys().all(|word| matches!(word.as_str(), "const" | "type" | "description" | "title"));
        members.get("const").filter(|word| plain && word.is_string()).cloned()
    };
    branches.as_array().filter(|list| list.len() > 1)?.iter().map(only_word).collect()
}

fn is_number_width(format: &Value) -> bool {
    format.as_str().is_some_and(|name| {
        matches!(
            name,
            "int" | "uint" | "int8" | "uint8" | "int16" | "uint16" | "int32" | "uint32" | "int64" | "uint64" | "float" | "double"
        )
    })
}

fn each(list: &Value, side: Side) -> Value {
    list.as_array().map_or_else(|| list.clone(), |items| items.iter().map(|item| walk(item, side)).collect())
}

fn named(map: &Value, side: Side) -> Value {
    map.as_object().map_or_else(
        || map.clone(),
        |entries| Value::Object(entries.iter().map(|(name, schema)| (name.clone(), walk(schema, side))).collect()),
    )
}

fn properties(map: &Value, required: Option<&Value>, side: Side) -> Value {
    let Value::Object(mut entries) = named(map, side) else { return map.clone() };
    if side == Side::Input {
        let is_required = |name: &str| required.and_then(Value::as_array).is_some_and(|list| list.iter().any(|word| word == name));
        for (name, schema) in &mut entries {
            if !is_required(name) {
                without_null(schema);
            }
        }
    }
    Value::Object(entries)
}

/// An optional member is left out rather than sent as `null`.
fn without_null(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(branches)) = members.get_mut("anyOf") {
        branches.retain(|branch| branch.get("type").is_none_or(|name| name != "null"));
        if let [Value::Object(only)] = branches.as_slice() {
            let only = only.clone();
            members.shift_remove("anyOf");
            members.extend(only);
        }
    }
}

/// Puts a definition that is used once where it is used.
fn inline_once(root: &Value) -> Value {
    let Some(defs) = root.get("$defs").and_then(Value::as_object) else { return root.clone() };
    let mut schema = root.clone();
    let mut names: Vec<String> = defs.keys().cloned().collect();
    // Each round may leave another definition with a single use; a definition that names itself keeps two.
    while let Some(at) = names.iter().position(|name| uses(&schema, &pointer(name)) == 1 && !names_itself(&schema, name)) {
        let name = names.swap_remove(at);
        let Some(body) = schema.get_mut("$defs").and_then(Value::as_object_mut).and_then(|defs| defs.shift_remove(&name)) else { break };
        replace(&mut schema, &pointer(&name), &body);
    }
    if let Some(members) = schema.as_object_mut() {
        let unused = |defs: &Value| defs.as_object().is_some_and(Map::is_empty);
        if members.get("$defs").is_some_and(unused) {
            members.shift_remove("$defs");
        }
    }
    schema
}

fn pointer(name: &str) -> String {
    format!("#/$defs/{name}")
}

fn names_itself(schema: &Value, name: &str) -> bool {
    schema.get("$defs").and_then(|defs| defs.get(name)).is_some_and(|body| uses(body, &pointer(name)) > 0)
}

fn uses(schema: &Value, target: &str) -> usize {
    match schema {
        Value::Object(members) => {
            members.iter().map(|(word, value)| if word == "$ref" && value == target { 1 } else { uses(value, target) }).sum()
        }
        Value::Array(items) => items.iter().map(|item| uses(item, target)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn replace(schema: &mut Value, target: &str, body: &Value) {
    match schema {
        Value::Object(members) => {
            if members.get("$ref").is_some_and(|value| value == target) {
                members.shift_remove("$ref");
                for (word, value) in body.as_object().into_iter().flatten() {
                    members.entry(word.clone()).or_insert_with(|| value.clone());
                }
            }
            members.values_mut().for_each(|value| replace(value, target, body));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, target, body)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn always_object(schema: &Value, root: &Value, depth: usize) -> bool {
    if depth > 16 {
        return false;
    }
    if let Some(kind) = schema.get("type") {
        return kind == "object";
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.is_some_and(|schema| always_object(schema, root, depth + 1));
    }
    if let Some(Value::Array(parts)) = schema.get("allOf") {
        return parts.iter().any(|part| always_object(part, root, depth + 1));
    }
    let branches = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    branches.is_some_and(|list| !list.is_empty() && list.iter().all(|branch| always_object(branch, root, depth + 1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_input_keeps_what_guides_a_model() {
        let full = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Input", "type": "object", "additionalProperties": false,
            "properties": {
                "title": {"description": "a member of that name", "type": ["string", "null"], "default": null},
                "limit": {"type": "integer", "format": "uint32", "minimum": 1, "default": 10},
                "mode": {"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}], "default": null},
                "must": {"type": ["string", "null"]},
            },
            "required": ["must"],
            "$defs": {"Mode": {"type": "string", "enum": ["a", "b"]}},
        });
        assert_eq!(
            Value::Object(input(&full)),
            json!({
                "type": "object", "additionalProperties": false,
                "properties": {
                    "title": {"description": "a member of that name", "type": "string"},
                    "limit": {"type": "integer", "minimum": 1, "default": 10},
                    "mode": {"type": "string", "enum": ["a", "b"]},
                    "must": {"type": ["string", "null"]},
                },
                "required": ["must"],
            })
        );
    }

    #[test]
    fn an_output_is_told_one_level_deep() {
        let full = json!({
            "type": "object",
            "properties": {
                "files": {"type": "array", "items": {"$ref": "#/$defs/File"}}, "file": {"$ref": "#/$defs/File"},
                "any": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/Loop"}]}, "loop": {"$ref": "#/$defs/Loop"},
            },
            "required": ["files"],
            "$defs": {"File": {"type": "object", "properties": {"path": {"type": "string"}}}, "Loop": {"$ref": "#/$defs/Loop"}},
        });
        let lean = output(&full).map(Value::Object).unwrap();
        let expected =
            json!({"type": "object", "properties": {"files": {"type": "array"}, "file": {"type": "object"}, "any": {}, "loop": {}}});
        assert_eq!(lean, expected);
    }

    #[test]
    fn a_schema_whose_parts_have_names_is_listed_as_it_is() {
        let full = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
            "$defs": {"address": {"$anchor": "place", "type": "object", "properties": {"street": {"type": "string", "minLength": 1}}}},
            "properties": {"home": {"$ref": "#place"}, "work": {"$ref": "#/$defs/address"}},
        });
        assert_eq!(Value::Object(input(&full)), full);
    }

    #[test]
    fn an_output_keeps_names_and_types() {
        let full = json!({
            "title": "Out", "type": "object",
            "properties": {"pattern": {"type": "string", "pattern": "^a$", "description": "x"}, "n": {"type": "integer", "format": "uint64", "minimum": 0}},
            "required": ["pattern"], "additionalProperties": false,
        });
        assert_eq!(
            output(&full).map(Value::Object),
            Some(json!({"type": "object", "properties": {"pattern": {"type": "string"}, "n": {"type": "integer"}}}))
        );
    }

    #[test]
    fn an_output_of_several_forms_is_still_typed_as_object() {
        let full = json!({
            "oneOf": [{"$ref": "#/$defs/Done"}, {"type": "object", "properties": {"run_id": {"type": "string"}}}],
            "$defs": {"Done": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        });
        let lean = output(&full).unwrap();
        assert_eq!(lean.get("type"), Some(&json!("object")));
        assert_eq!(lean.get("anyOf").and_then(Value::as_array).map(Vec::len), Some(2));
        assert!(output(&json!({"type": "string"})).is_none());
        assert!(output(&json!({"anyOf": [{"type": "object"}, {"type": "array"}]})).is_none());
        assert!(output(&json!(true)).is_none());
    }

    #[test]
    fn a_definition_is_inlined_only_where_it_is_used_once_and_not_in_itself() {
        let full = json!({
            "type": "object",
            "properties": {"a": {"$ref": "#/$defs/Twice"}, "b": {"$ref": "#/$defs/Twice"}, "c": {"$ref": "#/$defs/Tree"}, "d": {"$ref": "#/$defs/Chain"}},
            "$defs": {
                "Twice": {"type": "object"},
                "Tree": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
                "Chain": {"type": "array", "items": {"$ref": "#/$defs/Link"}},
                "Link": {"type": "string"},
            },
        });
        let lean = Value::Object(input(&full));
        assert_eq!(lean.pointer("/properties/d/items/type"), Some(&json!("string")));
        let kept: Vec<&String> = lean.get("$defs").and_then(Value::as_object).unwrap().keys().collect();
        assert_eq!(kept, ["Twice", "Tree"]);
    }
}
