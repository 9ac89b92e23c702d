//! Reads RFC 8785 canonical JSON in one pass and refuses every other spelling of the same value.
//!
//! INVARIANT: a text passes only if it is byte for byte what the canonical form of its value is: no white space, members in UTF-16
//! order and unique, strings escaped as little as may be, numbers as ECMAScript prints them. Builds no tree: the record's verifier
//! must be quick. Does not write: that is the canonicaliser's.

mod reader;

/// Deeper than any record is ever written; see `lossless`.
const MAX_DEPTH: u32 = 100;
/// As many members as a record has.
const MEMBERS: usize = 12;

/// Where and why a text is not canonical JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical at byte {at}: {what}")]
pub struct NotCanonical {
    /// Offset in bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Checks a text that holds one value.
///
/// # Errors
/// The first place where it is not canonical.
pub fn value(text: &str) -> Result<(), NotCanonical> {
    let mut reader = Reader::new(text);
    reader.value(0)?;
    reader.end()
}

/// A member of an object: its key as it is spelled between its quotes, and the text of its value.
pub type Member<'a> = (&'a str, &'a str);

/// The members, in order, of a text that holds one object.
///
/// # Errors
/// The first place where the text is not canonical.
pub fn members(text: &str) -> Result<Vec<Member<'_>>, NotCanonical> {
    let (mut reader, mut list) = (Reader::new(text), Vec::with_capacity(MEMBERS));
    reader.object(0, |key, value| list.push((key, value)))?;
    reader.end()?;
    Ok(list)
}

/// The keys, in order, of a text that holds one object of objects, each with the members of its object.
///
/// # Errors
/// The first place where the text is not that in canonical form.
pub fn nested(text: &str) -> Result<Vec<(&str, Vec<Member<'_>>)>, NotCanonical> {
    let (mut reader, mut list) = (Reader::new(text), Vec::new());
    reader.walk(0, |reader, outer| {
        let mut inner = Vec::new();
        reader.object(1, |key, value| inner.push((key, value)))?;
        list.push((outer, inner));
        Ok(())
    })?;
    reader.end()?;
    Ok(list)
}

/// The text between the quotes of a string that needs no escapes; `None` for every other value.
#[must_use]
pub fn plain_string(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"').filter(|inner| stop(inner.as_bytes()).is_none())
}

/// A whole number as it is spelled canonically.
#[must_use]
pub fn whole(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// A text and how far it was read. Whoever knows what it holds reads it piece by piece; [`value`] and [`members`] read any.
pub struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    is_ascii: bool,
    /// Whether a string with an escape was passed since this was last cleared.
    escaped: bool,
}

impl<'a> Reader<'a> {
    /// At its beginning.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, is_ascii: text.is_ascii(), escaped: false }
    }

    fn wrong(&self, what: &'static str) -> NotCanonical {
        NotCanonical { at: self.at, what }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8, what: &'static str) -> Result<(), NotCanonical> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.wrong(what))
        }
    }

    fn end(&self) -> Result<(), NotCanonical> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.wrong("something after the value")) }
    }

    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn value(&mut self, depth: u32) -> Result<&'a str, NotCanonical> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{') => self.object(depth, |_, _| ())?,
            Some(b'[') => self.array(depth)?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            _ => return Err(self.wrong("a value is missing")),
        }
        Ok(self.since(start))
    }

    fn word(&mut self, word: &'static str) -> Result<(), NotCanonical> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.wrong("an unknown word"))
        }
    }

    fn object(&mut self, depth: u32, mut each: impl FnMut(&'a str, &'a str)) -> Result<(), NotCanonical> {
        self.walk(depth, |reader, key| {
            let value = reader.value(depth + 1)?;
            each(key, value);
            Ok(())
        })
    }

    /// Passes an object; `value` passes each of its values.
    fn walk(&mut self, depth: u32, mut value: impl FnMut(&mut Self, &'a str) -> Result<(), NotCanonical>) -> Result<(), NotCanonical> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("nested too deeply"));
        }
        self.take(b'{', "an object is missing")?;
        // The last key, and whether it is spelled as the bytes it stands for.
        let mut last: Option<(&'a str, bool)> = None;
        while self.peek() != Some(b'}') || last.is_some() {
            if last.is_some() {
                if self.peek() == Some(b'}') {
                    break;
                }
                self.take(b',', "a comma or the end of an object is missing")?;
            }
            let before = self.at;
            self.escaped = false;
            let key = self.string()?;
            let is_plain = self.is_ascii && !self.escaped;
            let follows = last.is_none_or(|(last, was_plain)| if is_plain && was_plain { last < key } else { precedes(last, key) });
            if !follows {
                return Err(NotCanonical { at: before, what: "members are out of order or repeated" });
            }
            last = Some((key, is_plain));
            self.take(b':', "a colon is missing")?;
            value(self, key)?;
        }
        self.take(b'}', "the end of an object is missing")
    }

    fn array(&mut self, depth: u32) -> Result<(), NotCanonical> {
        if depth >= MAX_DEPTH {
            return Err(self.wrong("nested too deeply"));
        }
        self.take(b'[', "an array is missing")?;
        if self.peek() != Some(b']') {
            self.value(depth + 1)?;
            while self.peek() == Some(b',') {
                self.at += 1;
                self.value(depth + 1)?;
            }
        }
        self.take(b']', "a comma or the end of an array is missing")
    }

    /// Passes a string and gives its spelling between the quotes.
    fn string(&mut self) -> Result<&'a str, NotCanonical> {
        self.take(b'"', "a string is missing")?;
        let start = self.at;
        loop {
            let Some(step) = stop(self.bytes.get(self.at..).unwrap_or_default()) else {
                return Err(self.wrong("a string has no end"));
            };
            self.at += step;
            match self.peek() {
                Some(b'"') => {
                    let spelling = self.since(start);
                    self.at += 1;
                    return Ok(spelling);
                }
                Some(b'\\') => {
                    self.escaped = true;
                    self.escape()?;
                }
                _ => return Err(self.wrong("a control character that is not escaped")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), NotCanonical> {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        match rest {
            [b'"' | b'\\' | b'b' | b't' | b'n' | b'f' | b'r', ..] => self.at += 2,
            // Only what has no short form is spelled out, in lower case: 00-07, 0b, 0e-0f, 10-1f.
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] | [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => {
                self.at += 6
            }
            _ => return Err(self.wrong("an escape that is not needed or not known")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), NotCanonical> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')).unwrap_or(rest.len());
        self.at += length;
        let token = self.since(start);
        let digits = token.strip_prefix('-').unwrap_or(token);
        // Up to 15 digits a whole number is printed as it is; the rest is left to the writer of canonical numbers.
        let short = digits.len() <= 15 && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0') && !digits.is_empty();
        if short || token == "0" || is_printed_so(token) {
            Ok(())
        } else {
            Err(NotCanonical { at: start, what: "a number is not in its shortest form" })
        }
    }
}

/// Where a plain stretch of a string ends: at a quote, a backslash or a control character. Eight bytes at a time, as nearly all of a record
/// is plain.
fn stop(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // Marks the first byte of a word that is less than `n`; bytes above a marked one may be marked falsely.
    let less = |word: u64, n: u8| word.wrapping_sub(ONES * u64::from(n)) & !word & HIGHS;
    let is = |word: u64, byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = bytes.as_chunks::<8>();
    for (word, at) in words.iter().zip((0..).step_by(8)) {
        let word = u64::from_le_bytes(*word);
        let marks = is(word, b'"') | is(word, b'\\') | less(word, 0x20);
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20).map(|at| at + 8 * words.len())
}

fn is_printed_so(token: &str) -> bool {
    let Ok(serde_json::Value::Number(number)) = serde_json::from_str(token) else { return false };
    number.as_f64().and_then(|number| serde_json_canonicalizer::to_string(&number).ok()).is_some_and(|printed| printed == token)
}

/// Whether one key comes before another by the UTF-16 units they stand for.
fn precedes(left: &str, right: &str) -> bool {
    let units = |key: &str| serde_json::from_str::<String>(&format!("\"{key}\"")).map(|key| key.encode_utf16().collect::<Vec<_>>());
    matches!((units(left), units(right)), (Ok(left), Ok(right)) if left < right)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_the_canonicaliser_writes_passes(json in json()) {
            let text = serde_json_canonicalizer::to_string(&json).unwrap();
            prop_assert_eq!(value(&text), Ok(()));
        }

        #[test]
        fn a_text_that_passes_is_what_the_canonicaliser_writes(json in json(), at: prop::sample::Index, byte in 0x20_u8..0x7f) {
            let mut bytes = serde_json_canonicalizer::to_vec(&json).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = std::str::from_utf8(&bytes) && value(text).is_ok() {
                prop_assert_eq!(serde_json_canonicalizer::pipe(text).unwrap(), text);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = value(&text);
            let _ = (members(&text), nested(&text));
        }

        #[test]
        fn a_plain_stretch_ends_where_a_look_at_each_byte_says(mut bytes in prop::collection::vec(0x20_u8.., 0..40), at: prop::sample::Index, byte: u8) {
            let naive = |bytes: &[u8]| bytes.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20);
            prop_assert_eq!(stop(&bytes), naive(&bytes));
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                prop_assert_eq!(stop(&bytes), naive(&bytes));
            }
        }
    }

    #[test]
    fn objects_of_objects_are_walked_in_one_go() {
        let walk = |text: &str| {
            let found = nested(text)?;
            let seen = found.iter().flat_map(|(outer, inner)| inner.iter().map(move |(key, value)| format!("{outer}.{key}={value}")));
            Ok::<_, NotCanonical>(format!("{}: {}", found.len(), seen.collect::<Vec<_>>().join(" ")))
        };
        assert_eq!(walk("{\"a\":{\"b\":1,\"c\":[{}]},\"d\":{}}").unwrap(), "2: a.b=1 a.c=[{}]");
        for bad in ["{\"a\":1}", "{\"a\":{\"b\":1}}x", "{\"a\":{\"b\":01}}", "{\"a\":{\"b\":1,\"b\":2}}", "{\"a\":[]}", "{", "{}{}"] {
            assert!(walk(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_in_the_order_of_what_they_stand_for() {
        // As bytes the second key of each would stand elsewhere.
        for good in ["{\"\\n\":1,\"A\":2}", "{\"\u{1f600}\":1,\"\u{ffee}\":2}", "{\"a\":{\"\\n\":1},\"b\":2}"] {
            assert_eq!(members(good).unwrap().len(), 2, "{good}");
        }
        for bad in ["{\"A\":2,\"\\n\":1}", "{\"\u{ffee}\":2,\"\u{1f600}\":1}", "{\"\\n\":1,\"\\n\":2}", "{\"b\":{\"\\n\":1},\"a\":2}"] {
            assert!(members(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn refuses_other_spellings() {
        for bad in [
            "",
            " 1",
            "1 ",
            "01",
            "-0",
            "1.0",
            "1e5",
            "+1",
            "1.50",
            "1E+21",
            "0.00000001",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,}",
            "{,}",
            "[1,]",
            "[,1]",
            "[1 ,2]",
            "\"\\/\"",
            "\"\\u0041\"",
            "\"\\u000A\"",
            "\"\\u000a\"",
            "\"\n\"",
            "\"\\u001F\"",
            "nul",
            "{\"a\" :1}",
            "{} {}",
            "{\"a\"1}",
            "\"",
            "[",
            "{",
            "\"\\",
            "9007199254740993",
        ] {
            assert!(value(bad).is_err(), "{bad:?}");
        }
        for good in [
            "0",
            "-1",
            "1e+21",
            "1e-8",
            "{}",
            "[]",
            "\"\\u0000\\u001f\\b\\\"/\u{7f}é\"",
            "{\"\u{1f600}\":1,\"\u{ffee}\":2}",
            "9007199254740992",
        ] {
            assert_eq!(value(good), Ok(()), "{good}");
        }
        assert!(value(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))).is_err());
    }
}
