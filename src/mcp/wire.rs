//! The line transport: one JSON-RPC message a line, read strictly, with an answer to every line that is none.
//!
//! INVARIANT: no line of input ends the server, however broken or long; only the end of input or the order to stop does. Memory held
//! for one line is bounded.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientRequest, ErrorData, GetMeta, ProtocolVersion, RequestId, RequestMetaObject, ServerJsonRpcMessage,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call::Redact;

use super::strict;

/// The longest line that is read; a longer one is answered with an error and skipped.
pub(super) const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Lines on their way out.
pub(super) type Lines = mpsc::Sender<Vec<u8>>;

/// The two directions of a connection.
pub(super) struct Wire<R> {
    reader: LineReader<R>,
    out: Option<Lines>,
    redact: Arc<dyn Redact>,
    /// An answer to a line that was no message, kept until there is room for it.
    pending: Option<Vec<u8>>,
    /// Whether the protocol library has chosen a generation; before that it takes nothing but requests.
    opened: bool,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin + Send> Wire<R> {
    /// Reads from `input` and writes into `out` until the input ends or `stop` fires; then `ended` fires.
    pub(super) fn new(input: R, out: Lines, redact: Arc<dyn Redact>, stop: CancellationToken, ended: CancellationToken) -> Self {
        Self { reader: LineReader::new(input), out: Some(out), redact, pending: None, opened: false, stop, ended }
    }

    async fn next(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.pending.is_some() {
                let permit = self.out.as_ref()?.reserve().await.ok()?;
                if let Some(line) = self.pending.take() {
                    permit.send(line);
                }
            }
            let read = match self.reader.next().await {
                Ok(Some(Line::Whole(line))) => read(&line),
                Ok(Some(Line::TooLong)) => Read::Refused(no_json(format!("the line is longer than {LONGEST_LINE} bytes"))),
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!("standard input cannot be read: {error}");
                    return None;
                }
            };
            match read {
                Read::Message(message) if self.admits(&message) => return Some(*message),
                Read::Message(_) | Read::Nothing => {}
                Read::Refused(refused) => {
                    let (error, id) = *refused;
                    self.pending = encode(&ServerJsonRpcMessage::error(error, id), &*self.redact).ok();
                }
            }
        }
    }

    /// Whether the protocol library can take this message now: as long as no generation is chosen, anything but a request would end it.
    fn admits(&mut self, message: &ClientJsonRpcMessage) -> bool {
        if self.opened {
            return true;
        }
        let ClientJsonRpcMessage::Request(request) = message else { return false };
        let request = &request.request;
        self.opened = if matches!(request, ClientRequest::PingRequest(_) | ClientRequest::DiscoverRequest(_)) {
            false
        } else {
            matches!(request, ClientRequest::InitializeRequest(_)) || opens_the_newer_generation(request.get_meta())
        };
        true
    }
}

impl<R: AsyncRead + Unpin + Send> Transport<RoleServer> for Wire<R> {
    type Error = io::Error;

    fn send(&mut self, item: TxJsonRpcMessage<RoleServer>) -> impl Future<Output = Result<(), io::Error>> + Send + 'static {
        let (out, redact) = (self.out.clone(), self.redact.clone());
        async move {
            let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "the client is gone");
            let line = encode(&item, &*redact)?;
            out.ok_or_else(gone)?.send(line).await.map_err(|_| gone())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        let stop = self.stop.clone();
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            message = self.next() => message,
        };
        if received.is_none() {
            self.ended.cancel();
        }
        received
    }

    async fn close(&mut self) -> Result<(), io::Error> {
        self.out = None;
        Ok(())
    }

    fn name() -> Cow<'static, str> {
        "toolgate line transport".into()
    }
}

fn opens_the_newer_generation(meta: &RequestMetaObject) -> bool {
    meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
        && meta.protocol_version().is_some_and(|version| ProtocolVersion::KNOWN_VERSIONS.contains(&version))
}

/// Writes lines until no sender is left or the client has gone.
pub(super) async fn write_lines<W: AsyncWrite + Unpin>(mut output: W, mut lines: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        output.write_all(&line).await?;
        if lines.is_empty() {
            output.flush().await?;
        }
    }
    output.shutdown().await
}

/// The one form in which anything leaves for a client: results, errors, progress, notices and resources, without secrets.
pub(super) fn encode(message: &TxJsonRpcMessage<RoleServer>, redact: &dyn Redact) -> io::Result<Vec<u8>> {
    let plain = serde_json::to_vec(message)?;
    let mut line = redacted(&plain, redact)?.unwrap_or(plain);
    line.push(b'\n');
    Ok(line)
}

/// A message as it is written, without its secrets; `None` where it may stay as it is.
pub(super) fn redacted(message: &[u8], redact: &dyn Redact) -> serde_json::Result<Option<Vec<u8>>> {
    if !redact.may_touch(message) {
        return Ok(None);
    }
    let mut value: Value = serde_json::from_slice(message)?;
    // Whose answer it is must stay what the client said.
    for part in ["result", "error", "params"] {
        if let Some(part) = value.get_mut(part) {
            redact.value(part);
        }
    }
    serde_json::to_vec(&value).map(Some)
}

/// What a line holds.
enum Read {
    Message(Box<ClientJsonRpcMessage>),
    /// Nothing, or a malformed notification, which nobody may answer.
    Nothing,
    /// No message, with the answer to it.
    Refused(Refused),
}

/// The answer to what is no message, and to which request.
type Refused = Box<(ErrorData, Option<RequestId>)>;

fn no_json(why: String) -> Refused {
    Box::new((ErrorData::parse_error(format!("Parse error: {why}"), None), None))
}

fn no_message(why: impl std::fmt::Display, id: Option<RequestId>) -> Refused {
    Box::new((ErrorData::invalid_request(format!("Invalid request: {why}"), None), id))
}

/// Reads the JSON of one message, so that every later reader of it agrees on what it says.
pub(super) fn sound(text: &[u8]) -> Result<Value, Refused> {
    let value = strict::parse(text).map_err(|error| no_json(error.to_string()))?;
    let Some(members) = value.as_object() else {
        return Err(no_message("it must be one JSON-RPC message; batches are not supported", None));
    };
    match members.keys().find(|name| is_look_alike(name)) {
        Some(name) => Err(no_message(format_args!("`{name}` is not a member of a JSON-RPC message"), id_of(&value))),
        None => Ok(value),
    }
}

fn id_of(message: &Value) -> Option<RequestId> {
    message.get("id").and_then(|id| serde_json::from_value(id.clone()).ok())
}

fn read(line: &[u8]) -> Read {
    let line = line.trim_ascii();
    if line.is_empty() {
        return Read::Nothing;
    }
    let value = match sound(line) {
        Ok(value) => value,
        Err(refused) => return Read::Refused(refused),
    };
    let id = id_of(&value);
    let is_notification = value.get("method").is_some() && value.get("id").is_none();
    match serde_json::from_value(value) {
        Ok(message) => Read::Message(Box::new(message)),
        Err(error) if is_notification => {
            tracing::debug!("a malformed notification was dropped: {error}");
            Read::Nothing
        }
        Err(error) => Read::Refused(no_message(error, id)),
    }
}

/// Whether a sloppy reader could take this for a member that it is not (`Method`, `paramſ`).
fn is_look_alike(name: &str) -> bool {
    const MEMBERS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
    !MEMBERS.contains(&name) && name.len() < 20 && MEMBERS.contains(&name.to_uppercase().to_lowercase().as_str())
}

enum Line {
    Whole(Vec<u8>),
    TooLong,
}

/// Reads bounded lines. Dropping the future of [`LineReader::next`] loses nothing.
struct LineReader<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    /// The current line was too long; the rest of it is skipped.
    skipping: bool,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(64 * 1024, input), line: Vec::new(), skipping: false }
    }

    /// The next line, without its end; `None` at the end of input, where an unfinished line is no line.
    async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                return Ok(None);
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = end.and_then(|end| available.get(..end)).unwrap_or(available);
            let used = end.map_or(available.len(), |end| end + 1);
            let fits = self.line.len() + part.len() <= LONGEST_LINE;
            if fits && !self.skipping {
                self.line.extend_from_slice(part);
            } else {
                self.skipping = true;
                self.line = Vec::new();
            }
            self.input.consume(used);
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                return Ok(Some(if std::mem::take(&mut self.skipping) { Line::TooLong } else { Line::Whole(line) }));
            }
        }
    }
}
