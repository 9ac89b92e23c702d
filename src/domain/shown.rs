//! Text for a person: nothing that came from an agent can move the cursor, hide, or reorder what is shown.
//!
//! INVARIANT: what these functions return holds no control, bidirectional, zero-width, tag or private character and no blank but the
//! blank; a block's every line starts with its bar, so that shown data cannot pass for our own words. Every face uses these and no
//! other.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Millis, Timestamp};

/// Whether a character does something other than appear.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
        // Blanks that are not the blank, and what no font of the reader's need have.
        || matches!(c,
            '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{2800}' | '\u{3000}'
            | '\u{e000}'..='\u{f8ff}' | '\u{fdd0}'..='\u{fdef}' | '\u{fffe}'..='\u{ffff}' | '\u{f0000}'..='\u{10ffff}')
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
}
