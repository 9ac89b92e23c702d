//! Personal data by its shape: e-mail addresses, telephone numbers, payment cards, bank accounts.
//!
//! Best effort, and only where it is asked for: shapes say little, so that some of it is missed and some innocent text is hit. Cards
//! and accounts must have right check digits.

use std::ops::Range;
use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};

use super::spans::Span;

/// Kinds of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pii {
    bits: u8,
}

/// One kind: its word, its shape, and what must hold besides.
struct Kind {
    word: &'static str,
    shape: &'static str,
    holds: fn(&[u8]) -> Option<usize>,
}

const KINDS: [Kind; 4] = [
    Kind {
        word: "email",
        shape: r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b",
        holds: |found| Some(found.len()),
    },
    Kind { word: "iban", shape: r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", holds: iban },
    Kind { word: "card", shape: r"\b[2-6][0-9]{3}(?:[ -]?[0-9]){9,15}\b", holds: card },
    Kind {
        word: "phone",
        shape: r"(?:\+|\b00)[1-9](?:[ ().-]{0,2}[0-9]){6,14}\b|\(?\b[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b",
        holds: |found| Some(found.len()),
    },
];

static SHAPES: LazyLock<Vec<Option<Regex>>> =
    LazyLock::new(|| KINDS.iter().map(|kind| RegexBuilder::new(kind.shape).unicode(false).build().ok()).collect());

impl Pii {
    /// No kind.
    pub const NONE: Self = Self { bits: 0 };

    /// The kinds of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits }
    }

    /// The kind of this word, besides those it has; `None` where there is no such kind.
    #[must_use]
    pub fn with(self, word: &str) -> Option<Self> {
        let at = KINDS.iter().position(|kind| kind.word == word)?;
        Some(Self { bits: self.bits | 1 << at })
    }

    /// The words of all kinds.
    #[must_use]
    pub fn words() -> Vec<&'static str> {
        KINDS.iter().map(|kind| kind.word).collect()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.bits == 0
    }

    pub(super) fn find(self, bytes: &[u8], spans: &mut Vec<Span>) {
        if self.is_none() {
            return;
        }
        for (at, (kind, shape)) in KINDS.iter().zip(&*SHAPES).enumerate() {
            let Some(shape) = shape.as_ref().filter(|_| self.bits & (1 << at) != 0) else { continue };
            let mark = format!("[REDACTED:{}]", kind.word);
            let mut from = 0;
            while let Some(found) = shape.find_at(bytes, from) {
                let Range { start, end } = found.range();
                let length = (kind.holds)(found.as_bytes());
                if let Some(length) = length {
                    spans.push(Span { start, end: start + length, mark: mark.as_str().into() });
                }
                from = length.map_or(end, |length| start + length).max(start + 1);
            }
        }
    }
}

/// Luhn's check over the digits.
fn card(found: &[u8]) -> Option<usize> {
    let digits: Vec<u32> = found.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0')).collect();
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, digit * 2) {
            (0, _) => *digit,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    (sum.is_multiple_of(10) && (13..=19).contains(&digits.len())).then_some(found.len())
}

/// The remainder by 97 of an account number, whose length depends on its country: the longest part that fits counts.
fn iban(found: &[u8]) -> Option<usize> {
    (15..=found.len()).rev().find(|length| found.get(..*length).is_some_and(is_iban))
}

fn is_iban(text: &[u8]) -> bool {
    let compact: Vec<u8> = text.iter().copied().filter(|byte| *byte != b' ').collect();
    if !(15..=34).contains(&compact.len()) || text.last() == Some(&b' ') {
        return false;
    }
    let (head, rest) = compact.split_at(4);
    let remainder = rest.iter().chain(head).fold(0_u32, |sum, byte| match byte {
        b'0'..=b'9' => (sum * 10 + u32::from(byte - b'0')) % 97,
        _ => (sum * 100 + u32::from(byte - b'A') + 10) % 97,
    });
    remainder == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(kinds: &[&str], text: &str) -> String {
        let pii = kinds.iter().fold(Pii::NONE, |pii, word| pii.with(word).unwrap());
        let mut spans = Vec::new();
        pii.find(text.as_bytes(), &mut spans);
        String::from_utf8(super::super::spans::replaced(text.as_bytes(), &super::super::spans::merged(spans))).unwrap()
    }

    #[test]
    fn each_kind_is_found_and_only_what_was_asked_for() {
        let text = "ask ann.o+x@mail.example.org or +44 20 7946 0018, (212) 555-0147; card 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00 AND more";
        assert_eq!(cleaned(&[], text), text);
        assert_eq!(
            cleaned(&["email", "phone", "card", "iban"], text),
            "ask [REDACTED:email] or [REDACTED:phone], [REDACTED:phone]; card [REDACTED:card], [REDACTED:iban] AND more"
        );
        assert_eq!(cleaned(&["iban"], "GB82WEST12345698765432."), "[REDACTED:iban].");
        assert!(Pii::NONE.with("name").is_none());
    }

    #[test]
    fn wrong_check_digits_and_other_numbers_are_left() {
        let text = "card 4111 1111 1111 1112, DE88 3704 0044 0532 0130 00, 2026-11-21T10:00:00Z, 1.2.3.4, 3f2504e0-4f89-11d3-9a0c-0305e82c3301, a@b";
        assert_eq!(cleaned(&["email", "card", "iban"], text), text);
        let text = text.replace("0044 0532", "x");
        assert_eq!(cleaned(&["phone"], &text), text);
    }
}
