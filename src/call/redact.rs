//! The port through which everything passes that is recorded or shown.
//!
//! INVARIANT: what it is given is never what is executed or digested: only what is written down or shown is scrubbed.

use std::borrow::Cow;

use serde_json::Value;

/// Takes secrets out of what is recorded or shown.
pub trait Redact: Send + Sync {
    /// The text with a mark in each secret's place; the same text where there is none.
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str>;

    /// The same for bytes that need not be text.
    fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]>;

    /// Replaces secrets in every string of `value`, also below it; how many were replaced. JSON stays JSON and numbers stay as they are.
    fn value(&self, value: &mut Value) -> usize;

    /// The same, but only for values of known secrets: for data that has to stay what it is, such as a definition that is pinned.
    fn known(&self, value: &mut Value) -> usize;

    /// Whether `bytes` (text, or JSON as it is written) may hold a secret. `false` is certain, `true` is not.
    fn may_touch(&self, bytes: &[u8]) -> bool;

    /// For text that comes in pieces, so that a secret is also found across the border of two.
    fn stream(&self) -> Box<dyn RedactStream>;
}

/// Text in pieces. What comes out is what went in, scrubbed, a little later.
pub trait RedactStream: Send {
    /// Takes the next piece, and gives what can no longer be part of a secret that is not complete yet.
    fn push(&mut self, piece: &str) -> String;

    /// The rest.
    fn finish(&mut self) -> String;
}

/// Changes nothing: for tests and throw-away stores that hold no secrets.
pub struct NoRedaction;

impl Redact for NoRedaction {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(text)
    }

    fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        Cow::Borrowed(bytes)
    }

    fn value(&self, _value: &mut Value) -> usize {
        0
    }

    fn known(&self, _value: &mut Value) -> usize {
        0
    }

    fn may_touch(&self, _bytes: &[u8]) -> bool {
        false
    }

    fn stream(&self) -> Box<dyn RedactStream> {
        Box::new(Self)
    }
}

impl RedactStream for NoRedaction {
    fn push(&mut self, piece: &str) -> String {
        piece.to_owned()
    }

    fn finish(&mut self) -> String {
        String::new()
    }
}
