//! What this face needs of the rooms below, as narrow traits; `app` wires them to the gateway and to the notifier.
//!
//! INVARIANT: nothing here lets a face decide, record or reach the store; a call goes in raw and comes out as a `Reply`.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::call::{RawCall, Reply};
use crate::domain::{Actor, ApprovalId, CallId, Effects, ErrorCode, Fault, Principal, RunId, TaskId, TaskUse, ToolName};
use crate::gateway::{Filled, Form, Glance, KeptTask, Retry, TaskOpening, Ticket};

/// The one path, seen from a face.
#[async_trait]
pub trait Gate: Send + Sync {
    /// Takes a call down the one path. Never panics and always ends soon after `RawCall::cancel` fires.
    async fn call(&self, raw: RawCall) -> Reply;

    /// The same for a client that waits so long and no longer: a call that takes longer is answered with a handle and goes on.
    async fn call_within(&self, raw: RawCall, _within: Duration) -> Reply {
        self.call(raw).await
    }

    /// The ad-hoc run that this process's direct calls of `actor` belong to.
    ///
    /// # Errors
    /// Where the run cannot be opened, as when the store cannot be written.
    async fn adhoc_run(&self, actor: &Actor) -> Result<RunId, Fault>;

    /// Whether questions of this actor may be shown to the human in front of its client. Nobody's, unless the operator says so.
    fn may_ask(&self, _actor: &Actor) -> bool {
        false
    }

    /// The form of a question of this actor; `None` where there is none to be shown.
    ///
    /// # Errors
    /// Where the question cannot be read.
    async fn form(&self, _actor: &Actor, _question: &ApprovalId) -> Result<Option<Form>, Fault> {
        Ok(None)
    }

    /// Takes what a human made of a form.
    ///
    /// # Errors
    /// As `Gateway::answer_form`.
    async fn answer_form(&self, _form: Form, _filled: Filled) -> Result<(), Fault> {
        Err(no_forms())
    }

    /// What a client has to bring back with its answers.
    ///
    /// # Errors
    /// As `Gateway::ticket`.
    async fn ticket(&self, _retry: &Retry<'_>, _ticket: Ticket) -> Result<String, Fault> {
        Err(no_forms())
    }

    /// What was given such a state for.
    ///
    /// # Errors
    /// As `Gateway::redeem`.
    fn redeem(&self, _retry: &Retry<'_>, _sealed: &str) -> Result<Ticket, Fault> {
        Err(no_forms())
    }

    /// An id for a call that is about to be made; `None` where no tasks are kept.
    fn new_call(&self) -> Option<CallId> {
        None
    }

    /// Records that a call is a task.
    ///
    /// # Errors
    /// As `Gateway::open_task`.
    async fn open_task(&self, _actor: &Actor, _opening: &TaskOpening) -> Result<TaskId, Fault> {
        Err(no_tasks())
    }

    /// Records that a task goes on with another call.
    ///
    /// # Errors
    /// As `Gateway::go_on_with`.
    async fn go_on_with(&self, _actor: &Actor, _task: &TaskId, _opening: &TaskOpening) -> Result<(), Fault> {
        Err(no_tasks())
    }

    /// Records that a task was cancelled while it waited for an answer.
    ///
    /// # Errors
    /// As `Gateway::end_task`.
    async fn end_task(&self, _actor: &Actor, _task: &TaskId, _call: CallId, _run: RunId) -> Result<(), Fault> {
        Err(no_tasks())
    }

    /// Records that a task of another process is to end.
    ///
    /// # Errors
    /// As `Gateway::ask_task_to_end`.
    async fn ask_task_to_end(&self, _actor: &Actor, _id: &TaskId, _task: &KeptTask) -> Result<(), Fault> {
        Err(no_tasks())
    }

    /// Whether another process asked this task to end.
    ///
    /// # Errors
    /// As `Gateway::is_task_to_end`.
    async fn is_task_to_end(&self, _actor: &Actor, _id: &TaskId) -> Result<bool, Fault> {
        Err(no_tasks())
    }

    /// A task of this actor, as the log has it.
    ///
    /// # Errors
    /// As `Gateway::task`.
    async fn task(&self, _actor: &Actor, _task: &TaskId) -> Result<Option<KeptTask>, Fault> {
        Ok(None)
    }

    /// How a run of this actor stands; `None` where it has none of that id. What is in a run is read by calling tools.
    ///
    /// # Errors
    /// As `Gateway::glance`.
    async fn glance(&self, _actor: &Actor, _run: &RunId) -> Result<Option<Glance>, Fault> {
        Ok(None)
    }

    /// The ids of this actor's workflow runs, the newest first.
    ///
    /// # Errors
    /// As `Gateway::newest_runs`.
    async fn newest_runs(&self, _actor: &Actor, _limit: u32) -> Result<Vec<RunId>, Fault> {
        Ok(Vec::new())
    }

    /// Fires whenever this process has recorded something; `None` where nothing is recorded.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// Records that a call was turned away before the path, and gives the refusal back as its reply.
    async fn refuse(&self, raw: RawCall, fault: Fault) -> Reply;

    /// Every registered tool, in name order. Read once, when serving begins.
    fn tools(&self) -> Vec<PublishedTool>;
}

fn no_forms() -> Fault {
    Fault::new(ErrorCode::InvalidInput, "this server gave no state and asked nothing")
}

fn no_tasks() -> Fault {
    Fault::new(ErrorCode::InvalidInput, "this server keeps no tasks")
}

/// A tool as a client may know it.
#[derive(Debug, Clone)]
pub struct PublishedTool {
    /// Canonical name.
    pub name: ToolName,
    /// The manifest's title; the canonical name where it has none.
    pub title: String,
    /// For a model that chooses among tools.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input: Value,
    /// JSON Schema of the structured answer.
    pub output: Value,
    /// The widest effects.
    pub effects: Effects,
    /// The scopes its manifest names; `--toolsets` chooses by them.
    pub scopes: Vec<String>,
    /// Whether the same call twice does no more than once.
    pub idempotent: bool,
    /// When a long call of it is answered with a task.
    pub task: TaskUse,
    /// Words by which it is searched for.
    pub search_hint: Option<String>,
}

/// How much a notice matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoticeLevel {
    /// For whoever wants to know.
    Info,
    /// Something ended well.
    Success,
    /// Something wants attention.
    Warning,
    /// Something failed.
    Error,
}

/// A message for the person in front of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whose clients are told; `None` for all.
    pub whose: Option<Principal>,
    /// How much it matters.
    pub level: NoticeLevel,
    /// A headline, where there is one.
    pub title: Option<String>,
    /// The message.
    pub message: String,
}

/// The figures that are handed out.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// What this principal may know, as OpenMetrics 1.0 text.
    async fn text(&self, whom: &Principal) -> String;
}

/// Where notices come from.
pub trait Notices: Send + Sync {
    /// Every notice from now on. A slow reader loses the oldest.
    fn subscribe(&self) -> broadcast::Receiver<Notice>;
}
