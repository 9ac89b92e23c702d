//! Serving over streamable HTTP at `/mcp`: both protocol generations on one port.
//!
//! INVARIANT: nothing of a request is read before its host, origin and token were found good ([`guard`]); what a handler gets was read
//! once and strictly, and what leaves was redacted as a line is ([`exchange`]). From then on it is the same server as over lines.

mod accept;
mod events;
mod exchange;
mod guard;
mod limits;
mod replay;
mod sessions;
#[cfg(test)]
mod tests;

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

use crate::domain::{ErrorCode, Fault, Principal};

use super::notices::Listeners;
use super::server::{Ending, Server};
use super::{Gate, ServeOptions};

pub use limits::HttpLimits;

/// Who knows the tokens.
pub trait Doorkeeper: Send + Sync {
    /// Whom this token was given to; `None` for a token that is not good.
    fn principal(&self, token: &str) -> Option<Principal>;
}

/// Connections at once; more wait until one ends.
const MOST_CONNECTIONS: usize = 512;
/// After the order to stop every connection is over within this; then the house has its last moment, and both together are less than a second.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// Serves on a bound loopback listener until `shutdown` fires.
///
/// # Errors
/// `CONFIG_INVALID` for a toolset that does not exist, or for a listener that other machines reach; else where the listener fails.
pub async fn serve_http(
    gate: Arc<dyn Gate>,
    listener: TcpListener,
    doorkeeper: Arc<dyn Doorkeeper>,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Result<(), Fault> {
    let address = listener.local_addr().map_err(|error| Fault::internal(format!("the listener has no address: {error}")))?;
    if !address.ip().is_loopback() {
        return Err(Fault::new(ErrorCode::ConfigInvalid, format!("{address} can be reached by other machines"))
            .hint("listen on 127.0.0.1 or [::1]; from another machine come through `ssh -L`"));
    }
    let ending = Ending { ended: shutdown.clone(), hurry: shutdown.clone() };
    let notices = options.notices.as_ref().map(|notices| notices.subscribe());
    let redact = options.redaction();
    let turnstile = Arc::new(limits::Turnstile::new(options.limits));
    let first = Server::new(gate, options, ending)?;
    let listeners = Arc::new(Listeners::default());
    let known = listeners.clone();
    // One server for each session of the older generation, and for each request of the newer one: all of one catalog.
    let make = move || Ok(Arc::new(first.again(known.enter())));
    let sessions = Arc::new(sessions::Sessions::default());
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let service = StreamableHttpService::new(make, sessions.clone(), protocol(&shutdown));
    let guard = Arc::new(guard::Guard::new(address.port(), doorkeeper));
    let router = Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(async || "ready\n"))
        .route_service("/mcp", service)
        .fallback(nothing_here)
        .layer(from_fn_with_state(sessions, sessions::own_alone))
        .layer(from_fn_with_state(redact, exchange::exchange))
        .layer(from_fn_with_state(turnstile, limits::turnstile))
        .layer(from_fn_with_state(guard, guard::admit))
        .layer(from_fn_with_state(room.clone(), limits::keep_only_with_room));
    tokio::select! {
        served = accept::accept(listener, (router, room), &shutdown, LAST_MOMENT) => served,
        () = listeners.forward(notices) => Ok(()),
    }
}

/// The protocol library's own checks stay on behind ours.
fn protocol(shutdown: &CancellationToken) -> StreamableHttpServerConfig {
    StreamableHttpServerConfig::default().with_cancellation_token(shutdown.clone()).with_max_request_body_bytes(exchange::LARGEST_BODY)
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
pub(super) fn principal_of(extensions: &Extensions) -> Result<Option<Principal>, Fault> {
    let Some(parts) = extensions.get::<axum::http::request::Parts>() else { return Ok(None) };
    match parts.extensions.get::<Principal>() {
        Some(principal) => Ok(Some(principal.clone())),
        None => Err(Fault::internal("a request without a principal")),
    }
}
