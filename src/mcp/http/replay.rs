//! What one session's streams carried, kept for a while, so that a client whose connection broke gets the rest.
//!
//! INVARIANT: an id is good in its own session and for its own stream only; what is kept is bounded, for each session and for all of them,
//! and the oldest goes first. Does not know whose session it is: see [`super::sessions`].

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _, stream};
use rmcp::model::JsonRpcMessage;
use rmcp::transport::streamable_http_server::session::{EventId, EventStore, EventStoreError, EventStream, ServerSseMessage};
use tokio::sync::watch;
use tokio::time::Instant;

/// Bytes that are kept of one session.
const MOST_OF_ONE: usize = 1 << 20;
/// Events that are kept of one session.
const MOST_EVENTS: usize = 256;
/// Bytes that are kept of all sessions.
const MOST_OF_ALL: usize = 64 << 20;
/// How long an answer can be fetched again.
const KEPT_FOR: Duration = Duration::from_mins(5);

/// One event, with its place among all of its session.
struct Event {
    number: u64,
    stream: Arc<str>,
    bytes: usize,
    message: ServerSseMessage,
}

#[derive(Default)]
struct State {
    last: u64,
    events: VecDeque<Event>,
    bytes: usize,
    /// Streams that ended with their answer, and when.
    ended: HashMap<Arc<str>, Instant>,
    closed: bool,
}

/// The events of one session.
pub(super) struct Kept {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    of_all: Arc<AtomicUsize>,
    kept_for: Duration,
}

impl Kept {
    /// Nothing yet; `of_all` counts the bytes of all sessions.
    pub(super) fn new(of_all: Arc<AtomicUsize>) -> Self {
        Self { state: Mutex::default(), changed: watch::channel(0).0, of_all, kept_for: KEPT_FOR }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session is over: whoever still follows comes to the end.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.send_modify(|count| *count += 1);
    }

    fn put(&self, name: &str, message: &ServerSseMessage) -> u64 {
        let bytes = message.message.as_ref().and_then(|message| serde_json::to_vec(&**message).ok()).map_or(64, |bytes| bytes.len());
        let ends = matches!(message.message.as_deref(), Some(JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_)));
        let mut state = self.state();
        state.last += 1;
        let (number, name): (u64, Arc<str>) = (state.last, name.into());
        let mut message = message.clone();
        message.event_id = Some(number.to_string());
        state.events.push_back(Event { number, stream: name.clone(), bytes, message });
        state.bytes += bytes;
        self.of_all.fetch_add(bytes, Ordering::AcqRel);
        if ends {
            state.ended.insert(name, Instant::now());
        }
        self.forget(&mut state);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        number
    }

    /// Lets go of what is old or too much.
    fn forget(&self, state: &mut State) {
        let over: Vec<Arc<str>> =
            state.ended.iter().filter(|(_, at)| at.elapsed() >= self.kept_for).map(|(name, _)| name.clone()).collect();
        let mut gone = 0;
        if !over.is_empty() {
            state.ended.retain(|name, _| !over.contains(name));
            state.events.retain(|event| {
                let stays = !over.contains(&event.stream);
                gone += if stays { 0 } else { event.bytes };
                stays
            });
        }
        while state.events.len() > MOST_EVENTS
            || state.bytes - gone > MOST_OF_ONE
            || self.of_all.load(Ordering::Acquire).saturating_sub(gone) > MOST_OF_ALL
        {
            let Some(oldest) = state.events.pop_front() else { break };
            gone += oldest.bytes;
        }
        let State { events, ended, .. } = state;
        ended.retain(|name, _| events.iter().any(|event| event.stream == *name));
        state.bytes -= gone;
        self.of_all.fetch_sub(gone, Ordering::AcqRel);
    }

    /// The stream that an event belongs to.
    fn stream_of(&self, number: u64) -> Option<Arc<str>> {
        self.state().events.iter().find(|event| event.number == number).map(|event| event.stream.clone())
    }

    /// The next event of a stream; `Err` where there will be none.
    fn next(&self, name: &str, after: u64) -> Result<Option<(u64, ServerSseMessage)>, ()> {
        let state = self.state();
        if let Some(event) = state.events.iter().find(|event| event.number > after && *event.stream == *name) {
            return Ok(Some((event.number, event.message.clone())));
        }
        let is_over = state.closed || state.ended.contains_key(name) || !state.events.iter().any(|event| *event.stream == *name);
        if is_over { Err(()) } else { Ok(None) }
    }

    /// The events of a stream after this one, and those that are still to come, to its end.
    fn follow(self: Arc<Self>, name: Arc<str>, after: u64) -> EventStream {
        let changed = self.changed.subscribe();
        let events = stream::unfold((self, name, after, changed), async |(kept, name, after, mut changed)| {
            loop {
                changed.mark_unchanged();
                match kept.next(&name, after) {
                    Ok(Some((number, message))) => return Some((message, (kept, name, number, changed))),
                    Ok(None) => changed.changed().await.ok()?,
                    Err(()) => return None,
                }
            }
        });
        Box::pin(Alone(Mutex::new(events.boxed())))
    }

    /// What stands in this stream already.
    pub(super) fn of_stream(&self, name: &str) -> Vec<ServerSseMessage> {
        let state = self.state();
        state.events.iter().filter(|event| *event.stream == *name).map(|event| event.message.clone()).collect()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.of_all.fetch_sub(bytes, Ordering::AcqRel);
    }
}

/// A store as the protocol library knows it, that may be shared with whoever closes it.
pub(super) struct Shelf(pub(super) Arc<Kept>);

#[async_trait]
impl EventStore for Shelf {
    async fn store_event(&self, stream_id: &str, event: &ServerSseMessage) -> Result<EventId, EventStoreError> {
        Ok(self.0.put(stream_id, event).to_string())
    }

    async fn replay_events_after(&self, last_event_id: &str) -> Result<EventStream, EventStoreError> {
        let number = last_event_id.parse().ok();
        let found = number.and_then(|number| Some((self.0.stream_of(number)?, number)));
        let (name, number) = found.ok_or("no such event, or no longer")?;
        Ok(self.0.clone().follow(name, number))
    }
}

/// The library wants streams that may be shared; this one is only ever used by one at a time.
struct Alone<S>(Mutex<S>);

impl<S: Stream + Unpin> Stream for Alone<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{EmptyResult, ServerJsonRpcMessage, ServerResult};
    use serde_json::json;

    use super::*;

    fn kept() -> Arc<Kept> {
        Arc::new(Kept::new(Arc::default()))
    }

    fn note(text: &str) -> ServerSseMessage {
        let message = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": text}});
        ServerSseMessage::from_message(serde_json::from_value(message).unwrap())
    }

    fn answer() -> ServerSseMessage {
        let message = ServerJsonRpcMessage::response(ServerResult::EmptyResult(EmptyResult {}), rmcp::model::NumberOrString::Number(1));
        ServerSseMessage::from_message(message)
    }

    async fn after(kept: &Arc<Kept>, id: &str) -> Vec<String> {
        let stream = Shelf(kept.clone()).replay_events_after(id).await.unwrap();
        stream.map(|message| message.event_id.unwrap()).collect().await
    }

    #[tokio::test]
    async fn what_comes_after_an_event_is_its_own_streams_and_ends_with_the_answer() {
        let kept = kept();
        for (stream, message) in [("a", note("1")), ("b", note("2")), ("a", note("3")), ("a", answer()), ("b", note("5"))] {
            kept.put(stream, &message);
        }
        assert_eq!(after(&kept, "1").await, ["3", "4"]);
        assert_eq!(after(&kept, "4").await, [""; 0]);
        for unknown in ["0", "6", "", "x", "-1", "99999999999999999999"] {
            assert!(Shelf(kept.clone()).replay_events_after(unknown).await.is_err(), "{unknown}");
        }
        let mut b = Shelf(kept.clone()).replay_events_after("2").await.unwrap();
        assert_eq!(b.next().await.unwrap().event_id.as_deref(), Some("5"));
        kept.put("b", &answer());
        assert_eq!(b.next().await.unwrap().event_id.as_deref(), Some("6"), "what comes later comes too");
        assert!(b.next().await.is_none());
    }

    #[tokio::test]
    async fn a_session_that_is_over_ends_its_streams() {
        let kept = kept();
        kept.put("a", &note("1"));
        let mut stream = Shelf(kept.clone()).replay_events_after("1").await.unwrap();
        kept.close();
        assert!(stream.next().await.is_none());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let of_all = Arc::new(AtomicUsize::new(0));
        let kept = Kept::new(of_all.clone());
        for _ in 0..MOST_EVENTS * 3 {
            kept.put("a", &note("x"));
        }
        assert_eq!(kept.state().events.len(), MOST_EVENTS);
        for _ in 0..40 {
            kept.put("a", &note(&"x".repeat(100_000)));
        }
        let state = kept.state();
        let bytes: usize = state.events.iter().map(|event| event.bytes).sum();
        assert!(bytes <= MOST_OF_ONE && bytes == state.bytes && bytes == of_all.load(Ordering::Acquire), "{bytes} {}", state.bytes);
        assert_eq!(state.events.back().unwrap().number, state.last, "the newest is there");
        drop(state);
        // One that is larger than all is not kept, and the rest goes on.
        kept.put("a", &note(&"x".repeat(MOST_OF_ONE)));
        assert!(kept.state().events.is_empty());
        of_all.store(MOST_OF_ALL, Ordering::Release);
        kept.put("a", &note("x"));
        assert!(kept.state().events.is_empty(), "others have taken all there is");
        of_all.store(0, Ordering::Release);
        kept.put("b", &answer());
        assert_eq!(kept.state().ended.len(), 1);
        drop(kept);
        assert_eq!(of_all.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn an_answer_is_kept_for_a_while() {
        let mut kept = Kept::new(Arc::default());
        kept.kept_for = Duration::from_millis(20);
        let kept = Arc::new(kept);
        kept.put("a", &answer());
        tokio::time::sleep(Duration::from_millis(40)).await;
        kept.put("b", &note("x"));
        assert!(Shelf(kept.clone()).replay_events_after("1").await.is_err());
        assert!(kept.state().ended.is_empty() && kept.state().events.len() == 1);
    }
}
