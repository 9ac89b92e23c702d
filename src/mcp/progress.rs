//! Tells a waiting client how far its call is, and that it is still alive; and does the errands of a running call to its client.
//!
//! INVARIANT: a client that gave no progress token is told of no progress; one that did hears something at least every
//! [`Pace::heartbeat`], a growing number each time. Nothing comes after the answer. Whatever is sent is sent from the request's own task, as
//! the protocol library finds the stream of the request by it.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, Fuse, FusedFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use rmcp::model::{ProgressNotificationParam, ProgressToken, ServerRequest};
use rmcp::{Peer, RoleServer};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::call::{Answers, Inquiry, LogLevel, OutStream, Progress, Question, Redact, RedactStream};
use crate::domain::Fault;

use super::inquiry::{self, Desk};
use super::notices::NoticeListener;

/// How often a client is told.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The least time between two notes; of those that come faster the latest counts.
    pub least: Duration,
    /// The most time between two notes: clients count silence against their time limit.
    pub heartbeat: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { least: Duration::from_millis(250), heartbeat: Duration::from_secs(8) }
    }
}

/// What a call last said of itself.
#[derive(Debug, Clone, Default)]
struct Note {
    message: Option<String>,
    done: Option<f64>,
    total: Option<f64>,
}

/// Output that the client has not been told yet, in order.
#[derive(Debug, Clone, Default)]
struct Written {
    pieces: VecDeque<(OutStream, String)>,
    bytes: usize,
    left_out: usize,
}

impl Written {
    /// Adds a piece; what is too much is counted and left out, as the answer has it all.
    fn push(&mut self, stream: OutStream, text: &str) {
        if self.bytes + text.len() > MOST_WRITTEN {
            self.left_out += text.len();
            return;
        }
        self.bytes += text.len();
        match self.pieces.back_mut() {
            Some((last, piece)) if *last == stream => piece.push_str(text),
            _ => self.pieces.push_back((stream, text.to_owned())),
        }
    }

    /// The next message: what one stream wrote in a row.
    fn take(&mut self) -> Option<String> {
        let Some((stream, text)) = self.pieces.pop_front() else {
            let left_out = std::mem::take(&mut self.left_out);
            return (left_out > 0).then(|| format!("... {left_out} bytes of output are not shown here; the answer has them"));
        };
        self.bytes = self.bytes.saturating_sub(text.len());
        Some(match stream {
            OutStream::Stdout => text,
            OutStream::Stderr => format!("stderr: {text}"),
        })
    }

    fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.left_out == 0
    }
}

/// The most output that waits to be told, in bytes.
const MOST_WRITTEN: usize = 64 << 10;
/// The most errands that wait to be done.
const MOST_ERRANDS: usize = 256;

/// What a running call wants of its client's connection.
pub(super) enum Errand {
    /// A line for whoever reads along.
    Log(LogLevel, String),
    /// A request of ours, and where the answer goes.
    Ask(Box<ServerRequest>, oneshot::Sender<Result<Value, String>>),
}

/// The end a running call holds.
pub(super) struct Teller {
    note: watch::Sender<Note>,
    /// `None` where nobody would be told.
    written: Option<Arc<Mutex<Written>>>,
    /// A secret may come in two pieces, each of its own harmless. Notes are whole and are scrubbed with the message that tells them.
    scrub: Mutex<Scrub>,
    errands: mpsc::Sender<Errand>,
    /// Where the call's questions are put; a call that nobody can ask has none.
    desk: Option<Arc<Desk>>,
}

/// One for each stream that a program writes.
struct Scrub {
    stdout: Box<dyn RedactStream>,
    stderr: Box<dyn RedactStream>,
}

impl Drop for Teller {
    fn drop(&mut self) {
        let rest = {
            let mut scrub = self.scrub.lock().unwrap_or_else(PoisonError::into_inner);
            [(OutStream::Stdout, scrub.stdout.finish()), (OutStream::Stderr, scrub.stderr.finish())]
        };
        rest.into_iter().for_each(|(stream, text)| self.tell(stream, &text));
    }
}

impl Teller {
    /// The same, whose questions are put at `desk`.
    pub(super) fn asking_at(self, desk: Arc<Desk>) -> Self {
        let mut asking = self;
        asking.desk = Some(desk);
        asking
    }

    /// Where errands to the client are left.
    pub(super) fn errands(&self) -> mpsc::Sender<Errand> {
        self.errands.clone()
    }

    fn tell(&self, stream: OutStream, text: &str) {
        if let Some(written) = self.written.as_ref().filter(|_| !text.is_empty()) {
            locked(written).push(stream, text);
            self.note.send_modify(|_| {});
        }
    }
}

/// The end that the client's connection holds.
pub(super) struct Listener {
    note: watch::Receiver<Note>,
    written: Arc<Mutex<Written>>,
    errands: mpsc::Receiver<Errand>,
}

/// The two ends; `is_told` says whether the client asked to be told.
pub(super) fn channel(is_told: bool, redact: &dyn Redact) -> (Teller, Listener) {
    let (sender, receiver) = watch::channel(Note::default());
    let written = Arc::<Mutex<Written>>::default();
    let scrub = Mutex::new(Scrub { stdout: redact.stream(), stderr: redact.stream() });
    let (errands, errands_out) = mpsc::channel(MOST_ERRANDS);
    let teller = Teller { note: sender, written: is_told.then(|| written.clone()), scrub, errands, desk: None };
    (teller, Listener { note: receiver, written, errands: errands_out })
}

/// Longer messages are cut: a note is one line on somebody's screen.
const LONGEST_MESSAGE: usize = 300;

impl Progress for Teller {
    fn note(&self, message: &str, done: Option<f64>, total: Option<f64>) {
        let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
        let message = Some(message.chars().take(LONGEST_MESSAGE).collect::<String>()).filter(|text| !text.is_empty());
        self.note.send_replace(Note { message, done: finite(done), total: finite(total) });
    }

    fn wants_output(&self) -> bool {
        self.written.is_some()
    }

    fn log(&self, level: LogLevel, text: &str) {
        let text = text.chars().take(LONGEST_MESSAGE).collect();
        // A call that logs faster than its client reads loses lines, not time.
        let _ = self.errands.try_send(Errand::Log(level, text));
    }

    fn can_answer(&self, question: &Question) -> bool {
        self.desk.as_ref().is_some_and(|desk| desk.can_answer(question))
    }

    fn ask(&self, inquiry: Inquiry) -> BoxFuture<'_, Result<Answers, Fault>> {
        match &self.desk {
            Some(desk) => desk.ask(inquiry).boxed(),
            None => std::future::ready(inquiry.by_nobody()).boxed(),
        }
    }

    fn output(&self, stream: OutStream, text: &str) {
        if self.written.is_none() {
            return;
        }
        let clean = {
            let mut scrub = self.scrub.lock().unwrap_or_else(PoisonError::into_inner);
            match stream {
                OutStream::Stdout => scrub.stdout.push(text),
                OutStream::Stderr => scrub.stderr.push(text),
            }
        };
        self.tell(stream, &clean);
    }
}

fn locked(written: &Mutex<Written>) -> MutexGuard<'_, Written> {
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a call's client is.
pub(super) struct Line<'a> {
    /// Its connection.
    pub(super) peer: &'a Peer<RoleServer>,
    /// By which it knows the call's progress; `None` where it wants none.
    pub(super) token: Option<ProgressToken>,
    /// Who takes log lines; `None` for a client of the generation that has none.
    pub(super) log: Option<&'a NoticeListener>,
}

/// Runs `call` to its end while telling the client of it and doing its errands. What is on its way is finished before the outcome is given,
/// so that nothing follows the answer.
pub(super) async fn follow<T>(call: impl Future<Output = T>, listener: Listener, line: Line<'_>, pace: Pace) -> T {
    let Listener { note, written, mut errands } = listener;
    let mut call = pin!(call.fuse());
    let mut steps = Steps { note, written, token: line.token.clone(), pace, last: Instant::now(), value: 0.0, due: false, alone: false };
    let mut sending: Fuse<BoxFuture<'_, ()>> = Fuse::terminated();
    let mut asking: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
    let mut outcome = None;
    loop {
        tokio::select! {
            biased;
            () = &mut sending, if !sending.is_terminated() => {}
            Some(()) = asking.next(), if !asking.is_empty() && outcome.is_none() => {}
            reply = &mut call, if outcome.is_none() => outcome = Some(reply),
            Some(errand) = errands.recv(), if sending.is_terminated() && outcome.is_none() => match errand {
                Errand::Log(level, text) => sending = log(&line, level, text).boxed().fuse(),
                Errand::Ask(request, answer) => asking.push(ask(line.peer, *request, answer).boxed()),
            },
            // A client that is gone is noticed elsewhere.
            note = steps.next(), if sending.is_terminated() && outcome.is_none() => {
                sending = line.peer.notify_progress(note).map(drop).boxed().fuse();
            }
        }
        if sending.is_terminated()
            && let Some(reply) = outcome.take()
        {
            while let Ok(errand) = errands.try_recv() {
                if let Errand::Log(level, text) = errand {
                    log(&line, level, text).await;
                }
            }
            return reply;
        }
    }
}

async fn log(line: &Line<'_>, level: LogLevel, text: String) {
    if let Some(listener) = line.log {
        listener.log(line.peer, level, text).await;
    }
}

async fn ask(peer: &Peer<RoleServer>, request: ServerRequest, answer: oneshot::Sender<Result<Value, String>>) {
    // A call that no longer waits has ended or was cancelled.
    let _ = answer.send(inquiry::send(peer, request).await);
}

struct Steps {
    note: watch::Receiver<Note>,
    written: Arc<Mutex<Written>>,
    /// Without one nothing is ever due.
    token: Option<ProgressToken>,
    pace: Pace,
    last: Instant,
    value: f64,
    /// There is something to tell: whoever waits for [`Steps::next`] may be called away and come back.
    due: bool,
    /// The call has dropped its end; only heartbeats are left.
    alone: bool,
}

impl Steps {
    /// The next note, when it is due.
    async fn next(&mut self) -> ProgressNotificationParam {
        let Some(token) = self.token.clone() else { return std::future::pending().await };
        let heartbeat = self.last + self.pace.heartbeat;
        if self.due || !locked(&self.written).is_empty() {
            sleep_until((self.last + self.pace.least).min(heartbeat)).await;
            return self.take(token);
        }
        while !self.alone {
            tokio::select! {
                changed = self.note.changed() => match changed {
                    Ok(()) => {
                        self.due = true;
                        sleep_until((self.last + self.pace.least).min(heartbeat)).await;
                        return self.take(token);
                    }
                    Err(_) => self.alone = true,
                },
                () = sleep_until(heartbeat) => return self.take(token),
            }
        }
        sleep_until(heartbeat).await;
        self.take(token)
    }

    fn take(&mut self, token: ProgressToken) -> ProgressNotificationParam {
        let note = self.note.borrow_and_update().clone();
        let written = locked(&self.written).take();
        // The protocol wants every number greater than the one before, also for a mere sign of life.
        self.value = note.done.filter(|done| *done > self.value).unwrap_or(self.value + 0.0001);
        (self.last, self.due) = (Instant::now(), false);
        let mut param = ProgressNotificationParam::new(token, self.value);
        if let Some(total) = note.total {
            param = param.with_total(total);
        }
        param.with_message(written.or(note.message).unwrap_or_else(|| "still running".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::live::LiveSecrets;
    use crate::secrets::redact::Redactor;

    #[test]
    fn a_secret_in_two_pieces_of_output_is_not_told() {
        let live = LiveSecrets::new();
        live.add("canary", &"the-canary-value".into());
        let redactor = Redactor::new(live).unwrap();
        let (teller, listener) = channel(true, &redactor);
        for (stream, piece) in
            [(OutStream::Stdout, "say the-cana"), (OutStream::Stderr, "the-"), (OutStream::Stdout, "ry-value\nand more\n")]
        {
            teller.output(stream, piece);
        }
        teller.output(OutStream::Stderr, "canary-value");
        drop(teller);
        let told: Vec<String> = std::iter::from_fn(|| locked(&listener.written).take()).collect();
        assert_eq!(told, ["say [REDACTED:canary]\nand more\n", "stderr: [REDACTED:canary]"]);
    }
}
