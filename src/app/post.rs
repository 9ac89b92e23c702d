//! The outbox of messages that leave: put in with the call that sends them, taken out when the other end has them.
//!
//! INVARIANT: a letter is durable before it is sent, and sent at least once, always with the same id, whichever process does it and wherever one
//! dies; attempts are bounded, and each end is an event of the run. One living process sends at a time: it holds a lease, and what
//! it records is refused once it has lost it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::Spawner;
use crate::domain::{Actor, Clock, ErrorCode, Fault, MessageId, Millis, RunId};
use crate::run::{Event, EventDraft, EventKind};
use crate::store::{Append, Change, Guard, Lease, OutboxRow, OutboxWrite, Store};
use crate::tools::CallContext;
use crate::tools::notify::{Attempt, Channels, Courier, Fate, Letter, Level, Outbox, Parcel, schedule};

use super::Tasks;
use super::http_events::JournalledRequests;

/// What the sender's lease is on: no run has this id.
const LEASE: &str = "run_000000000000700080006f7574626f78";
/// How long the lease is taken for, and after how much of it it is renewed. Longer than any attempt, so that nobody loses it while at work.
const SPAN: Millis = Millis(60_000);
const RENEW: Duration = Duration::from_secs(20);
/// How often it is looked for letters of other processes and for such as are due again.
const LOOK: Duration = Duration::from_secs(1);
/// How often a call looks whether another process has sent its letter.
const ASK: Duration = Duration::from_millis(250);
/// Letters looked at in one go, and letters that may wait.
const AT_ONCE: u32 = 64;
const MOST: u64 = 1_000;

/// The outbox of a home.
#[derive(Clone)]
pub(super) struct Post(Arc<Inner>);

/// What it is made of.
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) channels: Arc<Channels>,
    pub(super) courier: Courier,
    pub(super) requests: JournalledRequests,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tasks: Tasks,
    pub(super) attempts: u32,
    pub(super) stop: CancellationToken,
    pub(super) wake: Notify,
    pub(super) begun: AtomicBool,
}

impl Post {
    pub(super) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Sends what waits, from now on until the process ends. Once is enough.
    pub(super) fn begin(&self) {
        if !self.0.begun.swap(true, Ordering::AcqRel) {
            self.0.tasks.spawn("outbox", Sender::new(self.clone()).run().boxed());
        }
    }

    /// The same, where there is anything that could have to be sent.
    pub(super) async fn begin_if_needed(&self) {
        // Letters of channels that are named no more are given up, which somebody has to do as well.
        if !self.0.channels.is_empty() || self.0.store.outbox_depth().await.unwrap_or(1) > 0 {
            self.begin();
        }
    }

    /// Which channels there are, and why each cannot be used, where it cannot.
    pub(super) async fn check(&self) -> Vec<(String, Result<(), Fault>)> {
        let mut checked = Vec::new();
        for channel in self.0.channels.iter() {
            checked.push((format!("{} ({}, {})", channel.name, channel.kind(), channel.place()), self.0.courier.check(channel).await));
        }
        checked
    }
}

#[async_trait]
impl Outbox for Post {
    async fn queue(&self, letters: Vec<Letter>, context: &CallContext) -> Result<Vec<MessageId>, Fault> {
        let inner = &self.0;
        let waiting = inner.store.outbox_depth().await?;
        if waiting.saturating_add(u64::try_from(letters.len()).unwrap_or(u64::MAX)) > MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("{waiting} messages wait to be sent, and no more than {MOST} may"))
                .hint("`toolgate doctor` tells which channels do not take them"));
        }
        let (mut ids, mut append) = (Vec::new(), Append { run: Some(context.run), ..Append::default() });
        for letter in letters {
            let id = MessageId::mint(inner.clock.now());
            let to: Vec<String> = letter.to.iter().map(ToString::to_string).collect();
            let event = EventDraft::new(EventKind::SystemEvent, context.actor.clone())
                .call(context.call)
                .field("event", "notify_queued")
                .field("message_id", id.to_string())
                .field("channel", letter.channel.as_str())
                .field("kind", letter.kind)
                .field("level", letter.level.as_str())
                .sealed("title", letter.title.into())
                .sealed("text", letter.text.into())
                .sealed("to", json!(to));
            append.events.push(event);
            append.changes.push(Change::Outbox(OutboxWrite::Put { id, call: context.call, channel: letter.channel, recipients: to }));
            ids.push(id);
        }
        inner.store.record(append).await?;
        self.begin();
        inner.wake.notify_one();
        Ok(ids)
    }

    async fn fates(&self, ids: &[MessageId], context: &CallContext, patience: Duration) -> Result<Vec<Fate>, Fault> {
        let store = &self.0.store;
        let deadline = Instant::now() + patience;
        let mut changes = store.changes();
        while !store.outbox_waiting(ids).await?.is_empty() && Instant::now() < deadline {
            tokio::select! {
                () = context.cancel.cancelled() => break,
                () = tokio::time::sleep_until(deadline.min(Instant::now() + ASK)) => {}
                changed = changes.changed() => if changed.is_err() { break },
            }
        }
        let events = store.events_of_call(&context.call).await?;
        Ok(ids.iter().map(|id| fate(id, &events)).collect())
    }
}

/// What the events of its call say of a letter.
fn fate(id: &MessageId, events: &[Event]) -> Fate {
    let id = id.to_string();
    let word = |event: &Event, name: &str| event.payload.get(name).and_then(Value::as_str).map(str::to_owned);
    let of_letter = events.iter().filter(|event| word(event, "message_id").as_deref() == Some(&id));
    of_letter.fold(Fate::Waiting, |fate, event| match word(event, "event").as_deref() {
        Some("notify_sent") => Fate::Sent,
        Some("notify_failed") => {
            let fault = event.payload.get("error").and_then(Fault::from_json);
            Fate::Failed(fault.map_or_else(|| word(event, "code").unwrap_or_default(), |fault| fault.message))
        }
        _ => fate,
    })
}

/// The task that sends.
struct Sender {
    post: Post,
    /// The lease, and when it was taken or renewed.
    held: Option<(Lease, Instant)>,
}

/// Which channel is free again.
type UnderWay = FuturesUnordered<BoxFuture<'static, String>>;

impl Sender {
    fn new(post: Post) -> Self {
        Self { post, held: None }
    }

    async fn run(mut self) {
        let inner = Arc::clone(&self.post.0);
        let (mut under_way, mut busy) = (UnderWay::new(), BTreeSet::new());
        while !inner.stop.is_cancelled() {
            if let Err(fault) = self.send_due(&mut under_way, &mut busy).await {
                tracing::warn!(code = %fault.code, "the outbox cannot be looked at: {fault}");
            }
            if under_way.is_empty() {
                self.give_back().await;
            }
            tokio::select! {
                () = inner.stop.cancelled() => break,
                () = inner.wake.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
                Some(channel) = under_way.next(), if !under_way.is_empty() => drop(busy.remove(&channel)),
            }
        }
        // Each ends at once, as its request is cancelled.
        while under_way.next().await.is_some() {}
        self.give_back().await;
    }

    /// Begins to send what is due, one letter of each channel at a time.
    async fn send_due(&mut self, under_way: &mut UnderWay, busy: &mut BTreeSet<String>) -> Result<(), Fault> {
        for row in self.post.0.store.outbox_due(AT_ONCE).await? {
            if busy.contains(&row.channel) {
                continue;
            }
            let Some(lease) = self.hold().await? else { return Ok(()) };
            busy.insert(row.channel.clone());
            let post = self.post.clone();
            under_way.push(
                async move {
                    let channel = row.channel.clone();
                    if let Err(fault) = post.send(row, lease).await {
                        tracing::warn!(code = %fault.code, "what became of a message could not be recorded; it is sent again: {fault}");
                        // Not at once: whoever got it is not to get it in a circle while the disk is full.
                        tokio::select! {
                            () = post.0.stop.cancelled() => {}
                            () = tokio::time::sleep(LOOK) => {}
                        }
                    }
                    channel
                }
                .boxed(),
            );
        }
        Ok(())
    }

    /// The lease, if it can be had: another living process may hold it.
    async fn hold(&mut self) -> Result<Option<Lease>, Fault> {
        let store = &self.post.0.store;
        if let Some((lease, since)) = &mut self.held {
            if since.elapsed() < RENEW {
                return Ok(Some(lease.clone()));
            }
            if store.renew_lease(lease, SPAN).await? {
                *since = Instant::now();
                return Ok(Some(lease.clone()));
            }
            self.held = None;
        }
        let run: RunId = LEASE.parse().map_err(|error| Fault::internal(format!("{error}")))?;
        let taken = store.take_lease(&run, SPAN).await?;
        self.held = taken.clone().map(|lease| (lease, Instant::now()));
        Ok(taken)
    }

    async fn give_back(&mut self) {
        if let Some((lease, _)) = self.held.take()
            && let Err(fault) = self.post.0.store.release_lease(lease).await
        {
            tracing::debug!("the outbox's lease could not be given back: {fault}");
        }
    }
}

impl Post {
    /// One attempt at a letter, and the record of what came of it.
    async fn send(&self, row: OutboxRow, lease: Lease) -> Result<(), Fault> {
        let inner = &self.0;
        let attempt = match self.parcel(&row).await {
            Err(fault) => Attempt::Refused(fault),
            Ok((parcel, actor)) => match inner.channels.get(&row.channel) {
                None => Attempt::Refused(Fault::new(ErrorCode::NotifyFailed, format!("there is no channel `{}` any more", row.channel))),
                Some(channel) => {
                    let log = inner.requests.within(row.run, row.call, actor);
                    inner.courier.deliver(channel, &parcel, &inner.stop, &*log).await
                }
            },
        };
        let made = row.attempts.saturating_add(1);
        let event = |word: &str| {
            EventDraft::new(EventKind::SystemEvent, Actor::system())
                .call(row.call)
                .field("event", word)
                .field("message_id", row.id.to_string())
                .field("channel", row.channel.as_str())
                .field("attempt", made)
        };
        let failed = |word: &str, fault: &Fault| event(word).field("code", fault.code.as_str()).sealed("error", fault.to_json());
        let end = OutboxWrite::End(row.id);
        let (event, write) = match attempt {
            Attempt::Stopped => return Ok(()),
            Attempt::Taken => (event("notify_sent"), end),
            Attempt::Refused(fault) => {
                tracing::warn!(channel = row.channel, code = %fault.code, "a message was given up: {fault}");
                (failed("notify_failed", &fault), end)
            }
            Attempt::Later(fault, asked) => match schedule::next(made, inner.attempts, asked, inner.clock.now()) {
                Some(due) => (failed("notify_deferred", &fault).field("due", due.to_string()), OutboxWrite::Later { id: row.id, due }),
                None => {
                    tracing::warn!(channel = row.channel, code = %fault.code, "a message was given up after {made} attempts: {fault}");
                    (failed("notify_failed", &fault), end)
                }
            },
        };
        let changes = vec![Change::Outbox(write)];
        inner.store.record(Append { run: Some(row.run), events: vec![event], guards: vec![Guard::Holds(lease)], changes }).await
    }

    /// The letter as its event has it, and whose it is.
    async fn parcel(&self, row: &OutboxRow) -> Result<(Parcel, Actor), Fault> {
        let gone = || Fault::new(ErrorCode::NotifyFailed, "the message's text was taken out of the record before it was sent");
        let id = row.id.to_string();
        let events = self.0.store.events_of_call(&row.call).await?;
        let is_it = |event: &&Event| {
            let is = |name: &str, text: &str| event.payload.get(name).and_then(Value::as_str) == Some(text);
            is("event", "notify_queued") && is("message_id", &id)
        };
        let event = events.iter().find(is_it).ok_or_else(gone)?;
        let text = |name: &str| event.payload.get(name).and_then(Value::as_str).map(str::to_owned).ok_or_else(gone);
        let level = event.payload.get("level").cloned().and_then(|level| serde_json::from_value(level).ok());
        // Who may be written to may have changed since.
        let (kind, to) = match self.0.channels.get(&row.channel) {
            Some(channel) => (channel.kind(), channel.addressed(&row.recipients)?),
            None => ("", Vec::new()),
        };
        let letter = Letter {
            channel: row.channel.clone(),
            kind,
            level: level.unwrap_or(Level::Info),
            title: text("title")?,
            text: text("text")?,
            to,
        };
        Ok((Parcel { id: row.id, run: row.run, queued: row.queued, letter }, event.actor.clone()))
    }
}
