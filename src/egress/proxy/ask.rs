//! What a program asks its proxy for, read once from the head of its connection.

use crate::domain::{ErrorCode, Fault};
use crate::egress::headers::is_ours_to_write;
use crate::egress::record::shown_word;
use crate::egress::request;
use crate::egress::send::Note;
use crate::egress::target::Target;
use crate::egress::{Caps, Host, Origin, Scheme};

use super::body::Body;
use super::head::{self, Fields, is_token};
use super::refusal::malformed;

/// A request in the form in which it is carried out.
#[derive(Debug)]
pub(crate) enum Ask {
    /// `CONNECT`: bytes to and from this host.
    Tunnel(Origin),
    /// A request of plain http.
    Fetch(Fetch),
}

/// A request of plain http as it is sent on.
#[derive(Debug)]
pub(crate) struct Fetch {
    pub(crate) origin: Origin,
    pub(crate) head: Vec<u8>,
    pub(super) body: Body,
    /// Whether the program waits for a word before it sends the body.
    pub(super) waits: bool,
}

impl Ask {
    /// Reads a head; what becomes known of it is written to the record, also where it is refused.
    pub(crate) fn parse(head: &[u8], caps: &Caps, note: &mut Note) -> Result<Self, Fault> {
        let (line, fields) = head::parse(head).map_err(malformed)?;
        let mut words = line.split(' ');
        let (Some(method), Some(to), Some(version), None) = (words.next(), words.next(), words.next(), words.next()) else {
            return Err(malformed("its first line is not `METHOD target HTTP/1.1`"));
        };
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(malformed("its method is not a word"));
        }
        note.record.method = shown_word(method);
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return Err(malformed("its version is neither HTTP/1.1 nor HTTP/1.0"));
        }
        if method == "CONNECT" {
            let origin = authority(to)?;
            note.goes_to_origin(&origin);
            agrees(&fields, version, &origin)?;
            return match Body::of(&fields).map_err(malformed)? {
                Body::Unframed | Body::Exact(0) => Ok(Self::Tunnel(origin)),
                Body::Exact(_) | Body::Chunked => Err(malformed("CONNECT has no body")),
            };
        }
        let method = request::method(method)?;
        let target = absolute(to, caps)?;
        note.goes_to(&target);
        agrees(&fields, version, &target.origin)?;
        Fetch::new(method.as_str(), &target, version, &fields).map(Self::Fetch)
    }
}

impl Fetch {
    fn new(method: &str, target: &Target, version: &str, fields: &Fields) -> Result<Self, Fault> {
        let body = Body::of(fields).map_err(malformed)?;
        if body == Body::Chunked && version == "HTTP/1.0" {
            return Err(malformed("HTTP/1.0 has no chunks"));
        }
        let waits = match fields.one("expect").map_err(malformed)? {
            None => false,
            Some(word) if word.eq_ignore_ascii_case("100-continue") => version == "HTTP/1.1",
            Some(_) => return Err(malformed("it expects something other than `100-continue`")),
        };
        let url = &target.url;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let host = host_field(&target.origin);
        let mut head = format!("{method} {}{query} {version}\r\nhost: {host}\r\nconnection: close\r\n", url.path()).into_bytes();
        match body {
            Body::Unframed => {}
            Body::Exact(length) => head.extend(format!("content-length: {length}\r\n").bytes()),
            Body::Chunked => head.extend(b"transfer-encoding: chunked\r\n"),
        }
        for (name, value) in fields.going_on(is_ours_to_write) {
            head.extend(name.bytes().chain(*b": ").chain(value.iter().copied()).chain(*b"\r\n"));
        }
        head.extend(b"\r\n");
        Ok(Self { origin: target.origin.clone(), head, body, waits })
    }
}

/// An absolute URL of plain http.
fn absolute(text: &str, caps: &Caps) -> Result<Target, Fault> {
    if text.starts_with('/') || text == "*" {
        return Err(malformed("this is a proxy, and the request names no host"));
    }
    if text.contains('#') {
        return Err(malformed("its URL holds a fragment"));
    }
    let target = Target::parse(text, caps.url.as_usize())?;
    match target.origin.scheme {
        Scheme::Http => Ok(target),
        Scheme::Https => Err(malformed("https is not spoken here; it goes through CONNECT")),
    }
}

/// `host:port`, the port written out.
fn authority(text: &str) -> Result<Origin, Fault> {
    let Some((host, port)) = text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) else {
        return Err(malformed("CONNECT names no port; write `host:port`"));
    };
    Ok(Origin { scheme: Scheme::Https, host: host_of(host)?, port: port_of(port)? })
}

fn host_of(text: &str) -> Result<Host, Fault> {
    Host::parse(text).map_err(|why| malformed(&format!("its host cannot be used: {why}")))
}

/// From 1 to 65535, without sign or leading zero.
fn port_of(text: &str) -> Result<u16, Fault> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or_else(|| malformed("its port is not a number from 1 to 65535"))
}

/// `Host` may say nothing but what the first line says.
fn agrees(fields: &Fields, version: &str, origin: &Origin) -> Result<(), Fault> {
    let Some(told) = fields.one("host").map_err(malformed)? else {
        return if version == "HTTP/1.0" { Ok(()) } else { Err(malformed("it has no `Host` header")) };
    };
    let (host, port) = match told.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port_of(port)?),
        Some(_) | None => (told, origin.scheme.port()),
    };
    if host_of(host)? == origin.host && port == origin.port {
        return Ok(());
    }
    Err(Fault::new(ErrorCode::InvalidInput, format!("the `Host` header does not name `{}`, which the request goes to", host_field(origin)))
        .hint("send the same host and port in both"))
}

fn host_field(origin: &Origin) -> String {
    if origin.port == origin.scheme.port() { origin.host.to_string() } else { format!("{}:{}", origin.host, origin.port) }
}
