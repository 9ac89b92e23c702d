//! Files, by an agent or the built-in worker, put into the run's workspace before the step ends well.

use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};
use crate::engine::calls::{StepCalls, Stop};

pub(super) async fn work(input: Value, submission: Option<Value>, calls: &mut StepCalls) -> Result<Value, Stop> {
    let output = super::agent::answer("worker.codegen", input, submission, calls).await?;
    let files = output.get("files").and_then(Value::as_array).ok_or_else(|| {
        Fault::new(ErrorCode::InvalidOutput, format!("step `{}` gave no list `files`", calls.step))
            .hint("each file has `path` and `content`")
    })?;
    calls.call("workspace.write", json!({ "files": files })).await?;
    Ok(output)
}
