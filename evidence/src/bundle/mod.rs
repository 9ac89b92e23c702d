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
    let digit = |nibble: u8| char::from(if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 });
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The hash that 64 lower case hexadecimal digits spell.
#[must_use]
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    spelled(text)
}

/// The number that 32 lower case hexadecimal digits spell.
#[must_use]
pub fn unhex_number(text: &str) -> Option<u128> {
    spelled(text).map(u128::from_be_bytes)
}

fn spelled<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let pairs: &[[u8; 2]; N] = pairs.try_into().ok().filter(|_| rest.is_empty())?;
    let worth = |byte: u8| match (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a')) {
        (digit @ 0..10, _) => digit,
        (_, letter @ 0..6) => letter + 10,
        _ => 0xf0,
    };
    // No table and no early end, so that many digits are read at once.
    let worths = pairs.map(|pair| pair.map(worth));
    let bytes = worths.map(|[high, low]| high << 4 | low);
    let all = worths.as_flattened().iter().fold(0, |all, worth| all | worth);
    (all < 16).then_some(bytes)
}

#[cfg(test)]
mod tests;
