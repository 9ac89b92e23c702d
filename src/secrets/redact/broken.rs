//! Text of base64 or hex that was broken into lines, with the breaks left out.
//!
//! INVARIANT: a break is one only after [`LINE`] characters of such text in a row, so that ordinary text has next to none and costs next
//! to nothing; every place leads back to the bytes it came from. Knows no secret.

use std::borrow::Cow;
use std::ops::Range;

/// A line that is broken has at least so many characters before the break.
pub(super) const LINE: usize = 16;

/// The longest break, in bytes: line end, `>` or indentation of the next line, and escapes of these.
const LONGEST_BREAK: usize = 24;

/// A stretch of such text without its breaks.
pub(super) struct Joined {
    pub(super) text: Vec<u8>,
    /// Where the bytes that follow a break stand: in `text`, and in the input.
    breaks: Vec<(usize, usize)>,
    /// Where it begins in the input.
    start: usize,
}

impl Joined {
    /// Where a place of `text` stands in the input; a place right after a break is after it.
    pub(super) fn original(&self, at: usize) -> usize {
        let before = self.breaks.partition_point(|(joined, _)| *joined <= at);
        match before.checked_sub(1).and_then(|last| self.breaks.get(last)) {
            Some((joined, original)) => original + (at - joined),
            None => self.start + at,
        }
    }

    /// Where a range that is not empty stands in the input.
    pub(super) fn range(&self, range: Range<usize>) -> Range<usize> {
        self.original(range.start)..self.original(range.end.saturating_sub(1)) + 1
    }

    /// Whether a break stands in a range.
    pub(super) fn is_broken(&self, range: &Range<usize>) -> bool {
        let after = self.breaks.partition_point(|(joined, _)| *joined <= range.start);
        self.breaks.get(after).is_some_and(|(joined, _)| *joined < range.end)
    }
}

/// Every stretch with a break in it.
pub(super) fn joined(bytes: &[u8]) -> impl Iterator<Item = Joined> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        let first = next_break(bytes, from)?;
        let start = first.start - run_before(bytes, from, first.start);
        let mut all = Joined { text: bytes.get(start..first.start).unwrap_or_default().to_vec(), breaks: Vec::new(), start };
        let mut gap = first;
        loop {
            let line = run_after(bytes, gap.end);
            all.breaks.push((all.text.len(), gap.end));
            all.text.extend_from_slice(bytes.get(gap.end..gap.end + line).unwrap_or_default());
            from = gap.end + line;
            match break_at(bytes, from) {
                Some(next) if line >= LINE => gap = next,
                _ => return Some(all),
            }
        }
    })
}

/// The stretch with a break in it that the input ends in, and that may go on.
pub(super) fn last(bytes: &[u8]) -> Option<Joined> {
    // An escape may be cut as well.
    let whole: Cow<'_, [u8]> = if bytes.ends_with(b"\\") { [bytes, b"n"].concat().into() } else { bytes.into() };
    let goes_on = |all: &Joined| {
        let end = all.range(0..all.text.len()).end;
        end == whole.len() || break_at(&whole, end).is_some_and(|gap| gap.end == whole.len())
    };
    joined(&whole).last().filter(goes_on)
}

/// The first break from `from` on.
fn next_break(bytes: &[u8], mut from: usize) -> Option<Range<usize>> {
    loop {
        let at = from + bytes.get(from..)?.iter().position(|byte| matches!(byte, b'\n' | b'\r' | b'\\'))?;
        match break_at(bytes, at) {
            Some(gap) if run_before(bytes, 0, at) >= LINE => return Some(gap),
            _ => from = at + 1,
        }
    }
}

/// The break that begins here: line ends, written or escaped, and what stands at the beginning of the next line.
fn break_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let most = bytes.get(at..(at + LONGEST_BREAK).min(bytes.len()))?;
    let (mut length, mut is_line_end) = (0, false);
    while let Some(byte) = most.get(length) {
        length += match byte {
            b'\n' | b'\r' => {
                is_line_end = true;
                1
            }
            b' ' | b'\t' | b'>' if is_line_end => 1,
            b'\\' => {
                let slashes = most.get(length..)?.iter().take_while(|byte| **byte == b'\\').count();
                match most.get(length + slashes) {
                    Some(b'n' | b'r') => is_line_end = true,
                    Some(b't') if is_line_end => {}
                    _ => break,
                }
                slashes + 1
            }
            _ => break,
        };
    }
    is_line_end.then(|| at..at + length)
}

/// How many characters of base64 stand right before `at`, none of them before `from`.
pub(super) fn run_before(bytes: &[u8], from: usize, at: usize) -> usize {
    bytes.get(from..at).unwrap_or_default().iter().rev().take_while(|byte| is_base64(byte)).count()
}

fn run_after(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|byte| is_base64(byte)).count()
}

/// Whether a character is one of base64, in either alphabet; those of hex are among them.
pub(super) fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}
