//! How much one principal may ask at once and in a while, so that none takes the server from the others.
//!
//! INVARIANT: what counts is who asks, whatever connections and sessions they use; a request counts until its answer has left and its
//! handler has ended, whichever comes last. Nobody holds more places than are still free, so whoever comes last finds one, and of many who ask
//! without end each comes to a like share. Does not know tokens, nor what is asked.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::body::{Frame, SizeHint};

use tokio::sync::Semaphore;

use crate::domain::{ErrorCode, Principal};

use super::refuse;

/// How much one principal may ask of the server; 0 is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpLimits {
    /// Requests in a second, in the long run.
    pub rate: u32,
    /// Requests at one go, before the rate counts.
    pub burst: u32,
    /// Requests that are worked on at the same time.
    pub concurrent: u32,
    /// Streams that are open at the same time: of notices, subscriptions, and answers that are fetched again.
    pub streams: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self { rate: 1_000, burst: 2_000, concurrent: 256, streams: 64 }
    }
}

/// Requests and streams of all at once: each takes a connection.
const PLACES: usize = super::MOST_CONNECTIONS;
/// Principals that are kept in mind although nothing of theirs is under way.
const MOST_KNOWN: usize = 1_024;

/// What is counted of one principal.
struct Counted {
    rate: Option<DefaultDirectRateLimiter>,
    /// Requests and streams under way.
    under_way: [AtomicUsize; 2],
}

/// A request that is let through counts until this is gone.
pub(super) struct Place {
    of: Arc<Counted>,
    all: Arc<AtomicUsize>,
    kind: Kind,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.of(self.kind).fetch_sub(1, Ordering::AcqRel);
        self.all.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Request,
    Stream,
}

impl Kind {
    /// A stream stays open for as long as its client likes. Headers and body of such a request must say the same, so the headers do.
    fn of(method: &Method, headers: &HeaderMap) -> Self {
        let listens = headers.get("mcp-method").is_some_and(|named| named == "subscriptions/listen");
        if method == Method::GET || listens { Self::Stream } else { Self::Request }
    }
}

impl Counted {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        let [requests, streams] = &self.under_way;
        match kind {
            Kind::Request => requests,
            Kind::Stream => streams,
        }
    }

    fn all(&self) -> usize {
        self.under_way.iter().map(|count| count.load(Ordering::Acquire)).sum()
    }
}

/// Why a request has to wait, and for how long.
struct TooMuch {
    what: String,
    wait: Duration,
}

/// Counts for all principals.
pub(super) struct Turnstile {
    limits: HttpLimits,
    known: Mutex<HashMap<Principal, Arc<Counted>>>,
    all: Arc<AtomicUsize>,
    clock: DefaultClock,
}

impl Turnstile {
    pub(super) fn new(limits: HttpLimits) -> Self {
        Self { limits, known: Mutex::default(), all: Arc::default(), clock: DefaultClock::default() }
    }

    /// What is counted of this one.
    fn counted(&self, who: &Principal) -> Arc<Counted> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_KNOWN && !known.contains_key(who) {
            known.retain(|_, counted| counted.all() > 0 || counted.rate.as_ref().is_some_and(|rate| rate.check().is_err()));
        }
        let begin = || {
            let quota = NonZeroU32::new(self.limits.rate)
                .map(|rate| Quota::per_second(rate).allow_burst(NonZeroU32::new(self.limits.burst).unwrap_or(rate)));
            Arc::new(Counted { rate: quota.map(RateLimiter::direct), under_way: Default::default() })
        };
        known.entry(who.clone()).or_insert_with(begin).clone()
    }

    fn enter(&self, who: &Principal, kind: Kind) -> Result<Place, TooMuch> {
        let counted = self.counted(who);
        if let Some(Err(early)) = counted.rate.as_ref().map(RateLimiter::check) {
            let wait = early.wait_time_from(self.clock.now());
            return Err(TooMuch { what: format!("more than {} requests a second", self.limits.rate), wait });
        }
        let most = match kind {
            Kind::Request => self.limits.concurrent,
            Kind::Stream => self.limits.streams,
        };
        let (place, mine) = (counted.of(kind), counted.all());
        let before = place.fetch_add(1, Ordering::AcqRel);
        let all = self.all.fetch_add(1, Ordering::AcqRel);
        let entered = Place { of: counted.clone(), all: self.all.clone(), kind };
        let wait = Duration::from_secs(1);
        if most > 0 && before >= most as usize {
            let what = match kind {
                Kind::Request => format!("{most} requests are being worked on already"),
                Kind::Stream => format!("{most} streams are open already"),
            };
            return Err(TooMuch { what, wait });
        }
        if mine >= PLACES.saturating_sub(all) {
            return Err(TooMuch { what: format!("{mine} of the server's places are yours, and fewer are free"), wait });
        }
        Ok(entered)
    }
}

/// Lets a request through, or answers that it comes too soon. The place is held by the request, which its handler keeps, and by the answer.
pub(super) async fn turnstile(State(turnstile): State<Arc<Turnstile>>, mut request: Request, next: Next) -> Response {
    // The guard put it there; without one nothing gets this far.
    let Some(who) = request.extensions().get::<Principal>().cloned() else { return next.run(request).await };
    let kind = Kind::of(request.method(), request.headers());
    match turnstile.enter(&who, kind) {
        Ok(place) => {
            let place = Arc::new(place);
            request.extensions_mut().insert(place.clone());
            holding(next.run(request).await, place)
        }
        Err(TooMuch { what, wait }) => {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
            let hint = format!("wait {seconds} s; the operator sets `http.rate`, `http.burst`, `http.concurrent` and `http.streams`");
            let mut refused = refuse(StatusCode::TOO_MANY_REQUESTS, ErrorCode::LimitExceeded, &what, &hint);
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
            refused
        }
    }
}

/// The same answer, which holds something until its body has left.
pub(super) fn holding<T: Send + Sync + 'static>(response: Response, held: Arc<T>) -> Response {
    response.map(|body| Body::new(Held { body, _held: held }))
}

/// A body and what it holds. Its length stays known.
struct Held<T> {
    body: Body,
    _held: Arc<T>,
}

impl<T: Send + Sync + 'static> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where few connections are free, none is kept for a next request: who has nothing to ask holds none.
pub(super) async fn keep_only_with_room(State(room): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if room.available_permits() < PLACES / 4 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<Principal> {
        (0..count).map(|number| Principal::new(format!("p{number}"))).collect()
    }

    #[test]
    fn each_has_its_own_rate_and_is_told_how_long_to_wait() {
        let turnstile = Turnstile::new(HttpLimits { rate: 1, burst: 3, ..HttpLimits::default() });
        let [greedy, modest]: [Principal; 2] = names(2).try_into().unwrap();
        for _ in 0..3 {
            assert!(turnstile.enter(&greedy, Kind::Request).is_ok());
        }
        let wait = turnstile.enter(&greedy, Kind::Request).err().unwrap().wait;
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(turnstile.enter(&modest, Kind::Request).is_ok(), "the other one's is another");
    }

    #[test]
    fn a_place_is_free_again_once_it_is_left() {
        let turnstile = Turnstile::new(HttpLimits { concurrent: 2, streams: 1, ..HttpLimits::default() });
        let one = &names(1)[0];
        let first = turnstile.enter(one, Kind::Request).ok().unwrap();
        let _second = turnstile.enter(one, Kind::Request).ok().unwrap();
        assert!(turnstile.enter(one, Kind::Request).is_err());
        let _stream = turnstile.enter(one, Kind::Stream).ok().expect("streams are counted apart");
        assert!(turnstile.enter(one, Kind::Stream).is_err());
        drop(first);
        assert!(turnstile.enter(one, Kind::Request).is_ok());
        assert_eq!(turnstile.all.load(Ordering::Acquire), 2, "what was refused left nothing behind");
    }

    /// Without shares the first two, who ask without end, would leave the third nothing.
    #[test]
    fn whoever_comes_last_finds_room() {
        let turnstile = Turnstile::new(HttpLimits { rate: 0, concurrent: 0, streams: 0, ..HttpLimits::default() });
        let mut held = Vec::new();
        let mut shares = Vec::new();
        for one in &names(4) {
            let before = held.len();
            while let Ok(place) = turnstile.enter(one, Kind::Request) {
                held.push(place);
                assert!(held.len() <= super::super::MOST_CONNECTIONS, "more places than there are");
            }
            shares.push(held.len() - before);
        }
        assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
        // Who has left everything gets as much as anybody.
        held.truncate(1);
        assert!(turnstile.enter(&names(4)[3], Kind::Request).is_ok());
    }

    #[test]
    fn whoever_does_nothing_is_forgotten_once_there_are_many() {
        let turnstile = Turnstile::new(HttpLimits::default());
        let _held = turnstile.enter(&Principal::new("busy"), Kind::Stream).ok().unwrap();
        for one in names(MOST_KNOWN * 2) {
            assert!(turnstile.enter(&one, Kind::Request).is_ok());
        }
        let known = turnstile.known.lock().unwrap();
        assert!(known.len() <= MOST_KNOWN && known.contains_key(&Principal::new("busy")), "{}", known.len());
    }
}
