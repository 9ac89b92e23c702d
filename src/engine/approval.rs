//! The question of an approval step.
//!
//! INVARIANT: the digest covers exactly what the human is shown, so a yes is a yes to that and nothing else.

use serde_json::{Value, json};

use crate::domain::{Actor, ApprovalId, Digest, Fault, StepId, Timestamp, ToolName};
use crate::run::{EventDraft, RunEvent, RunState, WaitingFor};
use crate::store::{Change, NewApproval};
use crate::workflow::Plan;

/// What approvals of steps name as their tool.
const TOOL: &str = "workflow.approval";

/// The events and the change by which a step asks.
pub(super) fn request(
    state: &RunState,
    plan: &Plan,
    step: &StepId,
    input: Value,
    now: Timestamp,
    expires: Timestamp,
) -> Result<(Vec<EventDraft>, Change), Fault> {
    let created = state.created.as_ref().ok_or_else(|| Fault::internal("a step asks in a run that did not begin"))?;
    let shown = json!({
        "workflow": plan.name(),
        "workflow_version": plan.version(),
        "workflow_digest": plan.digest(),
        "run_id": created.run,
        "step_id": step,
        "principal": created.actor.principal,
        "asks": input,
    });
    let bytes =
        serde_json_canonicalizer::to_vec(&shown).map_err(|error| Fault::internal(format!("a question has no canonical form: {error}")))?;
    let digest = Digest::of_parts("toolgate/approval-step/v1", &[&bytes]);
    let id = ApprovalId::mint(now);
    let message = input.get("message").cloned().unwrap_or_default();
    let tool: ToolName = TOOL.parse().map_err(|error| Fault::internal(format!("{error}")))?;
    let waiting = RunEvent::StepWaiting {
        waiting_for: WaitingFor::Human,
        prompt: message.clone(),
        input,
        output_schema: Value::Null,
        approval_id: Some(id),
        until: Some(expires),
    };
    let requested =
        RunEvent::ApprovalRequested { approval_id: id, tool: TOOL.to_owned(), digest, expires_at: expires, reason: message.clone() };
    let reason = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
    let asked = NewApproval { id, digest, tool, step: Some(step.clone()), shown, reason, note: None, covers: None, limits: None, expires };
    let events = vec![waiting.draft(Some(step), Actor::system()), requested.draft(Some(step), Actor::system())];
    Ok((events, Change::RequestApproval(asked)))
}
