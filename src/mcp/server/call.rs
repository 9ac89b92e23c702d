//! One request of a client that is a call: with what the client brings back, its progress, its questions, and the request made once more.
//!
//! INVARIANT: whatever is asked on the way, the call goes down the path whole each time, and is recorded each time.

use std::sync::Arc;

#[cfg(debug_assertions)]
use rmcp::model::{GetPromptRequestParams, GetPromptResponse, GetPromptResult};
use rmcp::model::{InputRequiredResult, Task};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
#[cfg(debug_assertions)]
use serde_json::json;

use crate::call::{Answers, Asking, Progress, Reply};
use crate::domain::{Actor, ErrorCode, Fault};
use crate::gateway::Retry;
#[cfg(debug_assertions)]
use crate::mcp::fixtures;
use crate::mcp::inquiry::Desk;
use crate::mcp::tasks::Grown;
use crate::mcp::{asking, convert, http, progress};

use super::tasks::Settled;
use super::{Caller, Server, along_of, is_modern};

/// The method of a tool's call.
pub(super) const TOOLS_CALL: &str = "tools/call";

/// A request that stands for a call.
pub(super) struct Asked<'a> {
    /// The protocol's method.
    pub(super) method: &'a str,
    /// What is called, in the client's words.
    pub(super) name: &'a str,
    /// The arguments in the client's words.
    pub(super) said: &'a Value,
    /// The tool that is called.
    pub(super) tool: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a Value,
    /// Tokens that the client reports.
    pub(super) tokens: u64,
    /// The state that the client brings back.
    pub(super) state: Option<&'a str>,
    /// The answers it brings.
    pub(super) responses: Option<&'a Answers>,
}

/// What came of it.
pub(super) enum Passed {
    /// The call's reply; `Err` where there is none to show: no run could be opened, or the process ends.
    Done(Result<Reply, Fault>),
    /// The client has to answer and to make the request again.
    Wants(InputRequiredResult),
    /// The call goes on as a task.
    Task(Task),
}

impl Server {
    /// Takes the call that a request stands for down the path.
    pub(super) async fn pass_request(
        &self,
        asked: &Asked<'_>,
        actor: &Actor,
        cx: &RequestContext<RoleServer>,
    ) -> Result<Passed, ErrorData> {
        let retry = Retry { actor, method: asked.method, tool: asked.name, arguments: asked.said };
        let brought = asking::take_back(self.gate(), actor, &retry, asked.state, asked.responses).await?;
        let admitted = Self::admitted(cx)?;
        let settled = Settled { tool: asked.tool, actor, admitted, arguments: asked.arguments, tokens: asked.tokens };
        // Only a tool's call can be answered with a task.
        let patience = if asked.method == TOOLS_CALL { self.patience(&settled, cx)? } else { None };
        let (is_modern, was_for_approval) = (is_modern(cx), brought.was_for_approval);
        let token = cx.meta.get_progress_token();
        let (teller, listener) = progress::channel(token.is_some(), &*self.redact);
        // A newer client must not be sent requests or log lines that it did not ask for.
        let desk = Arc::new(Desk::new(cx, (!is_modern).then(|| teller.errands()), brought));
        let notes: Arc<dyn Progress> = Arc::new(teller.asking_at(desk.clone()));
        let call = async {
            match patience {
                Some(patience) => self.grow(settled, patience, notes, cx).await,
                None => Grown::Reply(self.pass_asking(asked, actor, cx, notes).await),
            }
        };
        let line = progress::Line { peer: &cx.peer, token, log: (!is_modern).then_some(&*self.listener) };
        let passed = match progress::follow(call, listener, line, self.pace).await {
            Grown::Reply(passed) => passed,
            Grown::Task(task) => return Ok(Passed::Task(task)),
        };
        let Some(reply) = passed.as_ref().ok().filter(|_| is_modern) else { return Ok(Passed::Done(passed)) };
        let wanted = match (&reply.outcome, asking::question(reply)) {
            (Err(fault), _) if fault.code == ErrorCode::InputRequired => desk.input_required(self.gate(), &retry).await,
            (_, Some(question)) if !was_for_approval && self.may_ask(actor, cx) => {
                asking::input_required(self.gate(), actor, &retry, question, desk.answered()).await
            }
            _ => Ok(None),
        };
        match wanted.map_err(|fault| convert::protocol_error(&fault, &reply.call.to_string()))? {
            Some(wanted) => Ok(Passed::Wants(wanted)),
            None => Ok(Passed::Done(passed)),
        }
    }

    /// Takes a call down the path; where it needs a human and an older client can ask hers, asks and takes it down once more.
    async fn pass_asking(
        &self,
        asked: &Asked<'_>,
        actor: &Actor,
        cx: &RequestContext<RoleServer>,
        notes: Arc<dyn Progress>,
    ) -> Result<Reply, Fault> {
        let asking = Asking { reason: super::reason_of(cx), elsewhere: self.may_ask(actor, cx) };
        let admitted = http::admitted_of(&cx.extensions)?;
        let pass = || {
            let caller = Caller { actor: actor.clone(), admitted: admitted.cloned(), asking: asking.clone(), tokens: asked.tokens, along: along_of(cx) };
            self.passing.pass(asked.tool, asked.arguments.clone(), caller, cx.ct.child_token(), notes.clone())
        };
        let reply = pass().await?;
        if !asking.elsewhere || is_modern(cx) {
            return Ok(reply);
        }
        let Some(question) = asking::question(&reply) else { return Ok(reply) };
        tokio::select! {
            asked = asking::ask(self.gate(), actor, &question, cx) => asked?,
            () = self.passing.ending.ended.cancelled() => return Ok(reply),
        }
        pass().await
    }
}

#[cfg(debug_assertions)]
impl Server {
    /// A prompt of the fixtures, which is a call like any other and may ask its client first.
    pub(super) async fn fixture_prompt(
        &self,
        request: GetPromptRequestParams,
        cx: &RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let said = Value::Object(request.arguments.unwrap_or_default());
        let asked = Asked {
            method: "prompts/get",
            name: &request.name,
            said: &said,
            tool: fixtures::PROMPT,
            arguments: &json!({ "name": request.name, "arguments": said }),
            tokens: 0,
            state: request.request_state.as_deref(),
            responses: request.input_responses.as_ref(),
        };
        let reference = format!("request {}", cx.id);
        let refuse = |fault: Fault| convert::protocol_error(&fault, &reference);
        let reply = match self.pass_request(&asked, &Self::actor(cx)?, cx).await? {
            Passed::Wants(wanted) => return Ok(wanted.into()),
            Passed::Task(_) => return Err(refuse(Fault::internal("a prompt became a task"))),
            Passed::Done(passed) => passed.map_err(refuse)?,
        };
        let answer = reply.outcome.map_err(refuse)?.value;
        let mut result = GetPromptResult::new(fixtures::part(&answer, "messages").map_err(refuse)?);
        Self::stamp(&mut result.meta, cx);
        Ok(result.into())
    }
}
