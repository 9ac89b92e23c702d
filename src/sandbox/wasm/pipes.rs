//! The guest's standard streams, in memory.
//!
//! INVARIANT: a [`Capture`] never holds more than its limit, however much the guest writes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::call::{OutStream, Progress};
use crate::sandbox::Captured;
use crate::sandbox::kept::Kept;

/// How much one write may carry; wider than most buffers inside, so that a flood crosses over in few calls.
const PERMIT: usize = 64 << 10;

/// Collects one output stream; how much of it, and who is told, is settled when the guest gets its call.
#[derive(Clone, Default)]
pub(super) struct Capture(Arc<Mutex<Kept>>);

impl Capture {
    /// Sets the limits of what is kept cut and whole, and who hears what is written.
    pub(super) fn open(&self, limit: usize, whole: usize, listener: Option<(OutStream, Arc<dyn Progress>)>) {
        *self.kept() = Kept::new(limit, whole, listener);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, bytes: &[u8]) {
        self.kept().push(bytes);
    }

    /// What was kept so far.
    pub(super) fn take(&self) -> Captured {
        self.kept().take()
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
