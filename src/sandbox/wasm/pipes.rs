//! The guest's standard streams, in memory.
//!
//! INVARIANT: a [`Capture`] never holds more than its limit, however much the guest writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::sandbox::Captured;

/// How much one write may carry; wider than most buffers inside, so that a flood crosses over in few calls.
const PERMIT: usize = 64 << 10;

/// Collects one output stream: its beginning, and of what goes over half the limit only the end.
#[derive(Clone)]
pub(super) struct Capture(Arc<Mutex<Kept>>);

struct Kept {
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    pub(super) fn new(limit: usize) -> Self {
        let tail_limit = limit / 2;
        Self(Arc::new(Mutex::new(Kept { head: Vec::new(), head_limit: limit - tail_limit, tail: VecDeque::new(), tail_limit, total: 0 })))
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.total = kept.total.saturating_add(bytes.len() as u64);
        let room = kept.head_limit.saturating_sub(kept.head.len());
        let (first, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        kept.head.extend_from_slice(first);
        let start = rest.len().saturating_sub(kept.tail_limit);
        let rest = rest.get(start..).unwrap_or(&[]);
        let over = (kept.tail.len() + rest.len()).saturating_sub(kept.tail_limit);
        kept.tail.drain(..over);
        kept.tail.extend(rest);
    }

    /// What was kept so far.
    pub(super) fn take(&self) -> Captured {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = std::mem::take(&mut kept.head);
        let left_out = kept.total.saturating_sub((bytes.len() + kept.tail.len()) as u64);
        if left_out > 0 {
            bytes.extend_from_slice(format!("\n… {left_out} bytes left out …\n").as_bytes());
        }
        bytes.extend(kept.tail.drain(..));
        Captured { bytes, total: kept.total, truncated: left_out > 0 }
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only the third WASI generation asks for this form, which is not linked.
        Box::new(tokio::io::sink())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

/// Standard input: given whole, read once.
#[derive(Clone)]
pub(super) struct Feed(Arc<Mutex<Bytes>>);

impl Feed {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(bytes.into())))
    }
}

impl IsTerminal for Feed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Feed {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Feed {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Feed {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut rest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_empty() {
            return Err(StreamError::Closed);
        }
        let size = size.min(rest.len());
        Ok(rest.split_to(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let capture = Capture::new(10);
        for n in 0..100_000 {
            capture.push(format!("{n:05}").as_bytes());
        }
        let kept = capture.take();
        assert!(kept.truncated);
        assert_eq!(kept.total, 500_000);
        assert_eq!(kept.text(), "00000\n… 499990 bytes left out …\n99999");
    }

    #[test]
    fn what_fits_is_kept_whole() {
        for pieces in [&["abcdefghij"][..], &["abc", "defg", "hij"]] {
            let capture = Capture::new(10);
            pieces.iter().for_each(|piece| capture.push(piece.as_bytes()));
            let kept = capture.take();
            assert_eq!((kept.text().as_str(), kept.truncated, kept.total), ("abcdefghij", false, 10));
        }
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let capture = Capture::new(0);
        capture.push(b"abc");
        assert_eq!(capture.take().total, 3);
    }
}
