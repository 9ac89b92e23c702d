//! Reads a canonical text whose members are known beforehand, in their order, without making a list of them.
//!
//! INVARIANT: a text that is read to its end in this way, member after member, is one that [`super::members`] passes. Says only whether,
//! not where it is wrong: whoever wants to know that reads again.

use crate::bundle::unhex;

use super::{Reader, whole};

/// Every method gives `None` where something else stands there; the reader is of no use then.
impl<'a> Reader<'a> {
    /// Whether these very bytes stand here.
    #[must_use]
    #[inline]
    pub fn is_at(&self, bytes: &str) -> bool {
        self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(bytes.as_bytes()))
    }

    /// Passes these very bytes.
    #[inline]
    pub fn pass(&mut self, bytes: &str) -> Option<()> {
        self.is_at(bytes).then(|| self.at += bytes.len())
    }

    /// Passes a value that is nested so deep, and gives its text.
    #[inline]
    pub fn any(&mut self, depth: u32) -> Option<&'a str> {
        self.value(depth).ok()
    }

    /// Passes a string.
    #[inline]
    pub fn text(&mut self) -> Option<()> {
        self.string().ok().map(drop)
    }

    /// Passes a string that needs no escapes, and gives what it says.
    #[inline]
    pub fn plain(&mut self) -> Option<&'a str> {
        self.escaped = false;
        self.string().ok().filter(|_| !self.escaped)
    }

    /// Passes a whole number.
    #[inline]
    pub fn whole(&mut self) -> Option<u64> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let digits = self.text.get(self.at..self.at + length)?;
        self.at += length;
        whole(digits)
    }

    /// Passes a string of 64 lower case hexadecimal digits, and gives the hash that they spell.
    #[inline]
    pub fn hash(&mut self) -> Option<[u8; 32]> {
        self.pass("\"")?;
        let hash = self.text.get(self.at..self.at + 64).and_then(unhex)?;
        self.at += 64;
        self.pass("\"")?;
        Some(hash)
    }

    /// Passes a string that has a digit wherever `shape` has `0`, and everywhere else the same byte.
    pub fn shaped(&mut self, shape: &[u8; 24]) -> Option<()> {
        self.pass("\"")?;
        let found = self.bytes.get(self.at..)?.first_chunk::<24>()?;
        let same = |(byte, shape): (&u8, &u8)| (*shape == b'0') & byte.is_ascii_digit() | (*byte == *shape);
        // All of them are looked at, so that several are at once.
        if !found.iter().zip(shape).fold(true, |all, pair| all & same(pair)) {
            return None;
        }
        self.at += 24;
        self.pass("\"")
    }

    /// Passes an object that is nested so deep; `each` passes the value of each member.
    pub fn each(&mut self, depth: u32, mut each: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.walk(depth, |reader, key| each(reader, key).ok_or_else(|| reader.wrong("something else was expected"))).ok()
    }

    /// Whether all was passed.
    pub fn is_done(&self) -> bool {
        self.end().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn passes_only_what_is_asked_for() {
        let hash = "0a".repeat(32);
        let text = format!("{{\"a\":\"{hash}\",\"b\":17,\"c\":\"x\",\"d\":\"2026-01-31T12:00:00.000Z\"}}");
        let mut at = Reader::new(&text);
        assert_eq!(at.pass("{\"a\":").and_then(|()| at.hash()), Some([10; 32]));
        assert_eq!(at.pass(",\"b\":").and_then(|()| at.whole()), Some(17));
        assert_eq!(at.pass(",\"c\":").and_then(|()| at.plain()), Some("x"));
        assert_eq!(at.pass(",\"d\":").and_then(|()| at.shaped(b"0000-00-00T00:00:00.000Z")), Some(()));
        assert!(!at.is_done());
        assert_eq!(at.pass("}"), Some(()));
        assert!(at.is_done());
        for bad in ["", "01", "-1", "x", "18446744073709551616"] {
            assert_eq!(Reader::new(bad).whole(), None, "{bad}");
        }
        for bad in [String::new(), format!("\"{}\"", "0A".repeat(32)), format!("\"{hash}0\""), format!("{hash}\""), format!("\"{hash}")] {
            assert_eq!(Reader::new(&bad).hash(), None, "{bad}");
        }
        for bad in ["\"\\n\"", "\"é", "x", "\"\n\""] {
            assert_eq!(Reader::new(bad).plain(), None, "{bad}");
        }
        for bad in ["\"2026-01-31T12:00:00.000z\"", "\"2026-01-31T12:00:00.00:Z\"", "\"2026-01-31T12:00:00.000Z", "\"2026\""] {
            assert_eq!(Reader::new(bad).shaped(b"0000-00-00T00:00:00.000Z"), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn members_that_are_passed_are_those_of_the_list(text in "\\{(\"[ab]\":(1|\\[\\]|\"x\")[,}]){0,3}") {
            let mut list = Vec::new();
            let mut at = Reader::new(&text);
            let passed = at.each(0, |at, key| at.any(1).map(|value| list.push((key, value))));
            let passed = passed.filter(|()| at.is_done()).map(|()| list);
            prop_assert_eq!(passed, super::super::members(&text).ok());
        }
    }
}
