//! One request of plain http and its answer, over a connection that ends with them.
//!
//! INVARIANT: a host gets one head, written here, and the body that this head frames, no byte more; the program gets one head, read
//! strictly and written here, and what follows it.

use std::future::pending;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::domain::{ErrorCode, Fault, Millis};
use crate::egress::send::Note;
use crate::egress::{Caps, Origin, failure};

use super::ask::Fetch;
use super::body::{Body, Framing};
use super::head::{self, NoHead};
use super::refusal::{Stop, malformed};
use super::relay::{Meter, Way};

/// Most interim answers that are passed over.
const MAX_INTERIM: usize = 8;

/// The two ends of an exchange.
pub(super) struct Ends<'a> {
    pub(super) client: &'a mut TcpStream,
    pub(super) far: &'a mut TcpStream,
    /// What the program sent after its head.
    pub(super) rest: &'a [u8],
}

/// Sends the request and hands its answer on, while bytes move.
pub(super) async fn exchange(
    fetch: &Fetch,
    ends: Ends<'_>,
    (caps, idle): (&Caps, Millis),
    note: &mut Note,
    meter: &Meter<'_>,
) -> Result<(), Stop> {
    let Ends { client, far, rest } = ends;
    let ((mut from_client, mut to_client), (mut from_far, mut to_far)) = (client.split(), far.split());
    if fetch.waits && rest.is_empty() {
        to_client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Stop::Left)?;
    }
    let work = async {
        let up = async {
            match send(fetch, rest, &mut from_client, &mut to_far, meter).await {
                // A host may answer before it has read everything, and then read no more.
                Ok(()) | Err(Stop::Broken) => pending().await,
                Err(stop) => stop,
            }
        };
        tokio::select! {
            biased;
            stop = up => Err(stop),
            done = answer(&fetch.origin, caps, &mut from_far, &mut to_client, note, meter) => done,
        }
    };
    meter.watch(idle, work).await
}

async fn send<R, W>(fetch: &Fetch, rest: &[u8], from: &mut R, to: &mut W, meter: &Meter<'_>) -> Result<(), Stop>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    meter.pass(to, &fetch.head, Way::Out).await?;
    let mut framing = Framing::new(fetch.body);
    let mut bytes = rest.to_vec();
    loop {
        let count = framing.take(&bytes).map_err(malformed)?;
        meter.pass(to, bytes.get(..count).unwrap_or_default(), Way::Out).await?;
        if framing.is_done() {
            return Ok(());
        }
        bytes.resize(16 << 10, 0);
        let count = meter.read(from, &mut bytes, Way::Out).await?;
        if count == 0 {
            return Err(malformed("its body ends too early").into());
        }
        bytes.truncate(count);
    }
}

async fn answer<R, W>(origin: &Origin, caps: &Caps, from: &mut R, to: &mut W, note: &mut Note, meter: &Meter<'_>) -> Result<(), Stop>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut read_already = Vec::new();
    for _ in 0..=MAX_INTERIM {
        let (bytes, rest) = head::read(from, read_already, caps.answer_headers.as_usize()).await.map_err(|why| no_answer(origin, why))?;
        meter.count(bytes.len().saturating_add(4), Way::In)?;
        let (status, head, body) = rewritten(&bytes).map_err(|why| no_answer(origin, NoHead::Malformed(why)))?;
        if status < 200 {
            read_already = rest;
            continue;
        }
        note.record.status = Some(status);
        meter.speak();
        to.write_all(&head).await.map_err(|_| Stop::Left)?;
        let is_bare = matches!(status, 204 | 304) || note.record.method == "HEAD";
        return hand_on(if is_bare { Body::Exact(0) } else { body }, rest, (from, to), meter).await;
    }
    Err(no_answer(origin, NoHead::Malformed("it has no end of interim answers")))
}

/// Hands a body on to its end, as hosts may leave the connection open behind it. One whose framing is not understood passes as it is, up
/// to the connection's end: nothing else is ever read from this connection.
async fn hand_on<R, W>(body: Body, mut bytes: Vec<u8>, (from, to): (&mut R, &mut W), meter: &Meter<'_>) -> Result<(), Stop>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut framing = match body {
        Body::Unframed => None,
        Body::Exact(_) | Body::Chunked => Some(Framing::new(body)),
    };
    loop {
        let count = framing.as_mut().map_or(Ok(bytes.len()), |framing| framing.take(&bytes));
        let Ok(count) = count else {
            meter.pass(to, &bytes, Way::In).await?;
            return meter.pump(from, to, Way::In).await;
        };
        meter.pass(to, bytes.get(..count).unwrap_or_default(), Way::In).await?;
        match &framing {
            None => return meter.pump(from, to, Way::In).await,
            Some(framing) if framing.is_done() => return Ok(()),
            Some(_) => {}
        }
        bytes.resize(16 << 10, 0);
        let count = meter.read(from, &mut bytes, Way::In).await?;
        if count == 0 {
            return Err(Stop::Broken);
        }
        bytes.truncate(count);
    }
}

/// The status of an answer, its head as the program gets it, and what frames its body.
fn rewritten(head: &[u8]) -> Result<(u16, Vec<u8>, Body), &'static str> {
    let (line, fields) = head::parse(head)?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 ")).ok_or("its version is not known")?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status: u16 =
        code.parse().ok().filter(|_| code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit())).ok_or("it has no status")?;
    if matches!(status, 101 | ..=99 | 600..) {
        return Err("its status answers nothing that was asked");
    }
    let body = Body::of(&fields)?;
    let mut out = format!("HTTP/1.1 {status} {reason}\r\nconnection: close\r\n").into_bytes();
    for (name, value) in fields.going_on(ends_with_the_hop) {
        out.extend(name.bytes().chain(*b": ").chain(value.iter().copied()).chain(*b"\r\n"));
    }
    out.extend(b"\r\n");
    Ok((status, out, body))
}

/// The body passes as it is, so what frames it passes as well.
fn ends_with_the_hop(name: &str) -> bool {
    matches!(name, "connection" | "keep-alive" | "upgrade") || name.starts_with("proxy-")
}

fn no_answer(origin: &Origin, why: NoHead) -> Stop {
    let why = match why {
        NoHead::Gone { .. } => "the connection broke off",
        NoHead::Malformed(_) => "what it sent is not an HTTP answer",
        NoHead::TooLarge => return Stop::Refused(502, failure::headers_too_large(origin)),
    };
    let fault = Fault::new(ErrorCode::EgressFailed, format!("`{origin}` gave no whole answer: {why}"))
        .hint("try again later, or try another address");
    Stop::Refused(502, fault)
}
