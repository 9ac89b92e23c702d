//! Steps that are one call.

use serde_json::Value;

use crate::domain::Fault;
use crate::engine::calls::{StepCalls, Stop};

/// The tool that the definition names, with the arguments it gives.
pub(super) async fn work(mut input: Value, calls: &mut StepCalls) -> Result<Value, Stop> {
    let arguments = input.get_mut("arguments").map_or_else(|| Value::Object(serde_json::Map::new()), Value::take);
    match input.get("tool").and_then(Value::as_str) {
        Some(tool) => calls.call(tool, arguments).await,
        None => Err(Fault::internal(format!("step `{}` names no tool", calls.step)).into()),
    }
}

/// A jq filter; the step's output is the value itself.
pub(super) async fn transform(mut input: Value, calls: &mut StepCalls) -> Result<Value, Stop> {
    if let Some(fields) = input.as_object_mut() {
        fields.entry("input").or_insert(Value::Null);
    }
    let mut output = calls.call("transform.jq", input).await?;
    Ok(output.get_mut("value").map_or_else(|| Value::Null, Value::take))
}
