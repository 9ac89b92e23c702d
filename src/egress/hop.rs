//! One request of an exchange, and the one that follows when it is redirected. Pure: decides what is sent, sends nothing.

use bytes::Bytes;
use reqwest::Method;

use crate::domain::{ErrorCode, Fault};

use super::headers::HeaderList;
use super::request::{check_body, method};
use super::target::Target;
use super::{Caps, Request, Scheme};

/// What one hop sends where.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) target: Target,
    /// The caller's headers; those of credentials never come here.
    pub(super) headers: HeaderList,
    pub(super) body: Bytes,
    /// 0 for the request itself.
    pub(super) number: u8,
}

/// A hop that is not even tried, with what is known of where it would have gone.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) target: Option<Box<Target>>,
    pub(super) fault: Fault,
}

impl Hop {
    /// The caller's request, if it is well-formed and within its caps.
    pub(super) fn first(request: Request, caps: &Caps) -> Result<Self, Refusal> {
        let target = Target::parse(&request.url, caps.url.as_usize()).map_err(|fault| Refusal { target: None, fault })?;
        let parts = || {
            let method = method(&request.method)?;
            check_body(request.body.len(), caps.request_body)?;
            Ok((method, HeaderList::of_caller(&request.headers, caps.request_headers.as_usize())?))
        };
        match parts() {
            Ok((method, headers)) => Ok(Self { method, target, headers, body: request.body, number: 0 }),
            Err(fault) => Err(Refusal { target: Some(Box::new(target)), fault }),
        }
    }

    /// The request that a redirect asks for. Host rules and guard are the next hop's own business.
    pub(super) fn follow(self, status: u16, location: &str, caps: &Caps) -> Result<Self, Refusal> {
        let from = &self.target.origin;
        let target = self.target.join(location, caps.url.as_usize()).map_err(|fault| {
            let code = if fault.code == ErrorCode::LimitExceeded { fault.code } else { ErrorCode::EgressDenied };
            let fault = Fault::new(code, format!("the redirect of `{from}` is refused: {}", fault.message))
                .hint("ask with 0 redirects to see the redirect itself");
            Refusal { target: None, fault }
        })?;
        if from.scheme == Scheme::Https && target.origin.scheme == Scheme::Http {
            let fault =
                Fault::new(ErrorCode::EgressDenied, format!("the redirect of `{from}` to plain http at `{}` is refused", target.origin))
                    .hint("ask the https URL of that host");
            return Err(Refusal { target: Some(Box::new(target)), fault });
        }
        if self.number >= caps.redirects {
            let fault = Fault::new(ErrorCode::LimitExceeded, format!("more than {} redirects, the last one by `{from}`", caps.redirects))
                .hint("the site may redirect in a circle; ask the final URL");
            return Err(Refusal { target: Some(Box::new(target)), fault });
        }
        let Self { mut method, mut headers, mut body, number, .. } = self;
        if becomes_get(status, &method) {
            method = Method::GET;
            body = Bytes::new();
            headers.drop_body_headers();
        }
        if target.origin != self.target.origin {
            headers.drop_secrets();
        }
        Ok(Self { method, target, headers, body, number: number.saturating_add(1) })
    }
}

/// Whether a status asks for another URL.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// What browsers do: `POST` is not sent again by 301 and 302, and 303 turns all but `GET` and `HEAD` into `GET`.
fn becomes_get(status: u16, method: &Method) -> bool {
    match status {
        301 | 302 => method == Method::POST,
        303 => method != Method::GET && method != Method::HEAD,
        _ => false,
    }
}
