//! What is kept of one output stream of a program, in memory.
//!
//! INVARIANT: never more than the limits, however much is written.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::{OutStream, Progress};

use super::Captured;

/// Collects a stream: its beginning, and of what goes over half the limit only the end. All of it is kept beside that as long as it fits,
/// and told while it comes.
#[derive(Default)]
pub(super) struct Kept {
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

impl Kept {
    /// Keeps `limit` bytes cut and `whole` bytes whole, and tells the listener.
    pub(super) fn new(limit: usize, whole: usize, listener: Option<(OutStream, Arc<dyn Progress>)>) -> Self {
        let tail_limit = limit / 2;
        Self { head_limit: limit - tail_limit, tail_limit, whole: Some(Vec::new()), whole_limit: whole, listener, ..Self::default() }
    }

    /// Takes up what was written.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.head_limit.saturating_sub(self.head.len());
        let (first, rest) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
        // What fits into the beginning is not kept twice.
        if !rest.is_empty() {
            self.keep_whole(rest);
        }
        self.head.extend_from_slice(first);
        let start = rest.len().saturating_sub(self.tail_limit);
        let rest = rest.get(start..).unwrap_or(&[]);
        let over = (self.tail.len() + rest.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..over);
        self.tail.extend(rest);
        self.tell(bytes);
    }

    /// What was kept; nothing is left.
    pub(super) fn take(&mut self) -> Captured {
        let mut bytes = std::mem::take(&mut self.head);
        let left_out = self.total.saturating_sub((bytes.len() + self.tail.len()) as u64);
        let mut whole = None;
        if left_out > 0 {
            whole = self.whole.take().map(|rest| [bytes.as_slice(), &rest].concat());
            bytes.extend_from_slice(format!("\n… {left_out} bytes left out …\n").as_bytes());
        }
        bytes.extend(self.tail.drain(..));
        self.tell_rest();
        Captured { bytes, total: self.total, truncated: left_out > 0, whole }
    }

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
