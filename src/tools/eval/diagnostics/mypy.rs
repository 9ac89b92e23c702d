//! Reads what mypy found: its text, with or without the source it can show, or JSON where the caller or the project chose that.

use serde::Deserialize;

use super::{Diagnostic, LONGEST, MOST};

/// How many lines of a wrapped message are put together.
const WRAPPED: usize = 12;

/// A finding, of what mypy's JSON says about it.
#[derive(Deserialize)]
struct Finding {
    file: String,
    line: i64,
    message: String,
    hint: Option<String>,
    code: Option<String>,
    severity: String,
}

/// A finding, of mypy's text.
struct Entry<'a> {
    path: &'a str,
    line: Option<u64>,
    severity: &'a str,
    message: &'a str,
}

/// The errors, each with the notes on the same line after it. Other notes are left out.
pub(super) fn read(stdout: &str, stderr: &str, folder: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for text in [stdout, stderr] {
        let mut lines = text.lines().peekable();
        let mut last: Option<(&str, Option<u64>)> = None;
        while let Some(line) = lines.next() {
            if found.len() >= MOST {
                return found;
            }
            if line.starts_with('{') {
                found.extend(json(line, folder));
            } else if let Some(entry) = entry(line) {
                let place = (entry.path, entry.line);
                if entry.severity == "note" {
                    if let Some(error) = found.last_mut().filter(|_| last == Some(place)) {
                        add_note(error, entry.message);
                    }
                    continue;
                }
                let mut message = entry.message.to_owned();
                for _ in 0..WRAPPED {
                    if message.ends_with(']') {
                        break;
                    }
                    let Some(more) = lines.next_if(|next| is_continued(next)) else { break };
                    message = format!("{} {more}", message.trim_end());
                }
                found.push(error(&message, &entry, folder));
                last = Some(place);
            } else {
                found.extend(about_configuration(line, folder));
            }
        }
    }
    found
}

fn json(line: &str, folder: &str) -> Option<Diagnostic> {
    let finding: Finding = serde_json::from_str(line).ok()?;
    if finding.severity == "note" {
        return None;
    }
    let mut found = Diagnostic::new(finding.code.as_deref().unwrap_or("error"), &finding.message);
    finding.hint.iter().flat_map(|hint| hint.lines()).for_each(|note| add_note(&mut found, note));
    Some(found.at(&finding.file, u64::try_from(finding.line).ok(), folder))
}

/// `path[:line[:column[:line:column]]]: severity: message`
fn entry(line: &str) -> Option<Entry<'_>> {
    let (at, severity) = ["error", "warning", "note"]
        .into_iter()
        .filter_map(|severity| Some((line.find(&format!(": {severity}: "))?, severity)))
        .min_by_key(|(at, _)| *at)?;
    let (mut path, message) = (line.get(..at)?, line.get(at + severity.len() + 4..)?);
    let mut number = None;
    for _ in 0..4 {
        let Some((before, last)) = path.rsplit_once(':') else { break };
        let Ok(n) = last.parse() else { break };
        (path, number) = (before, Some(n));
    }
    (!path.is_empty() && !path.starts_with(' ')).then_some(Entry { path, line: number, severity, message })
}

fn error(message: &str, entry: &Entry<'_>, folder: &str) -> Diagnostic {
    let in_brackets = message.trim_end().strip_suffix(']').and_then(|rest| rest.rsplit_once(" ["));
    let (message, code) =
        in_brackets.filter(|(_, code)| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')).unwrap_or((message, "error"));
    let found = Diagnostic::new(code, message);
    // The program speaks of itself, not of a file.
    if entry.path == "mypy" && entry.line.is_none() { found } else { found.at(entry.path, entry.line, folder) }
}

fn is_continued(line: &str) -> bool {
    !line.is_empty() && !line.starts_with([' ', '{']) && entry(line).is_none() && !line.starts_with("Found ")
}

fn add_note(error: &mut Diagnostic, note: &str) {
    // A link is no help where it cannot be followed.
    if note.starts_with("See http") || error.message.chars().count() >= LONGEST {
        return;
    }
    error.message = format!("{}\n{}", error.message, note.trim_end()).chars().take(LONGEST).collect();
}

/// `mypy.ini: [mypy]: message` or `pyproject.toml: message`: mypy goes on without what it did not understand.
fn about_configuration(line: &str, folder: &str) -> Option<Diagnostic> {
    let (path, message) = line.split_once(": ")?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_file = !path.contains(' ') && [".ini", ".toml", ".cfg"].iter().any(|ending| name.ends_with(ending));
    is_file.then(|| Diagnostic::new("config", message).at(path, None, folder))
}
