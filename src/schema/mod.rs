//! Compiles JSON Schemas (draft 2020-12) and checks values against them.
//!
//! INVARIANT: nothing is ever fetched, a compiled schema has bounded depth, size and expansion, its patterns match in linear time,
//! and no message shows the value that was checked. Does not know tools, steps or calls.

mod bounds;
mod describe;

use std::fmt;
use std::sync::{Arc, OnceLock};

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};

/// How many mistakes one check tells at most.
const TOLD: usize = 5;
/// Bytes of one compiled pattern.
const PATTERN_BYTES: usize = 1 << 20;

/// A compiled schema; cheap to clone.
#[derive(Clone)]
pub struct Schema {
    json: Arc<Value>,
    validator: Arc<OnceLock<Validator>>,
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// `SCHEMA_INVALID` where it is not a draft 2020-12 schema, refers to anything outside itself, is out of bounds (depth 48,
    /// 20,000 values, 1,000 subschemas, 10,000 with its references written out), refers to itself without looking deeper into the
    /// value, or has a pattern with look-around or back-references.
    pub fn compile(json: &Value) -> Result<Self, Fault> {
        let validator = built(json)?;
        Ok(Self { json: Arc::new(json.clone()), validator: Arc::new(validator.into()) })
    }

    /// A schema that is known to compile, which it does when it is first needed.
    #[must_use]
    pub fn tried(json: Value) -> Self {
        Self { json: Arc::new(json), validator: Arc::default() }
    }

    fn validator(&self) -> Result<&Validator, Fault> {
        match self.validator.get() {
            Some(validator) => Ok(validator),
            None => {
                let validator = built(&self.json)?;
                Ok(self.validator.get_or_init(|| validator))
            }
        }
    }

    /// Checks a value.
    ///
    /// # Errors
    /// `INVALID_INPUT`: the message tells up to five mistakes, each with the JSON pointer of its field, and
    /// `details` is `{errors: [{path, message}], more: bool}`. `SCHEMA_INVALID` for a schema that was wrongly taken for tried.
    pub fn check(&self, value: &Value) -> Result<(), Fault> {
        let validator = self.validator()?;
        if validator.is_valid(value) {
            return Ok(());
        }
        let mut mistakes = Vec::new();
        let mut more = false;
        for error in validator.iter_errors(value) {
            if mistakes.len() == TOLD {
                more = true;
                break;
            }
            mistakes.extend(describe::mistakes(&error, &self.json));
        }
        more |= mistakes.len() > TOLD;
        mistakes.truncate(TOLD);
        let mut message = mistakes.iter().map(describe::Mistake::to_string).collect::<Vec<_>>().join("; ");
        if more {
            message.push_str("; and more");
        }
        let errors: Vec<Value> = mistakes.iter().map(|mistake| json!({ "path": mistake.path, "message": mistake.message })).collect();
        Err(Fault::new(ErrorCode::InvalidInput, message)
            .hint("mend the named fields and call again")
            .details(json!({ "errors": errors, "more": more })))
    }

    /// The schema as it was written.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }
}

fn built(json: &Value) -> Result<Validator, Fault> {
    let invalid = |message: String| Fault::new(ErrorCode::SchemaInvalid, message);
    bounds::check(json).map_err(|breach| invalid(breach.message).hint(breach.hint))?;
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .offline()
        .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES))
        .build(json)
        .map_err(|error| {
            let place = describe::place(error.instance_path().as_str());
            invalid(format!("the schema is wrong at {place}: {}", describe::told(&error, json)))
                .hint("write it in JSON Schema draft 2020-12; patterns may use neither look-around nor back-references")
        })
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.json).finish()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

#[cfg(test)]
mod tests;
