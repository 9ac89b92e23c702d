//! Values that are secret by the name of the field they stand in: `password`, `authorization`, `api_key` and their like, in JSON and in
//! text that holds JSON.
//!
//! INVARIANT: names and structure stay, numbers stay, and so do references to secrets, which are no values. Work is linear in the text.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::spans::Span;

/// The names that are looked for where the settings name none.
pub const FIELDS: [&str; 16] = [
    "password",
    "passwd",
    "passphrase",
    "authorization",
    "cookie",
    "set_cookie",
    "api_key",
    "secret_key",
    "secret_access_key",
    "client_secret",
    "private_key",
    "access_token",
    "refresh_token",
    "auth_token",
    "bearer_token",
    "session_token",
];

/// Bytes of a field's name, of white space around its colon, and of a value in text.
const LONGEST_NAME: usize = 64;
const LONGEST_SPACE: usize = 16;
const LONGEST_VALUE: usize = 48 << 10;

/// So many backslashes stand before a quote of JSON within JSON, within JSON again, and so on.
const LEVELS: [usize; 4] = [0, 1, 3, 7];

/// Names of fields.
#[derive(Debug, Default)]
pub struct Fields {
    /// As they are told in marks, and their letters and digits in lower case.
    names: Vec<(String, Vec<u8>)>,
    /// The ends of all names, each with what follows a name in JSON.
    ends: Option<AhoCorasick>,
}

/// A value in text.
pub(super) struct InText {
    /// Where its field's name begins.
    pub(super) name: usize,
    pub(super) span: Span,
}

impl Fields {
    /// Of these names; case and whatever is neither letter nor digit do not count, and a name's last words count like the whole.
    #[must_use]
    pub fn of<T: AsRef<str>>(names: &[T]) -> Self {
        let names: Vec<(String, Vec<u8>)> = names
            .iter()
            .map(|name| (name.as_ref().to_owned(), letters(name.as_ref().as_bytes()).map(|(_, byte)| byte).collect()))
            .filter(|(_, letters): &(String, Vec<u8>)| !letters.is_empty())
            .collect();
        // Separators may stand anywhere but in the last word, of which nothing tells where it begins: its last three letters will do.
        let ends = names.iter().flat_map(|(_, letters)| {
            let end = letters.get(letters.len().saturating_sub(3)..).unwrap_or_default();
            [b"\"", b"\\"].map(|quote| [end, quote.as_slice()].concat())
        });
        let ends = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::DFA))
            .build(ends)
            .ok()
            .filter(|_| !names.is_empty());
        Self { names, ends }
    }

    /// Whether there is nothing to look for.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_none()
    }

    /// Whether a field of such a name may stand in JSON that is written so. `false` is certain.
    pub(super) fn may_find(&self, bytes: &[u8]) -> bool {
        self.ends.as_ref().is_some_and(|ends| ends.is_match(bytes))
    }

    /// The name by which this field's value is secret.
    pub(super) fn named(&self, field: &[u8]) -> Option<&str> {
        self.names.iter().find(|(_, name)| ends_in(field, name)).map(|(name, _)| name.as_str())
    }

    /// What stands in place of this value of such a field; `None` where it may stay.
    pub(super) fn cleaned(name: &str, value: &str) -> Option<String> {
        is_secret(value.as_bytes()).then(|| mark(name))
    }

    /// Where such values stand in text that holds JSON.
    pub(super) fn find(&self, bytes: &[u8], tell: &mut dyn FnMut(InText)) {
        let Some(ends) = &self.ends else { return };
        let mut done = LEVELS.map(|_| 0);
        for hit in ends.find_overlapping_iter(bytes) {
            let end = hit.end() - 1;
            let slashes = bytes.get(end..).unwrap_or_default().iter().take_while(|byte| **byte == b'\\').count();
            let Some(done) = LEVELS.iter().position(|level| *level == slashes).and_then(|level| done.get_mut(level)) else { continue };
            if end < *done {
                continue;
            }
            let Some((name, field)) = self.name_before(bytes, end) else { continue };
            let Some(value) = value_after(bytes, end, slashes) else { continue };
            *done = value.end;
            if is_secret(bytes.get(value.clone()).unwrap_or_default()) {
                tell(InText { name, span: Span { start: value.start, end: value.end, mark: mark(field).into() } });
            }
        }
    }

    /// Where the name that ends here begins, and which it is.
    fn name_before(&self, bytes: &[u8], end: usize) -> Option<(usize, &str)> {
        let before = bytes.get(end.saturating_sub(LONGEST_NAME)..end)?;
        let is_of_a_name = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b' ');
        let start = end - before.iter().rev().take_while(is_of_a_name).count();
        let is_quoted = start > 0 && bytes.get(start - 1) == Some(&b'"');
        self.named(bytes.get(start..end)?).filter(|_| is_quoted).map(|name| (start, name))
    }
}

fn mark(name: &str) -> String {
    format!("[REDACTED:{name}]")
}

/// Nothing, a mark and a reference are no secrets.
fn is_secret(value: &[u8]) -> bool {
    let holds = |what: &[u8]| value.windows(what.len()).any(|part| part == what);
    !value.is_empty() && !value.starts_with(b"secret:") && !value.starts_with(b"[REDACTED:") && !holds(b"{{secret:")
}

/// Letters and digits in lower case, and where they stand.
fn letters(text: &[u8]) -> impl DoubleEndedIterator<Item = (usize, u8)> + '_ {
    text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()).map(|(at, byte)| (at, byte.to_ascii_lowercase()))
}

/// Whether the last words of `field` are those of `name`, of which only the letters are given.
fn ends_in(field: &[u8], name: &[u8]) -> bool {
    let mut rest = letters(field).rev();
    let mut first = field.len();
    for wanted in name.iter().rev() {
        match rest.next() {
            Some((at, byte)) if byte == *wanted => first = at,
            _ => return false,
        }
    }
    let Some(before) = first.checked_sub(1).and_then(|before| field.get(before)) else { return true };
    !before.is_ascii_alphanumeric() || (before.is_ascii_lowercase() && field.get(first).is_some_and(u8::is_ascii_uppercase))
}

/// The string that is the value of the field whose name ends here, without its quotes, each of which has so many backslashes before it.
/// One whose end is missing goes to the end.
fn value_after(bytes: &[u8], name: usize, slashes: usize) -> Option<Range<usize>> {
    let quote = [vec![b'\\'; slashes], vec![b'"']].concat();
    let colon = space(bytes, quoted(bytes, name, &quote)?);
    let start = quoted(bytes, space(bytes, colon + usize::from(bytes.get(colon) == Some(&b':'))), &quote)?;
    if bytes.get(colon) != Some(&b':') {
        return None;
    }
    let text = bytes.get(start..(start + LONGEST_VALUE).min(bytes.len()))?;
    let mut run = 0;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\\' => run += 1,
            // A quote of the value itself has more backslashes; a backslash of the value is two of them at each level.
            b'"' if run % (2 * (slashes + 1)) == slashes => return Some(start..start + at - slashes),
            _ => run = 0,
        }
    }
    Some(start..start + text.len())
}

/// After the quote that stands here.
fn quoted(bytes: &[u8], at: usize, quote: &[u8]) -> Option<usize> {
    bytes.get(at..)?.starts_with(quote).then_some(at + quote.len())
}

/// After the white space that stands here, if any.
fn space(bytes: &[u8], at: usize) -> usize {
    let most = bytes.get(at..(at + LONGEST_SPACE).min(bytes.len())).unwrap_or_default();
    at + most.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_name_count_however_they_are_written() {
        let fields = Fields::of(&FIELDS);
        for name in [
            "password",
            "PASSWORD",
            "db_password",
            "dbPassword",
            "DB-PASSWORD",
            "X-Api-Key",
            "apiKey",
            "apikey",
            "api key",
            "Authorization",
        ] {
            assert!(fields.named(name.as_bytes()).is_some(), "{name}");
        }
        for name in ["passwords", "password_policy", "nopassword", "key", "token", "secret", "progressToken", "", "_", "author"] {
            assert_eq!(fields.named(name.as_bytes()), None, "{name}");
        }
        assert!(Fields::of::<&str>(&[]).is_empty() && Fields::of(&["--"]).is_empty());
    }

    fn shown(text: &str) -> String {
        let mut spans = Vec::new();
        Fields::of(&FIELDS).find(text.as_bytes(), &mut |found| spans.push(found.span));
        String::from_utf8(super::super::spans::replaced(text.as_bytes(), &super::super::spans::merged(spans))).unwrap()
    }

    #[test]
    fn json_in_text_loses_such_values_at_every_level() {
        let mut value = serde_json::json!({ "user": "ann", "db_password": "a \\ and a \" and \\", "n": 1, "api_key": 7, "passwd": "" });
        for _ in 0..3 {
            let text = value.to_string();
            let left = shown(&text);
            assert!(
                left.contains("[REDACTED:password]") && !left.contains("and a") && left.contains("ann") && left.contains("api_key"),
                "{left}"
            );
            let mut inner: serde_json::Value = serde_json::from_str(&left).unwrap();
            while let Some(text) = inner["in"].as_str() {
                inner = serde_json::from_str(text).unwrap();
            }
            assert_eq!(
                inner,
                serde_json::json!({ "user": "ann", "db_password": "[REDACTED:password]", "n": 1, "api_key": 7, "passwd": "" })
            );
            value = serde_json::json!({ "in": text });
        }
        assert_eq!(
            shown("{\"Password\" :\n \"hunter2\"} \"password\": \"cut of"),
            "{\"Password\" :\n \"[REDACTED:password]\"} \"password\": \"[REDACTED:password]"
        );
        for same in [
            "\"password\"",
            "\"password\": ",
            "password: hunter2",
            "\"password\": {\"type\": \"string\"}",
            "\"authorization\": \"Bearer {{secret:KEY}}\"",
            "\"api_key\":\"secret:KEY\"",
            "[\"password\", \"hunter2\"]",
        ] {
            assert_eq!(shown(same), same);
        }
    }
}
