//! What a caller asks for and gets: request, terms, caps and answer.

use crate::domain::{Bytes, ErrorCode, Fault, Millis};

use super::HostRules;
use super::record::shown;

/// Longest method taken.
const MAX_METHOD: usize = 32;

/// One request, as the caller gives it: nothing of it is trusted.
#[derive(Debug, Clone)]
pub struct Request {
    /// An HTTP method; `CONNECT` and `TRACE` are refused.
    pub method: String,
    /// An absolute http or https URL.
    pub url: String,
    /// Headers in order. `Host`, `Content-Length`, `Proxy-*` and those that end at the next machine are dropped.
    pub headers: Vec<(String, String)>,
    /// The body, sent as it is.
    pub body: bytes::Bytes,
}

/// What the caller's own rules allow the request.
#[derive(Debug, Clone)]
pub struct Terms {
    /// For what the request is made: names the operator's exceptions and credentials, and stands in the record.
    pub purpose: String,
    /// Where it, and each redirect, may go.
    pub rules: HostRules,
    /// What it may use up.
    pub caps: Caps,
}

/// What one request may use up, redirects included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Bytes of a URL, also of one a redirect gives.
    pub url: Bytes,
    /// Bytes of the request's header names and values.
    pub request_headers: Bytes,
    /// Bytes of the request's body.
    pub request_body: Bytes,
    /// Bytes of an answer's header names and values. A connection gives up at about 400 KiB whatever stands here.
    pub answer_headers: Bytes,
    /// Bytes of the answer's body on the wire; nothing is decompressed.
    pub answer_body: Bytes,
    /// Redirects to follow; with 0 the redirect itself is the answer.
    pub redirects: u8,
    /// Wall time of the whole exchange.
    pub wall: Millis,
    /// Time to connect, TLS included, for each hop.
    pub connect: Millis,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            url: Bytes(8 << 10),
            request_headers: Bytes(32 << 10),
            request_body: Bytes(8 << 20),
            answer_headers: Bytes(64 << 10),
            answer_body: Bytes(16 << 20),
            redirects: 5,
            wall: Millis(30_000),
            connect: Millis(10_000),
        }
    }
}

/// What came back. Any status is an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The standard reason phrase of the status; empty where there is none.
    pub reason: String,
    /// Headers in order, names in lower case, without those that belong to the connection.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub body: bytes::Bytes,
    /// The URL that answered, in canonical form.
    pub url: String,
    /// Redirects followed.
    pub hops: u8,
}

/// The method to send: standard ones in upper case, others as written.
pub(super) fn method(text: &str) -> Result<reqwest::Method, Fault> {
    const STANDARD: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let refuse = |why: &str| {
        let message = format!("method `{}` cannot be used: {why}", shown(text, MAX_METHOD));
        Fault::new(ErrorCode::InvalidInput, message).hint("use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS")
    };
    if text.len() > MAX_METHOD {
        return Err(refuse("it is too long"));
    }
    if ["CONNECT", "TRACE", "TRACK"].iter().any(|no| no.eq_ignore_ascii_case(text)) {
        return Err(refuse("it opens tunnels or repeats the request's headers"));
    }
    let known = STANDARD.iter().find(|known| known.eq_ignore_ascii_case(text)).copied();
    reqwest::Method::from_bytes(known.unwrap_or(text).as_bytes()).map_err(|_| refuse("it is not an HTTP token"))
}

/// Whether the body keeps to its cap.
pub(super) fn check_body(length: usize, cap: Bytes) -> Result<(), Fault> {
    if length > cap.as_usize() {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("the request body has {length} bytes, more than the {} allowed", cap.0))
            .hint("send less in one request"));
    }
    Ok(())
}
