//! What a workflow must be told before it starts.
//!
//! INVARIANT: values that passed [`Inputs::accept`] fit the declarations and nothing undeclared is among them.

use serde_json::{Map, Value, json};

use crate::domain::{ErrorCode, Fault};
use crate::schema::Schema;

use super::node::{Located, Node};
use super::reader::Reader;

/// Types that may stand alone, in place of a schema.
const TYPES: &[&str] = &["string", "integer", "number", "boolean", "array", "object"];

/// The declared inputs.
#[derive(Debug)]
pub struct Inputs {
    declared: Vec<Input>,
    schema: Schema,
}

/// One declared input.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// What its value must be.
    pub schema: Value,
    /// What stands in for it.
    pub default: Option<Value>,
    /// Whether a start without it is refused.
    pub required: bool,
}

impl Inputs {
    /// Reads `inputs`: by name a type, or a JSON Schema with `default` and `required: true|false` beside it.
    pub(super) fn read(at: Option<&Located>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut declared = Vec::new();
        if let Some(at) = at {
            let Node::Map(fields) = &at.node else {
                reader.problem(at.line, format!("`inputs` must be a mapping from names to types, not {}", at.kind()));
                return None;
            };
            for (key, value) in fields {
                if is_name(&key.text) {
                    declared.extend(read_one(&key.text, value, reader));
                } else {
                    reader.problem(
                        key.line,
                        format!("`{}` cannot name an input: a lower case letter, then letters, digits or `_`", key.text),
                    );
                }
            }
        }
        let schema = match Schema::compile(&whole_schema(&declared)) {
            Ok(schema) => schema,
            Err(fault) => {
                reader.problem(at.and_then(|at| at.line), format!("`inputs`: {}", fault.message));
                return None;
            }
        };
        Some(Self { declared, schema })
    }

    /// The declarations, in the file's order.
    #[must_use]
    pub fn declared(&self) -> &[Input] {
        &self.declared
    }

    /// The JSON Schema of all inputs together.
    #[must_use]
    pub fn schema(&self) -> &Value {
        self.schema.json()
    }

    /// Puts defaults in place and checks; an optional input that was not given is `null`.
    ///
    /// # Errors
    /// `INVALID_INPUT`, naming the field.
    pub fn accept(&self, given: Value) -> Result<Value, Fault> {
        let given = if given.is_null() { Value::Object(Map::new()) } else { given };
        let Value::Object(mut values) = given else {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("inputs must be an object, not `{given}`")));
        };
        for input in &self.declared {
            if let (Some(default), false) = (&input.default, values.contains_key(&input.name)) {
                values.insert(input.name.clone(), default.clone());
            }
        }
        let values = Value::Object(values);
        self.schema.check(&values).map_err(|fault| fault.hint("workflow.show tells the inputs of a workflow"))?;
        let Value::Object(mut values) = values else { return Ok(Value::Null) };
        for input in &self.declared {
            values.entry(&input.name).or_insert(Value::Null);
        }
        Ok(Value::Object(values))
    }

    /// Reads `key=value` texts as the declared types ask: a text stays one, everything else is JSON.
    ///
    /// # Errors
    /// `INVALID_INPUT` where a value is not of its type; names that are not declared are left to [`Inputs::accept`].
    pub fn from_texts(&self, texts: &[(String, String)]) -> Result<Value, Fault> {
        let mut values = Map::new();
        for (name, text) in texts {
            let kind = self.declared.iter().find(|input| input.name == *name).and_then(|input| input.schema.get("type")?.as_str());
            let value = match kind {
                Some("integer" | "number" | "boolean" | "array" | "object") => serde_json::from_str(text).map_err(|_| {
                    Fault::new(
                        ErrorCode::InvalidInput,
                        format!("input `{name}` must be of type {}, not `{text}`", kind.unwrap_or_default()),
                    )
                })?,
                _ => Value::String(text.clone()),
            };
            if values.insert(name.clone(), value).is_some() {
                return Err(Fault::new(ErrorCode::InvalidInput, format!("input `{name}` is given twice")));
            }
        }
        Ok(Value::Object(values))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn read_one(name: &str, at: &Located, reader: &mut Reader<'_>) -> Option<Input> {
    let line = at.line;
    let mut schema = match (at.as_text(), at.to_json()) {
        (Some(word), _) if TYPES.contains(&word) => Map::from_iter([("type".to_owned(), json!(word))]),
        (None, Value::Object(schema)) => schema,
        (Some(_) | None, _) => {
            reader.problem_with_hint(
                line,
                format!("input `{name}` must be a type or a JSON Schema, not {}", at.kind()),
                format!("types: {}", TYPES.join(", ")),
            );
            return None;
        }
    };
    let default = schema.remove("default");
    // A JSON Schema's own `required` is a list of properties; a boolean speaks of the input itself.
    let required = schema.get("required").and_then(Value::as_bool);
    if required.is_some() {
        schema.remove("required");
    }
    let schema = Value::Object(schema);
    match (Schema::compile(&schema), &default) {
        (Err(fault), _) => reader.problem(line, format!("input `{name}`: {}", fault.message)),
        (Ok(compiled), Some(value)) => {
            if let Err(fault) = compiled.check(value) {
                reader.problem(line, format!("the default of input `{name}` does not fit its own schema: {}", fault.message));
            }
        }
        (Ok(_), None) => {}
    }
    let required = required.unwrap_or_else(|| default.is_none());
    Some(Input { name: name.to_owned(), schema, default, required })
}

fn whole_schema(declared: &[Input]) -> Value {
    let properties: Map<String, Value> = declared.iter().map(|input| (input.name.clone(), input.schema.clone())).collect();
    let required: Vec<&str> =
        declared.iter().filter(|input| input.required && input.default.is_none()).map(|input| input.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}
