use super::*;

fn schema(json: Value) -> Schema {
    Schema::compile(&json).unwrap()
}

fn refused(json: &Value) -> Fault {
    let fault = Schema::compile(json).unwrap_err();
    assert_eq!(fault.code, ErrorCode::SchemaInvalid);
    fault
}

#[test]
fn mistakes_name_the_field_and_the_known_ones() {
    let files = schema(json!({
        "type": "object", "additionalProperties": false, "required": ["paths"],
        "properties": { "paths": { "type": "array", "items": { "$ref": "#/$defs/path" } }, "limit": { "type": "integer", "maximum": 9 } },
        "$defs": { "path": { "type": "object", "additionalProperties": false, "properties": { "name": { "type": "string" } } } }
    }));
    let told = |value: Value| files.check(&value).unwrap_err().message;
    assert_eq!(told(json!({})), "at `/paths`: field `paths` is missing");
    assert_eq!(told(json!({"paths": [{"name": 3}]})), "at `/paths/0/name`: must be a string, is a number");
    assert_eq!(
        told(json!({"paths": [], "limt": 3})),
        "at `/limt`: additional property `limt`; did you mean `limit`?; known: `limit`, `paths`"
    );
    assert_eq!(
        told(json!({"paths": [{"nome": "x"}]})),
        "at `/paths/0/nome`: additional property `nome`; did you mean `name`?; known: `name`"
    );
    assert_eq!(told(json!({"paths": [], "limit": 10})), "at `/limit`: must be at most 9");
    assert_eq!(told(json!("x")), "must be an object, is a string");
    assert!(files.check(&json!({"paths": [{"name": "x"}], "limit": 9})).is_ok());
}

#[test]
fn no_message_shows_the_value_and_no_more_than_five_are_told() {
    let numbers = schema(json!({ "type": "array", "items": { "type": "integer" } }));
    let fault = numbers.check(&json!(vec!["s3cret"; 50])).unwrap_err();
    assert!(!fault.message.contains("s3cret") && fault.message.ends_with("and more"), "{}", fault.message);
    let details = fault.details.unwrap();
    assert_eq!(details["errors"].as_array().unwrap().len(), 5);
    assert_eq!(details["errors"][4]["path"], "/4");
    assert_eq!(details["more"], true);
}

#[test]
fn of_several_forms_the_nearest_is_told() {
    let form = schema(json!({ "properties": { "at": { "anyOf": [
        { "type": "object", "properties": { "line": { "type": "integer" } }, "required": ["line"] }, { "type": "null" } ] } } }));
    let told = |value: Value| form.check(&value).unwrap_err().message;
    assert!(told(json!({"at": {"line": "x"}})).contains("at `/at/line`: must be an integer"), "{}", told(json!({"at": {"line": "x"}})));
    assert_eq!(told(json!({"at": 3})), "at `/at`: must be an object or null, is a number");
}

#[test]
fn nothing_outside_the_schema_is_referred_to() {
    for reference in ["http://example.org/x.json", "other.json", "file:///etc/passwd", "https://json-schema.org/draft/2020-12/schema"] {
        let fault = refused(&json!({ "type": "object", "properties": { "x": { "$ref": reference } } }));
        assert!(fault.message.contains("is not local"), "{}", fault.message);
    }
    assert!(refused(&json!({ "$ref": "#/$defs/none" })).message.contains("leads to no schema"));
    assert!(refused(&json!({ "$ref": 3 })).message.contains("is not local"));
    // A field that happens to have that name is no reference.
    schema(json!({ "properties": { "$ref": { "type": "string" } }, "const": { "$ref": "http://example.org" } }));
    schema(json!({ "$defs": { "a b": { "type": "string" } }, "items": { "$ref": "#/$defs/a%20b" }, "not": { "$ref": "#/$defs/a%20b" } }));
}

#[test]
fn a_reference_that_would_never_end_is_refused() {
    for looping in [
        json!({ "$ref": "#" }),
        json!({ "allOf": [{ "$ref": "#" }] }),
        json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "anyOf": [{ "$ref": "#/$defs/a" }] } }, "items": { "$ref": "#/$defs/a" } }),
        json!({ "$ref": "#/elsewhere", "elsewhere": { "not": { "$ref": "#/elsewhere" } } }),
    ] {
        assert!(refused(&looping).message.contains("leads back to itself"));
    }
    let tree = schema(json!({ "type": "object", "properties": { "left": { "$ref": "#" }, "right": { "$ref": "#" } } }));
    assert!(tree.check(&json!({"left": {"right": {}}})).is_ok());
    assert!(tree.check(&json!({"left": {"right": 3}})).is_err());
}

#[test]
fn depth_size_and_expansion_are_bounded() {
    let mut deep = json!({ "type": "string" });
    for _ in 0..60 {
        deep = json!({ "items": deep });
    }
    assert!(refused(&deep).message.contains("nested"));
    assert!(refused(&json!({ "enum": vec![0; 30_000] })).message.contains("values"));
    assert!(refused(&json!({ "anyOf": vec![json!({"type": "string"}); 2_000] })).message.contains("subschemas"));
    let mut defs = serde_json::Map::new();
    for n in 0..40 {
        let next = json!({ "$ref": format!("#/$defs/d{}", n + 1) });
        defs.insert(format!("d{n}"), json!({ "allOf": [next, next] }));
    }
    defs.insert("d40".into(), json!({ "type": "string" }));
    assert!(refused(&json!({ "$ref": "#/$defs/d0", "$defs": defs })).message.contains("written out"));
}

#[test]
fn patterns_match_in_linear_time() {
    for pattern in ["(a)\\1", "(?=a)b", "(?<!x)y"] {
        refused(&json!({ "pattern": pattern }));
    }
    let hostile = schema(json!({ "pattern": "^(a+)+$" }));
    let started = std::time::Instant::now();
    assert!(hostile.check(&json!(format!("{}!", "a".repeat(200_000)))).is_err());
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
}

#[test]
fn other_drafts_and_broken_schemas_are_refused() {
    refused(&json!({ "$schema": "http://json-schema.org/draft-07/schema#" }));
    refused(&json!({ "type": "strng" }));
    refused(&json!({ "properties": 3 }));
    refused(&json!([]));
    refused(&json!(null));
    schema(json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object" }));
    schema(json!(true));
}

#[test]
fn a_schema_known_to_compile_does_so_at_its_first_check() {
    let json = json!({ "type": "object", "properties": { "a": { "pattern": "^x+$" } }, "required": ["a"] });
    let (tried, compiled) = (Schema::tried(json.clone()), Schema::compile(&json).unwrap());
    for value in [json!({ "a": "xx" }), json!({ "a": "y" }), json!({}), json!(1)] {
        assert_eq!(tried.check(&value), compiled.check(&value), "{value}");
    }
    let wrong = Schema::tried(json!({ "type": "no such type" }));
    assert_eq!(wrong.check(&json!({})).unwrap_err().code, ErrorCode::SchemaInvalid);
}
