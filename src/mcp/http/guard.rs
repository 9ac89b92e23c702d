//! Who may come in: the host and origin of a request and its token, on every path.
//!
//! INVARIANT: a browser that was led here by another site's name is turned away by the host, one that shows another site's page by the
//! origin, and everybody without a token by the token; none of the three answers tells more than that. Without a token nothing is
//! answered but where tokens can be had. A token goes no further than this file.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::domain::{ErrorCode, Scope};
use crate::mcp::auth::{Admitted, Denied, Doorkeeper};

use super::bounds::beyond;
use super::place::Place;
use super::{challenge, refuse};

/// No token is longer.
const LONGEST_TOKEN: usize = 16 * 1024;

/// What a request is held against.
pub(super) struct Guard {
    place: Place,
    doorkeeper: Arc<dyn Doorkeeper>,
}

/// Why a request is turned away before its token is looked at.
#[derive(Debug, PartialEq, Eq)]
enum Refused {
    Host,
    Origin,
}

impl Guard {
    pub(super) fn new(place: Place, doorkeeper: Arc<dyn Doorkeeper>) -> Self {
        Self { place, doorkeeper }
    }

    /// Whether the request means us and comes from no page but ours.
    fn check(&self, request: &Request) -> Result<(), Refused> {
        let headers = request.headers();
        let host = only(headers, HOST).map_err(|()| Refused::Host)?.ok_or(Refused::Host)?;
        let host: Authority = host.parse().map_err(|_| Refused::Host)?;
        // A request line with a whole address in it must name us as well.
        if !self.place.is_us(&host) || request.uri().authority().is_some_and(|authority| !self.place.is_us(authority)) {
            return Err(Refused::Host);
        }
        match only(headers, ORIGIN) {
            Ok(None) => Ok(()),
            Ok(Some(origin)) if self.place.is_our_page(origin) => Ok(()),
            _ => Err(Refused::Origin),
        }
    }

    fn turn_away(&self, refused: &Refused) -> Response {
        match refused {
            Refused::Host => refuse(
                StatusCode::FORBIDDEN,
                ErrorCode::RequestRefused,
                "the request names another host than this server",
                &format!("use {}", self.place.shown()),
            ),
            Refused::Origin => refuse(
                StatusCode::FORBIDDEN,
                ErrorCode::RequestRefused,
                "the request comes from a page of another site",
                "call from a program, not from a page",
            ),
        }
    }

    /// Who sent the request, by its token.
    async fn bearer_of(&self, headers: &HeaderMap, uri: &Uri) -> Result<Admitted, Box<Response>> {
        let sign_in = self.doorkeeper.sign_in();
        let path = uri.path();
        let shown = only(headers, AUTHORIZATION).ok().flatten().and_then(bearer);
        let Some(token) = shown.filter(|_| !holds_token(uri)) else {
            // What would say where to sign in is not there, so a client that looks for it does not try to.
            return Err(Box::new(if path.starts_with("/.well-known/") {
                refuse(StatusCode::NOT_FOUND, ErrorCode::NotFound, "nothing is here", "send a token; `docs/http.md` says which")
            } else {
                challenge::unauthenticated(sign_in, shown.is_some())
            }));
        };
        let admitted = match self.doorkeeper.admit(token).await {
            Ok(admitted) => admitted,
            Err(Denied::Token) => return Err(Box::new(challenge::unauthenticated(sign_in, true))),
            Err(Denied::Unsure(fault)) => return Err(Box::new(challenge::unsure(&fault))),
        };
        if path == "/metrics" && !admitted.scopes.allow(Scope::MetricsRead) {
            let fault = beyond("the server's figures", Scope::MetricsRead, &admitted);
            let sign_in = sign_in.filter(|_| admitted.access.can_widen());
            return Err(Box::new(challenge::insufficient(sign_in, Scope::MetricsRead, &fault)));
        }
        Ok(admitted)
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

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= LONGEST_TOKEN).then_some(token)
}

/// Addresses stand in logs and histories: a token in one is burnt, whatever the header says.
fn holds_token(uri: &Uri) -> bool {
    let pairs = uri.query().unwrap_or_default().split('&');
    pairs.filter_map(|pair| pair.split('=').next()).any(|name| name.eq_ignore_ascii_case("access_token"))
}

/// Lets a request in, with its principal, or turns it away.
pub(super) async fn admit(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    if let Err(refused) = guard.check(&request) {
        return guard.turn_away(&refused);
    }
    if let Some(sign_in) = guard.doorkeeper.sign_in()
        && request.method() == Method::GET
        && challenge::is_metadata(request.uri().path())
    {
        return challenge::metadata(sign_in);
    }
    match guard.bearer_of(request.headers(), request.uri()).await {
        Ok(admitted) => {
            request.headers_mut().remove(AUTHORIZATION);
            request.extensions_mut().insert(admitted.principal.clone());
            request.extensions_mut().insert(admitted);
            next.run(request).await
        }
        Err(refused) => *refused,
    }
}
