//! What went wrong below, in words of our own.
//!
//! INVARIANT: nothing the other side wrote, and no URL, is in these texts.

use std::error::Error;
use std::io::ErrorKind;

use crate::domain::{ErrorCode, Fault, Millis};

use super::Origin;

/// What is known about the cause of a failure.
#[derive(Default)]
struct Cause {
    tls: Option<&'static str>,
    io: Option<ErrorKind>,
    head_too_large: bool,
    incomplete: bool,
}

/// Why a hop that was allowed did not give an answer.
pub(super) fn fault(error: &reqwest::Error, origin: &Origin, connect: Millis) -> Fault {
    let mut cause = Cause::default();
    cause.look(error);
    if cause.head_too_large {
        return headers_too_large(origin);
    }
    if let Some(why) = cause.tls {
        return Fault::new(ErrorCode::EgressFailed, format!("no secure connection to `{origin}`: {why}"))
            .hint("check the host; the operator can add the root certificate of a private authority");
    }
    if error.is_timeout() {
        return slow_to_connect(origin, connect);
    }
    if error.is_connect() {
        return cannot_connect(origin, cause.io);
    }
    let why = if cause.incomplete || cause.io.is_some() { "the connection broke off" } else { "what it sent is not an HTTP answer" };
    Fault::new(ErrorCode::EgressFailed, format!("`{origin}` gave no whole answer: {why}")).hint("try again later, or try another address")
}

/// A connection that was not there in time.
pub(super) fn slow_to_connect(origin: &Origin, connect: Millis) -> Fault {
    Fault::new(ErrorCode::Timeout, format!("`{origin}` could not be connected to within {} ms", connect.0))
        .hint("check host and port, or try again later")
}

/// A connection that could not be opened.
pub(super) fn cannot_connect(origin: &Origin, kind: Option<ErrorKind>) -> Fault {
    Fault::new(ErrorCode::EgressFailed, format!("`{origin}` cannot be connected to: {}", io_words(kind)))
        .hint("check host and port, or try again later")
}

/// An answer whose head is over its cap.
pub(super) fn headers_too_large(origin: &Origin) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the headers of the answer of `{origin}` are larger or more than allowed"))
        .hint("fetch another resource; this one cannot be taken")
}

impl Cause {
    fn look(&mut self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                self.tls = Some(tls_words(tls));
            }
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                self.io = Some(io.kind());
                // An I/O error's source is that of what it wraps, so the wrapped error itself has to be asked for.
                if let Some(inner) = io.get_ref() {
                    self.look(inner);
                }
            }
            // The types of `hyper` cannot be named here; a test holds these texts.
            match error.to_string().as_str() {
                "message head is too large" => self.head_too_large = true,
                "connection closed before message completed" | "end of file before message length reached" => self.incomplete = true,
                _ => {}
            }
            next = error.source();
        }
    }
}

fn io_words(kind: Option<ErrorKind>) -> &'static str {
    let is = |wanted| kind == Some(wanted);
    if is(ErrorKind::ConnectionRefused) {
        "connection refused"
    } else if is(ErrorKind::NetworkUnreachable) || is(ErrorKind::HostUnreachable) {
        "no route to it"
    } else if is(ErrorKind::ConnectionReset) || is(ErrorKind::ConnectionAborted) || is(ErrorKind::UnexpectedEof) {
        "it closed the connection"
    } else {
        "the connection failed"
    }
}

fn tls_words(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as C;
    let rustls::Error::InvalidCertificate(certificate) = error else { return "the TLS handshake failed" };
    if matches!(certificate, C::Expired | C::ExpiredContext { .. }) {
        "its certificate has expired"
    } else if matches!(certificate, C::NotValidYet | C::NotValidYetContext { .. }) {
        "its certificate is not valid yet"
    } else if matches!(certificate, C::NotValidForName | C::NotValidForNameContext { .. }) {
        "its certificate is for another name"
    } else if matches!(certificate, C::UnknownIssuer) {
        "its certificate is from an authority that is not trusted"
    } else if matches!(certificate, C::Revoked) {
        "its certificate was revoked"
    } else {
        "its certificate is not valid"
    }
}
