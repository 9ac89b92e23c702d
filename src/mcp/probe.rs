//! What fuzzers and tests send arbitrary bytes to: the way of a client's lines, and of a client's HTTP requests, up to where a message is
//! whole and its sender known.
//!
//! INVARIANT: exactly the code that serves, with nothing behind it: [`lines`] is the line transport, [`requests`] the connection, guard and
//! reader of bodies. No tool, run or file can be reached from here, and nothing of the server calls it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rmcp::transport::Transport as _;
use serde_json::Value;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call::NoRedaction;

use super::wire::Wire;

pub use super::http::probe::{Passed, TOKEN, requests};

/// What became of a client's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The messages that were taken, in order, as they were understood.
    pub messages: Vec<Value>,
    /// What was answered without one: to each line that is no message.
    pub answers: Vec<Vec<u8>>,
}

/// Reads everything as the lines of one client, in parts of at most `part` bytes. Before a client has opened a connection only requests are
/// taken, so begin with one that does.
pub async fn lines(input: &[u8], part: usize) -> Heard {
    let most = input.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let (out, mut answers) = mpsc::channel(most);
    let parts = Parts { rest: input, part: part.max(1) };
    let mut wire = Wire::new(parts, out, Arc::new(NoRedaction), CancellationToken::new(), CancellationToken::new());
    let mut heard = Heard::default();
    while let Some(message) = wire.receive().await {
        heard.messages.push(serde_json::to_value(message).unwrap_or_default());
    }
    drop(wire);
    while let Some(answer) = answers.recv().await {
        heard.answers.push(answer);
    }
    heard
}

/// Bytes that come in parts.
struct Parts<'b> {
    rest: &'b [u8],
    part: usize,
}

impl AsyncRead for Parts<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.part.min(self.rest.len()).min(buffer.remaining());
        let (now, later) = self.rest.split_at(length);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}
