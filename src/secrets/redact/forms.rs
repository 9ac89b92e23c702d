//! The forms in which a secret's value may stand in text: as it is, and as encoders write it.
//!
//! INVARIANT: each form holds what every text of that encoding holds, whatever stands before and after the value.
//! Does not know encodings of encodings, but for JSON within JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

use super::super::live::SHORTEST;

/// Bytes to look for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Form {
    pub(super) bytes: Vec<u8>,
    /// The characters of base64 beside it hold bits of the value as well.
    pub(super) in_base64: bool,
}

/// A longer value is looked for in pieces of this many bytes, so that text in pieces need not be held back for long.
const PIECE: usize = 1 << 10;

/// Lines of a value that are looked for by themselves have at least so many bytes.
const LINE: usize = 16;

/// Every form of `value`, each once.
pub(super) fn forms(value: &str) -> Vec<Form> {
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE && line.len() < value.len() && !line.starts_with("-----"));
    let all: BTreeSet<Form> = pieces(value).into_iter().chain(lines).flat_map(forms_of).collect();
    all.into_iter().filter(|form| form.bytes.len() >= SHORTEST).collect()
}

/// The value in pieces, none of them short.
fn pieces(value: &str) -> Vec<&str> {
    let mut rest = value;
    let mut all = Vec::new();
    while rest.len() > PIECE + LINE {
        let at = (0..=PIECE).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
        let Some((piece, left)) = rest.split_at_checked(at) else { break };
        all.push(piece);
        rest = left;
    }
    all.push(rest);
    all
}

fn forms_of(value: &str) -> Vec<Form> {
    let mut texts = BTreeSet::from([value.to_owned()]);
    let bytes = value.as_bytes();
    texts.extend(json(value));
    texts.extend([hex(bytes, false), hex(bytes, true)]);
    for upper in [true, false] {
        // What encoders leave as it is besides letters and digits: nothing; the unreserved; and what Python, JavaScript and forms leave besides.
        for kept in ["", "-._~", "-._~/", "-._~!'()*", "-._~;,/?:@&=+$!*'()#", "*-._"] {
            texts.insert(percent(bytes, upper, "%20", |byte| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte)));
            texts.insert(percent(bytes, upper, "+", |byte| byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte)));
        }
        texts.insert(percent(bytes, upper, "%20", |_| false));
    }
    let plain = texts.into_iter().map(|text| Form { bytes: text.into_bytes(), in_base64: false });
    let encoded = [STANDARD, URL_SAFE].into_iter().flat_map(|alphabet| (0..3).map(move |before| base64(bytes, &alphabet, before)));
    plain.chain(encoded.map(|text| Form { bytes: text, in_base64: true })).collect()
}

/// As it stands between the quotes of a JSON string: as written here, with slashes escaped, in ASCII alone, wholly in escapes, and the
/// first of these in a JSON string again.
fn json(value: &str) -> Vec<String> {
    let quoted = |text: &str| {
        let whole = serde_json::Value::from(text).to_string();
        whole.get(1..whole.len().saturating_sub(1)).unwrap_or_default().to_owned()
    };
    let once = quoted(value);
    let mut all = vec![quoted(&once), quoted(&quoted(&once)), once.replace('/', "\\/")];
    for upper in [false, true] {
        let unit = |unit: u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
        let escaped = |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|one| unit(*one)).collect::<String>();
        all.push(once.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect());
        all.push(value.chars().map(escaped).collect());
    }
    all.push(once);
    all
}

fn hex(bytes: &[u8], upper: bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = if upper { write!(text, "{byte:02X}") } else { write!(text, "{byte:02x}") };
        text
    })
}

fn percent(bytes: &[u8], upper: bool, space: &str, kept: impl Fn(u8) -> bool) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = match byte {
            b' ' => write!(text, "{space}"),
            byte if kept(*byte) => write!(text, "{}", char::from(*byte)),
            byte if upper => write!(text, "%{byte:02X}"),
            byte => write!(text, "%{byte:02x}"),
        };
        text
    })
}

/// The characters that the value alone decides, where `before` bytes (mod 3) stand before it.
fn base64(bytes: &[u8], alphabet: &Alphabet, before: usize) -> Vec<u8> {
    let engine = GeneralPurpose::new(alphabet, NO_PAD);
    let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(bytes.iter().copied()).collect();
    let text = engine.encode(&padded).into_bytes();
    // A character belongs to the value alone if its six bits do.
    let first = (before * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    text.get(first..last).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD as PADDED, URL_SAFE as PADDED_URL};

    use super::*;

    fn has(value: &str, text: &str) -> bool {
        forms(value).iter().any(|form| text.as_bytes().windows(form.bytes.len()).any(|part| part == form.bytes))
    }

    #[test]
    fn every_encoding_holds_a_form() {
        let value = "pa$$ w\"o/r\\d+é€🙂~>?";
        for before in 0..5 {
            let around = [&b"12345"[..before], value.as_bytes(), b"tail"].concat();
            assert!(has(value, &PADDED.encode(&around)) && has(value, &PADDED_URL.encode(&around)), "{before}");
            assert!(has(value, &PADDED.encode([&b"12345"[..before], value.as_bytes()].concat())), "{before}, at the end");
        }
        for text in [
            "pa$$ w\\\"o/r\\\\d+é€🙂~>?",
            "pa$$ w\\\"o\\/r\\\\d+é€🙂~>?",
            "pa$$ w\\\"o/r\\\\d+\\u00e9\\u20ac\\ud83d\\ude42~>?",
            "pa$$ w\\\\\\\"o/r\\\\\\\\d+é€🙂~>?",
            "70612424207722",
            "pa%24%24%20w%22o%2Fr%5Cd%2B%C3%A9%E2%82%AC%F0%9F%99%82~%3E%3F",
            "pa%24%24%20w%22o%2fr%5cd%2b%c3%a9%e2%82%ac%f0%9f%99%82~%3e%3f",
            "pa%24%24+w%22o%2Fr%5Cd%2B%C3%A9%E2%82%AC%F0%9F%99%82%7E%3E%3F",
            "pa$$%20w%22o/r%5Cd+%C3%A9%E2%82%AC%F0%9F%99%82~%3E?",
            "%70%61%24%24%20%77%22%6F%2F%72%5C%64%2B%C3%A9%E2%82%AC%F0%9F%99%82%7E%3E%3F",
        ] {
            let found = has(value, text) || hex(value.as_bytes(), false).starts_with(text);
            assert!(found, "{text}");
        }
        let escaped: String = "abcdefgh".chars().map(|c| format!("\\u{:04X}", c as u32)).collect();
        assert!(has("abcdefgh", &escaped) && has("abcdefgh", &escaped.to_lowercase().replace("\\U", "\\u")));
        assert!(has("say \"\"", &serde_json::json!({ "k": "say \"\"!" }).to_string()));
    }

    #[test]
    fn no_form_is_short_enough_to_hit_innocent_text() {
        assert!(forms("12345678").iter().all(|form| form.bytes.len() >= 8), "{:?}", forms("12345678"));
        assert!(forms("abcdefgh").len() < 20);
    }
}
