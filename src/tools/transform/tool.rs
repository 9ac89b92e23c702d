//! The tool around the interpreter.
//!
//! INVARIANT: pure. Does not run filters itself; see [`super::run`].

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Preparation;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool};

use super::run::run;

/// Bytes of a filter.
const MOST_FILTER: usize = 16 << 10;

/// The tool.
pub struct TransformJq;

/// A filter and its input.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct JqInput {
    /// jq program, such as `.items | map(.name)`.
    #[schemars(length(min = 1, max = 16384))]
    filter: String,
    /// Any JSON value.
    #[serde(default)]
    input: Value,
}

/// What came out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct JqOutput {
    /// The first output; null where there is none.
    value: Value,
    /// All outputs.
    values: Vec<Value>,
}

#[async_trait]
impl Tool for TransformJq {
    type Input = JqInput;
    type Output = JqOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        if input.filter.len() > MOST_FILTER {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("the filter has {} bytes, at most {MOST_FILTER} are allowed", input.filter.len()),
            ));
        }
        // The first output is in the answer twice.
        let limit = Bytes(context.limits.output.0 / 3);
        let running = run(input.filter.clone(), input.input.clone(), limit);
        let values = tokio::select! {
            values = running => values?,
            () = context.cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "the filter was stopped")),
        };
        Ok(JqOutput { value: values.first().cloned().unwrap_or_default(), values })
    }
}
