//! The guest's standard streams, in memory.
//!
//! INVARIANT: a [`Capture`] never holds more than its limit, however much the guest writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::call::{OutStream, Progress};
use crate::sandbox::Captured;

/// How much one write may carry; wider than most buffers inside, so that a flood crosses over in few calls.
const PERMIT: usize = 64 << 10;

/// Collects one output stream: its beginning, and of what goes over half the limit only the end. What is kept whole beside it, and what is
/// told while the program runs, is settled when the guest gets its call.
#[derive(Clone, Default)]
pub(super) struct Capture(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    total: u64,
    /// Everything, as long as it fits.
    whole: Option<Vec<u8>>,
    whole_limit: usize,
    listener: Option<(OutStream, Arc<dyn Progress>)>,
    /// The beginning of a character whose end has not come yet.
    partial: Vec<u8>,
}

impl Capture {
    /// Sets the limits of what is kept cut and whole, and who hears what is written.
    pub(super) fn open(&self, limit: usize, whole: usize, listener: Option<(OutStream, Arc<dyn Progress>)>) {
        let tail_limit = limit / 2;
        *self.kept() =
            Kept { head_limit: limit - tail_limit, tail_limit, whole: Some(Vec::new()), whole_limit: whole, listener, ..Kept::default() };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, bytes: &[u8]) {
        let mut kept = self.kept();
        kept.total = kept.total.saturating_add(bytes.len() as u64);
        let room = kept.head_limit.saturating_sub(kept.head.len());
        let (first, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        // What fits into the beginning is not kept twice.
        if !rest.is_empty() {
            kept.keep_whole(rest);
        }
        kept.head.extend_from_slice(first);
        let start = rest.len().saturating_sub(kept.tail_limit);
        let rest = rest.get(start..).unwrap_or(&[]);
        let over = (kept.tail.len() + rest.len()).saturating_sub(kept.tail_limit);
        kept.tail.drain(..over);
        kept.tail.extend(rest);
        kept.tell(bytes);
    }

    /// What was kept so far.
    pub(super) fn take(&self) -> Captured {
        let mut kept = self.kept();
        let mut bytes = std::mem::take(&mut kept.head);
        let left_out = kept.total.saturating_sub((bytes.len() + kept.tail.len()) as u64);
        let mut whole = None;
        if left_out > 0 {
            whole = kept.whole.take().map(|rest| [bytes.as_slice(), &rest].concat());
            bytes.extend_from_slice(format!("\n… {left_out} bytes left out …\n").as_bytes());
        }
        bytes.extend(kept.tail.drain(..));
        kept.tell_rest();
        Captured { bytes, total: kept.total, truncated: left_out > 0, whole }
    }
}

impl Kept {
    /// Everything after the beginning.
    fn keep_whole(&mut self, bytes: &[u8]) {
        let fits = self.whole.as_ref().is_some_and(|whole| self.head_limit + whole.len() + bytes.len() <= self.whole_limit);
        match &mut self.whole {
            Some(whole) if fits => whole.extend_from_slice(bytes),
            _ => self.whole = None,
        }
    }

    /// Tells whole characters; what is not UTF-8 is told as replacement characters.
    fn tell(&mut self, bytes: &[u8]) {
        let Some((stream, progress)) = &self.listener else { return };
        self.partial.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let rest = self.partial.split_off(whole);
        let text = std::mem::replace(&mut self.partial, rest);
        if !text.is_empty() {
            progress.output(*stream, &String::from_utf8_lossy(&text));
        }
    }

    fn tell_rest(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if let (Some((stream, progress)), false) = (&self.listener, rest.is_empty()) {
            progress.output(*stream, &String::from_utf8_lossy(&rest));
        }
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
#[derive(Clone, Default)]
pub(super) struct Feed(Arc<Mutex<Bytes>>);

impl Feed {
    pub(super) fn open(&self, bytes: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = bytes.into();
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

    fn capture(limit: usize, whole: usize) -> Capture {
        let capture = Capture::default();
        capture.open(limit, whole, None);
        capture
    }

    #[test]
    fn a_flood_keeps_its_beginning_and_its_end() {
        let capture = capture(10, 100);
        for n in 0..100_000 {
            capture.push(format!("{n:05}").as_bytes());
        }
        let kept = capture.take();
        assert!(kept.truncated);
        assert_eq!((kept.total, kept.whole.is_none()), (500_000, true));
        assert_eq!(kept.text(), "00000\n… 499990 bytes left out …\n99999");
    }

    #[test]
    fn what_fits_is_kept_whole() {
        for pieces in [&["abcdefghij"][..], &["abc", "defg", "hij"]] {
            let capture = capture(10, 100);
            pieces.iter().for_each(|piece| capture.push(piece.as_bytes()));
            let kept = capture.take();
            assert_eq!((kept.text().as_str(), kept.truncated, kept.total, kept.whole), ("abcdefghij", false, 10, None));
        }
    }

    #[test]
    fn what_is_cut_is_kept_whole_beside_it_as_long_as_it_fits() {
        for (limit, fits) in [(30, true), (29, false)] {
            let capture = capture(10, limit);
            for piece in ["abcde", "fghij", "klmnopqrstuvwxyz0123"] {
                capture.push(piece.as_bytes());
            }
            let whole = capture.take().whole.map(|whole| String::from_utf8(whole).unwrap());
            assert_eq!(whole.as_deref(), fits.then_some("abcdefghijklmnopqrstuvwxyz0123"));
        }
    }

    #[test]
    fn what_is_told_is_whole_characters_in_order() {
        #[derive(Default)]
        struct Heard(Mutex<Vec<String>>);
        impl Progress for Heard {
            fn note(&self, _: &str, _: Option<f64>, _: Option<f64>) {}
            fn output(&self, _: OutStream, text: &str) {
                self.0.lock().unwrap().push(text.to_owned());
            }
        }
        let heard = Arc::new(Heard::default());
        let capture = Capture::default();
        capture.open(2, 2, Some((OutStream::Stdout, heard.clone())));
        for piece in [&b"a\xc3"[..], b"\xa9\xff!", b"\xe2\x82"] {
            capture.push(piece);
        }
        capture.take();
        assert_eq!(*heard.0.lock().unwrap(), ["a", "é\u{fffd}!", "\u{fffd}"]);
    }

    #[test]
    fn nothing_is_kept_where_nothing_may_be() {
        let capture = capture(0, 0);
        capture.push(b"abc");
        assert_eq!(capture.take().total, 3);
    }
}
