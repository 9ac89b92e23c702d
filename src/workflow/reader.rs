//! Reads mappings field by field and collects every problem instead of stopping at the first.
//!
//! INVARIANT: whatever is not a known field of the expected type leaves a problem; nothing is guessed.

use std::str::FromStr;

use crate::domain::{Millis, Problem};

use super::node::{Located, Node};

/// Where problems gather.
pub(super) struct Reader<'a> {
    file: &'a str,
    problems: Vec<Problem>,
}

/// The fields of one mapping. `what` names it in messages.
pub(super) struct Fields<'n> {
    pub(super) what: String,
    pub(super) line: Option<u64>,
    map: &'n [(super::node::Key, Located)],
}

impl<'a> Reader<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self { file, problems: Vec::new() }
    }

    /// Notes a problem.
    pub(super) fn problem(&mut self, line: Option<u64>, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, message).at(line));
    }

    /// Notes a problem with what to do about it.
    pub(super) fn problem_with_hint(&mut self, line: Option<u64>, message: impl Into<String>, hint: impl Into<String>) {
        self.problems.push(Problem::new(self.file, message).at(line).hint(hint));
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// All problems, in the order of their lines.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// The node as a mapping whose keys are all among `known`.
    pub(super) fn fields<'n>(&mut self, what: impl Into<String>, at: &'n Located, known: &[&str]) -> Option<Fields<'n>> {
        let what = what.into();
        let Node::Map(map) = &at.node else {
            self.problem(at.line, format!("{what} must be a mapping, not {}", at.kind()));
            return None;
        };
        for (key, _) in map {
            if !known.contains(&key.text.as_str()) {
                self.problem_with_hint(
                    key.line,
                    format!("{what} has an unknown field `{}`", key.text),
                    format!("known: {}", known.join(", ")),
                );
            }
        }
        Some(Fields { what, line: at.line, map })
    }

    /// A text, if the field is there.
    pub(super) fn text<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n str> {
        let at = fields.get(name)?;
        let text = at.as_text();
        if text.is_none() {
            self.wrong(fields, name, at, "a text");
        }
        text
    }

    /// A text that must be there.
    pub(super) fn required_text<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n str> {
        if fields.get(name).is_none() {
            self.problem(fields.line, format!("{} has no `{name}`", fields.what));
        }
        self.text(fields, name)
    }

    /// A whole number within bounds, if the field is there.
    pub(super) fn number(&mut self, fields: &Fields<'_>, name: &str, least: u32, most: u32) -> Option<u32> {
        let at = fields.get(name)?;
        let number = if let Node::Number(number) = &at.node { number.as_u64() } else { None };
        let number = number.and_then(|n| u32::try_from(n).ok()).filter(|n| (least..=most).contains(n));
        if number.is_none() {
            self.wrong(fields, name, at, &format!("a whole number from {least} to {most}"));
        }
        number
    }

    /// A span of time such as `30s`, if the field is there.
    pub(super) fn span(&mut self, fields: &Fields<'_>, name: &str) -> Option<Millis> {
        let at = fields.get(name)?;
        let span = at.as_text().and_then(parse_span);
        if span.is_none() {
            self.wrong(fields, name, at, "a span of time such as `500ms`, `30s`, `5m` or `2h`");
        }
        span
    }

    /// One of several words, if the field is there.
    pub(super) fn word<T: Copy>(&mut self, fields: &Fields<'_>, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(fields, name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let line = fields.get(name).and_then(|at| at.line);
            self.problem_with_hint(line, format!("`{text}` is no `{name}` of {}", fields.what), format!("known: {}", known.join(", ")));
        }
        found
    }

    /// A list of texts, each read as `T`, with its line.
    pub(super) fn texts<T: FromStr>(&mut self, fields: &Fields<'_>, name: &str) -> Vec<(T, Option<u64>)>
    where
        T::Err: std::fmt::Display,
    {
        let Some(at) = fields.get(name) else { return Vec::new() };
        let Some(items) = at.as_list() else {
            self.wrong(fields, name, at, "a list of texts");
            return Vec::new();
        };
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            match item.as_text().map(str::parse) {
                Some(Ok(value)) => read.push((value, item.line)),
                Some(Err(error)) => self.problem(item.line, format!("`{name}` of {}: {error}", fields.what)),
                None => self.wrong(fields, name, item, "a list of texts"),
            }
        }
        read
    }

    fn wrong(&mut self, fields: &Fields<'_>, name: &str, at: &Located, wanted: &str) {
        self.problem(at.line, format!("`{name}` of {} must be {wanted}, not {}", fields.what, at.kind()));
    }
}

impl<'n> Fields<'n> {
    /// The same fields under a better name.
    pub(super) fn named(self, what: &str) -> Self {
        Self { what: what.to_owned(), ..self }
    }

    /// The field's value, unless it is missing or null.
    pub(super) fn get(&self, name: &str) -> Option<&'n Located> {
        self.map.iter().find(|(key, _)| key.text == name).map(|(_, value)| value).filter(|value| !matches!(value.node, Node::Null))
    }

    /// The line of a field, else of the mapping.
    pub(super) fn line_of(&self, name: &str) -> Option<u64> {
        self.get(name).map_or(self.line, |at| at.line)
    }
}

fn parse_span(text: &str) -> Option<Millis> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|millis| *millis > 0).map(Millis)
}
