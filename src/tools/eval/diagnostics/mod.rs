//! What a command found, read from its output: a place, a code and a message for each finding.
//!
//! INVARIANT: what is read was written by a program that is not trusted. Every reader is total, and how much it tells is capped; whether a
//! command passed is never read from here, only from its return code.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;

use super::checker::Checker;

mod mypy;
mod pytest;
mod ruff;
mod traceback;
mod unittest;

/// How many are told.
const MOST: usize = 50;

/// How long a message or a path may be, in characters.
const LONGEST: usize = 1_000;

/// How long a code may be, in characters.
const LONGEST_CODE: usize = 80;

/// The folder that the project lies in, inside the sandbox.
const ROOT: &str = "/work/";

/// One thing a command found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Diagnostic {
    /// In the project, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The rule that is broken, or FAIL, ERROR or the exception's type.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

/// What a command left behind when it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended<'a> {
    /// Standard output.
    pub(super) stdout: &'a str,
    /// Standard error.
    pub(super) stderr: &'a str,
    /// The file of `Report::file`, if it was written.
    pub(super) report: Option<&'a [u8]>,
    /// Its status.
    pub(super) return_code: i32,
}

/// Reads what a command found. `folder` is put before every path that lies in the project.
///
/// A command that passed may still have found something: ruff with `--exit-zero`, mypy with a configuration that it does not know.
pub(super) fn read(checker: Checker, ended: &Ended<'_>, folder: &str) -> Vec<Diagnostic> {
    let (stdout, stderr) = (&*plain(ended.stdout), &*plain(ended.stderr));
    let failed = ended.return_code != 0;
    let mut found = match checker {
        Checker::Ruff => ruff::read(stdout, stderr, folder),
        Checker::Mypy => mypy::read(stdout, stderr, folder),
        Checker::Pytest if failed => pytest::read(&Ended { stdout, stderr, ..*ended }, folder),
        Checker::Unittest | Checker::Other if failed => unittest::read(stderr, folder),
        Checker::Pytest | Checker::Unittest | Checker::Other => Vec::new(),
    };
    if found.is_empty() && failed {
        found.extend(traceback::read(stderr, folder).or_else(|| traceback::read(stdout, folder)));
    }
    if found.is_empty() && failed && matches!(checker, Checker::Ruff | Checker::Mypy | Checker::Pytest) {
        found.extend(said("error", stderr));
    }
    found.truncate(MOST);
    found
}

impl Diagnostic {
    fn new(code: &str, message: &str) -> Self {
        let code = code.chars().take(LONGEST_CODE).collect();
        Self { path: None, line: None, code, message: message.trim().chars().take(LONGEST).collect() }
    }

    /// At a place, as the command named it.
    fn at(mut self, path: &str, line: Option<u64>, folder: &str) -> Self {
        let path = within(path).map_or_else(|| path.to_owned(), |inner| format!("{folder}{inner}"));
        self.path = Some(path.chars().take(LONGEST).collect());
        self.line = line.filter(|line| *line > 0);
        self
    }
}

/// A file of the project, relative to it; `None` for others: the interpreter's, an installed package's, what is no file at all.
fn within(path: &str) -> Option<&str> {
    let inner = match path.strip_prefix(ROOT) {
        Some(inner) => inner,
        None if path.starts_with(['/', '<']) => return None,
        None => path.strip_prefix("./").unwrap_or(path),
    };
    let outside = inner.is_empty() || inner.split('/').any(|part| part == ".." || part == "site-packages");
    (!outside).then_some(inner)
}

/// What a program said when it did not come to its work, without the usage it repeats.
fn said(code: &str, stderr: &str) -> Option<Diagnostic> {
    let told =
        |line: &&str| !line.trim().is_empty() && !line.contains("usage: ") && !line.starts_with("        ") && !line.starts_with("Usage: ");
    let lines: Vec<&str> = stderr.lines().filter(told).take(10).collect();
    (!lines.is_empty()).then(|| Diagnostic::new(code, &lines.join("\n")))
}

/// Without the colours of a terminal, as themselves or as the text that an XML report has for them.
fn plain(text: &str) -> Cow<'_, str> {
    ["\u{1b}[", "#x1B["].into_iter().fold(Cow::Borrowed(text), |text, start| {
        let mut parts = text.split(start);
        let first = parts.next().unwrap_or_default();
        if first.len() == text.len() {
            return text;
        }
        let mut out = first.to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
            out.push_str(rest.strip_prefix(['m', 'K']).unwrap_or(rest));
        }
        Cow::Owned(out)
    })
}

#[cfg(test)]
mod tests;
