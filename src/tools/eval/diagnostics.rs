//! What a failed command found, read from its output: unittest's failures, or the traceback that ended it.

use schemars::JsonSchema;
use serde::Serialize;

/// How many are told.
const MOST: usize = 50;

/// How long a message may be, in characters.
const LONGEST: usize = 1_000;

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
    /// FAIL, ERROR or the exception's type.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

/// Reads a failed command's output. `folder` is put before every path that lies in the project.
pub(super) fn read(stdout: &str, stderr: &str, folder: &str) -> Vec<Diagnostic> {
    let mut found = unittest(stderr, folder);
    if found.is_empty() {
        found.extend(traceback(stderr, folder).or_else(|| traceback(stdout, folder)));
    }
    found.truncate(MOST);
    found
}

/// Each `FAIL:` or `ERROR:` heading with the block below it, up to the next heading or the summary.
fn unittest(text: &str, folder: &str) -> Vec<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let heading = |n: usize| {
        let rule =
            n.checked_sub(1).and_then(|before| lines.get(before)).is_some_and(|line| line.len() >= 20 && line.bytes().all(|b| b == b'='));
        let line = lines.get(n).filter(|_| rule)?;
        ["FAIL", "ERROR"].into_iter().find_map(|code| Some((code, line.strip_prefix(code)?.strip_prefix(": ")?)))
    };
    let starts: Vec<(usize, &str, &str)> = (0..lines.len()).filter_map(|n| heading(n).map(|(code, test)| (n, code, test))).collect();
    let ends = starts.iter().skip(1).map(|(n, ..)| n.saturating_sub(1)).chain([lines.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(&(start, code, test), end)| {
            let block: Vec<&str> = lines.iter().take(end).skip(start + 2).copied().take_while(|line| !line.starts_with("Ran ")).collect();
            let (path, line) = place(&block, folder);
            let cause = cause(&block).unwrap_or_default();
            Diagnostic { path, line, code: code.to_owned(), message: shorten(&format!("{test}: {cause}")) }
        })
        .collect()
}

/// The traceback that a program ended with.
fn traceback(text: &str, folder: &str) -> Option<Diagnostic> {
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().rposition(|line| line.starts_with("Traceback (most recent call last)")).unwrap_or(0);
    let block = lines.get(start..)?;
    let cause = cause(block)?;
    let (path, line) = place(block, folder);
    let kind = cause.split(':').next().unwrap_or_default();
    let is_name = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    (is_name && (line.is_some() || start > 0)).then(|| Diagnostic { path, line, code: kind.to_owned(), message: shorten(&cause) })
}

/// The last `File "…", line N` of the project, else the last of all.
fn place(block: &[&str], folder: &str) -> (Option<String>, Option<u64>) {
    let places: Vec<(&str, u64)> = block
        .iter()
        .filter_map(|line| {
            let (path, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            Some((path, number.parse().ok()?))
        })
        .collect();
    let ours = |path: &str| path.starts_with(ROOT) || !path.starts_with(['/', '<']);
    let Some((path, line)) = places.iter().rev().find(|(path, _)| ours(path)).or_else(|| places.last()) else { return (None, None) };
    let path = if ours(path) { format!("{folder}{}", path.strip_prefix(ROOT).unwrap_or(path)) } else { (*path).to_owned() };
    (Some(path), Some(*line))
}

/// The exception's own lines: from the last line that stands at the margin after the frames, with what follows it.
fn cause(block: &[&str]) -> Option<String> {
    let end = block.iter().rposition(|line| !line.trim().is_empty() && !line.bytes().all(|b| b == b'-'))?;
    let body = block.get(..=end)?;
    let frames = body.iter().rposition(|line| line.starts_with("  ")).map_or(0, |last| last + 1);
    let own = body.get(frames..).filter(|own| !own.is_empty())?;
    Some(own.join("\n").trim().to_owned())
}

fn shorten(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: &str = r#"test_a (test_x.T.test_a) ... FAIL
test_b (test_x.T.test_b) ... ERROR

======================================================================
ERROR: test_b (test_x.T.test_b)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/work/tests/test_x.py", line 9, in test_b
    app.go()
    ~~~~~~^^
  File "/work/app.py", line 3, in go
    json.loads("x")
  File "/python/json/decoder.py", line 363, in raw_decode
    raise JSONDecodeError("Expecting value", s, err.value) from None
json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)

======================================================================
FAIL: test_a (test_x.T.test_a)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/work/tests/test_x.py", line 6, in test_a
    self.assertEqual(1, 2)
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 2 tests in 0.002s

FAILED (failures=1, errors=1)
"#;

    #[test]
    fn unittest_failures_have_their_place() {
        let found = read("", FAILED, "svc/");
        let told: Vec<_> = found.iter().map(|d| (d.path.as_deref(), d.line, d.code.as_str(), d.message.as_str())).collect();
        assert_eq!(
            told,
            [
                (
                    Some("svc/app.py"),
                    Some(3),
                    "ERROR",
                    "test_b (test_x.T.test_b): json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
                ),
                (Some("svc/tests/test_x.py"), Some(6), "FAIL", "test_a (test_x.T.test_a): AssertionError: 1 != 2"),
            ]
        );
    }

    #[test]
    fn a_program_that_ends_in_a_traceback() {
        let text = "noise\nTraceback (most recent call last):\n  File \"/work/a.py\", line 2, in <module>\n    1/0\n    ~^~\nZeroDivisionError: division by zero\n";
        let found = read("", text, "");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].path.as_deref(), found[0].line, found[0].code.as_str()), (Some("a.py"), Some(2), "ZeroDivisionError"));
        let syntax = "  File \"app.py\", line 1\n    def\n       ^\nSyntaxError: invalid syntax\n";
        assert_eq!(read("", syntax, "")[0].line, Some(1));
    }

    #[test]
    fn output_that_is_none_of_these_gives_nothing() {
        for text in ["", "\n\n", "error: something\n", "====\nFAIL: x", "----", "  indented only"] {
            assert_eq!(read(text, text, ""), [], "{text:?}");
        }
    }
}
