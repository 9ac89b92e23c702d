//! `tools/call` that may be answered with a task, and `tasks/get|update|cancel`.
//!
//! INVARIANT: a client gets a task only where this very request says that it takes one; every other client gets the answer, however long
//! it takes. A task of another principal is as unknown as none.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{ClientCapabilities, GetTaskResult, InputResponses};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::{Value, json};

use crate::call::{Asking, NoProgress, Progress, meant};
use crate::domain::{Actor, Fault, TaskId, TaskUse};
use crate::mcp::auth::Admitted;
use crate::mcp::catalog::Entry;
use crate::mcp::convert;
use crate::mcp::tasks::{self, Grown, Seed};

use super::{Caller, Server, along_of, is_modern, reason_of};

/// A call as `tools/call` has settled it.
pub(super) struct Settled<'a> {
    pub(super) tool: &'a str,
    pub(super) actor: &'a Actor,
    pub(super) admitted: Option<&'a Admitted>,
    pub(super) arguments: &'a Value,
    pub(super) tokens: u64,
}

fn told(fault: &Fault, cx: &RequestContext<RoleServer>) -> ErrorData {
    convert::protocol_error(fault, &format!("request {}", cx.id))
}

impl Server {
    /// How long this call may take before it becomes a task; `None` where it does not.
    ///
    /// # Errors
    /// Where the tool can only be called as a task and the client takes none.
    pub(super) fn patience(&self, call: &Settled<'_>, cx: &RequestContext<RoleServer>) -> Result<Option<Duration>, ErrorData> {
        let (tool, _) = meant(call.tool, call.arguments);
        let Some(entry) = self.catalog.find(tool).filter(|_| self.gate().new_call().is_some()) else { return Ok(None) };
        let takes_tasks = is_modern(cx) && cx.client_capabilities().is_some_and(|can| can.supports_tasks());
        match (takes_tasks, entry.task) {
            (true, when) => Ok(tasks::patience(when)),
            (false, TaskUse::Must) => {
                Err(ErrorData::missing_required_client_capability(ClientCapabilities::builder().enable_tasks().build()))
            }
            (false, TaskUse::Never | TaskUse::Late | TaskUse::Soon) => Ok(None),
        }
    }

    /// Makes a call that may become a task.
    pub(super) async fn grow(
        &self,
        call: Settled<'_>,
        patience: Duration,
        notes: Arc<dyn Progress>,
        cx: &RequestContext<RoleServer>,
    ) -> Grown {
        let asking = Asking { reason: reason_of(cx), elsewhere: self.may_ask(call.actor, cx) };
        let seed = Seed {
            passing: self.passing.clone(),
            tasks: self.beside.tasks.clone(),
            tool: call.tool.to_owned(),
            arguments: call.arguments.clone(),
            caller: Caller {
                actor: call.actor.clone(),
                admitted: call.admitted.cloned(),
                asking,
                tokens: call.tokens,
                along: along_of(cx),
            },
            notes,
        };
        seed.grow(patience, &cx.ct).await
    }

    /// What the answers of a tool look like.
    fn entry_of(&self, tool: &str) -> Result<&Entry, Fault> {
        self.catalog.find(tool).ok_or_else(|| Fault::internal(format!("`{tool}` is not in the catalog any more")))
    }

    /// `tasks/get`.
    pub(super) async fn task(&self, text: &str, cx: &RequestContext<RoleServer>) -> Result<GetTaskResult, ErrorData> {
        let actor = Self::actor(cx)?;
        let shown = async {
            let id = tasks::id_of(text)?;
            if let Some(live) = self.beside.tasks.find(&actor, &id) {
                return Ok(live.standing(&id, self.entry_of(live.tool())?));
            }
            let kept = self.gate().task(&actor, &id).await?.ok_or_else(|| tasks::unknown(text))?;
            let tool = kept.tool.clone();
            Ok(tasks::kept(&id, kept, self.entry_of(&tool)?))
        };
        let shown: Result<_, Fault> = shown.await;
        let mut result = GetTaskResult::new(shown.map_err(|fault| told(&fault, cx))?);
        Self::stamp(&mut result.meta, cx);
        Ok(result)
    }

    /// `tasks/update`: answers to what a task asked; others are passed over.
    pub(super) async fn answer_task(&self, text: &str, answers: InputResponses, cx: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let actor = Self::actor(cx)?;
        let id = self.known(text, &actor).await.map_err(|fault| told(&fault, cx))?;
        if let Some(live) = self.beside.tasks.find(&actor, &id) {
            for (key, answer) in answers {
                live.answer(&key, answer);
            }
        }
        Ok(())
    }

    /// `tasks/cancel`. A task that is over stays what it is; one that another process of this home runs is ended there.
    pub(super) async fn cancel_task_of(&self, text: &str, cx: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let actor = Self::actor(cx)?;
        let id = self.known(text, &actor).await.map_err(|fault| told(&fault, cx))?;
        if let Some(live) = self.beside.tasks.find(&actor, &id) {
            live.cancel();
            return Ok(());
        }
        let kept = self.gate().task(&actor, &id).await.map_err(|fault| told(&fault, cx))?;
        let Some(kept) = kept.filter(|kept| matches!(kept.standing, crate::gateway::Standing::Working)) else { return Ok(()) };
        let asked = match kept.follows {
            None => self.gate().ask_task_to_end(&actor, &id, &kept).await,
            Some(run) => {
                let admitted = Self::admitted(cx)?.cloned();
                let caller = Caller { actor, admitted, asking: Asking::default(), tokens: 0, along: along_of(cx) };
                let arguments = json!({ "run_id": run, "reason": "its task was cancelled" });
                let stopped = self.passing.pass("run.cancel", arguments, caller, cx.ct.child_token(), Arc::new(NoProgress)).await;
                stopped.and_then(|reply| reply.outcome).map(drop)
            }
        };
        asked.map_err(|fault| told(&fault, cx))
    }

    async fn known(&self, text: &str, actor: &Actor) -> Result<TaskId, Fault> {
        let id = tasks::id_of(text)?;
        if self.beside.tasks.find(actor, &id).is_some() || self.gate().task(actor, &id).await?.is_some() {
            return Ok(id);
        }
        Err(tasks::unknown(text))
    }
}
