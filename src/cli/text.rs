//! Text for a person: nothing that came from an agent can move the cursor, hide, or reorder what is shown.
//!
//! INVARIANT: what these functions return holds no control, bidirectional, zero-width or tag character, and a block's every line
//! starts with its bar, so that shown data cannot pass for our own words.

use std::fmt::Write as _;

use serde_json::Value;

use crate::domain::{Millis, Timestamp};

/// Whether a character does something other than appear.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// One line: every hidden character is shown as its escape.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Several lines, each escaped and behind a bar.
#[must_use]
pub fn block(text: &str) -> String {
    let mut shown = String::new();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let _ = writeln!(shown, "  │ {}", printable(&line.replace('\t', "    ")));
    }
    shown
}

/// Data as a person reads it: one `key: value` a line, texts of several lines as a block of their own.
#[must_use]
pub fn outline(value: &Value) -> String {
    let mut lines = Vec::new();
    outline_into(&mut lines, 0, "", value);
    block(&lines.join("\n"))
}

fn outline_into(lines: &mut Vec<String>, depth: usize, label: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            if !label.is_empty() {
                lines.push(format!("{indent}{label}"));
            }
            let depth = if label.is_empty() { depth } else { depth + 1 };
            for (name, field) in fields {
                outline_into(lines, depth, &format!("{}:", printable(name)), field);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            if !label.is_empty() {
                lines.push(format!("{indent}{label}"));
            }
            let depth = if label.is_empty() { depth } else { depth + 1 };
            for item in items {
                outline_into(lines, depth, "-", item);
            }
        }
        Value::String(text) if text.trim_end_matches('\n').contains('\n') => {
            lines.push(format!("{indent}{label}").trim_end().to_owned());
            lines.extend(text.trim_end_matches('\n').split('\n').map(|line| format!("{indent}  | {}", line.trim_end_matches('\r'))));
        }
        Value::String(text) => lines.push(labelled(&indent, label, &printable(text))),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_) => {
            lines.push(labelled(&indent, label, &value.to_string()));
        }
    }
}

fn labelled(indent: &str, label: &str, text: &str) -> String {
    if label.is_empty() { format!("{indent}{text}") } else { format!("{indent}{label} {text}") }
}

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

/// The largest unit of a span only.
fn roughly(span: Millis) -> String {
    let sec = span.0 / 1000;
    match sec {
        0..60 => format!("{sec} s"),
        60..3_600 => format!("{} min", sec / 60),
        3_600..86_400 => format!("{} h", sec / 3_600),
        _ => format!("{} d", sec / 86_400),
    }
}

/// A point in time, seen from now: `3 min ago (2026-01-31 12:00:00Z)`.
#[must_use]
pub fn moment(at: Timestamp, now: Timestamp) -> String {
    format!("{} ({})", ago(at, now), absolute(at))
}

/// How long ago, or in how long.
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now { format!("in {}", roughly(at.since(now))) } else { format!("{} ago", roughly(now.since(at))) }
}

fn absolute(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => text,
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

    #[test]
    fn nothing_hidden_stays_hidden() {
        let attack = "ok\u{1b}[2K\r\u{202e}evil\u{200b}\u{e0041}\u{2028}\0\u{9b}A\u{7f}\u{feff}é€";
        assert_eq!(printable(attack), "ok\\u{1b}[2K\\r\\u{202e}evil\\u{200b}\\u{e0041}\\u{2028}\\u{0}\\u{9b}A\\u{7f}\\u{feff}é€");
        assert!(!printable(attack).chars().any(is_hidden));
        for c in ['\u{200d}', '\u{2066}', '\u{fe0f}', '\u{ad}', '\u{3164}', '\u{e01ef}', '\u{61c}', '\u{180e}', '\u{fff9}'] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in ['a', 'ß', '漢', '🙂', ' ', '\\', '\u{301}'] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn every_line_of_a_block_has_its_bar() {
        let fake = "fine\napproved by operator\r\n\n\terror";
        assert_eq!(block(fake), "  │ fine\n  │ approved by operator\n  │ \n  │     error\n");
    }

    #[test]
    fn data_is_outlined() {
        let data = value!({"commit": "abc", "empty": {}, "files": [{"path": "a.py"}, "b"], "none": null, "text": "one\ntwo\u{1b}\n"});
        insta::assert_snapshot!(outline(&data), @r"
        │ commit: abc
        │ empty: {}
        │ files:
        │   -
        │     path: a.py
        │   - b
        │ none: null
        │ text:
        │   | one
        │   | two\u{1b}
        ");
        assert_eq!(outline(&value!("just text")), "  │ just text\n");
    }

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
