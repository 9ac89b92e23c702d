//! What the operator gives a run: `-i key=value` read by the workflow's own schema, arguments of a call, and answers from a file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::domain::nearest;
use crate::domain::{ErrorCode, Fault, StepId};

use super::output::Console;

/// No file or input that the operator names is larger.
const LARGEST: u64 = 16 << 20;

/// `key=value` as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    key: String,
    value: String,
}

impl FromStr for Assignment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self { key: key.to_owned(), value: value.to_owned() }),
            Some(_) | None => Err("an input is written `key=value`, such as `-i resource=Listing`".to_owned()),
        }
    }
}

/// The inputs of a workflow, from what was typed: text where the schema has a string, JSON where it has anything else.
///
/// # Errors
/// `INVALID_INPUT`: an unknown or repeated key, a value of the wrong form, a missing input.
pub(super) fn read(assignments: &[Assignment], schema: &Value) -> Result<Map<String, Value>, Fault> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let open = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    let mut inputs = Map::new();
    for Assignment { key, value } in assignments {
        let property = properties.get(key);
        if property.is_none() && !open {
            let fault = Fault::new(ErrorCode::InvalidInput, format!("the workflow has no input `{key}`"));
            return Err(match nearest(key, properties.keys().map(String::as_str)) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint(list_of(properties)),
            });
        }
        let value = read_one(key, value, property)?;
        if inputs.insert(key.clone(), value).is_some() {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("input `{key}` is given twice")).hint("give it once"));
        }
    }
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let has_default = |key: &str| properties.get(key).is_some_and(|property| property.get("default").is_some());
    let missing: Vec<&str> = required.filter(|key| !inputs.contains_key(*key) && !has_default(key)).collect();
    match missing.as_slice() {
        [] => Ok(inputs),
        [key] => Err(Fault::new(ErrorCode::InvalidInput, format!("input `{key}` is missing")).hint(format!("give it as `-i {key}=…`"))),
        keys => Err(Fault::new(ErrorCode::InvalidInput, format!("inputs `{}` are missing", keys.join("`, `")))
            .hint(keys.iter().map(|key| format!("-i {key}=…")).collect::<Vec<_>>().join(" "))),
    }
}

fn list_of(properties: &Map<String, Value>) -> String {
    match properties.len() {
        0 => "it takes no inputs".to_owned(),
        _ => format!("its inputs are {}", properties.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn read_one(key: &str, value: &str, property: Option<&Value>) -> Result<Value, Fault> {
    let types: Vec<&str> = match property.and_then(|property| property.get("type")) {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    if types.contains(&"string") {
        return Ok(Value::String(value.to_owned()));
    }
    match serde_json::from_str(value) {
        Ok(json) => Ok(json),
        // The schema does not say: what is no JSON can only be meant as text.
        Err(_) if types.is_empty() => Ok(Value::String(value.to_owned())),
        Err(error) => Err(Fault::new(
            ErrorCode::InvalidInput,
            format!("input `{key}` takes {}, and `{value}` is not JSON: {error}", types.join(" or ")),
        )
        .hint(format!("for example `-i {key}={}`", example(types.first().copied().unwrap_or_default())))),
    }
}

fn example(kind: &str) -> &'static str {
    match kind {
        "integer" => "3",
        "number" => "0.5",
        "boolean" => "true",
        "array" => "'[\"a\", \"b\"]'",
        "object" => "'{\"key\": \"value\"}'",
        _ => "null",
    }
}

/// The arguments of a call: JSON, `@FILE`, or `-`.
///
/// # Errors
/// `NOT_FOUND`, `LIMIT_EXCEEDED`, or `INVALID_INPUT` with the place where it is not a JSON object.
pub(super) fn arguments(text: &str, console: &Console) -> Result<Value, Fault> {
    let (json, place) = match text.strip_prefix('@') {
        Some(file) => (file_text(Path::new(file))?, format!("`{file}`")),
        None if text == "-" => {
            let bytes = console.read_input(LARGEST).map_err(|error| Fault::new(ErrorCode::NotFound, format!("standard input: {error}")))?;
            (utf8(bytes, "standard input")?, "standard input".to_owned())
        }
        None => (text.to_owned(), "the argument".to_owned()),
    };
    let value: Value = serde_json::from_str(&json).map_err(|error| {
        let what = if error.is_eof() { "JSON that ends too early" } else { "not JSON" };
        Fault::new(ErrorCode::InvalidInput, format!("{place} is {what}: {error}"))
            .hint("write an object in single quotes, such as '{\"key\": \"value\"}', or give `@FILE` or `-`")
    })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(Fault::new(ErrorCode::InvalidInput, format!("{place} is JSON but not an object"))
            .hint("arguments are an object, such as '{\"key\": \"value\"}'"))
    }
}

/// Answers for steps, by step.
///
/// # Errors
/// `NOT_FOUND`, or `INVALID_INPUT` where the file is not an object of steps.
pub(super) fn answers(file: &Path) -> Result<BTreeMap<StepId, Value>, Fault> {
    let text = file_text(file)?;
    let wrong = |why: String| {
        Fault::new(ErrorCode::InvalidInput, format!("`{}` holds no answers: {why}", file.display()))
            .hint("it is an object of steps, such as {\"plan\": {\"files\": []}}, as JSON or YAML")
    };
    let value: Value = if file.extension().is_some_and(|extension| extension == "json") {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?
    };
    let Value::Object(steps) = value else { return Err(wrong("it is not an object".into())) };
    steps.into_iter().map(|(step, output)| Ok((step.parse().map_err(|error| wrong(format!("{error}")))?, output))).collect()
}

fn file_text(path: &Path) -> Result<String, Fault> {
    let cannot = |error: &dyn std::fmt::Display| {
        Fault::new(ErrorCode::NotFound, format!("`{}` cannot be read: {error}", path.display())).hint("name a file that is there")
    };
    let file = std::fs::File::open(path).map_err(|error| cannot(&error))?;
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, LARGEST + 1), &mut bytes).map_err(|error| cannot(&error))?;
    utf8(bytes, &format!("`{}`", path.display()))
}

fn utf8(bytes: Vec<u8>, place: &str) -> Result<String, Fault> {
    if bytes.len() as u64 > LARGEST {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("{place} holds more than {LARGEST} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Fault::new(ErrorCode::InvalidInput, format!("{place} is not UTF-8 text")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn typed(assignments: &[&str]) -> Result<Value, String> {
        let schema = json!({
            "type": "object", "required": ["resource", "count"], "additionalProperties": false,
            "properties": {
                "any": {}, "count": {"type": "integer"}, "flags": {"type": ["array", "null"]}, "name": {"type": ["string", "null"]},
                "resource": {"type": "string"}, "size": {"type": "number", "default": 1},
            },
        });
        let assignments: Vec<Assignment> = assignments.iter().map(|text| text.parse().unwrap()).collect();
        read(&assignments, &schema).map(Value::Object).map_err(|fault| format!("{} ({})", fault.message, fault.hint.unwrap_or_default()))
    }

    #[test]
    fn the_schema_says_how_a_value_is_read() {
        let all = ["resource=12", "count=3", "flags=[1]", "name=null", "any={\"a\":1}", "size=0.5"];
        assert_eq!(typed(&all).unwrap(), json!({"resource": "12", "count": 3, "flags": [1], "name": "null", "any": {"a": 1}, "size": 0.5}));
        assert_eq!(typed(&["resource=a=b", "count=1", "any=plain"]).unwrap(), json!({"resource": "a=b", "count": 1, "any": "plain"}));
        assert_eq!(typed(&["resource=", "count=1"]).unwrap(), json!({"resource": "", "count": 1}));
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_to_do() {
        let refused = |assignments: &[&str]| typed(assignments).unwrap_err();
        assert_eq!(refused(&["resorce=x"]), "the workflow has no input `resorce` (did you mean `resource`?)");
        assert_eq!(
            refused(&["zzzzzz=x"]),
            "the workflow has no input `zzzzzz` (its inputs are `any`, `count`, `flags`, `name`, `resource`, `size`)"
        );
        assert_eq!(
            refused(&["resource=x", "count=many"]),
            "input `count` takes integer, and `many` is not JSON: expected value at line 1 column 1 (for example `-i count=3`)"
        );
        assert_eq!(refused(&["count=1"]), "input `resource` is missing (give it as `-i resource=…`)");
        assert_eq!(refused(&[]), "inputs `resource`, `count` are missing (-i resource=… -i count=…)");
        assert_eq!(refused(&["count=1", "count=2"]), "input `count` is given twice (give it once)");
        assert!("resource".parse::<Assignment>().is_err() && "=x".parse::<Assignment>().is_err() && "".parse::<Assignment>().is_err());
    }

    #[test]
    fn answers_are_an_object_of_steps() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            answers(&file).map_err(|fault| fault.message)
        };
        let expected = BTreeMap::from([("plan".parse::<StepId>().unwrap(), json!({"files": ["a"]}))]);
        assert_eq!(read("a.yaml", "plan:\n  files: [a]\n").unwrap(), expected);
        assert_eq!(read("a.json", "{\"plan\": {\"files\": [\"a\"]}}").unwrap(), expected);
        for (name, text) in [("a.json", "{"), ("a.yaml", "- x"), ("a.json", "{\"No Step\": 1}"), ("a.yaml", "a: [")] {
            assert!(read(name, text).unwrap_err().contains("holds no answers"), "{text}");
        }
        assert_eq!(answers(Path::new("/no/such")).unwrap_err().code, ErrorCode::NotFound);
    }
}
