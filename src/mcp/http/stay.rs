//! What is open ends with the token it was opened by: answers that are under way, and streams.
//!
//! INVARIANT: within [`LOOK`] of a token's end nothing more is sent to its bearer. The end of an answer is to the rest of the server the
//! same as a client that goes away, so the call behind it is cancelled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::mcp::auth::{Access, Admitted, Doorkeeper};

use super::challenge;

/// How often it is asked whether those who are in may stay.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Everything that is open by a token that can end.
pub(super) struct Stays {
    doorkeeper: Arc<dyn Doorkeeper>,
    open: Mutex<HashMap<u64, (Admitted, CancellationToken)>>,
    next: AtomicU64,
}

/// One of them; no longer open when dropped.
struct Stay {
    stays: Arc<Stays>,
    number: u64,
    ended: CancellationToken,
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.stays.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.number);
    }
}

impl Stays {
    pub(super) fn new(doorkeeper: Arc<dyn Doorkeeper>) -> Arc<Self> {
        Arc::new(Self { doorkeeper, open: Mutex::default(), next: AtomicU64::new(0) })
    }

    fn begin(self: &Arc<Self>, admitted: Admitted) -> Stay {
        let (number, ended) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number, (admitted, ended.clone()));
        Stay { stays: self.clone(), number, ended }
    }

    /// Ends what is open by a token that is no longer good.
    pub(super) async fn look(&self) {
        let open: Vec<(Admitted, CancellationToken)> = self.open.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut judged: Vec<(Admitted, bool)> = Vec::new();
        for (admitted, ended) in open {
            let known = judged.iter().find(|(other, _)| *other == admitted).map(|(_, stays)| *stays);
            let stays = match known {
                Some(stays) => stays,
                None => {
                    let stays = self.doorkeeper.stays(&admitted).await;
                    judged.push((admitted, stays));
                    stays
                }
            };
            if !stays {
                ended.cancel();
            }
        }
    }
}

/// Answers a request for as long as its token is good.
pub(super) async fn while_good(State(stays): State<Arc<Stays>>, request: Request, next: Next) -> Response {
    let admitted = request.extensions().get::<Admitted>().filter(|admitted| admitted.access != Access::Home).cloned();
    let Some(admitted) = admitted else { return next.run(request).await };
    let stay = stays.begin(admitted);
    let ended = stay.ended.clone();
    let response = tokio::select! {
        response = next.run(request) => response,
        () = ended.cancelled() => return challenge::unauthenticated(stays.doorkeeper.sign_in(), true),
    };
    let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream {
        return response;
    }
    let (parts, body) = response.into_parts();
    let events = body.into_data_stream().take_until(ended.cancelled_owned()).inspect(move |_| {
        // Open for as long as the stream is.
        let _ = &stay;
    });
    Response::from_parts(parts, Body::from_stream(events))
}
