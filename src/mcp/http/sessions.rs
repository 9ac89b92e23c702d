//! Sessions of the older generation: whose they are, how many there may be, and their streams, which can be taken up again.
//!
//! INVARIANT: a session belongs to the principal that opened it; to everybody else it is as unknown as none. Nobody has more sessions than
//! could still be opened, so whoever comes last can open one. A call goes on when the connection that waits for it breaks, and its answer
//! can be fetched for a while by `Last-Event-ID`, in its session alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, future, stream};
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, LocalSessionManagerError, SessionTransport};
use rmcp::transport::streamable_http_server::session::{EventStream, ServerSseMessage, SessionId, SessionManager};
use tokio::time::Instant;

use crate::domain::{ErrorCode, Principal};

use super::limits::holding;
use super::refuse;
use super::replay::{Kept, Shelf};

/// The header that names a session.
const SESSION: &str = "mcp-session-id";
/// A session without a message for so long is over. A call in flight sends none, so it must outlast those.
const IDLE: Duration = Duration::from_hours(1);
/// A principal that has its share of sessions gives up one that it has not used for so long, rather than being refused a new one.
const UNUSED: Duration = Duration::from_mins(2);
/// Sessions at once; each holds a server of its own until it is over.
pub(super) const MOST: usize = 256;
/// The event that the library sends before there is one with a place of its own.
const PRIMING: &str = "0";

/// One session: the library's manager of one, and what its streams carried.
struct Open {
    id: SessionId,
    one: LocalSessionManager,
    kept: Arc<Kept>,
    /// Whether its own stream of notices was opened before.
    heard: AtomicBool,
    /// Requests and streams that are under way.
    busy: AtomicUsize,
}

/// Whose a session is, and when it was last used.
struct Owned {
    whose: Principal,
    used: Instant,
}

/// All sessions.
#[derive(Default)]
pub(super) struct Sessions {
    open: RwLock<HashMap<SessionId, Arc<Open>>>,
    owners: RwLock<HashMap<SessionId, Owned>>,
    bytes: Arc<AtomicUsize>,
}

impl Sessions {
    fn get(&self, id: &str) -> Result<Arc<Open>, LocalSessionManagerError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(id).cloned().ok_or_else(|| LocalSessionManagerError::SessionNotFound(id.into()))
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The session of this name, where it is this principal's. To tell is to use it.
    fn of(&self, whose: &Principal, id: &str) -> Option<Arc<Open>> {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let owned = owners.get_mut(id).filter(|owned| owned.whose == *whose)?;
        owned.used = Instant::now();
        drop(owners);
        self.get(id).ok()
    }

    /// From now on it is this principal's.
    fn own(&self, whose: Principal, id: &str) {
        let Ok(open) = self.get(id) else { return };
        self.owners.write().unwrap_or_else(PoisonError::into_inner).insert(open.id.clone(), Owned { whose, used: Instant::now() });
    }

    /// Whether this principal may open one more; where it has its share, one that it left unused makes room.
    async fn has_room(&self, whose: &Principal) -> bool {
        let unused = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
            let mine = owners.values().filter(|owned| owned.whose == *whose).count();
            if mine < MOST.saturating_sub(open.len()) {
                return true;
            }
            let is_unused = |id: &SessionId| open.get(id).is_some_and(|session| session.busy.load(Ordering::Acquire) == 0);
            let candidates = owners.iter().filter(|(id, owned)| owned.whose == *whose && owned.used.elapsed() >= UNUSED && is_unused(id));
            candidates.min_by_key(|(_, owned)| owned.used).map(|(id, _)| id.clone())
        };
        match unused {
            Some(id) => self.close_session(&id).await.is_ok(),
            None => false,
        }
    }
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = SessionTransport;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let kept = Arc::new(Kept::new(self.bytes.clone()));
        let mut one = LocalSessionManager::default().with_event_store(Arc::new(Shelf(kept.clone())));
        one.session_config.keep_alive = Some(IDLE);
        let (id, transport) = one.create_session().await?;
        let open = Open { id: id.clone(), one, kept, heard: AtomicBool::new(false), busy: AtomicUsize::new(0) };
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), Arc::new(open));
        Ok((id, transport))
    }

    async fn initialize_session(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.get(id)?.one.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        Ok(self.get(id).is_ok())
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.owners.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        let closed = self.open.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        match closed {
            Some(open) => {
                open.kept.close();
                open.one.close_session(id).await
            }
            None => Ok(()),
        }
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let open = self.get(id)?;
        let stream: EventStream = Box::pin(open.one.create_stream(id, message).await?);
        Ok(stream)
    }

    async fn accept_message(&self, id: &SessionId, message: ClientJsonRpcMessage) -> Result<(), Self::Error> {
        self.get(id)?.one.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        let open = self.get(id)?;
        let live: EventStream = Box::pin(open.one.create_standalone_stream(id).await?);
        // What was told before anybody listened is told to whoever listens first.
        let missed = if open.heard.swap(true, Ordering::AcqRel) { Vec::new() } else { open.kept.of_stream(&format!("{id}:common")) };
        let place = |message: &ServerSseMessage| message.event_id.as_deref().and_then(|id| id.parse::<u64>().ok()).unwrap_or_default();
        let last = missed.last().map(place).unwrap_or_default();
        let live = live.filter(move |message| future::ready(last == 0 || place(message) > last));
        Ok(stream::iter(missed).chain(live))
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        // Nothing with a place of its own was heard yet.
        let stream: EventStream = if last_event_id == PRIMING {
            Box::pin(self.create_standalone_stream(id).await?)
        } else {
            let open = self.get(id)?;
            Box::pin(open.one.resume(id, last_event_id).await?)
        };
        Ok(stream)
    }
}

/// Something of a session is under way until this is gone.
struct Busy(Arc<Open>);

impl Busy {
    fn with(open: Arc<Open>) -> Self {
        open.busy.fetch_add(1, Ordering::AcqRel);
        Self(open)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Whether a request opens a session: requests of the newer generation say so, and need none.
fn opens(method: &Method, headers: &HeaderMap) -> bool {
    let needs_none = headers.get("mcp-protocol-version").is_some_and(|version| version.as_bytes() >= b"2026".as_slice());
    method == Method::POST && !needs_none
}

/// Lets a request into its principal's own sessions alone, and refuses what would open one session too many.
pub(super) async fn own_alone(State(sessions): State<Arc<Sessions>>, mut request: Request, next: Next) -> Response {
    let Some(whose) = request.extensions().get::<Principal>().cloned() else { return next.run(request).await };
    let named = request.headers().get(SESSION).map(|id| id.to_str().unwrap_or_default().to_owned());
    if let Some(id) = named {
        let Some(open) = sessions.of(&whose, &id) else { return (StatusCode::NOT_FOUND, "Not Found: Session not found").into_response() };
        let busy = Arc::new(Busy::with(open));
        request.extensions_mut().insert(busy.clone());
        return holding(next.run(request).await, busy);
    }
    if opens(request.method(), request.headers()) && !sessions.has_room(&whose).await {
        let message = "as many sessions are open as there may be, or as many are yours as could still be opened";
        let hint = "end one (DELETE), or wait until one is unused for two minutes";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::LimitExceeded, message, hint);
    }
    let response = next.run(request).await;
    if let Some(id) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
        sessions.own(whose, id);
    }
    response
}
