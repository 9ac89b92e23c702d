//! The terms under which a run began, as its first event pins them.

use std::sync::Arc;

use crate::domain::{ErrorCode, Fault, StepId, ToolName};
use crate::workflow::{Plan, read_stored};

use super::budget::Mark;
use super::event::Event;
use super::record::RunCreated;

/// What holds for a run from its beginning to its end.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// Whether anything it may use up is limited.
    pub is_limited: bool,
    plan: Option<Arc<Plan>>,
}

impl Terms {
    /// Of a run's first event.
    ///
    /// # Errors
    /// `WORKFLOW_INVALID` where its definition cannot be read.
    pub fn of(first: &Event) -> Result<Self, Fault> {
        let is_limited = matches!(Mark::of(first.kind, &first.payload), Some(Mark::Created(allowed)) if !allowed.is_unlimited());
        let plan = match RunCreated::read(first).transpose()? {
            Some(created) => {
                let plan = read_stored(&created.definition).map_err(|problems| problems.into_fault(ErrorCode::WorkflowInvalid))?;
                Some(Arc::new(plan))
            }
            None => None,
        };
        Ok(Self { is_limited, plan })
    }

    /// Whether the tool may be called in the run, by this step or by whoever names the run.
    ///
    /// # Errors
    /// `TOOL_NOT_DECLARED`.
    pub fn allows(&self, step: Option<&StepId>, tool: &ToolName) -> Result<(), Fault> {
        self.plan.as_ref().map_or(Ok(()), |plan| plan.allows(step, tool))
    }
}
