//! Text for a person on a terminal, besides what every face shows alike (`domain::shown`).
//!
//! INVARIANT: what these functions return holds no control, bidirectional, zero-width or tag character.

use std::fmt::Write as _;

use serde_json::Value;

use crate::domain::Millis;
pub use crate::domain::shown::{ago, block, is_hidden, moment, outline, printable};

/// JSON whose hidden characters are escaped; the value is the same.
#[must_use]
pub fn json(value: &Value, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap_or_default();
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        // Line breaks of pretty JSON are its own; inside strings they are escaped already.
        if is_hidden(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A span as a person says it.
#[must_use]
pub fn span(span: Millis) -> String {
    let sec = span.0 / 1000;
    match sec {
        _ if span.0 < 1_000 => format!("{} ms", span.0),
        0..60 => format!("{sec}.{} s", span.0 % 1000 / 100),
        60..3_600 => format!("{} min {} s", sec / 60, sec % 60),
        3_600..86_400 => format!("{} h {} min", sec / 3_600, sec % 3_600 / 60),
        _ => format!("{} d {} h", sec / 86_400, sec % 86_400 / 3_600),
    }
}

/// The first sentence of a description.
#[must_use]
pub fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or_else(|| text.trim_end().trim_end_matches('.'), |(first, _)| first)
}

#[cfg(test)]
mod tests {
    use serde_json::json as value;

    use super::*;
    use crate::domain::Timestamp;

    #[test]
    fn json_stays_the_same_value() {
        let data = value!({"k\u{202e}": "\u{7f}\u{e0041}\u{1b}\n"});
        let text = json(&data, true);
        assert!(!text.chars().any(|c| is_hidden(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), data);
    }

    #[test]
    fn times_read_well() {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let spans = [0, 999, 1_250, 59_999, 61_000, 3_700_000, 90_000_000].map(|ms| span(Millis(ms)));
        assert_eq!(spans, ["0 ms", "999 ms", "1.2 s", "59.9 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        assert_eq!(moment(Timestamp::from_unix_millis(1_699_999_800_000), now), "3 min ago (2023-11-14 22:10:00Z)");
        assert_eq!(ago(now.plus(Millis(900_000)), now), "in 15 min");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_printable(text in "\\PC*|[\\x00-\\x20\u{200b}-\u{2070}a\n]{0,40}") {
            proptest::prop_assert!(!printable(&text).chars().any(is_hidden));
            proptest::prop_assert!(block(&text).lines().all(|line| line.starts_with("  │ ")));
            let data = value!({ text.clone(): text });
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&json(&data, false)).unwrap(), data);
        }
    }
}
