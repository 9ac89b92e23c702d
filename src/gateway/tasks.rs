//! Calls whose answer comes later, and runs that are followed: tasks. All that is known of one stands in the log.
//!
//! INVARIANT: a task is on record before its client is told of it; it is its principal's alone, and to others as unknown as none. What it
//! came to is read from the log, so that it is the same before and after a restart; once told as over, it stays over.

use serde_json::{Value, json};

use crate::call::{ArtifactRef, CheckedOutput, whole};
use crate::domain::{Actor, CallId, Digest, ErrorCode, Fault, Millis, OwnerId, Principal, RunId, TaskId, Timestamp};
use crate::run::{Event, EventDraft, EventKind, RunStatus};
use crate::store::{Append, Change};

use super::{Gateway, Inner};

/// How long a task is kept for its client.
pub const TASK_TTL: Millis = Millis(24 * 60 * 60 * 1000);

/// What is to become a task.
#[derive(Debug, Clone)]
pub struct TaskOpening {
    /// The call.
    pub call: CallId,
    /// The run that the principal's direct calls belong to.
    pub run: RunId,
    /// The tool, as it is called.
    pub tool: String,
    /// The run that is followed, where the call started one and is over itself.
    pub follows: Option<RunId>,
}

/// A task, as the log has it.
#[derive(Debug, Clone)]
pub struct KeptTask {
    /// The call that it is about, the newest where it was made again.
    pub call: CallId,
    /// The run in whose log it stands.
    pub run: RunId,
    /// The tool.
    pub tool: String,
    /// The run that it follows.
    pub follows: Option<RunId>,
    /// When something last happened to it.
    pub updated: Timestamp,
    /// How it stands.
    pub standing: Standing,
}

/// How a task stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It goes on.
    Working,
    /// It is over.
    Ended(Result<CheckedOutput, Fault>),
}

/// A run from afar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Whether it goes on by itself: it is not over, and waits for nobody.
    pub goes_on: bool,
    /// The number of its last event.
    pub last_seq: u64,
    /// When that was.
    pub updated: Timestamp,
}

fn key(principal: &Principal, id: &TaskId) -> Digest {
    Digest::of_parts("toolgate/task/v1", &[principal.as_str().as_bytes(), id.to_string().as_bytes()])
}

/// What is remembered of a task that is to end.
fn end_key(principal: &Principal, id: &TaskId) -> Digest {
    Digest::of_parts("toolgate/task/end/v1", &[principal.as_str().as_bytes(), id.to_string().as_bytes()])
}

fn text<'e>(event: &'e Event, field: &str) -> Option<&'e str> {
    event.payload.get(field).and_then(Value::as_str)
}

impl Gateway {
    /// An id for a call that is about to be made.
    #[must_use]
    pub fn new_call(&self) -> CallId {
        CallId::mint(self.inner.clock.now())
    }

    /// Records that a call is a task from now on.
    ///
    /// # Errors
    /// Where that cannot be recorded: nobody is to be told of the task then.
    pub async fn open_task(&self, actor: &Actor, opening: &TaskOpening) -> Result<TaskId, Fault> {
        let id = TaskId::mint(self.inner.clock.now());
        let changes = vec![Change::Remember { key: key(&actor.principal, &id), call: opening.call }];
        self.record_task(actor, &id, opening, changes).await.map(|()| id)
    }

    /// Records that a task goes on with another call: the same deed, made again.
    ///
    /// # Errors
    /// As [`Gateway::open_task`].
    pub async fn go_on_with(&self, actor: &Actor, id: &TaskId, opening: &TaskOpening) -> Result<(), Fault> {
        let key = key(&actor.principal, id);
        self.record_task(actor, id, opening, vec![Change::Forget(key), Change::Remember { key, call: opening.call }]).await
    }

    async fn record_task(&self, actor: &Actor, id: &TaskId, opening: &TaskOpening, changes: Vec<Change>) -> Result<(), Fault> {
        let event = EventDraft::new(EventKind::SystemEvent, actor.clone())
            .call(opening.call)
            .field("event", "task_created")
            .field("task", id.to_string())
            .field("tool", opening.tool.as_str())
            .field("owner", self.inner.store.owner().to_string());
        let event = match opening.follows {
            Some(run) => event.field("follows", run.to_string()),
            None => event,
        };
        self.inner.store.record(Append { run: Some(opening.run), events: vec![event], changes, ..Append::default() }).await
    }

    /// A task of this principal; `None` where it has none of that id, or no longer.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub async fn task(&self, actor: &Actor, id: &TaskId) -> Result<Option<KeptTask>, Fault> {
        if self.inner.clock.now().since(id.minted()) > TASK_TTL {
            return Ok(None);
        }
        let Some((call, run)) = self.inner.store.remembered(&key(&actor.principal, id)).await? else { return Ok(None) };
        let events = self.inner.store.events_of_call(&call).await?;
        let of_task = |word: &str| {
            events.iter().find(|event| text(event, "event") == Some(word) && text(event, "task") == Some(id.to_string().as_str()))
        };
        let Some(created) = of_task("task_created") else { return Ok(None) };
        let follows: Option<RunId> = text(created, "follows").and_then(|run| run.parse().ok());
        let mut updated = events.last().map_or(created.ts, |event| event.ts);
        let standing = match (follows, of_task("task_ended")) {
            (Some(followed), Some(ended)) => run_ended(followed, text(ended, "status").unwrap_or_default()),
            (Some(followed), None) => {
                let (standing, at) = self.inner.follow(actor, id, (call, run), followed).await?;
                updated = at;
                standing
            }
            (None, Some(_)) => Standing::Ended(Err(Fault::new(ErrorCode::Cancelled, "the task was cancelled"))),
            (None, None) => self.inner.outcome_of(created, &events).await?,
        };
        let tool = text(created, "tool").unwrap_or_default().to_owned();
        Ok(Some(KeptTask { call, run, tool, follows, updated, standing }))
    }

    /// Records that a task was cancelled while it waited for an answer: its call has an outcome by then, the question.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub async fn end_task(&self, actor: &Actor, id: &TaskId, call: CallId, run: RunId) -> Result<(), Fault> {
        self.inner.record_end(actor, id, (call, run), RunStatus::Cancelled).await
    }

    /// Records that a task is to end which another process of this home runs: that process sees it and cancels the call.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub async fn ask_task_to_end(&self, actor: &Actor, id: &TaskId, task: &KeptTask) -> Result<(), Fault> {
        if self.is_task_to_end(actor, id).await? {
            return Ok(());
        }
        let asked = EventDraft::new(EventKind::SystemEvent, actor.clone())
            .call(task.call)
            .field("event", "task_cancel_requested")
            .field("task", id.to_string());
        let changes = vec![Change::Remember { key: end_key(&actor.principal, id), call: task.call }];
        self.inner.store.record(Append { run: Some(task.run), events: vec![asked], changes, ..Append::default() }).await
    }

    /// Whether a task of this actor was asked to end, by whatever process.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn is_task_to_end(&self, actor: &Actor, id: &TaskId) -> Result<bool, Fault> {
        Ok(self.inner.store.remembered(&end_key(&actor.principal, id)).await?.is_some())
    }

    /// How a run of this principal stands; `None` where it has no such run. Tells nothing of what is in it.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn glance(&self, actor: &Actor, run: &RunId) -> Result<Option<Glance>, Fault> {
        let row = self.inner.store.run(run).await?.filter(|row| row.principal == actor.principal);
        Ok(row.map(|row| Glance { goes_on: row.status == RunStatus::Running, last_seq: row.last_seq, updated: row.updated }))
    }

    /// The ids of this principal's workflow runs, the newest first.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn newest_runs(&self, actor: &Actor, limit: u32) -> Result<Vec<RunId>, Fault> {
        let filter = crate::store::RunFilter {
            principal: Some(actor.principal.clone()),
            kind: Some(crate::run::RunKind::Workflow),
            limit,
            ..crate::store::RunFilter::default()
        };
        Ok(self.inner.store.runs(filter).await?.into_iter().map(|row| row.id).collect())
    }

    /// Fires whenever this process has recorded something.
    #[must_use]
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.store.changes()
    }
}

/// What the task of a run that needs nobody, or nobody yet, came to.
fn run_ended(run: RunId, status: &str) -> Standing {
    if status == RunStatus::Cancelled.as_str() {
        return Standing::Ended(Err(Fault::new(ErrorCode::Cancelled, format!("run `{run}` was cancelled"))));
    }
    Standing::Ended(Ok(CheckedOutput { value: json!({ "run_id": run, "status": status }), artifact: None }))
}

impl Inner {
    /// A run is followed until it is over or waits for somebody: whoever called then has to look at it. That it was told so is recorded.
    async fn follow(
        &self,
        actor: &Actor,
        id: &TaskId,
        (call, run): (CallId, RunId),
        followed: RunId,
    ) -> Result<(Standing, Timestamp), Fault> {
        let row = self.store.run(&followed).await?.ok_or_else(|| Fault::internal(format!("run `{followed}` is not there")))?;
        if row.status == RunStatus::Running {
            return Ok((Standing::Working, row.updated));
        }
        self.record_end(actor, id, (call, run), row.status).await?;
        Ok((run_ended(followed, row.status.as_str()), row.updated))
    }

    async fn record_end(&self, actor: &Actor, id: &TaskId, (call, run): (CallId, RunId), status: RunStatus) -> Result<(), Fault> {
        let ended = EventDraft::new(EventKind::SystemEvent, actor.clone())
            .call(call)
            .field("event", "task_ended")
            .field("task", id.to_string())
            .field("status", status.as_str());
        self.store.record(Append { run: Some(run), events: vec![ended], ..Append::default() }).await
    }

    /// What a call came to, or that it goes on: in this process, or in another one that lives.
    async fn outcome_of(&self, created: &Event, events: &[Event]) -> Result<Standing, Fault> {
        let outcome = events.iter().find(|event| matches!(event.kind, EventKind::ToolResult | EventKind::ToolError));
        let Some(outcome) = outcome else {
            let owner: Option<OwnerId> = text(created, "owner").and_then(|owner| owner.parse().ok());
            let goes_on = owner.is_some_and(|owner| owner != self.store.owner() && self.store.is_alive(&owner));
            let interrupted = Fault::new(ErrorCode::Interrupted, "the server ended before the call did, and no outcome is on record")
                .hint("see `run.list` and the workspace for what was done before making the call again");
            return Ok(if goes_on { Standing::Working } else { Standing::Ended(Err(interrupted)) });
        };
        if outcome.kind == EventKind::ToolError {
            let fault = outcome.payload.get("error").and_then(Fault::from_json);
            return Ok(Standing::Ended(Err(fault.unwrap_or_else(|| Fault::internal("the recorded error cannot be read")))));
        }
        let recorded = outcome.payload.get("output").cloned().unwrap_or_default();
        let artifact = artifact_in(&recorded);
        let value = whole(recorded, &*self.artifacts).await?;
        Ok(Standing::Ended(Ok(CheckedOutput { value, artifact })))
    }
}

/// The artifact that stands in the log for a large value.
fn artifact_in(recorded: &Value) -> Option<ArtifactRef> {
    let fields = recorded.as_object().filter(|fields| fields.len() == 2)?;
    let artifact = fields.get("artifact")?.as_str()?.parse().ok()?;
    Some(ArtifactRef { artifact, size: fields.get("size")?.as_u64()?, media_type: "application/json".to_owned() })
}
