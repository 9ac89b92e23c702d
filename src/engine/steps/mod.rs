//! The work of a step, one file per kind that is more than one call.
//!
//! INVARIANT: work touches the world only through [`StepCalls`], so whatever it does is decided, recorded and never done twice.

mod agent;
mod codegen;
mod eval;
mod repo;
mod tool;

use serde_json::Value;

use crate::domain::{ErrorCode, Fault};
use crate::workflow::{Step, StepKind};

use super::calls::{StepCalls, Stop};

/// An output larger than this does not go into the log; large data travels as artifacts.
const MOST_OUTPUT: usize = 1024 * 1024;

/// Does a step's work, from its input or from what an agent gave for it, to its output.
pub(super) async fn work(step: &Step, input: Value, submission: Option<Value>, calls: &mut StepCalls) -> Result<Value, Stop> {
    let output = match step.kind {
        StepKind::Plan => agent::answer("worker.plan", input, submission, calls).await?,
        StepKind::Research => agent::answer("worker.research", input, submission, calls).await?,
        StepKind::Codegen => codegen::work(input, submission, calls).await?,
        StepKind::Eval => eval::work(input, calls).await?,
        StepKind::Repo => repo::work(input, calls).await?,
        StepKind::Notify => calls.call("notify.send", input).await?,
        StepKind::Transform => tool::transform(input, calls).await?,
        StepKind::Tool => tool::work(input, calls).await?,
        StepKind::Approval => return Err(Fault::internal(format!("step `{}` only waits and has no work", step.id)).into()),
    };
    check(step, &output)?;
    Ok(output)
}

fn check(step: &Step, output: &Value) -> Result<(), Fault> {
    if let Some(schema) = &step.output_schema {
        schema.check(output).map_err(|fault| Fault {
            code: ErrorCode::InvalidOutput,
            message: format!("the output of step `{}` does not fit its schema: {}", step.id, fault.message),
            ..fault
        })?;
    }
    let size = serde_json::to_vec(output).map_or(0, |bytes| bytes.len());
    if size > MOST_OUTPUT {
        let message = format!("the output of step `{}` has {size} bytes, more than {MOST_OUTPUT}", step.id);
        return Err(Fault::new(ErrorCode::LimitExceeded, message).hint("let the step write files, or hand large data on as an artifact"));
    }
    Ok(())
}
