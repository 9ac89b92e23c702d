//! Keeps what canonical JSON cannot say: RFC 8785 knows only double-precision numbers, and readers bound the depth.
//!
//! INVARIANT: `open(wrap(value))` gives every value back, and a wrapped value always has a canonical form. What does not fit is held
//! as `{"$json": "<its JSON text>"}`: whole numbers beyond ±2^53, anything nested deeper than [`MAX_DEPTH`], and an object that
//! itself looks so. Does not touch strings.

use serde_json::{Map, Value};

/// Levels inside one field; the envelope adds three, and the common JSON readers stop at 128.
const MAX_DEPTH: u32 = 64;
/// From here on doubles have gaps between whole numbers.
const EXACT: u64 = 1 << 53;
const MARK: &str = "$json";

/// The value as a record may hold it.
pub(super) fn wrap(value: Value) -> Value {
    wrap_at(value, 0)
}

fn wrap_at(value: Value, depth: u32) -> Value {
    match value {
        Value::Number(ref number) if number.is_u64() || number.is_i64() => {
            let far = number.as_i64().is_none_or(|n| n.unsigned_abs() > EXACT);
            if far { as_text(&value) } else { value }
        }
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => as_text(&value),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| wrap_at(item, depth + 1)).collect()),
        Value::Object(ref fields) if fields.len() == 1 && fields.contains_key(MARK) => as_text(&value),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(key, field)| (key, wrap_at(field, depth + 1))).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn as_text(value: &Value) -> Value {
    Value::Object(Map::from_iter([(MARK.to_owned(), Value::String(value.to_string()))]))
}

/// The value as it was before [`wrap`].
pub(super) fn open(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.len() == 1 => match fields.get(MARK).and_then(Value::as_str).map(serde_json::from_str) {
            Some(Ok(inner)) => inner,
            Some(Err(_)) | None => open_fields(fields),
        },
        Value::Object(fields) => open_fields(fields),
        Value::Array(items) => Value::Array(items.into_iter().map(open).collect()),
        // Such a number was a double: a whole one of that size would have been held as text.
        Value::Number(ref number) if !number.is_f64() && number.as_i64().is_none_or(|n| n.unsigned_abs() > EXACT) => {
            number.as_f64().map_or(Value::Null, Value::from)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn open_fields(fields: Map<String, Value>) -> Value {
    Value::Object(fields.into_iter().map(|(key, field)| (key, open(field))).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn through(value: Value) -> Value {
        let text = serde_json_canonicalizer::to_string(&wrap(value)).unwrap();
        assert_eq!(super::super::canonical::value(&text), Ok(()));
        open(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn gives_back_what_canonical_json_would_spoil() {
        let mut deep = json!(1);
        for _ in 0..120 {
            deep = json!([deep]);
        }
        for value in [
            json!(u64::MAX),
            json!(i64::MIN),
            json!(9_007_199_254_740_993_u64),
            json!({"$json": "1"}),
            json!({"$json": 1}),
            json!({"$json": {"$json": "not json"}}),
            json!({"a": {"$json": "x", "b": 1_u64 << 60}}),
            json!(1e300),
            json!(1e17),
            json!([9_007_199_254_740_992_u64, -9_007_199_254_740_992_i64]),
            deep,
        ] {
            assert_eq!(through(value.clone()), value);
        }
    }

    proptest! {
        #[test]
        fn gives_back_every_whole_number_and_double(whole: i64, large: u64, double in any::<f64>().prop_filter("finite", |n| n.is_finite())) {
            prop_assert_eq!(through(json!(whole)), json!(whole));
            prop_assert_eq!(through(json!(large)), json!(large));
            prop_assert_eq!(through(json!(double)).as_f64(), Some(double));
        }
    }
}
