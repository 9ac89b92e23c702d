//! What HTTP says to those who have no token, or one that does not reach so far; and where tokens can be had.
//!
//! INVARIANT: a client is pointed to a sign-in service only where there is one; an answer never says what was wrong with a token.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::{ErrorCode, Fault, Scope};
use crate::mcp::auth::SignIn;

use super::refuse;

/// Where the description of this resource is, without and with the resource's own path (RFC 9728).
const METADATA: [&str; 2] = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"];

/// What most clients need; who is to have less gets less from the service.
const USUAL: [Scope; 2] = [Scope::ToolsRead, Scope::ToolsExec];

/// Whether the description is asked for.
pub(super) fn is_metadata(path: &str) -> bool {
    METADATA.contains(&path)
}

/// The description of this server as a resource, for everybody.
pub(super) fn metadata(sign_in: &SignIn) -> Response {
    let body = json!({
        "resource": sign_in.public.resource(),
        "resource_name": "toolgate",
        "authorization_servers": [sign_in.issuer],
        "scopes_supported": Scope::ALL.map(Scope::as_str),
        "bearer_methods_supported": ["header"],
    });
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "max-age=300")], body.to_string()).into_response()
}

fn words(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

/// Adds the header that tells a client what to do.
fn challenging(mut response: Response, sign_in: Option<&SignIn>, error: Option<&str>, scopes: &[Scope]) -> Response {
    let text = match sign_in {
        None => "Bearer realm=\"toolgate\"".to_owned(),
        Some(sign_in) => {
            let error = error.map(|error| format!("error=\"{error}\", ")).unwrap_or_default();
            let place = METADATA.last().copied().unwrap_or_default();
            format!("Bearer {error}resource_metadata=\"{}{place}\", scope=\"{}\"", sign_in.public, words(scopes))
        }
    };
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response
}

/// No token, or none that is good.
pub(super) fn unauthenticated(sign_in: Option<&SignIn>, showed_one: bool) -> Response {
    let hint = match sign_in {
        None => "send `Authorization: Bearer` with the token of `<home>/http.token`, or one that `toolgate tokens create` made",
        Some(_) => {
            "sign in where `WWW-Authenticate` points, or send `Authorization: Bearer` with a token that `toolgate tokens create` made"
        }
    };
    let response = refuse(StatusCode::UNAUTHORIZED, ErrorCode::Unauthenticated, "no token, or not a good one", hint);
    challenging(response, sign_in, showed_one.then_some("invalid_token"), &USUAL)
}

/// It cannot be said now whether the token is good.
pub(super) fn unsure(fault: &Fault) -> Response {
    tracing::warn!(code = %fault.code, "a token cannot be judged: {}", fault.message);
    let hint = "the sign-in service's keys cannot be had now; try again";
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::EgressFailed, "the token cannot be judged now", hint);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
    response
}

/// The token is good and does not reach so far. All that is needed is named, so that signing in once more is enough.
pub(super) fn insufficient(sign_in: Option<&SignIn>, needed: Scope, fault: &Fault) -> Response {
    let response = refuse(StatusCode::FORBIDDEN, fault.code, &fault.message, fault.hint.as_deref().unwrap_or_default());
    let all: &[Scope] = match &needed {
        Scope::ToolsExec => &USUAL,
        Scope::ToolsRead | Scope::MetricsRead => std::slice::from_ref(&needed),
    };
    match sign_in {
        None => response,
        Some(_) => challenging(response, sign_in, Some("insufficient_scope"), all),
    }
}
