//! Redaction of text that comes in pieces.
//!
//! INVARIANT: what comes out, put together, is what came in with marks in place of secrets, however it was cut; at most [`MOST`] bytes are
//! held back, and only as long as they may be part of something that is not complete.

use crate::call::RedactStream;

use super::Redactor;
use super::spans::{self, Span};

/// The most that is held back, in bytes.
const MOST: usize = 64 << 10;

/// How long a line may get before its beginning is given out without its end, and how much of it is kept then.
const LINE: usize = 8 << 10;
const KEPT: usize = 1 << 10;

/// What stands so near to the end of what is here may go on: a key's last line is as long as this.
const END: usize = 48;

/// Text on its way through.
pub struct Stream {
    redactor: Redactor,
    held: Vec<u8>,
    /// So many bytes at the beginning of `held` are out already, as part of a mark.
    out: usize,
}

impl Stream {
    pub(super) fn new(redactor: Redactor) -> Self {
        Self { redactor, held: Vec::new(), out: 0 }
    }

    /// Takes the next piece and gives what is certain.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let spans = self.redactor.find(&self.held);
        let mut cut = self.certain();
        let settings = self.redactor.settings();
        // A value that is secret by its field's name is known by that name alone.
        settings.fields.find(&self.held, &mut |found| {
            if found.name < cut && found.span.end > cut {
                cut = found.name - 1;
            }
        });
        // What may go on beyond the cut, or beyond what is here, is kept from its beginning.
        let open = spans.iter().find(|span| span.start < cut && (span.end > cut || span.end + END >= self.held.len()));
        if let Some(open) = open
            && self.held.len() - open.start < MOST
        {
            cut = open.start;
        }
        self.give(cut, &spans)
    }

    /// The rest.
    pub fn finish(&mut self) -> Vec<u8> {
        let spans = self.redactor.find(&self.held);
        self.give(self.held.len(), &spans)
    }

    /// Up to where nothing that is still to come can change anything.
    fn certain(&self) -> usize {
        let held = &self.held;
        let exact = self.redactor.exact().undecided(held);
        let settings = self.redactor.settings();
        let line = if settings.shapes.is_none() && settings.pii.is_none() && settings.fields.is_empty() {
            held.len()
        } else {
            let block = self.redactor.core.scanner.undecided(held);
            let whole = held.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            block.min(if held.len() - whole > LINE { held.len() - KEPT } else { whole })
        };
        let mut cut = exact.min(line).max(held.len().saturating_sub(MOST));
        while held.get(cut).is_some_and(|byte| byte & 0xC0 == 0x80) && cut > 0 {
            cut -= 1;
        }
        cut
    }

    /// Gives out everything before `cut`, and marks that begin before it.
    fn give(&mut self, cut: usize, spans: &[Span]) -> Vec<u8> {
        let mut given = Vec::with_capacity(cut);
        let mut at = self.out;
        for span in spans.iter().filter(|span| span.start < cut && span.end > self.out) {
            if span.start >= at {
                given.extend_from_slice(self.held.get(at..span.start).unwrap_or_default());
                given.extend_from_slice(span.mark.as_bytes());
            }
            at = at.max(span.end);
        }
        given.extend_from_slice(self.held.get(at..cut).unwrap_or_default());
        self.out = at.saturating_sub(cut);
        self.held = spans::tail(&self.held, cut);
        given
    }
}

impl RedactStream for Stream {
    fn push(&mut self, piece: &str) -> String {
        String::from_utf8_lossy(&Self::push(self, piece.as_bytes())).into_owned()
    }

    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&Self::finish(self)).into_owned()
    }
}
