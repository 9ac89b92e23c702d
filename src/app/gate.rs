//! The gateway as the MCP face and the engine see it, and notices on their way to MCP clients.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, watch};

use crate::call::{RawCall, Reply};
use crate::domain::{Actor, ApprovalId, CallId, Fault, RunId, TaskId};
use crate::engine::CallPath;
use crate::gateway::{Filled, Form, Gateway, Glance, KeptTask, Retry, TaskOpening, Ticket, can_be_long, with_handle};
use crate::manifest::ToolDef;
use crate::mcp::{Gate, Notice, NoticeLevel, Notices, PublishedTool};
use crate::tools::notify::{self, Sink};

/// Notices a slow client may be behind.
const BEHIND: usize = 64;

#[async_trait]
impl Gate for Gateway {
    async fn call(&self, raw: RawCall) -> Reply {
        Self::call(self, raw).await
    }

    async fn call_within(&self, raw: RawCall, within: Duration) -> Reply {
        Self::call_within(self, raw, within).await
    }

    async fn adhoc_run(&self, actor: &Actor) -> Result<RunId, Fault> {
        Self::adhoc_run(self, actor).await
    }

    fn may_ask(&self, actor: &Actor) -> bool {
        self.trusts_the_human_of(actor)
    }

    async fn form(&self, actor: &Actor, question: &ApprovalId) -> Result<Option<Form>, Fault> {
        Self::form(self, actor, question).await
    }

    async fn answer_form(&self, form: Form, filled: Filled) -> Result<(), Fault> {
        Self::answer_form(self, form, filled).await
    }

    async fn ticket(&self, retry: &Retry<'_>, ticket: Ticket) -> Result<String, Fault> {
        Self::ticket(self, retry, ticket).await
    }

    fn redeem(&self, retry: &Retry<'_>, sealed: &str) -> Result<Ticket, Fault> {
        Self::redeem(self, retry, sealed)
    }

    fn new_call(&self) -> Option<CallId> {
        Some(Self::new_call(self))
    }

    async fn open_task(&self, actor: &Actor, opening: &TaskOpening) -> Result<TaskId, Fault> {
        Self::open_task(self, actor, opening).await
    }

    async fn go_on_with(&self, actor: &Actor, task: &TaskId, opening: &TaskOpening) -> Result<(), Fault> {
        Self::go_on_with(self, actor, task, opening).await
    }

    async fn end_task(&self, actor: &Actor, task: &TaskId, call: CallId, run: RunId) -> Result<(), Fault> {
        Self::end_task(self, actor, task, call, run).await
    }

    async fn ask_task_to_end(&self, actor: &Actor, id: &TaskId, task: &KeptTask) -> Result<(), Fault> {
        Self::ask_task_to_end(self, actor, id, task).await
    }

    async fn is_task_to_end(&self, actor: &Actor, id: &TaskId) -> Result<bool, Fault> {
        Self::is_task_to_end(self, actor, id).await
    }

    async fn task(&self, actor: &Actor, task: &TaskId) -> Result<Option<KeptTask>, Fault> {
        Self::task(self, actor, task).await
    }

    async fn glance(&self, actor: &Actor, run: &RunId) -> Result<Option<Glance>, Fault> {
        Self::glance(self, actor, run).await
    }

    async fn newest_runs(&self, actor: &Actor, limit: u32) -> Result<Vec<RunId>, Fault> {
        Self::newest_runs(self, actor, limit).await
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(Self::changes(self))
    }

    async fn refuse(&self, raw: RawCall, fault: Fault) -> Reply {
        self.turn_away(raw, fault).await
    }

    fn tools(&self) -> Vec<PublishedTool> {
        self.registry()
            .iter()
            .map(|entry| PublishedTool {
                name: entry.def.name.clone(),
                title: title(&entry.def),
                description: entry.def.description.clone(),
                input: entry.def.input.json().clone(),
                output: match can_be_long(entry) {
                    true => with_handle(entry.def.output.json()),
                    false => entry.def.output.json().clone(),
                },
                effects: entry.def.effects.clone(),
                scopes: entry.def.scopes.clone(),
                idempotent: entry.def.idempotent,
                task: entry.def.task,
                search_hint: entry.def.search_hint.clone(),
            })
            .collect()
    }
}

/// A fixture's title is the name that its suite calls it by.
fn title(def: &ToolDef) -> String {
    if cfg!(debug_assertions) && def.scopes.iter().any(|scope| scope == "fixtures") { def.title.clone() } else { def.name.to_string() }
}

#[async_trait]
impl CallPath for Gateway {
    async fn call(&self, raw: RawCall) -> Reply {
        Self::call(self, raw).await
    }

    fn is_idempotent(&self, tool: &str) -> bool {
        self.registry().find(tool).is_some_and(|entry| entry.def.idempotent)
    }
}

/// The channel `mcp` of `notify.send`.
pub(super) struct ClientNotices(broadcast::Sender<Notice>);

impl ClientNotices {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Notices for ClientNotices {
    fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}

#[async_trait]
impl Sink for ClientNotices {
    async fn show(&self, notice: &notify::Notice) -> bool {
        let level = match notice.level {
            notify::Level::Info => NoticeLevel::Info,
            notify::Level::Success => NoticeLevel::Success,
            notify::Level::Warning => NoticeLevel::Warning,
            notify::Level::Error => NoticeLevel::Error,
        };
        let whose = notice.whose.clone();
        self.0.send(Notice { whose, level, title: notice.title.clone(), message: notice.message.clone() }).is_ok()
    }
}
