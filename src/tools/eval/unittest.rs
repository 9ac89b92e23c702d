//! What unittest's report says, as data.

use schemars::JsonSchema;
use serde::Serialize;

/// Findings told of one command.
const MOST: usize = 200;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Diagnostic {
    /// The file, relative to the project.
    path: String,
    line: u32,
    /// `FAIL` or `ERROR` and the test's name; for a program that fell over the exception's name.
    code: String,
    message: String,
}

/// The failures and errors in what unittest (or a program that fell over) wrote to standard error.
pub(super) fn diagnostics(report: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut test: Option<String> = None;
    let mut place: Option<(String, u32)> = None;
    let mut in_trace = false;
    for line in report.lines() {
        if let Some(name) = line
            .strip_prefix("FAIL: ")
            .map(|name| format!("FAIL {name}"))
            .or_else(|| line.strip_prefix("ERROR: ").map(|name| format!("ERROR {name}")))
        {
            test = Some(name);
        } else if line.starts_with("Traceback (most recent call last)") {
            (in_trace, place) = (true, None);
        } else if in_trace && let Some(at) = line.trim_start().strip_prefix("File \"") {
            place = own_place(at).or(place);
        } else if in_trace && !line.is_empty() && !line.starts_with(' ') {
            let (kind, message) = line.split_once(": ").unwrap_or((line, ""));
            let (path, number) = place.take().unwrap_or_default();
            let said = if message.is_empty() { kind } else { line };
            let code = test.take().unwrap_or_else(|| kind.to_owned());
            found.push(Diagnostic { path, line: number, code, message: said.to_owned() });
            in_trace = false;
        }
        if found.len() >= MOST {
            break;
        }
    }
    found
}

/// `/work/tests/test_a.py", line 7, in test_x` → the path within the project and the line; a file of the library is nobody's fault here.
fn own_place(at: &str) -> Option<(String, u32)> {
    let (path, rest) = at.split_once('"')?;
    let line = rest.strip_prefix(", line ")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let own = path.strip_prefix("/work/").or_else(|| (!path.starts_with(['/', '<'])).then_some(path))?;
    Some((own.to_owned(), line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_errors_and_crashes_are_found() {
        let report = "\
test_a (tests.test_x.T.test_a) ... FAIL

======================================================================
FAIL: test_a (tests.test_x.T.test_a)
----------------------------------------------------------------------
Traceback (most recent call last):
  File \"/work/tests/test_x.py\", line 6, in test_a
    self.assertEqual(1, 2)
  File \"/python/unittest/case.py\", line 900, in assertEqual
AssertionError: 1 != 2

======================================================================
ERROR: test_b (tests.test_x.T.test_b)
----------------------------------------------------------------------
Traceback (most recent call last):
  File \"/work/app/core.py\", line 3, in f
    raise KeyError
KeyError

FAILED (failures=1, errors=1)
";
        let found = diagnostics(report);
        let brief: Vec<_> = found.iter().map(|d| (d.path.as_str(), d.line, d.code.as_str(), d.message.as_str())).collect();
        assert_eq!(
            brief,
            [
                ("tests/test_x.py", 6, "FAIL test_a (tests.test_x.T.test_a)", "AssertionError: 1 != 2"),
                ("app/core.py", 3, "ERROR test_b (tests.test_x.T.test_b)", "KeyError"),
            ]
        );
        let crash = diagnostics(
            "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\nNameError: name 'x' is not defined\n",
        );
        assert_eq!(crash[0].code, "NameError");
    }

    #[test]
    fn nothing_is_made_of_noise() {
        assert_eq!(diagnostics("FAIL: \nTraceback (most recent call last):\n  File \"x"), []);
        assert_eq!(diagnostics("OK\n"), []);
    }
}
