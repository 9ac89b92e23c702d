//! Steps that an agent does, or a built-in worker in its place.

use serde_json::Value;

use crate::engine::calls::{StepCalls, Stop};

/// What the agent gave, else what the worker gives.
pub(super) async fn answer(worker: &str, input: Value, submission: Option<Value>, calls: &mut StepCalls) -> Result<Value, Stop> {
    match submission {
        Some(output) => Ok(output),
        None => calls.call(worker, input).await,
    }
}
