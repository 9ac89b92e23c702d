//! The order of values, their text and their JSON, each counted step by step.
//!
//! Values share their parts, so a small one can be endless when it is written out; jaq's own comparison and printing would not notice.
//!
//! INVARIANT: every part that is visited costs a step. Same order as jaq's.

use std::cmp::Ordering;
use std::fmt::Write as _;

use jaq_json::{Num, Val};

use super::budget::{charge, step};

/// null < booleans < numbers < strings < arrays < objects.
pub(super) fn compare(left: &Val, right: &Val) -> Ordering {
    step();
    match (left, right) {
        (Val::Arr(left), Val::Arr(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                let order = compare(left, right);
                if order.is_ne() {
                    return order;
                }
            }
            left.len().cmp(&right.len())
        }
        (Val::Obj(left), Val::Obj(right)) => {
            let sorted = |map: &jaq_json::Map| {
                charge(map.len() * 16);
                let mut keys: Vec<(Val, Val)> = map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
                keys.sort_by(|a, b| compare(&a.0, &b.0));
                keys
            };
            let (left, right) = (sorted(left), sorted(right));
            let keys = left.iter().map(|(key, _)| key).cmp(right.iter().map(|(key, _)| key));
            keys.then_with(|| {
                left.iter().zip(&right).map(|((_, l), (_, r))| compare(l, r)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            })
        }
        // Between kinds, and among what has no parts, jaq's own order takes one look.
        _ => left.cmp(right),
    }
}

/// What kind of value it is, in words.
pub(super) fn kind(value: &Val) -> &'static str {
    match value {
        Val::Null => "null",
        Val::Bool(_) => "a boolean",
        Val::Num(_) => "a number",
        Val::BStr(_) | Val::TStr(_) => "a string",
        Val::Arr(_) => "an array",
        Val::Obj(_) => "an object",
    }
}

/// The value as JSON text.
pub(super) fn text(value: &Val) -> String {
    let mut out = String::new();
    write(value, &mut out, usize::MAX);
    out
}

/// The beginning of the value's text, for messages.
pub(super) fn preview(value: &Val) -> String {
    let mut out = String::new();
    write(value, &mut out, 120);
    if out.chars().count() > 120 {
        out = out.chars().take(120).chain(['…']).collect();
    }
    out
}

fn write(value: &Val, out: &mut String, most: usize) {
    step();
    if out.len() > most {
        return;
    }
    let before = out.len();
    match value {
        Val::Null => out.push_str("null"),
        Val::Bool(true) => out.push_str("true"),
        Val::Bool(false) => out.push_str("false"),
        Val::Num(number) => out.push_str(&json_number(number).to_string()),
        Val::BStr(bytes) | Val::TStr(bytes) => {
            let shown = bytes.get(..bytes.len().min(most)).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = write!(out, "{}", serde_json::Value::from(String::from_utf8_lossy(shown)));
        }
        Val::Arr(items) => {
            out.push('[');
            for (n, item) in items.iter().enumerate() {
                if out.len() > most {
                    return;
                }
                if n > 0 {
                    out.push(',');
                }
                write(item, out, most);
            }
            out.push(']');
        }
        Val::Obj(fields) => {
            out.push('{');
            for (n, (key, item)) in fields.iter().enumerate() {
                if out.len() > most {
                    return;
                }
                if n > 0 {
                    out.push(',');
                }
                write(key, out, most);
                out.push(':');
                write(item, out, most);
            }
            out.push('}');
        }
    }
    charge(out.len() - before);
}

/// The value as data, at most `left` bytes of it; `None` where there is more.
pub(super) fn json(value: &Val, left: &mut u64) -> Option<serde_json::Value> {
    use serde_json::Value;
    step();
    *left = left.checked_sub(4)?;
    Some(match value {
        Val::Null => Value::Null,
        Val::Bool(bool) => Value::Bool(*bool),
        Val::Num(number) => json_number(number),
        Val::BStr(bytes) | Val::TStr(bytes) => {
            *left = left.checked_sub(bytes.len() as u64)?;
            Value::from(String::from_utf8_lossy(bytes))
        }
        Val::Arr(items) => Value::Array(items.iter().map(|item| json(item, left)).collect::<Option<_>>()?),
        Val::Obj(fields) => {
            let fields = fields.iter().map(|(key, item)| {
                let key = json(key, left)?;
                Some((key.as_str().map_or_else(|| key.to_string(), str::to_owned), json(item, left)?))
            });
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}

/// A number as JSON has it: what is not finite is null, what is too large for a double loses digits.
fn json_number(number: &Num) -> serde_json::Value {
    match number {
        Num::Int(int) => (*int).into(),
        Num::Float(float) if float.fract() == 0.0 && float.abs() < 9e15 => (*float as i64).into(),
        Num::Float(float) => (*float).into(),
        Num::BigInt(_) | Num::Dec(_) => {
            let digits = number.to_string();
            digits
                .parse::<i64>()
                .map(Into::into)
                .or_else(|_| digits.parse::<u64>().map(Into::into))
                .unwrap_or_else(|_| digits.parse::<f64>().unwrap_or(f64::NAN).into())
        }
    }
}
