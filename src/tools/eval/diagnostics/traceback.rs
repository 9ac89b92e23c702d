//! Reads the traceback that a program ended with, and what the interpreter tells when it is killed by its own code.

use super::{Diagnostic, within};

/// The traceback at the end of a text.
pub(super) fn read(text: &str, folder: &str) -> Option<Diagnostic> {
    if let Some(found) = fatal(text, folder) {
        return Some(found);
    }
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with("Traceback (most recent call last)")).unwrap_or(0);
    let block = lines.get(start..)?;
    let cause = cause(block)?;
    let place = place(block);
    let kind = cause.split(':').next().unwrap_or_default();
    let is_name = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    if !is_name || (place.is_none() && start == 0) {
        return None;
    }
    let found = Diagnostic::new(kind, &cause);
    Some(match place {
        Some((path, line)) => found.at(path, Some(line), folder),
        None => found,
    })
}

/// The interpreter's own last words. It tells the frames from the innermost outwards.
pub(super) fn fatal(text: &str, folder: &str) -> Option<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with("Fatal Python error: "))?;
    let block = lines.get(start..)?;
    let found = Diagnostic::new("fatal", block.first()?);
    let ours = block.iter().filter_map(|line| frame(line)).find(|(path, _)| within(path).is_some());
    Some(match ours {
        Some((path, line)) => found.at(path, Some(line), folder),
        None => found,
    })
}

/// The last `File "…", line N` of the project, else the last of all.
pub(super) fn place<'a>(block: &[&'a str]) -> Option<(&'a str, u64)> {
    let places: Vec<(&str, u64)> = block.iter().filter_map(|line| frame(line)).collect();
    places.iter().rev().find(|(path, _)| within(path).is_some()).or_else(|| places.last()).copied()
}

/// `File "…", line N`, also in the frame that is drawn around a group of exceptions.
pub(super) fn frame(line: &str) -> Option<(&str, u64)> {
    let (path, rest) = line.trim_start_matches([' ', '|']).strip_prefix("File \"")?.split_once("\", line ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((path, rest.get(..end)?.parse().ok()?))
}

/// The exception's own lines: from the last line that stands at the margin after the frames, with what follows it.
pub(super) fn cause(block: &[&str]) -> Option<String> {
    let end = block.iter().rposition(|line| !line.trim().is_empty() && !line.bytes().all(|b| b == b'-'))?;
    let body = block.get(..=end)?;
    let frames = body.iter().rposition(|line| line.starts_with("  ")).map_or(0, |last| last + 1);
    let own = body.get(frames..).filter(|own| !own.is_empty())?;
    Some(own.join("\n").trim().to_owned())
}
