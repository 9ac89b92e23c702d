//! Who may come in: the host and origin of a request and its token, on every path.
//!
//! INVARIANT: a browser that was led here by another site's name is turned away by the host, one that shows another site's page by the
//! origin, and everybody without a token by the token; none of the three answers tells more than that.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::domain::{ErrorCode, Principal};

use super::{Doorkeeper, refuse};

/// The names of this machine to itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// No token of ours is longer.
const LONGEST_TOKEN: usize = 4096;

/// What a request is held against.
pub(super) struct Guard {
    /// Pages of our own port alone may call; as browsers write them.
    origins: [String; 3],
    doorkeeper: Arc<dyn Doorkeeper>,
}

/// Why a request is turned away.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Host,
    Origin,
    Token,
}

impl Guard {
    /// For a server on this port of the loopback.
    pub(super) fn new(port: u16, doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        Self { origins: LOOPBACK.map(|host| format!("http://{host}:{port}")), doorkeeper }
    }

    fn check(&self, request: &Request) -> Result<Principal, Refused> {
        let headers = request.headers();
        let host = only(headers, HOST).map_err(|_| Refused::Host)?.ok_or(Refused::Host)?;
        let host: Authority = host.parse().map_err(|_| Refused::Host)?;
        // A request line with a whole address in it must name us as well.
        if !is_us(&host) || request.uri().authority().is_some_and(|authority| !is_us(authority)) {
            return Err(Refused::Host);
        }
        match only(headers, ORIGIN) {
            Ok(None) => {}
            Ok(Some(origin)) if self.origins.iter().any(|ours| ours == origin) => {}
            _ => return Err(Refused::Origin),
        }
        let token = only(headers, AUTHORIZATION).ok().flatten().and_then(bearer).ok_or(Refused::Token)?;
        self.doorkeeper.principal(token).ok_or(Refused::Token)
    }
}

/// The one value of a header; `Err` where it is there twice or is not plain text.
fn only(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}

fn is_us(authority: &Authority) -> bool {
    !authority.as_str().contains('@') && LOOPBACK.iter().any(|ours| ours.eq_ignore_ascii_case(authority.host()))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN).then_some(token)
}

/// Lets a request in, with its principal, or turns it away.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    match guard.check(&request) {
        Ok(principal) => {
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Err(refused) => turn_away(&refused, request.uri().path()),
    }
}

fn turn_away(refused: &Refused, path: &str) -> Response {
    match refused {
        Refused::Host => refuse(
            StatusCode::FORBIDDEN,
            ErrorCode::RequestRefused,
            "the request names another host than this machine",
            "use http://127.0.0.1 with the port that the server told",
        ),
        Refused::Origin => refuse(
            StatusCode::FORBIDDEN,
            ErrorCode::RequestRefused,
            "the request comes from a page of another site",
            "call from a program, not from a page",
        ),
        // Nobody signs in here: a client that finds nothing at these paths does not try to.
        Refused::Token if path.starts_with("/.well-known/") => {
            refuse(StatusCode::NOT_FOUND, ErrorCode::NotFound, "nothing is here", "send the token of `<home>/http.token`")
        }
        Refused::Token => {
            let mut response = refuse(
                StatusCode::UNAUTHORIZED,
                ErrorCode::Unauthenticated,
                "no token, or not a good one",
                "send `Authorization: Bearer` with the token of `<home>/http.token`",
            );
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"toolgate\""));
            response
        }
    }
}
