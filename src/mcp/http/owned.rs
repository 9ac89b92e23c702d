//! A session of the older generation belongs to whoever opened it, and ends with the token it was opened by.
//!
//! INVARIANT: to everybody but its owner a session's id is as unknown as one that never was: the very same answer, from the same place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use rmcp::transport::streamable_http_server::SessionManager as _;

use crate::mcp::auth::{Admitted, Doorkeeper};

use super::sessions::Sessions;

const SESSION: &str = "mcp-session-id";
/// The id of no session: theirs are random and longer.
const NONE: HeaderValue = HeaderValue::from_static("none");

/// Whose the open sessions are.
pub(super) struct Owners {
    sessions: Arc<Sessions>,
    of: Mutex<HashMap<String, Admitted>>,
}

/// The one session that a request names.
enum Named {
    No,
    One(String),
    Unclear,
}

fn named(headers: &HeaderMap) -> Named {
    let mut values = headers.get_all(SESSION).iter();
    match (values.next(), values.next()) {
        (None, _) => Named::No,
        (Some(value), None) => value.to_str().map_or(Named::Unclear, |id| Named::One(id.to_owned())),
        (Some(_), Some(_)) => Named::Unclear,
    }
}

impl Owners {
    pub(super) fn new(sessions: Arc<Sessions>) -> Arc<Self> {
        Arc::new(Self { sessions, of: Mutex::default() })
    }

    fn is_owner(&self, id: &str, admitted: &Admitted) -> bool {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.get(id).is_some_and(|owner| owner.principal == admitted.principal && owner.access == admitted.access)
    }

    fn forget(&self, id: &str) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Ends sessions whose token is no longer good, and forgets those that ended by themselves.
    pub(super) async fn look(&self, doorkeeper: &dyn Doorkeeper) {
        let all: Vec<(String, Admitted)> =
            self.of.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(id, owner)| (id.clone(), owner.clone())).collect();
        for (id, owner) in all {
            let session = id.as_str().into();
            let is_open = self.sessions.has_session(&session).await.unwrap_or(false);
            if is_open && doorkeeper.stays(&owner).await {
                continue;
            }
            if is_open && let Err(error) = self.sessions.close_session(&session).await {
                tracing::warn!("a session whose token is no longer good could not be closed: {error}");
            }
            self.forget(&id);
        }
    }
}

/// Leads a request to its session where that is its sender's, and remembers who opens one.
pub(super) async fn by_owner(State(owners): State<Arc<Owners>>, mut request: Request, next: Next) -> Response {
    let Some(admitted) = request.extensions().get::<Admitted>().cloned() else { return next.run(request).await };
    let named = named(request.headers());
    let is_theirs = match &named {
        Named::No => true,
        Named::One(id) => owners.is_owner(id, &admitted),
        Named::Unclear => false,
    };
    if !is_theirs {
        request.headers_mut().insert(SESSION, NONE);
    }
    let ends = request.method() == Method::DELETE;
    let response = next.run(request).await;
    match named {
        Named::No => {
            if let Some(id) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
                // Tokens of a sign-in service are renewed while a session lives on.
                let until = admitted.until.filter(|_| !admitted.access.can_widen());
                owners.of.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Admitted { until, ..admitted });
            }
        }
        Named::One(id) if is_theirs && ends && response.status().is_success() => owners.forget(&id),
        Named::One(_) | Named::Unclear => {}
    }
    response
}
