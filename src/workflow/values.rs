//! JSON in and out of expressions, with every type kept.
//!
//! INVARIANT: what is undefined never becomes `null` unseen, and no value is lost or changed on the way.

use minijinja::Value as Inner;
use minijinja::value::ValueKind;
use serde_json::{Map, Number, Value};

/// Deeper values do not leave an expression.
const MOST_DEPTH: u32 = 64;

/// JSON as expressions see it.
pub(super) fn to_inner(value: &Value) -> Inner {
    match value {
        Value::Null => Inner::from(()),
        Value::Bool(flag) => Inner::from(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Inner::from(number),
            (None, Some(number)) => Inner::from(number),
            (None, None) => Inner::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Inner::from(text.as_str()),
        Value::Array(items) => items.iter().map(to_inner).collect(),
        Value::Object(fields) => Inner::from_pairs(fields.iter().map(|(key, value)| (key.as_str(), to_inner(value)))),
    }
}

/// What an expression came to, as JSON; else why it has no such form.
pub(super) fn to_json(value: &Inner) -> Result<Value, String> {
    to_json_within(value, MOST_DEPTH)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the crate may add kinds, and none of those is JSON")]
fn to_json_within(value: &Inner, depth: u32) -> Result<Value, String> {
    let Some(depth) = depth.checked_sub(1) else { return Err("its value is nested too deeply".into()) };
    match value.kind() {
        ValueKind::Undefined => Err("it names something that is not there".into()),
        ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => number(value).map(Value::Number).ok_or_else(|| format!("`{value}` is a number that JSON cannot hold")),
        ValueKind::String => Ok(Value::String(value.as_str().unwrap_or_default().to_owned())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter().map_err(|error| error.to_string())?;
            items.map(|item| to_json_within(&item, depth)).collect()
        }
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(|error| error.to_string())? {
                let item = value.get_item(&key).map_err(|error| error.to_string())?;
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                fields.insert(name, to_json_within(&item, depth)?);
            }
            Ok(Value::Object(fields))
        }
        other => Err(format!("its value is of the kind {other}, which has no JSON form")),
    }
}

fn number(value: &Inner) -> Option<Number> {
    if value.is_integer() {
        let signed = i64::try_from(value.clone()).ok().map(Number::from);
        return signed.or_else(|| u64::try_from(value.clone()).ok().map(Number::from));
    }
    f64::try_from(value.clone()).ok().and_then(Number::from_f64)
}
