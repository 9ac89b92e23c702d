//! Reads what ruff found: one line per finding (the form it is asked for), its form for people, or JSON where the caller chose that.

use serde::Deserialize;

use super::{Diagnostic, MOST};

/// A finding, of what ruff's JSON says about it.
#[derive(Deserialize)]
struct Finding {
    filename: String,
    code: Option<String>,
    name: Option<String>,
    message: String,
    cell: Option<u64>,
    location: Option<Location>,
}

#[derive(Deserialize)]
struct Location {
    row: u64,
}

/// The findings, from standard output; failures to read a file, from standard error.
pub(super) fn read(stdout: &str, stderr: &str, folder: &str) -> Vec<Diagnostic> {
    if let Some(found) = json(stdout, folder) {
        return found;
    }
    let of_formatter = stderr.contains(" would be reformatted");
    let mut header = None;
    let mut found = Vec::new();
    for line in stdout.lines() {
        if found.len() >= MOST {
            break;
        }
        if let Some(place) = line.trim_start().strip_prefix("-->") {
            found.extend(header.take().and_then(|header| full(header, place.trim(), folder)));
        } else if let Some(path) = line.strip_prefix("Would reformat: ") {
            found.push(unformatted().at(path, None, folder));
        } else if let Some(path) = line.strip_prefix("+++ ").filter(|_| of_formatter) {
            found.push(unformatted().at(path, None, folder));
        } else if !line.starts_with("::") {
            found.extend(concise(line, folder));
        }
        header = Some(line).filter(|line| !line.starts_with(' '));
    }
    found.extend(stderr.lines().filter_map(|line| unreadable(line, folder)));
    found
}

/// All of it, or line by line. `None` where it is not JSON.
fn json(stdout: &str, folder: &str) -> Option<Vec<Diagnostic>> {
    let text = stdout.trim_start();
    let findings: Vec<Finding> = if text.starts_with('[') {
        serde_json::from_str(text).ok()?
    } else if text.starts_with('{') {
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    } else {
        return None;
    };
    let told = findings.into_iter().take(MOST).map(|finding| {
        let code = finding.code.or(finding.name).unwrap_or_default();
        let row = finding.location.map(|location| location.row);
        tell(&finding.filename, finding.cell, row, &code, &finding.message, folder)
    });
    Some(told.collect())
}

/// `path:row:column: CODE [*] message`, `path:row:column: name: message`, and `path:cell N:row:column: …` in a notebook.
fn concise(line: &str, folder: &str) -> Option<Diagnostic> {
    let (place, rest) = line.match_indices(": ").find_map(|(at, _)| {
        let (place, rest) = (line.get(..at)?, line.get(at + 2..)?);
        split_place(place).map(|place| (place, rest))
    })?;
    let (code, message) = rest.split_once(' ')?;
    let (path, cell, row) = place;
    Some(tell(path, cell, Some(row), code.trim_end_matches(':'), message, folder))
}

/// `CODE [*] message` above `--> path:row:column`.
fn full(header: &str, place: &str, folder: &str) -> Option<Diagnostic> {
    let (code, message) = header.split_once(' ')?;
    let (path, cell, row) = split_place(place)?;
    Some(tell(path, cell, Some(row), code.trim_end_matches(':'), message, folder))
}

fn split_place(place: &str) -> Option<(&str, Option<u64>, u64)> {
    let (rest, column) = place.rsplit_once(':')?;
    let (path, row) = rest.rsplit_once(':')?;
    let row = row.parse().ok().filter(|_| !column.is_empty() && column.bytes().all(|b| b.is_ascii_digit()))?;
    let in_cell = path.rsplit_once(":cell ").and_then(|(path, cell)| Some((path, cell.parse().ok()?)));
    let (path, cell) = in_cell.map_or((path, None), |(path, cell)| (path, Some(cell)));
    (!path.is_empty()).then_some((path, cell, row))
}

/// `error: Failed to parse path:row:column: message`, which some uses of the formatter tell.
fn unreadable(line: &str, folder: &str) -> Option<Diagnostic> {
    let (place, message) = line.strip_prefix("error: Failed to parse ")?.split_once(": ")?;
    let (path, cell, row) = split_place(place)?;
    Some(tell(path, cell, Some(row), "invalid-syntax", message, folder))
}

fn tell(path: &str, cell: Option<u64>, row: Option<u64>, code: &str, message: &str, folder: &str) -> Diagnostic {
    if code == "unformatted" {
        return unformatted().at(path, row, folder);
    }
    let message = message.strip_prefix("[*] ").unwrap_or(message);
    match (cell, row) {
        // A row counts from the top of its cell, so it is no line of the file.
        (Some(cell), Some(row)) => Diagnostic::new(code, &format!("cell {cell}, line {row}: {message}")).at(path, None, folder),
        _ => Diagnostic::new(code, message).at(path, row, folder),
    }
}

fn unformatted() -> Diagnostic {
    Diagnostic::new("format", "the file would be reformatted")
}
