//! Long calls answered with a task (`io.modelcontextprotocol/tasks`), for clients that take one.
//!
//! INVARIANT: a task is on record before it is told of; nobody but its principal can see, answer or end it; what it came to is the outcome
//! in the log, in memory or not. Only what goes on in this process is held here: everything else is asked of the log.

mod grow;
mod live;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rmcp::model::{DetailedTask, Task, TaskPayload, TaskStatus};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::call::{CheckedOutput, Reply};
use crate::domain::{Actor, CallId, ErrorCode, Fault, Reader, RunId, TaskId, TaskUse, Timestamp};
use crate::gateway::{KeptTask, Standing, TASK_TTL};

use super::catalog::Entry;
use super::convert;

pub(super) use grow::{Grown, Seed};
pub(super) use live::Live;

/// How long a call whose tool can be long may take before it becomes a task.
const SOON: Duration = Duration::from_millis(250);
/// The same for any other call.
const LATE: Duration = Duration::from_secs(5);
/// How often a client is to ask.
const POLL_MS: u64 = 1_000;
/// Tasks that go on at the same time; more calls than that are answered when they are done.
const MOST: usize = 256;
/// Tasks that are over and still at hand; of older ones the log tells.
const MOST_ENDED: usize = 128;

/// How long a call may take before it becomes a task; `None` where it never does.
pub(super) fn patience(when: TaskUse) -> Option<Duration> {
    match when {
        TaskUse::Never => None,
        TaskUse::Late => Some(LATE),
        TaskUse::Soon => Some(SOON),
        TaskUse::Must => Some(Duration::ZERO),
    }
}

/// Work that goes on by itself.
type Work = BoxFuture<'static, ()>;

/// The tasks of a server.
pub(super) struct Tasks {
    live: Mutex<BTreeMap<TaskId, Arc<Live>>>,
    ended: Mutex<VecDeque<TaskId>>,
    sender: mpsc::UnboundedSender<Work>,
    receiver: tokio::sync::Mutex<mpsc::UnboundedReceiver<Work>>,
}

impl Default for Tasks {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { live: Mutex::default(), ended: Mutex::default(), sender, receiver: tokio::sync::Mutex::new(receiver) }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tasks {
    /// Lets tasks go on for as long as the server lives; never ends by itself. Dropping it ends them: their calls are cancelled, and that
    /// is recorded.
    pub(super) async fn drive(&self) {
        let mut receiver = self.receiver.lock().await;
        let mut work = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(more) = receiver.recv() => work.push(more),
                Some(()) = work.next(), if !work.is_empty() => {}
                else => return std::future::pending().await,
            }
        }
    }

    /// Whether one more may go on.
    fn has_room(&self) -> bool {
        let ended = locked(&self.ended).len();
        locked(&self.live).len() < MOST + ended
    }

    /// Lets this task go on.
    fn begin(&self, id: TaskId, live: Arc<Live>, work: Work) {
        locked(&self.live).insert(id, live);
        // The receiver lives as long as this.
        let _ = self.sender.send(work);
    }

    /// A task is over; that of the longest ago leaves the memory.
    fn end(&self, id: TaskId) {
        let oldest = {
            let mut ended = locked(&self.ended);
            ended.push_back(id);
            if ended.len() > MOST_ENDED { ended.pop_front() } else { None }
        };
        if let Some(oldest) = oldest {
            locked(&self.live).remove(&oldest);
        }
    }

    /// A task of this actor that goes on here, or did lately.
    pub(super) fn find(&self, actor: &Actor, id: &TaskId) -> Option<Arc<Live>> {
        locked(&self.live).get(id).filter(|live| live.is_of(&actor.principal)).cloned()
    }
}

/// A task as clients are shown it.
pub(super) fn shown(id: &TaskId, status: TaskStatus, updated: Timestamp, message: Option<String>) -> Task {
    let task = Task::new(id.to_string(), status, id.minted().to_string(), updated.to_string());
    let task = task.with_ttl_ms(TASK_TTL.0).with_poll_interval_ms(POLL_MS);
    match message {
        Some(message) => task.with_status_message(message),
        None => task,
    }
}

/// What a call came to, as a task tells it: what the tool says, also of its own failure, is a result; a failure of toolgate's is an error.
pub(super) fn ended(outcome: Result<CheckedOutput, Fault>, (call, run): (CallId, RunId), entry: &Entry) -> TaskPayload {
    let object = |value: serde_json::Result<Value>| match value {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => Map::new(),
    };
    match outcome {
        Err(fault) if fault.code == ErrorCode::Cancelled => TaskPayload::Cancelled,
        Err(fault) if fault.code.reader() == Reader::Internal => {
            let error = convert::protocol_error(&fault, &call.to_string());
            TaskPayload::Failed { error: object(serde_json::to_value(error)) }
        }
        outcome => {
            let result = convert::call_result(Reply { call, run, outcome }, entry);
            TaskPayload::Completed { result: object(serde_json::to_value(result)) }
        }
    }
}

/// A task as the log has it.
pub(super) fn kept(id: &TaskId, task: KeptTask, entry: &Entry) -> DetailedTask {
    let KeptTask { call, run, follows, updated, standing, .. } = task;
    match standing {
        Standing::Working => {
            let message = follows.map_or_else(|| "still running".to_owned(), |run| format!("run {run} goes on"));
            DetailedTask::new(shown(id, TaskStatus::Working, updated, Some(message)), TaskPayload::Working)
        }
        Standing::Ended(outcome) => {
            let payload = ended(outcome, (call, run), entry);
            DetailedTask::new(shown(id, payload.status(), updated, None), payload)
        }
    }
}

/// The id that a client names; a text that is none is as unknown as one that is not its own.
pub(super) fn id_of(text: &str) -> Result<TaskId, Fault> {
    text.parse().map_err(|_| unknown(text))
}

/// No such task, or none of whoever asks.
pub(super) fn unknown(text: &str) -> Fault {
    let shown: String = text.chars().take(60).collect();
    Fault::new(ErrorCode::InvalidInput, format!("no task `{shown}`"))
        .hint(format!("tasks are kept for {} hours after the call that made them", TASK_TTL.0 / 3_600_000))
}
