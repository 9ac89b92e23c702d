//! Text from outside, made harmless for a terminal, a log or a commit.
//!
//! INVARIANT: the answer holds no control character but newline and tab, and nothing that draws nothing or turns text around. Changes
//! no visible character.

use crate::confine::is_invisible;

/// `text` without terminal sequences, control, bidirectional and invisible characters; line ends become `\n`.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\u{9b}' => skip_to_final(&mut rest),
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            _ if c.is_control() || is_invisible(c) => {}
            _ => out.push(c),
        }
    }
    out
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// What follows an escape character: a sequence with a final letter, a string up to its end, or one character.
fn skip_sequence(rest: &mut Rest<'_>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_to_final(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = rest.next() {
                match c {
                    '\u{7}' | '\u{9c}' => return,
                    '\u{1b}' => {
                        rest.next_if_eq(&'\\');
                        return;
                    }
                    // A string that is never closed must not swallow the lines after it.
                    '\n' => return,
                    _ => {}
                }
            }
        }
        Some(c) if c.is_ascii_graphic() => {
            rest.next();
        }
        _ => {}
    }
}

fn skip_to_final(rest: &mut Rest<'_>) {
    while rest.next_if(|c| matches!(c, ' '..='?')).is_some() {}
    rest.next_if(|c| matches!(c, '@'..='~'));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_is_gone_and_what_is_seen_stays() {
        for (text, expected) in [
            ("plain ünï 🙂\n\ttext", "plain ünï 🙂\n\ttext"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\b", "ab"),
            ("a\u{1b}]never\nb", "ab"),
            ("a\u{9b}2Kb", "ab"),
            ("a\u{1b}cb\0\u{8}c", "abc"),
            ("one\r\ntwo\rthree", "one\ntwo\nthree"),
            ("a\u{202e}b\u{200b}c\u{e0041}\u{2028}d\u{feff}", "abcd"),
            ("\u{1b}", ""),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_but_line_ends_and_tabs_controls(text in "\\PC{0,20}[\u{0}-\u{20}\u{1b}\\[\\]m;\u{80}-\u{a0}]{0,20}") {
            let out = plain(&text);
            assert!(out.chars().all(|c| c == '\n' || c == '\t' || !(c.is_control() || is_invisible(c))));
            assert_eq!(plain(&out), out);
        }
    }
}
