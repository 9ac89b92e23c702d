//! The evidence bundle: one run of a log in one file, with all that is needed to check it without the log.
//!
//! INVARIANT: what [`verify()`] accepts was recomputed from the records' own bytes and stands in a tree whose root a key signed; nothing in
//! a bundle is believed because the bundle says so. Reads text that may be hostile; never panics. Does no I/O.

mod claims;
mod format;
mod record;
mod report;
mod verify;

pub use claims::{Claims, claims, references};
pub use format::{Answer, Approval, Artifact, Bundle, Entry, FORMAT, Manifest, Newest, Opening, Pins, Workflow};
pub use record::{Record, commitment, record_hash};
pub use report::{Report, Trust};
pub use verify::{Wrong, verify};

/// Largest bundle that is read, in bytes.
pub const MAX_BYTES: usize = 512 << 20;

/// A hash as 64 lower case hexadecimal digits.
#[must_use]
pub fn hex(hash: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hash that 64 lower case hexadecimal digits spell.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests;
