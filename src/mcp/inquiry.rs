//! Puts a tool's questions to the client of its call: by requests of ours to older clients, by an answer that wants input to newer ones.
//!
//! INVARIANT: a client is asked only what it said that it can answer. Of what a newer client brings, only that counts which a sealed state
//! shows that we asked for, unless the tool takes it unbidden. What an answer means is the tool's business, and it gives no leave.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{ClientCapabilities, InputRequest, InputRequiredResult, ServerRequest};
use rmcp::service::{PeerRequestOptions, RequestContext};
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::call::{Answers, Inquiry, Question};
use crate::domain::{ErrorCode, Fault};
use crate::gateway::{Retry, Ticket};

use super::Gate;
use super::asking::Brought;
use super::progress::Errand;

/// How long an older client may leave a question open.
const PATIENCE: Duration = Duration::from_secs(300);

/// The place where one call's questions are put.
pub(super) struct Desk {
    can: ClientCapabilities,
    /// Where requests of ours are sent from; `None` for a client that is answered instead.
    errands: Option<mpsc::Sender<Errand>>,
    brought: Brought,
    wanted: Mutex<Wanted>,
}

/// What a newer client is to be asked.
#[derive(Default)]
struct Wanted {
    open: BTreeMap<String, Question>,
    /// What earlier questions of the same call were answered.
    answered: Answers,
    /// Whether answers count only together with the state that goes out with the questions.
    bound: bool,
}

impl Desk {
    /// For the call of this request, whose client brought `brought`.
    pub(super) fn new(cx: &RequestContext<RoleServer>, errands: Option<mpsc::Sender<Errand>>, brought: Brought) -> Self {
        Self { can: cx.client_capabilities().unwrap_or_default(), errands, brought, wanted: Mutex::default() }
    }

    /// Whether the client said that it can answer this.
    pub(super) fn can_answer(&self, question: &Question) -> bool {
        match question.capability() {
            "elicitation" => self.can.elicitation.as_ref().is_some_and(|can| can.form.is_some() || can.url.is_none()),
            other => serde_json::to_value(&self.can).is_ok_and(|can| can.get(other).is_some()),
        }
    }

    /// As `Progress::ask`.
    pub(super) async fn ask(&self, inquiry: Inquiry) -> Result<Answers, Fault> {
        let Some(errands) = &self.errands else { return self.look_up(inquiry) };
        let mut answers = Answers::new();
        for (name, question) in inquiry.questions {
            self.check(&question)?;
            let answer = put(errands, &question).await?;
            if !question.takes(&answer) {
                return Err(Fault::new(ErrorCode::InvalidInput, format!("the client's answer to the question `{name}` does not fit it")));
            }
            answers.insert(name, answer);
        }
        Ok(answers)
    }

    fn check(&self, question: &Question) -> Result<(), Fault> {
        if self.can_answer(question) { Ok(()) } else { Err(question.unanswerable()) }
    }

    /// The answers, where the client brought all; else what is missing is kept for [`Desk::input_required`].
    fn look_up(&self, inquiry: Inquiry) -> Result<Answers, Fault> {
        let Inquiry { questions, unbidden } = inquiry;
        let (mut answers, mut open) = (Answers::new(), BTreeMap::new());
        for (name, question) in questions {
            let brought = self.brought.bidden.get(&name).or_else(|| self.brought.unbidden.get(&name).filter(|_| unbidden));
            match brought.filter(|answer| question.takes(answer)) {
                Some(answer) => {
                    answers.insert(name, answer.clone());
                }
                None => {
                    self.check(&question)?;
                    open.insert(name, question);
                }
            }
        }
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.answered.extend(answers.clone());
        if open.is_empty() {
            return Ok(answers);
        }
        let names = open.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        wanted.bound = !unbidden || !wanted.answered.is_empty();
        wanted.open = open;
        Err(Fault::new(ErrorCode::InputRequired, format!("the tool asks the client for {names}"))
            .hint("answer in `inputResponses` and make the call again"))
    }

    /// The answers that the client gave so far, to be kept should the call be held up by another question.
    pub(super) fn answered(&self) -> Answers {
        self.brought.bidden.clone()
    }

    /// The answer that wants input, where a tool asked for some.
    ///
    /// # Errors
    /// Where a question has no form in the protocol; as `Gate::ticket`.
    pub(super) async fn input_required(&self, gate: &dyn Gate, retry: &Retry<'_>) -> Result<Option<InputRequiredResult>, Fault> {
        let Wanted { open, answered, bound } = std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        if open.is_empty() {
            return Ok(None);
        }
        let asked = open.keys().cloned().collect();
        let requests = open.iter().map(|(name, question)| Ok((name.clone(), request::<InputRequest>(question)?)));
        let requests = requests.collect::<Result<BTreeMap<_, _>, Fault>>()?;
        let state = if bound { Some(gate.ticket(retry, Ticket { approval: None, asked, answers: answered }).await?) } else { None };
        Ok(Some(InputRequiredResult::new(Some(requests), state)))
    }
}

/// A question as a type of the protocol library. Whatever the type cannot hold would be lost without a word, so that is a fault.
pub(super) fn request<T: serde::de::DeserializeOwned + serde::Serialize>(question: &Question) -> Result<T, Fault> {
    let (method, params) = (question.method(), question.params());
    let broken = |why: String| Fault::internal(format!("a question has no form in the protocol: {why}"));
    let typed: T = serde_json::from_value(json!({ "method": method, "params": params })).map_err(|error| broken(error.to_string()))?;
    let written = serde_json::to_value(&typed).map_err(|error| broken(error.to_string()))?;
    if holds(written.get("params").unwrap_or(&Value::Null), &params) {
        Ok(typed)
    } else {
        Err(broken(format!("`{method}` loses something of {params}")))
    }
}

/// Whether `whole` has all that `part` has; members that are empty may be missing.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part.iter().all(|(name, value)| match whole.get(name) {
            Some(found) => holds(found, value),
            None => value.as_object().is_some_and(serde_json::Map::is_empty),
        }),
        (Value::Null, Value::Object(part)) => part.is_empty(),
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => whole == part,
    }
}

/// Sends a request of ours to an older client; what it answered.
async fn put(errands: &mpsc::Sender<Errand>, question: &Question) -> Result<Value, Fault> {
    let (answer, answered) = oneshot::channel();
    let gone = || Fault::new(ErrorCode::Cancelled, "the client went away before it answered");
    errands.send(Errand::Ask(Box::new(request::<ServerRequest>(question)?), answer)).await.map_err(|_| gone())?;
    let refused = |why: String| {
        Fault::new(ErrorCode::ClientCapability, format!("the client did not answer `{}`: {why}", question.method()))
            .hint("make the call from a client that does")
    };
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(answered) => answered.map_err(|_| gone())?.map_err(refused),
        Err(_) => Err(Fault::new(ErrorCode::Timeout, format!("the client left a question open for {} s", PATIENCE.as_secs()))),
    }
}

/// Does such an errand, from the request that it belongs to.
pub(super) async fn send(peer: &Peer<RoleServer>, request: ServerRequest) -> Result<Value, String> {
    let handle = peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await.map_err(|error| error.to_string())?;
    let answer = handle.await_response().await.map_err(|error| error.to_string())?;
    serde_json::to_value(answer).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_question_loses_anything_on_its_way() {
        let schema = json!({"type": "object", "required": ["titled"], "properties": {
            "plain": {"type": "string", "enum": ["a", "b"]},
            "titled": {"type": "string", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]},
            "old": {"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]},
            "many": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "minItems": 1},
            "many_titled": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]}},
            "score": {"type": "number", "default": 95.5}, "age": {"type": "integer", "default": 30}, "is": {"type": "boolean", "default": true},
        }});
        let form = |schema: &Value| Question::Form { message: "Fill in".into(), schema: schema.clone() };
        request::<InputRequest>(&form(&schema)).unwrap();
        request::<ServerRequest>(&form(&schema)).unwrap();
        request::<InputRequest>(&Question::GivenUp { method: "roots/list", params: json!({}) }).unwrap();
        let unknown = json!({"type": "object", "properties": {"a": {"type": "string", "x-colour": "red"}}});
        assert!(request::<InputRequest>(&form(&unknown)).is_err());
        assert!(request::<InputRequest>(&Question::GivenUp { method: "tools/call", params: json!({}) }).is_err());
    }
}
