//! Puts a question to the human in front of the client: by a request of ours to older clients, by an answer that wants input to newer
//! ones.
//!
//! INVARIANT: only where the operator trusts that human and the client said that it can show forms; always with something to type;
//! nobody is asked for anything secret. What may be asked and what an answer means is `gateway`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema, InputRequest, InputRequiredResult,
    ServerRequest,
};
use rmcp::service::{PeerRequestOptions, RequestContext};
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::call::{Answers, Reply};
use crate::domain::{Actor, ApprovalId, ErrorCode, Fault};
use crate::gateway::{Filled, Form, Retry, Ticket};

use super::Gate;

/// What the one question of an answer that wants input is called.
const NAME: &str = "approval";
/// The one field of the form.
const FIELD: &str = "confirm";
/// How long an older client may leave a form open.
const PATIENCE: Duration = Duration::from_secs(300);

/// Whether the client of this request can show forms.
pub(super) fn shows_forms(cx: &RequestContext<RoleServer>) -> bool {
    // The request's own word goes first: newer clients say it with each.
    let said = cx.meta.client_capabilities().or_else(|| cx.peer.peer_info().map(|info| info.capabilities.clone()));
    let elicitation = said.and_then(|capabilities| capabilities.elicitation);
    elicitation.is_some_and(|can| can.form.is_some() || can.url.is_none())
}

/// The question behind a reply, where it is one.
pub(super) fn question(reply: &Reply) -> Option<ApprovalId> {
    let fault = reply.outcome.as_ref().err().filter(|fault| fault.code == ErrorCode::ApprovalRequired)?;
    fault.details.as_ref()?.get("approval_id")?.as_str()?.parse().ok()
}

fn request(form: &Form) -> Result<ElicitRequest, Fault> {
    let schema = json!({
        "type": "object",
        "properties": { FIELD: { "type": "string", "title": "Confirm", "description": format!("Type {}", form.field), "minLength": 4, "maxLength": 8 } },
        "required": [FIELD],
    });
    let requested_schema: ElicitationSchema =
        serde_json::from_value(schema).map_err(|error| Fault::internal(format!("a form has no schema: {error}")))?;
    let message = format!("toolgate asks whether this may run.\n{}", form.message);
    Ok(ElicitRequest::new(ElicitRequestParams::FormElicitationParams { meta: None, message, requested_schema }))
}

fn filled(result: ElicitResult) -> Filled {
    if result.action == ElicitationAction::Accept {
        let typed = result.content.as_ref().and_then(|content| content.get(FIELD)).and_then(Value::as_str);
        Filled::Accepted(typed.unwrap_or_default().to_owned())
    } else if result.action == ElicitationAction::Decline {
        Filled::Declined
    } else {
        Filled::Closed
    }
}

/// Asks an older client's human and hands the answer on. Whatever goes wrong on the way is no answer.
pub(super) async fn ask(gate: &dyn Gate, actor: &Actor, question: &ApprovalId, cx: &RequestContext<RoleServer>) -> Result<(), Fault> {
    let Some(form) = gate.form(actor, question).await? else { return Ok(()) };
    let options = PeerRequestOptions::no_options();
    let sent = cx.peer.send_cancellable_request(ServerRequest::ElicitRequest(request(&form)?), options).await;
    let Ok(handle) = sent else { return Ok(()) };
    let answered = tokio::select! {
        answered = tokio::time::timeout(PATIENCE, handle.await_response()) => answered,
        () = cx.ct.cancelled() => return Ok(()),
    };
    let Ok(Ok(answered)) = answered else { return Ok(()) };
    let answered = serde_json::to_value(answered).ok().and_then(|value| serde_json::from_value::<ElicitResult>(value).ok());
    match answered {
        Some(result) => heard(gate, form, filled(result)).await,
        None => Ok(()),
    }
}

/// An answer that came too late or was typed wrongly leaves the question as it is; the call is then made again and tells.
async fn heard(gate: &dyn Gate, form: Form, filled: Filled) -> Result<(), Fault> {
    match gate.answer_form(form, filled).await {
        Err(fault) if !matches!(fault.code, ErrorCode::InvalidInput | ErrorCode::UnknownApproval) => Err(fault),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The answer that wants a newer client's human to fill in a form; `None` where there is none to fill in. What the client has told the tool
/// so far comes back with it.
pub(super) async fn input_required(
    gate: &dyn Gate,
    actor: &Actor,
    retry: &Retry<'_>,
    question: ApprovalId,
    answers: Answers,
) -> Result<Option<InputRequiredResult>, Fault> {
    let Some(form) = gate.form(actor, &question).await? else { return Ok(None) };
    let requests = BTreeMap::from([(NAME.to_owned(), InputRequest::Elicitation(request(&form)?))]);
    let ticket = Ticket { approval: Some(question), answers, ..Ticket::default() };
    Ok(Some(InputRequiredResult::new(Some(requests), Some(gate.ticket(retry, ticket).await?))))
}

/// What a newer client brought with its request.
#[derive(Default)]
pub(super) struct Brought {
    /// Whether it was asked for a human's yes.
    pub(super) was_for_approval: bool,
    /// Answers to what a tool asked it.
    pub(super) bidden: Answers,
    /// Whatever else it answered.
    pub(super) unbidden: Answers,
}

/// The form of a question and the request that shows it; `None` where there is none to be shown.
pub(super) async fn form_request(gate: &dyn Gate, actor: &Actor, question: &ApprovalId) -> Result<Option<(Form, InputRequest)>, Fault> {
    let Some(form) = gate.form(actor, question).await? else { return Ok(None) };
    let request = InputRequest::Elicitation(request(&form)?);
    Ok(Some((form, request)))
}

/// Takes what a client answered to such a request; what is no answer leaves the question as it is.
pub(super) async fn hear(gate: &dyn Gate, form: Form, answer: Value) -> Result<(), Fault> {
    match serde_json::from_value::<ElicitResult>(answer) {
        Ok(result) => heard(gate, form, filled(result)).await,
        Err(_) => Ok(()),
    }
}

/// Takes what a newer client brought back. A state that is not ours for this request is refused before anything else happens.
pub(super) async fn take_back(
    gate: &dyn Gate,
    actor: &Actor,
    retry: &Retry<'_>,
    state: Option<&str>,
    responses: Option<&Answers>,
) -> Result<Brought, ErrorData> {
    let mut brought = Brought { unbidden: responses.cloned().unwrap_or_default(), ..Brought::default() };
    let Some(state) = state else { return Ok(brought) };
    let refuse = |fault: Fault| ErrorData::invalid_params(format!("requestState: {}", fault.message), None);
    let ticket = gate.redeem(retry, state).map_err(refuse)?;
    brought.bidden = ticket.answers;
    for name in ticket.asked {
        if let Some((name, answer)) = brought.unbidden.remove_entry(&name) {
            brought.bidden.insert(name, answer);
        }
    }
    let Some(question) = ticket.approval else { return Ok(brought) };
    brought.was_for_approval = true;
    let answer = brought.unbidden.remove(NAME).and_then(|value| serde_json::from_value::<ElicitResult>(value).ok());
    let Some(result) = answer else { return Ok(brought) };
    if let Some(form) = gate.form(actor, &question).await.map_err(refuse)? {
        heard(gate, form, filled(result)).await.map_err(refuse)?;
    }
    Ok(brought)
}
