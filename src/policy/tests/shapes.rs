//! The view that policy has of inputs: it must fit the schema that rules are checked against.

use proptest::prelude::*;

use super::super::context::request;
use super::super::lint::Reads;
use super::super::shape::{Shape, of_input};
use super::*;

fn shape_of(property: Value) -> (Shape, bool) {
    let mut record = of_input(&json!({ "type": "object", "required": ["p"], "properties": { "p": property },
        "$defs": { "word": { "type": "string" }, "tree": { "type": "object", "properties": { "next": { "$ref": "#/$defs/tree" }, "n": { "type": "integer" } } } } }));
    let slot = record.remove("p").unwrap();
    (slot.shape, slot.required)
}

#[test]
fn plain_types_are_seen_and_others_stay_untyped() {
    assert_eq!(shape_of(json!({ "type": "string" })), (Shape::Text, true));
    assert_eq!(shape_of(json!({ "type": ["string", "null"] })), (Shape::Text, false));
    assert_eq!(shape_of(json!({ "anyOf": [{ "$ref": "#/$defs/word" }, { "type": "null" }] })), (Shape::Text, false));
    assert_eq!(shape_of(json!({ "oneOf": [{ "const": "a" }, { "const": "b", "description": "x" }] })), (Shape::Text, true));
    assert_eq!(shape_of(json!({ "enum": [1, 2] })), (Shape::Long, true));
    assert_eq!(shape_of(json!({ "type": "array", "items": { "type": "boolean" } })), (Shape::Set(Box::new(Shape::Bool)), true));
    for untyped in [
        json!(true),
        json!({}),
        json!({ "type": "number" }),
        json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        json!({ "type": "array" }),
        json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
        json!({ "enum": ["a", 1] }),
    ] {
        assert_eq!(shape_of(untyped.clone()).0, Shape::Untyped, "{untyped}");
    }
    let Shape::Record(tree) = shape_of(json!({ "$ref": "#/$defs/tree" })).0 else { panic!("a record") };
    assert_eq!((&tree["next"].shape, &tree["n"].shape), (&Shape::Untyped, &Shape::Long));
}

#[test]
fn forms_of_an_object_show_the_fields_of_all() {
    let form = json!({ "oneOf": [
        { "type": "object", "properties": { "kind": { "const": "a" }, "x": { "type": "string" } }, "required": ["kind", "x"] },
        { "type": "object", "properties": { "kind": { "const": "b" }, "x": { "type": "integer" }, "y": { "type": "string" } }, "required": ["kind"] } ] });
    let (Shape::Record(fields), true) = shape_of(form) else { panic!("a record") };
    assert_eq!((fields["kind"].required, fields["x"].required, fields["y"].required), (true, false, false));
    assert_eq!((&fields["x"].shape, &fields["y"].shape), (&Shape::Untyped, &Shape::Text));
}

#[test]
fn names_that_cedar_keeps_are_not_seen_and_do_no_harm() {
    let strange = tool(
        "strange.names",
        &[Effect::Pure],
        &json!({ "type": "object", "properties": {
        "in": { "type": "string" }, "content-type": { "type": "string" }, "String": { "type": "object", "properties": { "a": { "type": "string" } } },
        "Input": { "type": "object", "properties": { "Input": { "type": "object", "properties": { "b": { "type": "integer" } } } } },
        "Agent": { "type": "array", "items": { "type": "object", "properties": { "c": {} } } }, "ok": { "type": "string" } } }),
    );
    let text = "permit (principal, action == toolgate::Action::\"strange.names\", resource)\n\
        when { context.input has ok && context.input.ok == \"x\" && context.input has Input && context.input.Input has Input };";
    let set = PolicySet::load(&[source("p.cedar", text)], std::slice::from_ref(&strange)).unwrap_or_else(|problems| panic!("{problems}"));
    let arguments = json!({"in": "x", "content-type": "y", "ok": "x", "String": {"a": "b"}, "Input": {"Input": {"b": 1}}, "Agent": [{"c": 1}, {"c": 2}]});
    assert_eq!(set.decide(&call_of(&strange, arguments, set.digest()), &crate::policy::Facts::default()).verdict, Verdict::Allow);
}

fn plain_schema() -> impl Strategy<Value = Value> {
    let leaf = prop::sample::select(vec![
        json!({ "type": "string" }),
        json!({ "type": "boolean" }),
        json!({ "type": "integer" }),
        json!({ "type": "number" }),
        json!({ "type": ["integer", "null"] }),
        json!({ "enum": ["a", "b"] }),
        json!({}),
        json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    ]);
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({ "type": "array", "items": items })),
            (prop::collection::btree_map("[a-d]", inner.clone(), 0..4), any::<bool>()).prop_map(|(properties, required)| {
                let names: Vec<&String> = if required { properties.keys().collect() } else { Vec::new() };
                json!({ "type": "object", "properties": properties, "required": names, "additionalProperties": false })
            }),
            prop::collection::vec(inner, 1..3).prop_map(|forms| json!({ "anyOf": forms })),
        ]
    })
}

fn value_for(schema: &Value, seed: u64) -> Value {
    let next = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 3;
    if let Some(forms) = schema.get("anyOf").and_then(Value::as_array) {
        return value_for(&forms[usize::try_from(seed).unwrap_or(0) % forms.len()], next);
    }
    if schema.get("enum").is_some() {
        return json!("b");
    }
    match schema.get("type") {
        Some(Value::String(word)) => match word.as_str() {
            "string" => json!("text"),
            "boolean" => json!(seed.is_multiple_of(2)),
            "integer" => json!(i64::try_from(seed % 1000).unwrap() - 500),
            "number" => json!(0.25),
            "array" => Value::Array((0..seed % 3).map(|n| value_for(&schema["items"], next ^ n)).collect()),
            _ => {
                let empty = serde_json::Map::new();
                let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
                let required = schema.get("required").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
                let chosen = properties.iter().enumerate().filter(|(n, _)| required || (seed >> n).is_multiple_of(2));
                Value::Object(chosen.map(|(_, (name, inner))| (name.clone(), value_for(inner, next))).collect())
            }
        },
        Some(Value::Array(_)) => {
            if seed.is_multiple_of(2) {
                Value::Null
            } else {
                json!(7)
            }
        }
        _ => json!({"any": [1, null]}),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The request made from any input that fits its JSON Schema fits the Cedar schema that another hand made from the same tool.
    #[test]
    fn requests_fit_the_generated_schema(properties in prop::collection::btree_map("[a-f]", plain_schema(), 0..5), seed in any::<u64>()) {
        let schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        let tool = tool("any.tool", &[Effect::Pure], &schema);
        let arguments = value_for(&schema, seed);
        prop_assert!(tool.input.check(&arguments).is_ok(), "{} {}", schema, arguments);
        let set = PolicySet::load(&[source("p.cedar", "permit (principal, action, resource);")], std::slice::from_ref(&tool)).unwrap_or_else(|problems| panic!("{problems} {schema}"));
        let words = set.words();
        let effects = Effects::only(Effect::Pure);
        let made = request(words, &words.tools[&tool.name], &question(&tool.name, &effects, &arguments), &Reads::All);
        let made = made.unwrap_or_else(|error| panic!("{error}: {schema} {arguments}"));
        let fits = made.context().unwrap().validate(&words.schema, made.action().unwrap());
        prop_assert!(fits.is_ok(), "{:?}: {} {}", fits.err(), schema, arguments);
    }
}
