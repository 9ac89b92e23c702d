//! A task that goes on in this process: what it last said, and what it waits to be told.
//!
//! INVARIANT: a question is answered once, by its own key; keys are never used twice in a task. What is over does not change.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rmcp::model::{DetailedTask, InputRequest, TaskPayload, TaskStatus};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{Answers, Inquiry, LogLevel, OutStream, Progress, Question, Reply};
use crate::domain::{CallId, ErrorCode, Fault, Millis, Principal, RunId, TaskId, Timestamp};
use crate::mcp::catalog::Entry;
use crate::mcp::inquiry;

use super::{ended, shown};

/// A task that goes on here.
pub(in crate::mcp) struct Live {
    principal: Principal,
    tool: String,
    cancel: CancellationToken,
    begun: Instant,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// After how long something last happened.
    moved: std::time::Duration,
    message: Option<String>,
    asked: usize,
    open: BTreeMap<String, (InputRequest, oneshot::Sender<Value>)>,
    asks: Asks,
    outcome: Option<(Result<Reply, Fault>, (CallId, RunId))>,
}

/// Where the questions of the call's tool go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asks {
    /// To whoever waits for the request.
    #[default]
    Request,
    /// They went there, so the call ends with it.
    AskedRequest,
    /// To whoever asks for the task.
    Task,
}

impl Live {
    /// From now on the tool's questions are the task's; `false` where the request was asked already and so is about to be answered.
    pub(super) fn take_questions(&self) -> bool {
        let mut inside = self.inside();
        if inside.asks == Asks::Request {
            inside.asks = Asks::Task;
        }
        inside.asks == Asks::Task
    }

    /// There is no task after all.
    pub(super) fn give_questions_back(&self) {
        self.inside().asks = Asks::Request;
    }

    fn asks_task(&self) -> bool {
        let mut inside = self.inside();
        if inside.asks == Asks::Request {
            inside.asks = Asks::AskedRequest;
        }
        inside.asks == Asks::Task
    }

    /// One that nothing is known of yet; `cancel` ends its call.
    pub(super) fn new(principal: Principal, tool: String, cancel: CancellationToken) -> Self {
        Self { principal, tool, cancel, begun: Instant::now(), inside: Mutex::default() }
    }

    /// The tool, as it is called.
    pub(in crate::mcp) fn tool(&self) -> &str {
        &self.tool
    }

    pub(super) fn is_of(&self, principal: &Principal) -> bool {
        self.principal == *principal
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self, change: impl FnOnce(&mut Inside)) {
        let mut inside = self.inside();
        if inside.outcome.is_none() {
            inside.moved = self.begun.elapsed();
            change(&mut inside);
        }
    }

    /// Puts questions to the client, by names, and waits for all the answers; `None` where the task is ended first.
    pub(in crate::mcp) async fn ask(&self, questions: BTreeMap<String, InputRequest>) -> Option<BTreeMap<String, Value>> {
        let mut waiting = Vec::new();
        self.moved(|inside| {
            for (name, question) in questions {
                let (sender, answer) = oneshot::channel();
                inside.asked += 1;
                // A key is never used twice, whatever a tool calls its questions.
                inside.open.insert(format!("{name}-{}", inside.asked), (question, sender));
                waiting.push((name, answer));
            }
        });
        let mut answers = BTreeMap::new();
        for (name, answer) in waiting {
            tokio::select! {
                answer = answer => { answers.insert(name, answer.ok()?); }
                () = self.cancel.cancelled() => {
                    self.moved(|inside| inside.open.clear());
                    return None;
                }
            }
        }
        Some(answers)
    }

    /// Takes an answer; whether anything was asked by that key and not answered yet.
    pub(in crate::mcp) fn answer(&self, key: &str, answer: Value) -> bool {
        let mut taken = None;
        self.moved(|inside| taken = inside.open.remove(key));
        taken.is_some_and(|(_, sender)| sender.send(answer).is_ok())
    }

    /// Asks the call to end; what it still comes to is told as always.
    pub(in crate::mcp) fn cancel(&self) {
        self.cancel.cancel();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub(super) fn end(&self, outcome: Result<Reply, Fault>, place: (CallId, RunId)) {
        self.moved(|inside| {
            inside.open.clear();
            inside.outcome = Some((outcome, place));
        });
    }

    /// How it stands.
    pub(in crate::mcp) fn standing(&self, id: &TaskId, entry: &Entry) -> DetailedTask {
        let inside = self.inside();
        let span = u64::try_from(inside.moved.as_millis()).unwrap_or(u64::MAX);
        let updated: Timestamp = id.minted().plus(Millis(span));
        let payload = match &inside.outcome {
            Some((Ok(reply), _)) => ended(reply.outcome.clone(), (reply.call, reply.run), entry),
            Some((Err(fault), place)) => ended(Err(fault.clone()), *place, entry),
            None if inside.open.is_empty() => TaskPayload::Working,
            None => {
                let open = inside.open.iter().map(|(key, (question, _))| (key.clone(), question.clone())).collect();
                TaskPayload::InputRequired { input_requests: open }
            }
        };
        let message = inside.message.clone().filter(|_| payload == TaskPayload::Working);
        DetailedTask::new(shown(id, TaskStatus::Working, updated, message), payload)
    }
}

/// What a call says of itself, to whoever waits for the request and to whoever asks for the task.
pub(super) struct Noted {
    pub(super) first: std::sync::Arc<dyn Progress>,
    pub(super) live: std::sync::Arc<Live>,
}

/// Longer messages are cut.
const LONGEST_MESSAGE: usize = 300;

impl Progress for Noted {
    fn note(&self, message: &str, done: Option<f64>, total: Option<f64>) {
        self.first.note(message, done, total);
        let message: String = message.chars().take(LONGEST_MESSAGE).collect();
        self.live.moved(|inside| inside.message = Some(message).filter(|message| !message.is_empty()));
    }

    fn wants_output(&self) -> bool {
        self.first.wants_output()
    }

    fn output(&self, stream: OutStream, text: &str) {
        self.first.output(stream, text);
    }

    fn log(&self, level: LogLevel, text: &str) {
        self.first.log(level, text);
    }

    fn can_answer(&self, question: &Question) -> bool {
        self.first.can_answer(question)
    }

    fn ask(&self, inquiry: Inquiry) -> BoxFuture<'_, Result<Answers, Fault>> {
        if !self.live.asks_task() {
            return self.first.ask(inquiry);
        }
        async move {
            let unable = inquiry.questions.values().find(|question| !self.can_answer(question));
            if let Some(question) = unable {
                return Err(question.unanswerable());
            }
            let requests = inquiry.questions.iter().map(|(name, question)| Ok((name.clone(), inquiry::request(question)?)));
            let requests = requests.collect::<Result<BTreeMap<_, _>, Fault>>()?;
            let cancelled = || Fault::new(ErrorCode::Cancelled, "the task was cancelled while its client was asked");
            let answers = self.live.ask(requests).await.ok_or_else(cancelled)?;
            match inquiry.questions.iter().find(|(name, question)| !answers.get(*name).is_some_and(|answer| question.takes(answer))) {
                Some((name, _)) => {
                    Err(Fault::new(ErrorCode::InvalidInput, format!("the client's answer to the question `{name}` does not fit it")))
                }
                None => Ok(answers),
            }
        }
        .boxed()
    }

    fn waits_for_human(&self, waiting: bool) {
        self.first.waits_for_human(waiting);
        self.live.moved(|inside| inside.message = waiting.then(|| "waits for a human's yes".to_owned()));
    }
}
