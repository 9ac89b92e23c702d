//! Pieces of a text that are to be replaced.

use std::sync::Arc;

/// From `start` to before `end`, in bytes, and what stands there instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) mark: Arc<str>,
}

/// In order and without overlap: what overlaps becomes one, with the mark of the one that begins first; so do neighbours of one mark.
pub(crate) fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|one, other| one.start.cmp(&other.start).then(other.end.cmp(&one.end)));
    let mut whole: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match whole.last_mut() {
            Some(last) if span.start < last.end || (span.start == last.end && span.mark == last.mark) => last.end = last.end.max(span.end),
            _ => whole.push(span),
        }
    }
    whole
}

/// `bytes` with the marks in place. `spans` are merged ones.
pub(crate) fn replaced(bytes: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for span in spans {
        out.extend_from_slice(bytes.get(at..span.start).unwrap_or_default());
        out.extend_from_slice(span.mark.as_bytes());
        at = span.end;
    }
    out.extend_from_slice(bytes.get(at..).unwrap_or_default());
    out
}

/// What follows the first `cut` bytes.
pub(crate) fn tail(bytes: &[u8], cut: usize) -> Vec<u8> {
    bytes.get(cut..).unwrap_or_default().to_vec()
}
