use proptest::prelude::*;

use super::*;

/// Pieces that the readers look for, so that what is made of them gets deep into each.
const PIECES: &[&str] = &[
    "app.py",
    "/work/",
    "../",
    ":",
    ": ",
    "1",
    "0",
    "99999999999999999999999",
    "error: ",
    ": note: ",
    " [",
    "]",
    "[*] ",
    "-->",
    "E   ",
    "E",
    "= FAILURES =",
    "_ x _",
    "--- Captured stdout ---",
    "!!! x !!!",
    "FAILED ",
    " FAILED",
    "::",
    " - ",
    "File \"",
    "\", line ",
    "\n",
    "\n",
    "\n",
    "Traceback (most recent call last):",
    "  ",
    "é",
    "\u{1b}[",
    "#x1B[",
    "INTERNALERROR> ",
    "Fatal Python error: ",
    "{",
    "}",
    "[{\"filename\":\"\"}]",
    "<testcase file=\"a.py\" line=\"",
    "<failure message=\"",
    "\">",
    "</failure>",
    "</testcase>",
    "/>",
    "<?xml?>",
    "<!",
    "'",
    "&#10;",
    "&lt;",
    ".toml",
    "FAIL Required test coverage",
    "ERROR: Coverage failure: ",
    "cell 1",
    "Would reformat: ",
    "error: Failed to parse ",
    "====================",
    "FAIL: ",
    "ERROR: ",
    "Ran ",
];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![8 => prop::sample::select(PIECES).prop_map(str::to_owned), 1 => any::<String>()];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn anything_can_be_read(stdout in text(), stderr in text(), report in text(), junk in any::<Vec<u8>>(), code in -2..140) {
        for checker in [Checker::Ruff, Checker::Mypy, Checker::Pytest, Checker::Unittest, Checker::Other] {
            for report in [None, Some(report.as_bytes()), Some(&*junk)] {
                let found = super::super::read(checker, &Ended { stdout: &stdout, stderr: &stderr, report, return_code: code }, "svc/");
                prop_assert!(found.len() <= 50);
                for one in found {
                    prop_assert!(one.message.chars().count() <= 1_000 && one.code.chars().count() <= 80 && one.line != Some(0), "{one:?}");
                }
            }
        }
    }
}

/// A reader that goes back to the start for each piece would not come to its end.
#[test]
fn the_work_grows_with_the_text() {
    for piece in ["\u{1b}[", "#x1B[", ": ", "a:1: note: x\n", "E   x\n", "--> a:1:1\n", "_ x _\n"] {
        let text = format!("= FAILURES =\n_ x _\n{}", piece.repeat(400_000 / piece.len()));
        for checker in [Checker::Ruff, Checker::Mypy, Checker::Pytest, Checker::Other] {
            let report = Some(text.as_bytes());
            let found = super::super::read(checker, &Ended { stdout: &text, stderr: &text, report, return_code: 1 }, "svc/");
            assert!(found.len() <= 50);
        }
    }
}
