//! What the driver writes where limits are concerned.

use serde_json::Value;

use crate::domain::{ErrorCode, Fault, StepId};
use crate::run::{EventDraft, RunEvent, RunState, WaitingFor};
use crate::workflow::{OnLimit, Plan};

/// The event that begins a step, marked where it counts: another try does not.
pub(super) fn begins(state: &RunState, step: &StepId, event: EventDraft) -> EventDraft {
    let is_new = state.steps.get(step).is_none_or(|seen| seen.attempt == 0);
    if is_new { event.field("begins", true) } else { event }
}

/// Whether a step that failed so goes on once the limit is raised.
pub(super) fn is_held_by(plan: &Plan, fault: &Fault) -> bool {
    fault.code == ErrorCode::BudgetExceeded && plan.limits().on_limit == OnLimit::Wait
}

/// A step waits until a limit of its run is raised.
pub(super) fn held(step: &StepId) -> RunEvent {
    RunEvent::StepWaiting {
        waiting_for: WaitingFor::Limit,
        prompt: format!("step `{step}` goes on once a limit of the run is raised").into(),
        input: Value::Null,
        output_schema: Value::Null,
        approval_id: None,
        until: None,
    }
}
