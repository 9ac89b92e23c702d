//! The calls of one step. A call whose outcome the log holds is not made again, whichever process made it.
//!
//! INVARIANT: a call that was cut off is made again only where its tool may be; else the step fails as interrupted.
//! The path itself is `gateway`'s.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Artifacts, Asking, Origin, Progress, RawCall, Reply, whole};
use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, RunId, StepId};
use crate::run::CallRecord;

/// The way of every call, as steps use it.
#[async_trait]
pub trait CallPath: Send + Sync {
    /// Walks the path.
    async fn call(&self, raw: RawCall) -> Reply;
    /// Whether a tool's manifest allows to run it again after it was cut off. No, for a tool that is not there.
    fn is_idempotent(&self, tool: &str) -> bool;
}

/// Why a step did not come to its output.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stop {
    /// It failed; `output` is what it gave all the same.
    Failed {
        /// Why.
        fault: Fault,
        /// `null` where there is nothing.
        output: Value,
    },
    /// A human must say yes first.
    Asks(ApprovalId),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed { fault, output: Value::Null }
    }
}

/// What the log says of a call.
enum Recorded {
    /// It was not made.
    Nothing,
    /// It ended.
    Outcome(Result<Value, Fault>),
    /// It was cut off; perhaps after it had gone out.
    CutOff { reached_out: bool },
}

/// Makes the calls of one attempt at one step.
pub(super) struct StepCalls {
    pub(super) path: Arc<dyn CallPath>,
    pub(super) artifacts: Arc<dyn Artifacts>,
    pub(super) run: RunId,
    pub(super) step: StepId,
    pub(super) actor: Actor,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Arc<dyn Progress>,
    /// Calls the log already holds for this attempt, the earliest first.
    pub(super) recorded: VecDeque<CallRecord>,
}

impl StepCalls {
    /// The output of this call: as recorded, else by making it.
    pub(super) async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value, Stop> {
        match self.recorded_outcome(tool) {
            Recorded::Nothing => {}
            Recorded::Outcome(Ok(output)) => return Ok(whole(output, &*self.artifacts).await?),
            Recorded::Outcome(Err(fault)) => return Err(fault.into()),
            Recorded::CutOff { reached_out: false } if self.path.is_idempotent(tool) => {}
            Recorded::CutOff { .. } => return Err(interrupted(tool).into()),
        }
        let reply = self
            .path
            .call(RawCall {
                tool: tool.to_owned(),
                arguments,
                origin: Origin::Step { run: self.run, step: self.step.clone() },
                actor: self.actor.clone(),
                run: self.run,
                tokens: 0,
                along: Along::default(),
                cancel: self.cancel.child_token(),
                asking: Asking::default(),
                progress: self.progress.clone(),
            })
            .await;
        reply.outcome.map(|output| output.value).map_err(|fault| match asked(&fault) {
            Some(approval) => Stop::Asks(approval),
            None => fault.into(),
        })
    }

    /// What the log says of the next call of this tool. One that only led to a question, or to a
    /// limit, says nothing; one that was cut off, by the
    /// end of its process or with it, is cut off, unless it was made again.
    fn recorded_outcome(&mut self, tool: &str) -> Recorded {
        let mut found = Recorded::Nothing;
        while let Some(record) = self.recorded.pop_front() {
            if record.tool != tool {
                continue;
            }
            match record.outcome {
                Some(Err(fault)) if matches!(fault.code, ErrorCode::ApprovalRequired | ErrorCode::BudgetExceeded) => {}
                Some(Err(fault)) if matches!(fault.code, ErrorCode::Interrupted | ErrorCode::Cancelled) => {
                    found = Recorded::CutOff { reached_out: record.reached_out };
                }
                None => found = Recorded::CutOff { reached_out: record.reached_out },
                Some(outcome) => return Recorded::Outcome(outcome),
            }
        }
        found
    }
}

fn interrupted(tool: &str) -> Fault {
    Fault::new(ErrorCode::Interrupted, format!("the process that ran `{tool}` ended before the call did"))
        .hint("look at what it changed, then start the run again")
}

/// The question behind a refusal that a human can lift.
fn asked(fault: &Fault) -> Option<ApprovalId> {
    if fault.code != ErrorCode::ApprovalRequired {
        return None;
    }
    fault.details.as_ref()?.get("approval_id")?.as_str()?.parse().ok()
}
