//! What an agent says a call took it: `_meta` `toolgate/tokens`.
//!
//! INVARIANT: a number is counted once: with an agent's answer to a step it belongs to that step's run, and goes there as the argument
//! `tokens` unless that is given; with any other call to the run of the call.

use rmcp::model::RequestMetaObject;
use serde_json::{Map, Value};

use crate::call::is_tool_call;

/// The key in `_meta`.
const KEY: &str = "toolgate/tokens";

/// The arguments as the path gets them, and the tokens that the call itself reports.
pub(super) fn settle(tool: &str, mut arguments: Map<String, Value>, meta: &RequestMetaObject) -> (Value, u64) {
    let reported = meta.0.get(KEY).and_then(Value::as_u64).unwrap_or_default();
    let is_submit = |tool: &str| matches!(tool, "run.submit" | "run_submit");
    let inner = is_tool_call(tool) && arguments.get("tool").and_then(Value::as_str).is_some_and(is_submit);
    let submitted = if inner { arguments.get_mut("arguments").and_then(Value::as_object_mut) } else { Some(&mut arguments) };
    match submitted.filter(|_| reported > 0 && (inner || is_submit(tool))) {
        Some(submitted) => {
            submitted.entry("tokens").or_insert_with(|| reported.into());
            (Value::Object(arguments), 0)
        }
        None => (Value::Object(arguments), reported),
    }
}
