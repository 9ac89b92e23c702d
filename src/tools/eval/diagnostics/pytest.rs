//! Reads what pytest found: from its report where there is one, else from its text; and why it found nothing.
//!
//! INVARIANT: a report is parsed only after its size, its depth and its tags were found small, as the program under test can write it.

use roxmltree::{Document, Node, ParsingOptions};

use super::{Diagnostic, Ended, MOST, said, traceback, within};

/// The largest report that is read, in bytes.
const LARGEST: usize = 8 << 20;

/// How many elements a report may have, and texts in them.
const NODES: u32 = 400_000;

/// How deep a report's elements may lie; pytest's are four deep.
const DEEPEST: i64 = 16;

/// How many attributes an element may have.
const ATTRIBUTES: usize = 64;

/// What a failed run found.
pub(super) fn read(ended: &Ended<'_>, folder: &str) -> Vec<Diagnostic> {
    let of_report = ended.report.and_then(|bytes| from_report(bytes, folder));
    let mut found = of_report.unwrap_or_else(|| from_text(ended.stdout, folder));
    if let Some(coverage) = coverage(ended.stdout) {
        found.truncate(MOST - 1);
        found.push(coverage);
    }
    if found.is_empty() {
        found.extend(why_nothing(ended, folder));
    }
    found
}

/// The failures and errors of a report; `None` where it is none.
fn from_report(bytes: &[u8], folder: &str) -> Option<Vec<Diagnostic>> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| is_modest(text))?;
    let options = ParsingOptions { nodes_limit: NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).ok()?;
    let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
    let told = cases.flat_map(|case| case.children().filter_map(move |child| of_case(case, child, folder)));
    Some(told.take(MOST).collect())
}

fn of_case(case: Node<'_, '_>, child: Node<'_, '_>, folder: &str) -> Option<Diagnostic> {
    let code = match child.tag_name().name() {
        "failure" => "FAIL",
        "error" => "ERROR",
        _ => return None,
    };
    let file = case.attribute("file");
    let name = case.attribute("name").unwrap_or_default();
    let class = case.attribute("classname").unwrap_or_default();
    let name = match file {
        // Nothing but the module: it could not be collected.
        Some(file) if class.is_empty() => file.to_owned(),
        Some(file) => match class.strip_prefix(&file.trim_end_matches(".py").replace('/', ".")).and_then(|inner| inner.strip_prefix('.')) {
            Some(inner) => format!("{file}::{}::{name}", inner.replace('.', "::")),
            None => format!("{file}::{name}"),
        },
        None if class.is_empty() => name.to_owned(),
        None => format!("{class}.{name}"),
    };
    let text = super::plain(child.text().unwrap_or_default());
    let message = super::plain(child.attribute("message").unwrap_or_default());
    let body = Body::read(&text);
    let cause = body.cause.unwrap_or_else(|| if message.trim().is_empty() { text.trim().to_owned() } else { message.trim().to_owned() });
    let found = Diagnostic::new(code, &format!("{name}: {cause}"));
    Some(match (body.place, file) {
        (Some((path, line)), _) => found.at(path, Some(line), folder),
        // A report counts lines from 0.
        (None, Some(file)) => {
            let line = case.attribute("line").and_then(|line| line.parse().ok()).and_then(|line: u64| line.checked_add(1));
            found.at(file, line, folder)
        }
        (None, None) => found,
    })
}

/// Whether a report is small in each way that makes a parser slow: an element's attributes are compared with each other, its namespaces
/// with those around it. Comments, sections and declarations are refused, so each `<` begins a tag; pytest writes none of them.
fn is_modest(text: &str) -> bool {
    let text = text.trim_start();
    let body = text.strip_prefix("<?xml").and_then(|rest| rest.split_once("?>")).map_or(text, |(_, body)| body);
    if text.len() > LARGEST || body.contains("<!") || body.contains("<?") {
        return false;
    }
    let (mut depth, mut attributes) = (0_i64, 0);
    let (mut in_tag, mut quote, mut before) = (false, None, b' ');
    for byte in body.bytes() {
        match (in_tag, quote) {
            (false, _) if byte == b'<' => (in_tag, attributes) = (true, 0),
            (true, Some(open)) if byte == open => quote = None,
            (true, None) => match byte {
                b'"' | b'\'' => {
                    quote = Some(byte);
                    attributes += 1;
                }
                b'/' if before == b'<' => depth -= 2,
                b'>' => {
                    in_tag = false;
                    depth += i64::from(before != b'/');
                }
                _ => {}
            },
            (true | false, _) => {}
        }
        if depth > DEEPEST || attributes > ATTRIBUTES {
            return false;
        }
        before = byte;
    }
    true
}

/// What pytest tells of one failure, without its heading.
struct Body<'a> {
    /// The innermost frame in the project.
    place: Option<(&'a str, u64)>,
    /// The last exception's own words.
    cause: Option<String>,
}

impl<'a> Body<'a> {
    fn read(text: &'a str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let words = last_words(&lines);
        // A syntax error tells its place in its own words, below the frames of whoever imported the file.
        let of_syntax = words.first().and_then(|line| traceback::frame(line)).filter(|(path, _)| within(path).is_some());
        let own = || lines.iter().rev().filter_map(|line| frame(line).or_else(|| traceback::frame(line)));
        let place = of_syntax.or_else(|| own().find(|(path, _)| within(path).is_some()));
        Self { place, cause: cause(&words) }
    }
}

/// The last run of lines that are marked with `E`, without the mark.
fn last_words<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let marked = |line: &&'a str| line.strip_prefix('E').filter(|rest| rest.trim().is_empty() || rest.starts_with("  "));
    let Some(end) = lines.iter().rposition(|line| marked(line).is_some()) else { return Vec::new() };
    let mut words: Vec<&str> = lines.iter().take(end + 1).rev().map_while(marked).collect();
    words.reverse();
    words
}

/// The words from the first that is not indented more than the least indented one.
fn cause(words: &[&str]) -> Option<String> {
    let depth = |line: &&&str| line.len() - line.trim_start_matches(' ').len();
    let told: Vec<&&str> = words.iter().filter(|line| !line.trim().is_empty()).collect();
    let margin = told.iter().map(depth).min()?;
    let own = words.iter().skip_while(|line| line.trim().is_empty() || depth(line) > margin);
    let own: Vec<&str> = own.map(|line| line.get(margin..).unwrap_or_default().trim_end()).collect();
    Some(own.join("\n").trim().to_owned()).filter(|cause| !cause.is_empty())
}

/// `path:line: …` or `path:line` at the margin.
fn frame(line: &str) -> Option<(&str, u64)> {
    let (path, rest) = line.split_once(':')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let after = rest.get(end..)?;
    let is_path = !path.is_empty() && !path.starts_with([' ', '>', '@']) && !path.contains(['"', '\'', '(', '=', '<']);
    (is_path && (after.is_empty() || after.starts_with(": "))).then(|| Some((path, rest.get(..end)?.parse().ok()?)))?
}

/// The sections of a run's text, else its short summary.
fn from_text(stdout: &str, folder: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut code = None;
    let mut open: Option<(&str, &str, Vec<&str>)> = None;
    let mut close = |open: &mut Option<(&str, &str, Vec<&str>)>| {
        if let Some((code, name, lines)) = open.take().filter(|_| found.len() < MOST) {
            found.push(section(code, name, &lines, folder));
        }
    };
    let mut captured = false;
    for line in stdout.lines() {
        if let Some(part) = framed(line, '=') {
            close(&mut open);
            code = [("FAILURES", "FAIL"), ("ERRORS", "ERROR")].into_iter().find_map(|(name, code)| (part == name).then_some(code));
        } else if let Some((code, name)) = code.zip(framed(line, '_')) {
            close(&mut open);
            open = Some((code, name, Vec::new()));
            captured = false;
        } else if framed(line, '-').is_some_and(|part| part.starts_with("Captured ")) {
            captured = true;
        } else if let Some((_, _, lines)) = open.as_mut().filter(|_| !captured) {
            lines.push(line);
        }
    }
    close(&mut open);
    if found.is_empty() {
        found.extend(stdout.lines().filter_map(|line| of_summary(line, folder)).take(MOST));
    }
    found
}

fn section(code: &str, name: &str, lines: &[&str], folder: &str) -> Diagnostic {
    let text = lines.join("\n");
    let body = Body::read(&text);
    let native = || traceback::cause(lines).filter(|_| text.contains("Traceback (most recent call last):"));
    let cause = body.cause.or_else(native).unwrap_or_else(|| text.trim().to_owned());
    let found = Diagnostic::new(code, &format!("{name}: {cause}"));
    match (body.place, name.strip_prefix("ERROR collecting ")) {
        (Some((path, line)), _) => found.at(path, Some(line), folder),
        (None, Some(path)) => found.at(path, None, folder),
        (None, None) => found,
    }
}

/// The text in a line that is filled up with `mark` at both ends.
fn framed(line: &str, mark: char) -> Option<&str> {
    let inner = line.strip_prefix(mark)?.strip_suffix(mark)?.trim_matches(mark);
    let text = inner.strip_prefix(' ')?.strip_suffix(' ')?.trim();
    text.contains(|c: char| c != mark && c != ' ').then_some(text)
}

/// `FAILED path::test - message`, `ERROR path`.
fn of_summary(line: &str, folder: &str) -> Option<Diagnostic> {
    let (code, rest) = [("FAILED ", "FAIL"), ("ERROR ", "ERROR")].into_iter().find_map(|(m, c)| Some((c, line.strip_prefix(m)?)))?;
    let (id, cause) = rest.split_once(" - ").unwrap_or((rest, ""));
    let path = id.split("::").next().filter(|path| path.ends_with(".py") && within(path).is_some())?;
    Some(Diagnostic::new(code, format!("{id}: {cause}").trim_end_matches(": ")).at(path, None, folder))
}

/// `path::test FAILED   [ 50%]`, as a run tells its results while it goes on.
fn of_progress(line: &str, folder: &str) -> Option<Diagnostic> {
    let (code, id) = [(" FAILED", "FAIL"), (" ERROR", "ERROR")].into_iter().find_map(|(m, c)| Some((c, line.split_once(m)?.0)))?;
    let (path, _) = id.split_once("::").filter(|(path, _)| path.ends_with(".py") && within(path).is_some())?;
    Some(Diagnostic::new(code, id).at(path, None, folder))
}

fn coverage(stdout: &str) -> Option<Diagnostic> {
    let told = stdout.lines().find_map(|line| line.strip_prefix("FAIL Required test coverage"));
    let told = told.map(|rest| format!("Required test coverage{rest}"));
    let told = told.or_else(|| stdout.lines().find_map(|line| line.strip_prefix("ERROR: Coverage failure: ").map(str::to_owned)))?;
    Some(Diagnostic::new("coverage", &told))
}

/// Why a run that failed has no failure to tell.
fn why_nothing(ended: &Ended<'_>, folder: &str) -> Vec<Diagnostic> {
    let last = ended.stdout.lines().rev().map(|line| line.trim_matches(['=', ' '])).find(|line| !line.is_empty());
    let told = match ended.return_code {
        5 => Some(Diagnostic::new("no-tests", &format!("pytest ran no test: {}", last.unwrap_or_default()))),
        4 => usage(ended.stderr, folder),
        _ => internal(ended, folder).or_else(|| interrupted(ended.stdout, folder)).or_else(|| traceback::fatal(ended.stderr, folder)),
    };
    if told.is_some() || last.is_none() {
        return told.into_iter().collect();
    }
    let mut found: Vec<Diagnostic> = ended.stdout.lines().filter_map(|line| of_progress(line, folder)).take(MOST - 1).collect();
    let last = last.unwrap_or_default();
    found.push(Diagnostic::new("ERROR", &format!("pytest ended with status {}; its last line: {last}", ended.return_code)));
    found
}

/// Options that are not known, files that are not there, a `conftest.py` that cannot be imported.
fn usage(stderr: &str, folder: &str) -> Option<Diagnostic> {
    let body = Body::read(stderr);
    if let Some(cause) = body.cause {
        let found = Diagnostic::new("ERROR", &format!("{}\n{cause}", stderr.lines().next().unwrap_or_default()));
        return Some(match body.place {
            Some((path, line)) => found.at(path, Some(line), folder),
            None => found,
        });
    }
    let mut found = said("usage", stderr)?;
    for start in ["ERROR: ", "pytest: error: "] {
        found.message = found.message.strip_prefix(start).map_or_else(|| found.message.clone(), str::to_owned);
    }
    Some(found)
}

/// pytest's own failure, or a plugin's.
fn internal(ended: &Ended<'_>, folder: &str) -> Option<Diagnostic> {
    let of = |text: &str| {
        let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("INTERNALERROR> ")).collect();
        traceback::read(&lines.join("\n"), folder)
    };
    of(ended.stdout).or_else(|| of(ended.stderr)).map(|found| Diagnostic { code: "INTERNALERROR".to_owned(), ..found })
}

/// `!!! KeyboardInterrupt !!!` with its place below, `!!! _pytest.outcomes.Exit: … !!!`.
fn interrupted(stdout: &str, folder: &str) -> Option<Diagnostic> {
    let mut lines = stdout.lines();
    let told = lines.find_map(|line| framed(line, '!'))?;
    let found = Diagnostic::new("ERROR", &format!("interrupted: {told}"));
    Some(match lines.next().and_then(frame) {
        Some((path, line)) => found.at(path, Some(line), folder),
        None => found,
    })
}

#[cfg(test)]
mod tests;
