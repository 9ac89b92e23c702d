//! Serving over streamable HTTP at `/mcp`: both protocol generations on one port.
//!
//! INVARIANT: nothing of a request is read before its host, origin and token were found good ([`guard`]); what a handler gets was read
//! once and strictly, and what leaves was redacted as a line is ([`exchange`]). From then on it is the same server as over lines.

mod accept;
mod bounds;
mod challenge;
mod events;
mod exchange;
mod guard;
mod limits;
mod metrics;
mod owned;
mod place;
pub(super) mod probe;
mod replay;
mod sessions;
mod stay;
#[cfg(test)]
mod tests;
mod tls;
#[cfg(test)]
mod token_tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rmcp::model::Extensions;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault, PublicUrl};

use super::auth::{Admitted, Doorkeeper};
use super::notices::Listeners;
use super::server::{Ending, Server};
use super::{Gate, ServeOptions};

use bounds::Bounds;
use owned::Owners;
use place::Place;
use stay::Stays;

pub(super) use bounds::beyond;
pub use limits::HttpLimits;
pub use tls::{Tls, TlsFault};

/// The way in: where clients come to, and who lets them in.
pub struct Entrance {
    /// Bound already.
    pub listener: TcpListener,
    /// Who knows the tokens.
    pub doorkeeper: Arc<dyn Doorkeeper>,
    /// The URL by which clients know the server; needed where other machines reach it.
    pub public: Option<PublicUrl>,
    /// What is shown to those who connect; without it they are spoken to in the clear.
    pub tls: Option<Tls>,
}

impl Entrance {
    /// For this machine alone.
    #[must_use]
    pub fn local(listener: TcpListener, doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        Self { listener, doorkeeper, public: None, tls: None }
    }
}

/// Connections at once; more wait until one ends.
const MOST_CONNECTIONS: usize = 512;
/// After the order to stop everything is over within this.
const LAST_MOMENT: Duration = Duration::from_millis(850);

/// Serves at this entrance until `shutdown` fires.
///
/// # Errors
/// `CONFIG_INVALID` for a toolset that does not exist, or for a listener that other machines reach without a public URL; else where the
/// listener fails.
pub async fn serve_http(gate: Arc<dyn Gate>, entrance: Entrance, options: ServeOptions, shutdown: CancellationToken) -> Result<(), Fault> {
    let Entrance { listener, doorkeeper, public, tls } = entrance;
    let address = listener.local_addr().map_err(|error| Fault::internal(format!("the listener has no address: {error}")))?;
    if !address.ip().is_loopback() && public.is_none() {
        return Err(Fault::new(ErrorCode::ConfigInvalid, format!("{address} can be reached by other machines"))
            .hint("set `http.public_url`, or listen on 127.0.0.1 or [::1]"));
    }
    let place = Place::new(address.ip().is_loopback(), address.port(), tls.is_some(), public);
    let ending = Ending { ended: shutdown.clone(), hurry: shutdown.clone() };
    let notices = options.notices.as_ref().map(|notices| notices.subscribe());
    let redact = options.redaction();
    let (meter, metrics) = (options.meter.clone(), options.metrics.clone());
    let turnstile = Arc::new(limits::Turnstile::new(options.limits));
    let first = Server::new(gate.clone(), options, ending)?;
    let beside = first.beside();
    let bounds = Bounds { gate: gate.clone(), catalog: first.catalog(), doorkeeper: doorkeeper.clone() };
    let listeners = Arc::new(Listeners::default());
    let known = listeners.clone();
    // One server for each session of the older generation, and for each request of the newer one: all of one catalog.
    let make = move || Ok(Arc::new(first.again(known.enter())));
    let sessions = Arc::new(sessions::Sessions::default());
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let service = StreamableHttpService::new(make, sessions.clone(), protocol(&place, &shutdown));
    let (owners, stays) = (Owners::new(sessions.clone()), Stays::new(doorkeeper.clone()));
    let guard = Arc::new(guard::Guard::new(place, doorkeeper.clone()));
    let figures = metrics::Handed { metrics, sessions: sessions.clone(), meter: meter.clone() };
    let router = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || "ready\n"))
        .route("/metrics", get(metrics::hand_out).with_state(Arc::new(figures)))
        .route_service("/mcp", service)
        .fallback(nothing_here)
        .layer(from_fn_with_state(sessions, sessions::own_alone))
        .layer(from_fn_with_state(owners.clone(), owned::by_owner))
        .layer(from_fn_with_state(Arc::new(exchange::Exchange { redact, bounds }), exchange::exchange))
        .layer(from_fn_with_state(turnstile, limits::turnstile))
        .layer(from_fn_with_state(stays.clone(), stay::while_good))
        .layer(from_fn_with_state(guard, guard::admit))
        .layer(from_fn_with_state(room.clone(), limits::keep_only_with_room))
        .layer(from_fn_with_state(meter.clone(), metrics::count));
    tokio::select! {
        served = accept::accept((listener, tls), (router, room), &shutdown, (LAST_MOMENT, meter)) => served,
        () = listeners.forward(notices) => Ok(()),
        () = beside.go_on(&*gate) => Ok(()),
        () = look(&stays, &owners, &*doorkeeper) => Ok(()),
    }
}

/// Ends, again and again, what belongs to tokens that are no longer good.
async fn look(stays: &Stays, owners: &Owners, doorkeeper: &dyn Doorkeeper) {
    loop {
        tokio::time::sleep(stay::LOOK).await;
        stays.look().await;
        owners.look(doorkeeper).await;
    }
}

/// The protocol library's own checks stay on behind ours.
fn protocol(place: &Place, shutdown: &CancellationToken) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default()
        .with_cancellation_token(shutdown.clone())
        .with_max_request_body_bytes(exchange::LARGEST_BODY)
        .with_allowed_hosts(place.hosts())
}

async fn nothing_here(request: Request) -> Response {
    refuse(StatusCode::NOT_FOUND, ErrorCode::NotFound, &format!("nothing is at `{}`", request.uri().path()), "MCP is at `/mcp`")
}

/// An answer that is no protocol message: what was wrong, and what to do.
fn refuse(status: StatusCode, code: ErrorCode, message: &str, hint: &str) -> Response {
    let body = serde_json::json!({ "error": { "code": code.as_str(), "message": message, "hint": hint } });
    (status, [("content-type", "application/json")], body.to_string()).into_response()
}

/// Who sent the request that a handler is at; `None` over lines, where nobody else can.
///
/// # Errors
/// Where a request came by HTTP and past the guard, which cannot be: nothing is done for it.
pub(super) fn admitted_of(extensions: &Extensions) -> Result<Option<&Admitted>, Fault> {
    let Some(parts) = extensions.get::<axum::http::request::Parts>() else { return Ok(None) };
    match parts.extensions.get::<Admitted>() {
        Some(admitted) => Ok(Some(admitted)),
        None => Err(Fault::internal("a request without a principal")),
    }
}
