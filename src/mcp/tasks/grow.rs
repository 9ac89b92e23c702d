//! How a call becomes a task: it is begun, waited for a little, put on record, and then left to itself.
//!
//! INVARIANT: until the task is on record the call is the request's, and ends with it; from then on it is the task's. What a human is
//! asked about a call that has become a task is what policy asks, and the yes or no goes to the gateway as always.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{Task, TaskStatus};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Progress, Reply, meant};
use crate::domain::{CallId, ErrorCode, Fault, RunId, TaskId};
use crate::gateway::TaskOpening;
use crate::mcp::asking;
use crate::mcp::server::{Caller, Passing};

use super::{Live, Tasks, Work, live::Noted, shown};

/// How often a human's answers may lead to the same call being made again.
const MOST_ROUNDS: usize = 3;
/// How often a task looks whether another process was asked to end it.
const HEED: Duration = Duration::from_secs(1);
/// What the one question of an approval is called.
const APPROVAL: &str = "approval";

/// A call that may become a task.
pub(in crate::mcp) struct Seed {
    /// The way down the path.
    pub(in crate::mcp) passing: Passing,
    /// Where tasks go on.
    pub(in crate::mcp) tasks: Arc<Tasks>,
    /// The tool, as the client names it.
    pub(in crate::mcp) tool: String,
    /// The arguments.
    pub(in crate::mcp) arguments: Value,
    /// Who calls.
    pub(in crate::mcp) caller: Caller,
    /// Where progress goes while the request waits.
    pub(in crate::mcp) notes: Arc<dyn Progress>,
}

/// What came of it within its patience.
pub(in crate::mcp) enum Grown {
    /// The answer.
    Reply(Result<Reply, Fault>),
    /// A task.
    Task(Task),
}

/// One making of the call.
struct Making {
    call: CallId,
    reply: futures_util::future::BoxFuture<'static, Result<Reply, Fault>>,
}

impl Seed {
    /// Begins the call; where it is not over after `patience` and can be put on record, it goes on as a task. `gone` fires when the
    /// request is no longer waited for.
    pub(in crate::mcp) async fn grow(self, patience: Duration, gone: &CancellationToken) -> Grown {
        let cancel = CancellationToken::new();
        let (tool, _) = meant(&self.tool, &self.arguments);
        let live = Arc::new(Live::new(self.caller.actor.principal.clone(), tool.to_owned(), cancel.clone()));
        let notes: Arc<dyn Progress> = Arc::new(Noted { first: self.notes.clone(), live: live.clone() });
        let Some(mut making) = self.make(&cancel, &notes) else {
            return Grown::Reply(Err(Fault::internal("a task was to be made where none are kept")));
        };
        let gone_first = async {
            gone.cancelled().await;
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let waited = async { if patience.is_zero() { None } else { tokio::time::timeout(patience, &mut making.reply).await.ok() } };
        let early = tokio::select! {
            early = waited => early,
            () = gone_first => None,
        };
        if let Some(reply) = early {
            return self.maybe_follow(reply, patience).await;
        }
        if gone.is_cancelled() || !self.tasks.has_room() || !live.take_questions() {
            return Grown::Reply(self.wait(making, &cancel, gone).await);
        }
        let place = match self.passing.gate.adhoc_run(&self.caller.actor).await {
            Ok(run) => self.opening(making.call, run, None),
            Err(fault) => return Grown::Reply(Err(fault)),
        };
        match self.passing.gate.open_task(&self.caller.actor, &place).await {
            Ok(id) => {
                let task = shown(&id, TaskStatus::Working, id.minted(), None);
                let (tasks, growing) = (self.tasks.clone(), Growing { id, live: live.clone(), notes, cancel });
                tasks.begin(id, live, self.go_on(growing, making, place.run));
                Grown::Task(task)
            }
            Err(fault) => {
                tracing::warn!("a call could not be made a task, so it is waited for: {fault}");
                live.give_questions_back();
                Grown::Reply(self.wait(making, &cancel, gone).await)
            }
        }
    }

    fn opening(&self, call: CallId, run: RunId, follows: Option<RunId>) -> TaskOpening {
        let (tool, _) = meant(&self.tool, &self.arguments);
        TaskOpening { call, run, tool: tool.to_owned(), follows }
    }

    /// The call under an id of its own, begun when it is first waited for.
    fn make(&self, cancel: &CancellationToken, notes: &Arc<dyn Progress>) -> Option<Making> {
        let call = self.passing.gate.new_call()?;
        let caller = Caller { along: Along { call: Some(call), ..self.caller.along.clone() }, ..self.caller.clone() };
        let (passing, tool, arguments) = (self.passing.clone(), self.tool.clone(), self.arguments.clone());
        let (cancel, notes) = (cancel.child_token(), notes.clone());
        Some(Making { call, reply: Box::pin(async move { passing.pass(&tool, arguments, caller, cancel, notes).await }) })
    }

    /// The answer, for as long as somebody waits for it.
    async fn wait(&self, making: Making, cancel: &CancellationToken, gone: &CancellationToken) -> Result<Reply, Fault> {
        let mut reply = making.reply;
        tokio::select! {
            reply = &mut reply => return reply,
            () = gone.cancelled() => cancel.cancel(),
        }
        reply.await
    }

    /// A run that was started and goes on can be followed as a task.
    async fn maybe_follow(&self, reply: Result<Reply, Fault>, patience: Duration) -> Grown {
        let (tool, _) = meant(&self.tool, &self.arguments);
        let started = reply.as_ref().ok().filter(|_| matches!(tool, "run.start" | "run_start"));
        let output = started.and_then(|reply| Some((reply.call, reply.outcome.as_ref().ok()?)));
        let run = output.and_then(|(call, output)| Some((call, output.value.get("run_id")?.as_str()?.parse::<RunId>().ok()?)));
        let Some((call, run)) = run else { return Grown::Reply(reply) };
        tokio::time::sleep(patience).await;
        match self.follow(call, run).await {
            Ok(Some(task)) => Grown::Task(task),
            Ok(None) => Grown::Reply(reply),
            Err(fault) => {
                tracing::warn!("a run could not be made a task: {fault}");
                Grown::Reply(reply)
            }
        }
    }

    async fn follow(&self, call: CallId, run: RunId) -> Result<Option<Task>, Fault> {
        let (gate, actor) = (&self.passing.gate, &self.caller.actor);
        let goes_on = gate.glance(actor, &run).await?.is_some_and(|glance| glance.goes_on);
        if !goes_on {
            return Ok(None);
        }
        let opening = self.opening(call, gate.adhoc_run(actor).await?, Some(run));
        let id = gate.open_task(actor, &opening).await?;
        Ok(Some(shown(&id, TaskStatus::Working, id.minted(), Some(format!("run {run} goes on")))))
    }

    /// The rest of the task's life.
    fn go_on(self, growing: Growing, making: Making, run: RunId) -> Work {
        Box::pin(async move {
            let (outcome, call) = tokio::select! {
                over = self.see_through(&growing, making, run) => over,
                never = self.heed(&growing) => match never {},
            };
            growing.live.end(outcome, (call, run));
            self.tasks.end(growing.id);
        })
    }

    /// What the task comes to, and the call that came to it.
    async fn see_through(&self, growing: &Growing, mut making: Making, run: RunId) -> (Result<Reply, Fault>, CallId) {
        let mut rounds = 0;
        loop {
            let reply = (&mut making.reply).await;
            let asked = reply.as_ref().ok().and_then(asking::question).filter(|_| self.caller.asking.elsewhere && rounds < MOST_ROUNDS);
            let Some(question) = asked else { return (reply, making.call) };
            rounds += 1;
            match self.once_more(growing, question, run).await {
                Ok(Some(next)) => making = next,
                Ok(None) if growing.live.is_cancelled() => {
                    // The log says that a human was asked; that nobody waits for the answer has to be said as well.
                    let ended = self.passing.gate.end_task(&self.caller.actor, &growing.id, making.call, run).await;
                    let cancelled = || Fault::new(ErrorCode::Cancelled, "the task was cancelled");
                    return (Err(ended.err().unwrap_or_else(cancelled)), making.call);
                }
                Ok(None) => return (reply, making.call),
                Err(fault) => {
                    tracing::warn!("a task cannot go on after its question: {fault}");
                    return (reply, making.call);
                }
            }
        }
    }

    /// Cancels the call as soon as another process of this home was asked to; never ends by itself.
    async fn heed(&self, growing: &Growing) -> Infallible {
        let (gate, actor) = (&self.passing.gate, &self.caller.actor);
        loop {
            tokio::time::sleep(HEED).await;
            match gate.is_task_to_end(actor, &growing.id).await {
                Ok(false) => {}
                Ok(true) => break growing.live.cancel(),
                Err(fault) => tracing::warn!("whether a task is to end cannot be read: {fault}"),
            }
        }
        std::future::pending().await
    }

    /// Asks the client's human what policy asks; then the same call again. `None` where there is nobody to ask or no answer came.
    async fn once_more(&self, growing: &Growing, question: crate::domain::ApprovalId, run: RunId) -> Result<Option<Making>, Fault> {
        let (gate, actor) = (&*self.passing.gate, &self.caller.actor);
        let Some((form, request)) = asking::form_request(gate, actor, &question).await? else { return Ok(None) };
        let Some(answers) = growing.live.ask(BTreeMap::from([(APPROVAL.to_owned(), request)])).await else { return Ok(None) };
        asking::hear(gate, form, answers.get(APPROVAL).cloned().unwrap_or_default()).await?;
        let Some(making) = self.make(&growing.cancel, &growing.notes) else { return Ok(None) };
        gate.go_on_with(actor, &growing.id, &self.opening(making.call, run, None)).await?;
        Ok(Some(making))
    }
}

/// A task that goes on, and how it is reached.
struct Growing {
    id: TaskId,
    live: Arc<Live>,
    notes: Arc<dyn Progress>,
    cancel: CancellationToken,
}
