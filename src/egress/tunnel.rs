//! A connection to an allowed host, for whoever speaks over it what is not read here.
//!
//! INVARIANT: rules, guard and dial see one canonical host; it is resolved once, and what is dialled is what the guard gave.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault, Millis};

use super::client::ProxyHost;
use super::send::{MAX_WALL, Note, cancelled, not_allowed};
use super::{Egress, Origin, Terms, failure};

/// Longest head of the operator's proxy.
const MAX_PROXY_HEAD: usize = 8 << 10;

/// An open connection; nothing was sent or read on it yet.
#[derive(Debug)]
pub struct Tunnel {
    /// The bytes.
    pub stream: TcpStream,
    /// The address that was dialled; the proxy's where `proxied`.
    pub address: SocketAddr,
    /// Whether it leads through the operator's proxy, which then chose the address.
    pub proxied: bool,
}

impl Egress {
    /// Opens a connection to an allowed host: rules, guard, one resolution, a checked address dialled, through the operator's proxy where
    /// there is one and no exception applies. All of it within `caps.connect` and `caps.wall`; the other caps are not for tunnels, and
    /// no record is kept.
    ///
    /// `EGRESS_DENIED` where the host is not allowed, `EGRESS_FAILED`, `TIMEOUT` or `CANCELLED` where there is no connection.
    pub async fn tunnel(&self, origin: &Origin, terms: &Terms, cancel: &CancellationToken) -> Result<Tunnel, Fault> {
        self.open(origin, terms, cancel, &mut Note::new(&terms.purpose, "CONNECT", 0)).await
    }

    /// The same, with what becomes known written to the record.
    pub(super) async fn open(&self, origin: &Origin, terms: &Terms, cancel: &CancellationToken, note: &mut Note) -> Result<Tunnel, Fault> {
        if !terms.rules.allows(origin) {
            return Err(not_allowed(origin, terms));
        }
        let patience = Millis(terms.caps.connect.0.min(terms.caps.wall.0));
        let deadline = Instant::now() + patience.duration().min(MAX_WALL);
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled(origin)),
            () = sleep_until(deadline) => Err(failure::slow_to_connect(origin, patience)),
            opened = self.connect(origin, terms, deadline, note) => opened,
        }
    }

    async fn connect(&self, origin: &Origin, terms: &Terms, deadline: Instant, note: &mut Note) -> Result<Tunnel, Fault> {
        let (pin, proxied) = self.inner.pin(origin, &terms.purpose).await?;
        note.record.proxied = proxied;
        if let [only] = pin.addresses.as_slice() {
            note.record.address = Some(*only);
        }
        let (mut stream, address) = dial(&pin.addresses, deadline).await.map_err(|kind| failure::cannot_connect(origin, kind))?;
        note.record.address = Some(address);
        if let (true, Some(proxy)) = (proxied, self.inner.clients.proxy()) {
            ask(proxy, origin, &mut stream).await?;
        }
        Ok(Tunnel { stream, address, proxied })
    }
}

/// The first of the addresses that answers; each gets its share of the time that is left, so that a dead one does not use up all of it.
async fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<(TcpStream, SocketAddr), Option<io::ErrorKind>> {
    let mut last = None;
    let mut untried = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
    for address in addresses {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now).checked_div(untried).unwrap_or_default();
        untried = untried.saturating_sub(1);
        match timeout_at(now + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Without it small writes wait for each other; the connection works all the same.
                stream.set_nodelay(true).unwrap_or_default();
                return Ok((stream, *address));
            }
            Ok(Err(error)) => last = Some(error.kind()),
            Err(_) => last = last.or(Some(io::ErrorKind::TimedOut)),
        }
    }
    Err(last)
}

/// Asks the operator's proxy for a tunnel. What it writes besides a status is not told to anybody.
async fn ask(proxy: &ProxyHost, origin: &Origin, stream: &mut TcpStream) -> Result<(), Fault> {
    let fault = |why: &str| {
        Fault::new(ErrorCode::EgressFailed, format!("the operator's proxy gave no tunnel to `{origin}`: {why}"))
            .hint("try again later; if it stays so, the operator has to look at the proxy")
    };
    if proxy.url.scheme() != "http" {
        return Err(fault("it is reached by TLS, over which no tunnels are asked for"));
    }
    let authority = format!("{}:{}", origin.host, origin.port);
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n");
    if let Some(credentials) = credentials(proxy) {
        head.push_str(&format!("proxy-authorization: Basic {credentials}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.map_err(|_| fault("it closed the connection"))?;

    // Byte by byte, as what follows the head is already the far end's.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == MAX_PROXY_HEAD {
            return Err(fault("its answer has no end"));
        }
        answer.push(stream.read_u8().await.map_err(|_| fault("it closed the connection"))?);
    }
    match status(&answer) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(fault(&format!("it answered with status {status}"))),
        None => Err(fault("its answer is not HTTP")),
    }
}

fn status(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    rest.get(3).filter(|after| matches!(after, b' ' | b'\r'))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// User name and password of the proxy's URL as they stand in a header.
fn credentials(proxy: &ProxyHost) -> Option<String> {
    let (user, password) = (proxy.url.username(), proxy.url.password());
    if user.is_empty() && password.is_none() {
        return None;
    }
    let mut pair = decoded(user);
    pair.push(b':');
    pair.extend(decoded(password.unwrap_or_default()));
    Some(STANDARD.encode(pair))
}

/// Percent-encoding undone; what is none stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|pair| *first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        match hex.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}
