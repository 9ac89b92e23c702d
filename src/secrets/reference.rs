//! Secrets by name: `secret:NAME` as a whole setting, `{{secret:NAME}}` inside a text.
//!
//! INVARIANT: what is not exactly a reference is ordinary text. Knows no values.

use crate::domain::Fault;

use super::vault::SecretName;

/// What a reference begins with.
const SCHEME: &str = "secret:";

/// What a placeholder begins and ends with.
pub const OPEN: &str = "{{secret:";
/// See [`OPEN`].
pub const CLOSE: &str = "}}";

/// The name that a setting refers to; `None` for ordinary text.
///
/// # Errors
/// `INVALID_INPUT` where it begins like a reference and no name follows.
pub fn reference(text: &str) -> Result<Option<SecretName>, Fault> {
    text.strip_prefix(SCHEME).map(str::parse).transpose()
}

/// A piece of a text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'t> {
    /// As it stands.
    Plain(&'t [u8]),
    /// A secret's place.
    Secret(SecretName),
}

/// Cuts bytes at their placeholders; `open` and `close` stand around the name. `None` where there is no placeholder.
///
/// # Errors
/// `INVALID_INPUT` where a placeholder has no end or no name.
pub fn pieces<'t>(bytes: &'t [u8], open: &[u8], close: &[u8]) -> Result<Option<Vec<Piece<'t>>>, Fault> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, open) {
        let (before, after) = rest.split_at(at);
        let inside = after.get(open.len()..).unwrap_or_default();
        // A name is short, so its end is near.
        let end = find(inside.get(..inside.len().min(96)).unwrap_or_default(), close).ok_or_else(unended)?;
        let name = std::str::from_utf8(inside.get(..end).unwrap_or_default()).map_err(|_| unended())?;
        pieces.push(Piece::Plain(before));
        pieces.push(Piece::Secret(name.parse()?));
        rest = inside.get(end + close.len()..).unwrap_or_default();
    }
    if pieces.is_empty() {
        return Ok(None);
    }
    pieces.push(Piece::Plain(rest));
    Ok(Some(pieces))
}

fn unended() -> Fault {
    Fault::new(crate::domain::ErrorCode::InvalidInput, "a placeholder of a secret has no end").hint("write it as `{{secret:NAME}}`")
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_a_reference_or_it_is_not() {
        assert_eq!(reference("secret:PROXY").unwrap().unwrap().as_str(), "PROXY");
        assert_eq!(reference("http://secret:x@h/").unwrap(), None);
        for bad in ["secret:", "secret:a b", "secret:1x", "secret:é"] {
            let fault = reference(bad).unwrap_err();
            assert!(!fault.message.contains(bad.trim_start_matches("secret:")) || bad == "secret:", "{fault}");
        }
    }

    #[test]
    fn placeholders_are_found_where_they_stand_whole() {
        let cut = |text: &'static str| pieces(text.as_bytes(), OPEN.as_bytes(), CLOSE.as_bytes());
        assert_eq!(cut("nothing {{secret}} here").unwrap(), None);
        let found = cut("a{{secret:X}}b{{secret:Y_1}}").unwrap().unwrap();
        let secret = |name: &str| Piece::Secret(name.parse().unwrap());
        assert_eq!(found, [Piece::Plain(b"a"), secret("X"), Piece::Plain(b"b"), secret("Y_1"), Piece::Plain(b"")]);
        assert!(cut("{{secret:X}").is_err() && cut("{{secret:}}").is_err() && cut("{{secret: X }}").is_err());
    }
}
