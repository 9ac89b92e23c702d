//! Checks. What they said is the step's output either way; the step fails where they did not pass.

use serde_json::Value;

use crate::domain::{ErrorCode, Fault};
use crate::engine::calls::{StepCalls, Stop};

pub(super) async fn work(mut input: Value, calls: &mut StepCalls) -> Result<Value, Stop> {
    let allowed = input.as_object_mut().and_then(|fields| fields.remove("allow_failure"));
    let output = calls.call("eval.run", input).await?;
    let has_passed = output.get("passed").and_then(Value::as_bool).unwrap_or(false);
    if has_passed || allowed == Some(Value::Bool(true)) {
        return Ok(output);
    }
    let fault = Fault::new(ErrorCode::EvalFailed, format!("the checks of step `{}` did not pass", calls.step))
        .hint("run.show has the step's output: what each command said, and its diagnostics");
    Err(Stop::Failed { fault, output })
}
