//! The bodies of a request and of its answer: read once and strictly, sent without secrets.
//!
//! INVARIANT: the protocol library gets what the strict reader read, written anew, so no two readers can disagree on it. Memory for one
//! request is bounded, and so is the time that its body may take.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rmcp::model::ServerJsonRpcMessage;

use crate::call::Redact;
use crate::domain::ErrorCode;
use crate::mcp::wire;

use super::bounds::Bounds;
use super::{events, refuse};

/// The longest body that is read, in bytes: as long as the longest line.
pub(super) const LARGEST_BODY: usize = wire::LONGEST_LINE;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);

/// What bodies are held against.
pub(super) struct Exchange {
    pub(super) redact: Arc<dyn Redact>,
    pub(super) bounds: Bounds,
}

/// Reads the request's body, passes it on, and redacts what comes back.
pub(super) async fn exchange(State(state): State<Arc<Exchange>>, request: Request, next: Next) -> Response {
    let request = if request.method() == Method::POST {
        match read(request, &state).await {
            Ok(request) => request,
            Err(refused) => return *refused,
        }
    } else {
        request
    };
    without_secrets(next.run(request).await, state.redact.clone()).await
}

fn is(headers: &HeaderMap, kind: &str) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(kind))
}

async fn read(request: Request, Exchange { redact, bounds }: &Exchange) -> Result<Request, Box<Response>> {
    let (mut parts, body) = request.into_parts();
    // What a page can send without asking first is never JSON.
    if !is(&parts.headers, "application/json") {
        return Err(Box::new(refuse(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorCode::InvalidInput,
            "the body is not said to be JSON",
            "send `Content-Type: application/json`",
        )));
    }
    let too_large = |why: &str| {
        let message = format!("{why}; at most {LARGEST_BODY} bytes are read");
        Box::new(refuse(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::LimitExceeded, &message, "send less, or in parts"))
    };
    // What says that it is too long is not waited for.
    let said = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(too_large("the body is too long"));
    }
    let bytes = match tokio::time::timeout(BODY_TIME, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(too_large(&format!("the body broke off or is too long ({error})"))),
        Err(_) => {
            let message = format!("the body did not arrive within {} s", BODY_TIME.as_secs());
            return Err(Box::new(refuse(StatusCode::REQUEST_TIMEOUT, ErrorCode::Timeout, &message, "send it at once")));
        }
    };
    let written = match wire::sound(&bytes) {
        Ok(value) => {
            if let Some(refused) = bounds.refuse(&parts.extensions, &value).await {
                return Err(Box::new(refused));
            }
            serde_json::to_vec(&value).map_err(|_| Box::new(StatusCode::BAD_REQUEST.into_response()))?
        }
        Err(refused) => {
            let (error, id) = *refused;
            let line = wire::encode(&ServerJsonRpcMessage::error(error, id), &**redact).unwrap_or_default();
            return Err(Box::new((StatusCode::BAD_REQUEST, [(CONTENT_TYPE, "application/json")], line).into_response()));
        }
    };
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(written.len()));
    Ok(Request::from_parts(parts, Body::from(written)))
}

async fn without_secrets(response: Response, redact: Arc<dyn Redact>) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    if is(&parts.headers, "text/event-stream") {
        return Response::from_parts(parts, events::without_secrets(body, redact));
    }
    // Every other answer is one message, or a word of the protocol library's; each is in memory whole already.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let bytes = match is(&parts.headers, "application/json").then(|| wire::redacted(&bytes, &*redact)) {
        Some(Ok(Some(redacted))) => Bytes::from(redacted),
        Some(Err(_)) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Some(Ok(None)) | None => bytes,
    };
    Response::from_parts(parts, Body::from(bytes))
}
