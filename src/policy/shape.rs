//! What policy can see of a tool's input: a narrow, typed view derived from its JSON Schema.
//!
//! INVARIANT: a value that fits the JSON Schema fits its shape. What has no plain type (maps of any keys, numbers with fractions,
//! mixed lists, recursion) stays untyped: policy can ask whether it is there, not what it is.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The view of one value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Bool,
    Long,
    Text,
    Set(Box<Shape>),
    Record(Record),
    Untyped,
}

/// Fields by name; those not named here are not visible to policy.
pub(super) type Record = BTreeMap<String, Slot>;

/// One field.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Slot {
    pub(super) shape: Shape,
    /// Always there and never null.
    pub(super) required: bool,
}

/// How deep records and sets are followed.
const DEPTH: usize = 8;

/// Words that Cedar's grammar or its type names keep for themselves.
const RESERVED: &[&str] = &[
    "true",
    "false",
    "if",
    "then",
    "else",
    "in",
    "is",
    "like",
    "has",
    "__cedar",
    "Bool",
    "Boolean",
    "Entity",
    "Extension",
    "Long",
    "Record",
    "Set",
    "String",
    "decimal",
    "ipaddr",
    "datetime",
    "duration",
];

/// The shape of a tool's input.
pub(super) fn of_input(schema: &Value) -> Record {
    match (Reader { root: schema }).shape(schema, &mut Vec::new(), DEPTH).0 {
        Shape::Record(fields) => fields,
        Shape::Bool | Shape::Long | Shape::Text | Shape::Set(_) | Shape::Untyped => Record::new(),
    }
}

/// The same view as a JSON Schema, for the generator of the Cedar schema.
pub(super) fn described(fields: &Record) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|(name, slot)| (name.clone(), described_shape(&slot.shape))).collect();
    let required: Vec<&String> = fields.iter().filter(|(_, slot)| slot.required).map(|(name, _)| name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn described_shape(shape: &Shape) -> Value {
    match shape {
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Long => json!({ "type": "integer" }),
        Shape::Text => json!({ "type": "string" }),
        Shape::Set(items) => json!({ "type": "array", "items": described_shape(items) }),
        Shape::Record(fields) => described(fields),
        Shape::Untyped => json!({}),
    }
}

fn nameable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with("__cedar")
        && !RESERVED.contains(&name)
}

struct Reader<'a> {
    root: &'a Value,
}

impl<'a> Reader<'a> {
    /// The shape, and whether null fits as well. `open` are the references being followed.
    fn shape(&self, schema: &'a Value, open: &mut Vec<&'a str>, depth: usize) -> (Shape, bool) {
        let Some(fields) = schema.as_object() else { return (Shape::Untyped, true) };
        if depth == 0 {
            return (Shape::Untyped, true);
        }
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return match target {
                Some(target) if !open.contains(&reference) => {
                    open.push(reference);
                    let shape = self.shape(target, open, depth);
                    open.pop();
                    shape
                }
                _ => (Shape::Untyped, true),
            };
        }
        if let Some(forms) = ["anyOf", "oneOf"].iter().find_map(|word| fields.get(*word)).and_then(Value::as_array) {
            return self.one_of(fields, forms, open, depth);
        }
        if let Some([only]) = fields.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
            && !fields.contains_key("type")
        {
            return self.shape(only, open, depth);
        }
        if let Some(value) = fields.get("const") {
            return literals(std::slice::from_ref(value));
        }
        if let Some(values) = fields.get("enum").and_then(Value::as_array) {
            return literals(values);
        }
        let (word, nullable) = match fields.get("type") {
            Some(Value::String(word)) => (word.as_str(), false),
            Some(Value::Array(words)) => {
                let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
                let plain: Vec<&str> = words.iter().copied().filter(|word| *word != "null").collect();
                match plain.as_slice() {
                    [only] => (*only, plain.len() < words.len()),
                    _ => return (Shape::Untyped, true),
                }
            }
            _ => return (Shape::Untyped, true),
        };
        (self.plain(word, fields, open, depth), nullable || word == "null")
    }

    fn plain(&self, word: &str, fields: &'a Map<String, Value>, open: &mut Vec<&'a str>, depth: usize) -> Shape {
        match word {
            "boolean" => Shape::Bool,
            "integer" => Shape::Long,
            "string" => Shape::Text,
            "array" if !fields.contains_key("prefixItems") => match fields.get("items").map(|items| self.shape(items, open, depth - 1).0) {
                Some(Shape::Untyped) | None => Shape::Untyped,
                Some(items) => Shape::Set(Box::new(items)),
            },
            "object" => match self.record(fields, open, depth) {
                Some(record) if depth == DEPTH || !record.is_empty() => Shape::Record(record),
                _ => Shape::Untyped,
            },
            _ => Shape::Untyped,
        }
    }

    /// The declared fields; `None` where there are none and any may come.
    fn record(&self, fields: &'a Map<String, Value>, open: &mut Vec<&'a str>, depth: usize) -> Option<Record> {
        let declared = fields.get("properties")?.as_object()?;
        let required: Vec<&str> =
            fields.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut record = Record::new();
        for (name, schema) in declared.iter().filter(|(name, _)| nameable(name)) {
            let (shape, nullable) = self.shape(schema, open, depth - 1);
            record.insert(name.clone(), Slot { shape, required: required.contains(&name.as_str()) && !nullable });
        }
        Some(record)
    }

    /// A value that has one of several forms: the one that is left when null is taken away, or the fields of all of them.
    fn one_of(&self, fields: &'a Map<String, Value>, forms: &'a [Value], open: &mut Vec<&'a str>, depth: usize) -> (Shape, bool) {
        let is_null = |form: &&Value| form.get("type").and_then(Value::as_str) == Some("null");
        let mut nullable = forms.iter().any(|form| is_null(&form));
        let mut shapes = Vec::new();
        for form in forms.iter().filter(|form| !is_null(form)) {
            let (shape, null) = self.shape(form, open, depth);
            nullable |= null;
            shapes.push(shape);
        }
        let base = if fields.contains_key("properties") { self.record(fields, open, depth) } else { None };
        if let Some(base) = base {
            // What a form adds without typing itself an object is not visible; its declared fields are.
            let forms: Vec<Record> =
                shapes.into_iter().filter_map(|shape| if let Shape::Record(r) = shape { Some(r) } else { None }).collect();
            let mut merged = forms.into_iter().reduce(either).unwrap_or_default();
            for slot in merged.values_mut() {
                slot.required = false;
            }
            for (name, slot) in base {
                match merged.remove(&name) {
                    Some(other) if other.shape != slot.shape => {
                        merged.insert(name, Slot { shape: Shape::Untyped, required: slot.required })
                    }
                    _ => merged.insert(name, slot),
                };
            }
            return (Shape::Record(merged), nullable);
        }
        let shape = shapes.into_iter().reduce(|one, other| match (one, other) {
            (Shape::Record(one), Shape::Record(other)) => Shape::Record(either(one, other)),
            (one, other) if one == other => one,
            _ => Shape::Untyped,
        });
        (shape.unwrap_or(Shape::Untyped), nullable)
    }
}

/// The fields of a value that is one or the other.
fn either(mut one: Record, other: Record) -> Record {
    for (name, slot) in &mut one {
        match other.get(name) {
            None => slot.required = false,
            Some(same) => {
                slot.required &= same.required;
                if same.shape != slot.shape {
                    slot.shape = Shape::Untyped;
                }
            }
        }
    }
    for (name, slot) in other {
        one.entry(name).or_insert(Slot { required: false, ..slot });
    }
    one
}

fn literals(values: &[Value]) -> (Shape, bool) {
    let nullable = values.iter().any(Value::is_null);
    let mut plain = values.iter().filter(|value| !value.is_null()).peekable();
    let shape = if plain.peek().is_none() {
        Shape::Untyped
    } else if plain.clone().all(Value::is_string) {
        Shape::Text
    } else if plain.clone().all(Value::is_i64) {
        Shape::Long
    } else if plain.all(Value::is_boolean) {
        Shape::Bool
    } else {
        Shape::Untyped
    };
    (shape, nullable)
}
