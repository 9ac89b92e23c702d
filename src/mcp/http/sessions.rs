//! Sessions of the older generation: whose they are, how many there may be, and their streams, which can be taken up again.
//!
//! INVARIANT: a session belongs to the token that opened it, and ends with it; to everybody else it is as unknown as none: the very same
//! answer, from the same place. Nobody has more sessions than could still be opened, so whoever comes last can open one. A call goes on when the connection that waits for it breaks, and its answer
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
use crate::mcp::auth::{Admitted, Doorkeeper};

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
pub(super) const MOST: usize = 512;
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
    whose: Admitted,
    used: Instant,
}

impl Owned {
    fn is_of(&self, admitted: &Admitted) -> bool {
        self.whose.principal == admitted.principal && self.whose.access == admitted.access
    }
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

    /// The session of this name, where it is theirs. To tell is to use it.
    fn of(&self, admitted: &Admitted, id: &str) -> Option<Arc<Open>> {
        let mut owners = self.owners.write().unwrap_or_else(PoisonError::into_inner);
        let owned = owners.get_mut(id).filter(|owned| owned.is_of(admitted))?;
        owned.used = Instant::now();
        drop(owners);
        self.get(id).ok()
    }

    /// From now on it is theirs.
    fn own(&self, admitted: Admitted, id: &str) {
        let Ok(open) = self.get(id) else { return };
        // Tokens of a sign-in service are renewed while a session lives on.
        let until = admitted.until.filter(|_| !admitted.access.can_widen());
        let whose = Admitted { until, ..admitted };
        self.owners.write().unwrap_or_else(PoisonError::into_inner).insert(open.id.clone(), Owned { whose, used: Instant::now() });
    }

    /// Whether this principal may open one more; where it has its share, one that it left unused makes room.
    async fn has_room(&self, whose: &Principal) -> bool {
        let unused = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
            let mine = owners.values().filter(|owned| owned.whose.principal == *whose).count();
            if mine < MOST.saturating_sub(open.len()) {
                return true;
            }
            let is_unused = |id: &SessionId| open.get(id).is_some_and(|session| session.busy.load(Ordering::Acquire) == 0);
            let candidates =
                owners.iter().filter(|(id, owned)| owned.whose.principal == *whose && owned.used.elapsed() >= UNUSED && is_unused(id));
            candidates.min_by_key(|(_, owned)| owned.used).map(|(id, _)| id.clone())
        };
        match unused {
            Some(id) => self.close_session(&id).await.is_ok(),
            None => false,
        }
    }

    /// Ends the sessions whose token is no longer good.
    pub(super) async fn look(&self, doorkeeper: &dyn Doorkeeper) {
        let owners: Vec<(SessionId, Admitted)> = {
            let owners = self.owners.read().unwrap_or_else(PoisonError::into_inner);
            owners.iter().map(|(id, owned)| (id.clone(), owned.whose.clone())).collect()
        };
        for (id, whose) in owners {
            if !doorkeeper.stays(&whose).await
                && let Err(error) = self.close_session(&id).await
            {
                tracing::warn!("a session whose token is no longer good could not be closed: {error}");
            }
        }
    }
}

/// The one session that a request names; `Err` where it names several, or none that can be read.
fn named(headers: &HeaderMap) -> Result<Option<String>, ()> {
    let mut values = headers.get_all(SESSION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(|id| Some(id.to_owned())).map_err(drop),
        (Some(_), Some(_)) => Err(()),
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

/// Lets a request into its sender's own sessions alone, and refuses what would open one session too many.
pub(super) async fn own_alone(State(sessions): State<Arc<Sessions>>, mut request: Request, next: Next) -> Response {
    let Some(admitted) = request.extensions().get::<Admitted>().cloned() else { return next.run(request).await };
    let unknown = || (StatusCode::NOT_FOUND, "Not Found: Session not found").into_response();
    let Ok(named) = named(request.headers()) else { return unknown() };
    if let Some(id) = named {
        let Some(open) = sessions.of(&admitted, &id) else { return unknown() };
        let busy = Arc::new(Busy::with(open));
        request.extensions_mut().insert(busy.clone());
        return holding(next.run(request).await, busy);
    }
    if opens(request.method(), request.headers()) && !sessions.has_room(&admitted.principal).await {
        let message = "as many sessions are open as there may be, or as many are yours as could still be opened";
        let hint = "end one (DELETE), or wait until one is unused for two minutes";
        return refuse(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::LimitExceeded, message, hint);
    }
    let response = next.run(request).await;
    if let Some(id) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
        sessions.own(admitted, id);
    }
    response
}
