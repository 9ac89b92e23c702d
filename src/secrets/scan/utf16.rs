//! Text in UTF-16, read as what it says.
//!
//! INVARIANT: every place of the text leads back to bytes of the input.

use std::ops::Range;

/// How many units are looked at where there is no byte order mark.
const LOOKED_AT: usize = 512;

/// A text that was UTF-16.
pub(super) struct Text {
    utf8: String,
    /// Bytes before the text begins.
    skipped: usize,
}

impl Text {
    /// The input as text, if it is UTF-16: by its byte order mark, or as nearly every second byte of its beginning is zero.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (is_big, skipped) = match bytes {
            [0xFF, 0xFE, ..] => (false, 2),
            [0xFE, 0xFF, ..] => (true, 2),
            _ => (guess(bytes)?, 0),
        };
        let unit = |pair: &[u8]| match pair {
            [one, two] if is_big => u16::from_be_bytes([*one, *two]),
            [one, two] => u16::from_le_bytes([*one, *two]),
            _ => 0,
        };
        let units = bytes.get(skipped..)?.chunks_exact(2).map(unit);
        let utf8 = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        Some(Self { utf8, skipped })
    }

    /// The text.
    pub(super) fn utf8(&self) -> &[u8] {
        self.utf8.as_bytes()
    }

    /// Where a place of the text stands in the input.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        let units = |to: usize| {
            let before = self.utf8.as_bytes().get(..to).map(String::from_utf8_lossy).unwrap_or_default();
            self.skipped + 2 * before.chars().map(char::len_utf16).sum::<usize>()
        };
        units(range.start)..units(range.end)
    }
}

/// Whether it is big-endian; `None` where it is not UTF-16 of mostly Latin text.
fn guess(bytes: &[u8]) -> Option<bool> {
    let looked_at = bytes.get(..(2 * LOOKED_AT).min(bytes.len()))?;
    let pairs = looked_at.len() / 2;
    let zeros = |which: usize| looked_at.chunks_exact(2).filter(|pair| pair.get(which) == Some(&0)).count();
    let (high, low) = (zeros(0), zeros(1));
    if pairs < 4 || high + low < pairs * 7 / 10 {
        return None;
    }
    if low > high * 4 {
        Some(false)
    } else if high > low * 4 {
        Some(true)
    } else {
        None
    }
}
