use super::*;

mod props;

fn ended<'a>(stdout: &'a str, stderr: &'a str, return_code: i32) -> Ended<'a> {
    Ended { stdout, stderr, report: None, return_code }
}

fn read(stdout: &str, stderr: &str, folder: &str) -> Vec<Diagnostic> {
    super::read(Checker::Unittest, &ended(stdout, stderr, 1), folder)
}

type Told<'a> = (Option<&'a str>, Option<u64>, &'a str, &'a str);

fn told(found: &[Diagnostic]) -> Vec<Told<'_>> {
    found.iter().map(|d| (d.path.as_deref(), d.line, d.code.as_str(), d.message.as_str())).collect()
}

fn ruff(stdout: &str, stderr: &str, return_code: i32) -> Vec<Diagnostic> {
    super::read(Checker::Ruff, &ended(stdout, stderr, return_code), "svc/")
}

fn mypy(stdout: &str, stderr: &str, return_code: i32) -> Vec<Diagnostic> {
    super::read(Checker::Mypy, &ended(stdout, stderr, return_code), "svc/")
}

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
    assert_eq!(
        told(&found),
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

#[test]
fn what_passed_says_nothing() {
    for checker in [Checker::Unittest, Checker::Other, Checker::Pytest] {
        assert_eq!(super::read(checker, &ended("FAILED test_a.py::test_b - x\n", FAILED, 0), ""), [], "{checker:?}");
    }
}

#[test]
fn an_interpreter_that_is_killed_by_its_own_code() {
    let text = r#"Fatal Python error: Segmentation fault

Current thread 0x00007f9a3cff8b80 (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/work/app.py", line 3 in seg
  File "/work/main.py", line 9 in <module>
"#;
    assert_eq!(told(&read("", text, "")), [(Some("app.py"), Some(3), "fatal", "Fatal Python error: Segmentation fault")]);
}

#[test]
fn what_lies_outside_of_the_project_keeps_its_own_path() {
    for (path, shown) in [
        ("/work/a.py", "svc/a.py"),
        ("./a.py", "svc/a.py"),
        ("a b.py", "svc/a b.py"),
        ("/usr/lib/python3/json.py", "/usr/lib/python3/json.py"),
        ("../x.py", "../x.py"),
        ("/work/../etc/x.py", "/work/../etc/x.py"),
        ("/work/.venv/lib/site-packages/x.py", "/work/.venv/lib/site-packages/x.py"),
        ("<string>", "<string>"),
    ] {
        assert_eq!(Diagnostic::new("x", "y").at(path, Some(1), "svc/").path.as_deref(), Some(shown), "{path}");
    }
}

#[test]
fn no_more_is_told_than_is_read_by_people() {
    let many: String = (1..200).map(|n| format!("a.py:{n}:1: F401 {}\n", "é".repeat(3_000))).collect();
    let found = ruff(&many, "", 1);
    assert_eq!((found.len(), found[0].message.chars().count()), (50, 1_000));
    let unreadable: String = (1..200).map(|n| format!("error: Failed to parse a.py:{n}:1: x\n")).collect();
    assert_eq!(ruff("", &unreadable, 2).len(), 50);
    assert_eq!(Diagnostic::new("x", "y").at("a.py", Some(0), "").line, None);
    let long = format!("{}.py:1: error: x  [misc]\n", "a/".repeat(4_000));
    assert_eq!(mypy(&long, "", 1)[0].path.as_ref().unwrap().chars().count(), 1_000);
}

#[test]
fn colours_are_no_part_of_a_text() {
    assert_eq!(plain("\u{1b}[1m\u{1b}[31mE   x#x1B[39;49;00m\u{1b}[0m"), "E   x");
    assert_eq!(plain("a\u{1b}[ \u{1b}["), "a ");
}

const CONCISE: &str = "\
app/broken.py:1:7: invalid-syntax: Expected a parameter or the end of the parameter list
app/core.py:1:8: F401 [*] `os` imported but unused
app/core.py:15:12: F821 Undefined name `undefined_name`
n.ipynb:cell 1:1:8: F401 [*] `os` imported but unused
gone.py:1:1: E902 No such file or directory (os error 2)
Found 5 errors.
[*] 2 fixable with `--fix`.
";

#[test]
fn ruff_tells_a_line_for_each_finding() {
    assert_eq!(
        told(&ruff(CONCISE, "", 1)),
        [
            (Some("svc/app/broken.py"), Some(1), "invalid-syntax", "Expected a parameter or the end of the parameter list"),
            (Some("svc/app/core.py"), Some(1), "F401", "`os` imported but unused"),
            (Some("svc/app/core.py"), Some(15), "F821", "Undefined name `undefined_name`"),
            (Some("svc/n.ipynb"), None, "F401", "cell 1, line 1: `os` imported but unused"),
            (Some("svc/gone.py"), Some(1), "E902", "No such file or directory (os error 2)"),
        ]
    );
    assert_eq!(ruff(CONCISE, "", 0).len(), 5, "with --exit-zero");
    assert_eq!(ruff("All checks passed!\n", "", 0), []);
}

#[test]
fn ruff_in_a_form_that_the_caller_chose() {
    let json = r#"[{"cell": null, "code": "F401", "end_location": {"column": 10, "row": 1}, "filename": "/work/app/core.py", "fix": null,
        "location": {"column": 8, "row": 1}, "message": "`os` imported but unused", "name": "unused-import", "noqa_row": 1, "url": null},
        {"cell": null, "code": null, "filename": "/work/b.py", "location": {"column": 7, "row": 2}, "message": "Expected `)`", "name": "invalid-syntax"}]"#;
    let expected = [
        (Some("svc/app/core.py"), Some(1), "F401", "`os` imported but unused"),
        (Some("svc/b.py"), Some(2), "invalid-syntax", "Expected `)`"),
    ];
    assert_eq!(told(&ruff(json, "", 1)), expected);
    let lines = serde_json::from_str::<Vec<serde_json::Value>>(json).unwrap().iter().map(|v| format!("{v}\n")).collect::<String>();
    assert_eq!(told(&ruff(&lines, "", 1)), expected);
    let full = "F401 [*] `os` imported but unused\n --> app/core.py:1:8\n  |\n1 | import os\n  |        ^^\nhelp: Remove unused import: `os`\n  |\n\nFound 1 error.\n";
    assert_eq!(told(&ruff(full, "", 1)), expected[..1]);
    let annotation = "::error title=ruff (F401),file=/work/app/core.py,line=1::app/core.py:1:8: F401 `os` imported but unused\n";
    assert_eq!(ruff(annotation, "", 1), []);
    let counted = r#"[{"code": "F821", "name": "undefined-name", "count": 1, "fixable": false, "fixable_count": 0}]"#;
    assert_eq!(ruff(counted, "", 1), []);
}

#[test]
fn files_that_would_be_reformatted() {
    let text = "app/broken.py:1:7: invalid-syntax: Expected a parameter or the end of the parameter list\napp/ugly.py:1:6: unformatted: File would be reformatted\n1 file would be reformatted, 4 files already formatted\n";
    assert_eq!(told(&ruff(text, "", 2))[1], (Some("svc/app/ugly.py"), Some(1), "format", "the file would be reformatted"));
    let older = "Would reformat: app/ugly.py\n1 file would be reformatted\n";
    assert_eq!(told(&ruff(older, "", 1)), [(Some("svc/app/ugly.py"), None, "format", "the file would be reformatted")]);
    let diff = "--- app/ugly.py\n+++ app/ugly.py\n@@ -1 +1 @@\n-x = {  'a':1 }\n+x = {\"a\": 1}\n\n";
    assert_eq!(
        told(&ruff(diff, "1 file would be reformatted, 1 file already formatted\n", 1)),
        [(Some("svc/app/ugly.py"), None, "format", "the file would be reformatted")]
    );
    assert_eq!(ruff(diff, "Would fix 1 error.\n", 1)[0].code, "error");
    let error = "error: Failed to parse app/broken.py:1:7: Expected a parameter\n";
    assert_eq!(told(&ruff("", error, 2)), [(Some("svc/app/broken.py"), Some(1), "invalid-syntax", "Expected a parameter")]);
}

#[test]
fn a_checker_that_did_not_come_to_its_work() {
    let toml = "ruff failed\n  Cause: Failed to parse /work/pyproject.toml\n  Cause: TOML parse error at line 1, column 1\n";
    let found = ruff("", toml, 2);
    assert_eq!((found.len(), found[0].code.as_str()), (1, "error"));
    assert!(found[0].message.contains("Failed to parse /work/pyproject.toml"), "{found:?}");
    let option = "error: unexpected argument '--nosuch' found\n\n  tip: a similar argument exists: '--no-cache'\n\nUsage: ruff check --no-cache [FILES]...\n";
    assert_eq!(
        told(&ruff("", option, 2))[0].3,
        "error: unexpected argument '--nosuch' found\n  tip: a similar argument exists: '--no-cache'"
    );
    assert_eq!(told(&ruff("", "/usr/bin/python3: No module named ruff\n", 1))[0].3, "/usr/bin/python3: No module named ruff");
}

#[test]
fn mypy_tells_errors_with_their_notes() {
    let text = "\
m.py:2: error: Library stubs not installed for \"requests\"  [import-untyped]
m.py:2: note: Hint: \"python3 -m pip install types-requests\"
m.py:2: note: See https://mypy.readthedocs.io/en/stable/running_mypy.html#missing-imports
m.py:7: error: Argument 1 of \"f\" is incompatible with supertype \"A\": a list[int]  [override]
m.py:8: note: Revealed type is \"int\"
/work/app/core.py: note: In function \"half\":
/work/app/core.py:6:12:6:16: error: Incompatible return value type (got \"float\", expected \"int\")  [return-value]
tests/test_syntax.py:2: error: Unexpected EOF while parsing  [syntax]
Found 4 errors in 3 files (errors prevented further checking)
";
    assert_eq!(
        told(&mypy(text, "", 1)),
        [
            (
                Some("svc/m.py"),
                Some(2),
                "import-untyped",
                "Library stubs not installed for \"requests\"\nHint: \"python3 -m pip install types-requests\""
            ),
            (Some("svc/m.py"), Some(7), "override", "Argument 1 of \"f\" is incompatible with supertype \"A\": a list[int]"),
            (Some("svc/app/core.py"), Some(6), "return-value", "Incompatible return value type (got \"float\", expected \"int\")"),
            (Some("svc/tests/test_syntax.py"), Some(2), "syntax", "Unexpected EOF while parsing"),
        ]
    );
}

#[test]
fn mypy_with_the_source_it_can_show() {
    let text = "app/core.py:6:12:6:16: error: Incompatible return value type (got \"float\",\nexpected \"int\")  [return-value]\n        return n / 2\n               ^~~~~\napp/core.py:15:12:15:25: error: Name \"undefined_name\" is not defined \n[name-defined]\n        return undefined_name + name\n               ^~~~~~~~~~~~~~\nFound 2 errors in 1 file (checked 1 source file)\n";
    assert_eq!(
        told(&mypy(text, "", 1)),
        [
            (Some("svc/app/core.py"), Some(6), "return-value", "Incompatible return value type (got \"float\", expected \"int\")"),
            (Some("svc/app/core.py"), Some(15), "name-defined", "Name \"undefined_name\" is not defined"),
        ]
    );
}

#[test]
fn mypy_in_json() {
    let text = r#"{"file": "m.py", "line": 7, "column": 16, "end_line": 7, "end_column": 22, "message": "Argument 1", "hint": "This violates the rule\nSee https://mypy.example", "code": "override", "severity": "error"}
{"file": "m.py", "line": 8, "column": 12, "end_line": 8, "end_column": 20, "message": "Revealed type is \"int\"", "hint": null, "code": "misc", "severity": "note"}
{"file": "b/m.py", "line": -1, "column": -1, "end_line": -1, "end_column": 0, "message": "Duplicate module named \"m\"", "hint": null, "code": null, "severity": "error"}
"#;
    assert_eq!(
        told(&mypy(text, "", 1)),
        [
            (Some("svc/m.py"), Some(7), "override", "Argument 1\nThis violates the rule"),
            (Some("svc/b/m.py"), None, "error", "Duplicate module named \"m\""),
        ]
    );
}

#[test]
fn what_mypy_says_about_itself_and_its_configuration() {
    let config = "mypy.ini: [mypy]: Unrecognized option: nosuch_option = 1\n";
    let expected = (Some("svc/mypy.ini"), None, "config", "[mypy]: Unrecognized option: nosuch_option = 1");
    assert_eq!(told(&mypy("Success: no issues found in 1 source file\n", config, 0)), [expected]);
    for (stdout, stderr, expected) in [
        ("", "pyproject.toml: Expected ']' at the end\n", (Some("svc/pyproject.toml"), None, "config", "Expected ']' at the end")),
        (
            "Found 1 error in 1 file (errors prevented further checking)\n",
            "gone.py: error: Cannot read file: No such file or directory\n",
            (Some("svc/gone.py"), None, "error", "Cannot read file: No such file or directory"),
        ),
        (
            "",
            "mypy.ini:2: error: Error importing plugin \"x\": No module named 'x'  [misc]\n",
            (Some("svc/mypy.ini"), Some(2), "misc", "Error importing plugin \"x\": No module named 'x'"),
        ),
        (
            "",
            "usage: mypy [-h] [-v] [-V] [more options; see below]\n            [-m MODULE] [files ...]\nmypy: error: Missing target module\n",
            (None, None, "error", "Missing target module"),
        ),
        ("", "Can't find package 'nosuchpkg'\n", (None, None, "error", "Can't find package 'nosuchpkg'")),
        (
            "m.py:1: error: Cannot find implementation or library stub for module named \"x\"  [import-not-found]\n",
            "",
            (Some("svc/m.py"), Some(1), "import-not-found", "Cannot find implementation or library stub for module named \"x\""),
        ),
    ] {
        assert_eq!(told(&mypy(stdout, stderr, 2)), [expected]);
    }
}
