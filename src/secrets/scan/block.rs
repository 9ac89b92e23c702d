//! Private keys in PEM and OpenPGP armour, which take many lines, or one in which line breaks are escaped.
//!
//! INVARIANT: a mark of a beginning without key material after it is no finding; a key whose end was cut off is one.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

/// The id of the rule.
pub(super) const RULE: &str = "private-key";
/// Without it there is none.
pub(super) const KEYWORD: &str = "private key";
/// The longest block, in bytes.
const LONGEST: usize = 32 << 10;
/// After so many bytes a beginning is known to be a key's or not.
const UNDECIDED: usize = 512;
/// Key material has at least so many characters of base64 in a row.
const MATERIAL: usize = 16;

fn expression(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).build().ok()
}

static BEGIN: LazyLock<Option<Regex>> = LazyLock::new(|| expression(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"));
static END: LazyLock<Option<Regex>> = LazyLock::new(|| expression(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"));
/// What may stand in a key whose end is missing: base64 and headers, line by line, whether line breaks are escaped or not.
static BODY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    expression(
        r"^((?:(?:\\+[rn]|[\r\n\t ]){0,12}(?:[A-Za-z]{1,20}-?[A-Za-z]{1,20}: [^\r\n\\]{1,120}|[A-Za-z0-9+/=]{16,120}))+(?:(?:\\+[rn]|[\r\n\t ]){1,12}[A-Za-z0-9+/=]{1,15})?)(?:[\r\n\\]|$)",
    )
});

/// The keys that begin within `piece`.
pub(super) fn find(bytes: &[u8], piece: Range<usize>) -> Vec<Range<usize>> {
    let (Some(begin), Some(end), Some(body)) = (&*BEGIN, &*END, &*BODY) else { return Vec::new() };
    let text = bytes.get(piece.clone()).unwrap_or_default();
    let mut found: Vec<Range<usize>> = Vec::new();
    for mark in begin.find_iter(text) {
        let (start, after) = (piece.start + mark.start(), piece.start + mark.end());
        if found.last().is_some_and(|last| start < last.end) {
            continue;
        }
        let rest = bytes.get(after..(after + LONGEST).min(bytes.len())).unwrap_or_default();
        let next = begin.find(rest).map_or(rest.len(), |next| next.start());
        let inside = match end.find(rest) {
            Some(end) if end.start() < next => end.end(),
            _ => body.captures(rest).and_then(|body| body.get(1)).map_or(0, |body| body.end()),
        };
        if has_material(rest.get(..inside).unwrap_or_default()) {
            found.push(start..after + inside);
        }
    }
    found
}

/// Where a mark of a beginning stands that has too little after it to say whether it is a key's.
pub(super) fn undecided(bytes: &[u8]) -> Option<usize> {
    let from = bytes.len().saturating_sub(UNDECIDED);
    let last = BEGIN.as_ref()?.find_iter(bytes.get(from..)?).last()?;
    Some(from + last.start())
}

fn has_material(text: &[u8]) -> bool {
    text.split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))).any(|run| run.len() >= MATERIAL)
}
