use std::fmt::Write as _;

use super::*;
use crate::tools::eval::checker::Checker;

fn read(stdout: &str, stderr: &str, report: Option<&str>, return_code: i32) -> Vec<Diagnostic> {
    let ended = Ended { stdout, stderr, report: report.map(str::as_bytes), return_code };
    super::super::read(Checker::Pytest, &ended, "svc/")
}

fn told(found: &[Diagnostic]) -> Vec<(Option<&str>, Option<u64>, &str, &str)> {
    found.iter().map(|d| (d.path.as_deref(), d.line, d.code.as_str(), d.message.as_str())).collect()
}

fn report(cases: &str) -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="1" skipped="0" tests="2" time="0.1">{cases}</testsuite></testsuites>"#
    )
}

const CASES: &str = r#"<testcase classname="tests.test_core" name="test_equal" file="tests/test_core.py" line="5" time="0.001"><failure message="AssertionError: bodies differ&#10;assert {'a': 1} == {'a': 2}">def test_equal():
&gt;       assert {"a": 1} == {"a": 2}, "bodies differ"
E       AssertionError: bodies differ
E       assert {'a': 1} == {'a': 2}
E         
E         Differing items:
E         {'a': 1} != {'a': 2}

tests/test_core.py:7: AssertionError</failure></testcase><testcase classname="tests.test_core" name="test_load" file="tests/test_core.py" line="9" time="0.000"><failure message="json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)">def test_load():
&gt;       assert load("x") == {}
               ^^^^^^^^^

tests/test_core.py:11: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ 
app/core.py:11: in load
    return json.loads(text)
           ^^^^^^^^^^^^^^^^
&gt;           raise JSONDecodeError("Expecting value", s, err.value) from None
E           json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)

/usr/lib/python3.11/json/decoder.py:355: JSONDecodeError</failure></testcase><testcase classname="tests.test_core" name="test_param[1]" file="tests/test_core.py" line="27" time="0.000" /><testcase classname="tests.test_core" name="test_skip" file="tests/test_core.py" line="33" time="0.000"><skipped type="pytest.skip" message="later">/work/tests/test_core.py:34: later</skipped></testcase><testcase classname="tests.test_core" name="test_fixture" file="tests/test_core.py" line="18" time="0.000"><error message="failed on setup with &quot;ValueError: no fixture&quot;">@pytest.fixture
    def bad():
&gt;       raise ValueError("no fixture")
E       ValueError: no fixture

tests/test_core.py:16: ValueError</error></testcase><testcase classname="tests.test_core" name="test_xpass" file="tests/test_core.py" line="38" time="0.000"><failure message="[XPASS(strict)] ">[XPASS(strict)] </failure></testcase><testcase classname="tests.test_core.TestK" name="test_in" file="tests/test_core.py" line="44" time="0.000"><failure message="assert 3 &gt; 5">self = &lt;test_core.TestK object at 0x7fa663739e10&gt;

    def test_in(self):
&gt;       self.helper(3)

tests/test_core.py:46: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ 

    def helper(self, n):
&gt;       assert n &gt; 5
E       assert 3 &gt; 5

tests/test_core.py:49: AssertionError</failure></testcase><testcase classname="tests.test_core" name="test_missing" file="tests/test_core.py" line="51" time="0.000"><error message="failed on setup">file /work/tests/test_core.py, line 52
  def test_missing(nofixture):
E       fixture 'nofixture' not found
&gt;       available fixtures: bad, cache, capfd
&gt;       use 'pytest --fixtures [testpath]' for help on them.

/work/tests/test_core.py:52</error></testcase><testcase classname="" name="tests.test_syntax" file="tests/test_syntax.py" time="0.000"><error message="collection failure">/env/lib/python3.11/site-packages/_pytest/python.py:528: in importtestmodule
    mod = import_path(
&lt;frozen importlib._bootstrap&gt;:1204: in _gcd_import
    ???
/usr/lib/python3.11/ast.py:50: in parse
    return compile(source, filename, mode, flags,
E     File "/work/tests/test_syntax.py", line 1
E       def test(:
E                ^
E   SyntaxError: invalid syntax</error></testcase><testcase classname="" name="tests.test_import" file="tests/test_import.py" time="0.000"><error message="collection failure">ImportError while importing test module '/work/tests/test_import.py'.
Hint: make sure your test modules/packages have valid Python names.
Traceback:
/usr/lib/python3.11/importlib/__init__.py:126: in import_module
    return _bootstrap._gcd_import(name[level:], package, level)
tests/test_import.py:1: in &lt;module&gt;
    import nonexistent_mod
E   ModuleNotFoundError: No module named 'nonexistent_mod'</error></testcase><testcase classname="test_more" name="test_chain" file="test_more.py" line="16" time="0.000"><failure message="RuntimeError: no k: 1:2:">def test_chain():
&gt;           {}["k"]
E           KeyError: 'k'

test_more.py:19: KeyError

The above exception was the direct cause of the following exception:

    def test_chain():
&gt;           raise RuntimeError("no k: 1:2:") from e
E           RuntimeError: no k: 1:2:

test_more.py:21: RuntimeError</failure></testcase><testcase classname="test_more" name="test_group" file="test_more.py" line="22" time="0.000"><failure message="ExceptionGroup: many (2 sub-exceptions)">+ Exception Group Traceback (most recent call last):
  |   File "/work/test_more.py", line 24, in test_group
  |     raise ExceptionGroup("many", [ValueError("v"), TypeError("t")])
  | ExceptionGroup: many (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: v
    +------------------------------------</failure></testcase><testcase classname="test_die" name="test_die" file="test_die.py" time="0.000"><error message="failed on setup with &quot;worker 'gw0' crashed while running 'test_die.py::test_die'&quot;">worker 'gw0' crashed while running 'test_die.py::test_die'</error></testcase><testcase classname="doc" name="doc.f" file="doc.py" line="1" time="0.001"><failure message="002 &#10;003     &gt;&gt;&gt; f()&#10;Expected:&#10;    2&#10;Got:&#10;    1&#10;&#10;/work/doc.py:3: DocTestFailure">002 
003     &gt;&gt;&gt; f()
Expected:
    2
Got:
    1

/work/doc.py:3: DocTestFailure</failure></testcase>"#;

#[test]
fn a_report_tells_each_failure_with_the_innermost_place_in_the_project() {
    let found = read("", "", Some(&report(CASES)), 1);
    let core = Some("svc/tests/test_core.py");
    assert_eq!(
        told(&found),
        [
            (
                core,
                Some(7),
                "FAIL",
                "tests/test_core.py::test_equal: AssertionError: bodies differ\nassert {'a': 1} == {'a': 2}\n\n  Differing items:\n  {'a': 1} != {'a': 2}"
            ),
            (
                Some("svc/app/core.py"),
                Some(11),
                "FAIL",
                "tests/test_core.py::test_load: json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"
            ),
            (core, Some(16), "ERROR", "tests/test_core.py::test_fixture: ValueError: no fixture"),
            (core, Some(39), "FAIL", "tests/test_core.py::test_xpass: [XPASS(strict)]"),
            (core, Some(49), "FAIL", "tests/test_core.py::TestK::test_in: assert 3 > 5"),
            (core, Some(52), "ERROR", "tests/test_core.py::test_missing: fixture 'nofixture' not found"),
            (Some("svc/tests/test_syntax.py"), Some(1), "ERROR", "tests/test_syntax.py: SyntaxError: invalid syntax"),
            (
                Some("svc/tests/test_import.py"),
                Some(1),
                "ERROR",
                "tests/test_import.py: ModuleNotFoundError: No module named 'nonexistent_mod'"
            ),
            (Some("svc/test_more.py"), Some(21), "FAIL", "test_more.py::test_chain: RuntimeError: no k: 1:2:"),
            (Some("svc/test_more.py"), Some(24), "FAIL", "test_more.py::test_group: ExceptionGroup: many (2 sub-exceptions)"),
            (
                Some("svc/test_die.py"),
                None,
                "ERROR",
                "test_die.py::test_die: failed on setup with \"worker 'gw0' crashed while running 'test_die.py::test_die'\""
            ),
            (
                Some("svc/doc.py"),
                Some(3),
                "FAIL",
                "doc.py::doc.f: 002 \n003     >>> f()\nExpected:\n    2\nGot:\n    1\n\n/work/doc.py:3: DocTestFailure"
            ),
        ]
    );
}

#[test]
fn tracebacks_in_other_styles() {
    let short = "tests/test_core.py:11: in test_load\n    assert load(\"x\") == {}\napp/core.py:11: in load\n    return json.loads(text)\n/usr/lib/python3.11/json/decoder.py:355: in raw_decode\n    raise JSONDecodeError\nE   json.decoder.JSONDecodeError: Expecting value";
    let native = "Traceback (most recent call last):\n  File \"/work/tests/test_core.py\", line 11, in test_load\n    assert load(\"x\") == {}\n  File \"/work/app/core.py\", line 11, in load\n    return json.loads(text)\n  File \"/usr/lib/python3.11/json/decoder.py\", line 355, in raw_decode\n    raise JSONDecodeError\njson.decoder.JSONDecodeError: Expecting value";
    let none = "E   json.decoder.JSONDecodeError: Expecting value";
    for (text, path, line) in [
        (short, "svc/app/core.py", 11),
        (native, "svc/app/core.py", 11),
        (none, "svc/tests/test_core.py", 10),
        ("", "svc/tests/test_core.py", 10),
    ] {
        let case = format!(
            r#"<testcase classname="tests.test_core" name="test_load" file="tests/test_core.py" line="9"><failure message="json.decoder.JSONDecodeError: Expecting value">{text}</failure></testcase>"#
        );
        let found = read("", "", Some(&report(&case)), 1);
        let message = "tests/test_core.py::test_load: json.decoder.JSONDecodeError: Expecting value";
        assert_eq!(told(&found), [(Some(path), Some(line), "FAIL", message)], "{text}");
    }
}

const TEXT: &str = "\
FFE                                                               [100%]
==================================== ERRORS ====================================
_____________________ ERROR collecting tests/test_import.py ____________________
ImportError while importing test module '/work/tests/test_import.py'.
tests/test_import.py:1: in <module>
    import nonexistent_mod
E   ModuleNotFoundError: No module named 'nonexistent_mod'
=================================== FAILURES ===================================
________________________________ test_param[2] _________________________________

n = 2

    def test_param(n):
>       assert n == 1
E       assert 2 == 1

\u{1b}[1m\u{1b}[31mtests/test_core.py\u{1b}[0m:31: AssertionError
----------------------------- Captured stdout call -----------------------------
app/lies.py:1: AssertionError
E   a lie
_________________________________ TestK.test_in ________________________________

tests/test_core.py:46: 
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ 

>       assert n > 5
E       assert 3 > 5

tests/test_core.py:49: AssertionError
=========================== short test summary info ============================
FAILED tests/test_core.py::test_param[2] - assert 2 == 1
FAILED tests/test_core.py::TestK::test_in - assert 3 > 5
ERROR tests/test_import.py
2 failed, 1 error in 0.06s
";

#[test]
fn without_a_report_the_text_is_read() {
    let expected = [
        (
            Some("svc/tests/test_import.py"),
            Some(1),
            "ERROR",
            "ERROR collecting tests/test_import.py: ModuleNotFoundError: No module named 'nonexistent_mod'",
        ),
        (Some("svc/tests/test_core.py"), Some(31), "FAIL", "test_param[2]: assert 2 == 1"),
        (Some("svc/tests/test_core.py"), Some(49), "FAIL", "TestK.test_in: assert 3 > 5"),
    ];
    for report in [None, Some(""), Some("<testsuites><testsuite>"), Some("no xml")] {
        assert_eq!(told(&read(TEXT, "", report, 1)), expected, "{report:?}");
    }
    let summary = TEXT.split_once("= short test summary info =").unwrap().1;
    assert_eq!(
        told(&read(summary, "", None, 1)),
        [
            (Some("svc/tests/test_core.py"), None, "FAIL", "tests/test_core.py::test_param[2]: assert 2 == 1"),
            (Some("svc/tests/test_core.py"), None, "FAIL", "tests/test_core.py::TestK::test_in: assert 3 > 5"),
            (Some("svc/tests/test_import.py"), None, "ERROR", "tests/test_import.py"),
        ]
    );
}

#[test]
fn the_text_in_the_interpreters_own_style() {
    let text = "=== FAILURES ===\n___ test_load ___\nTraceback (most recent call last):\n  File \"/env/lib/site-packages/_pytest/runner.py\", line 361, in from_call\n    func()\n  File \"/work/app/core.py\", line 11, in load\n    return json.loads(text)\nValueError: Expecting value\n=== short test summary info ===\n";
    assert_eq!(told(&read(text, "", None, 1)), [(Some("svc/app/core.py"), Some(11), "FAIL", "test_load: ValueError: Expecting value")]);
}

#[test]
fn a_run_that_died() {
    let progress = "collecting ... collected 3 items\n\ntest_die.py::test_bad FAILED                 [ 66%]\ntest_die.py::test_die ";
    assert_eq!(
        told(&read(progress, "Killed\n", None, 3)),
        [
            (Some("svc/test_die.py"), None, "FAIL", "test_die.py::test_bad"),
            (None, None, "ERROR", "pytest ended with status 3; its last line: test_die.py::test_die"),
        ]
    );
    let found = read("collected 1 item\n\ntest_die.py::test_die ", "", None, 124);
    assert_eq!(told(&found), [(None, None, "ERROR", "pytest ended with status 124; its last line: test_die.py::test_die")]);
    let fatal = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x7f (most recent call first):\n  File \"/usr/lib/python3.11/ctypes/__init__.py\", line 519 in string_at\n  File \"/work/test_seg.py\", line 3 in test_seg\n";
    assert_eq!(told(&read("", fatal, None, 139)), [(Some("svc/test_seg.py"), Some(3), "fatal", "Fatal Python error: Segmentation fault")]);
    let interrupt = "\n!!!!!!!!!!!!!!!!!! KeyboardInterrupt !!!!!!!!!!!!!!!!!\n/work/test_int.py:2: KeyboardInterrupt\n";
    let empty = report(r#"<testcase time="0.000" />"#);
    assert_eq!(
        told(&read(interrupt, "", Some(&empty), 2)),
        [(Some("svc/test_int.py"), Some(2), "ERROR", "interrupted: KeyboardInterrupt")]
    );
    let internal = "INTERNALERROR> Traceback (most recent call last):\nINTERNALERROR>   File \"/work/conftest.py\", line 4, in pytest_runtest_setup\nINTERNALERROR>     raise X\nINTERNALERROR> ValueError: bad plugin\n";
    assert_eq!(told(&read(internal, "", None, 3)), [(Some("svc/conftest.py"), Some(4), "INTERNALERROR", "ValueError: bad plugin")]);
}

#[test]
fn coverage_that_is_too_low_is_a_finding() {
    let text = ".\nERROR: Coverage failure: total of 67 is less than fail-under=90\n  [100%]\nTOTAL         6      2    67%\nFAIL Required test coverage of 90% not reached. Total coverage: 66.67%\n1 passed in 0.03s\n";
    let passed = report(r#"<testcase classname="test_calc" name="test_a" file="test_calc.py" line="3" time="0.001" />"#);
    let expected = (None, None, "coverage", "Required test coverage of 90% not reached. Total coverage: 66.67%");
    assert_eq!(told(&read(text, "", Some(&passed), 1)), [expected]);
    let found = read(text, "", Some(&report(&CASES.repeat(10))), 1);
    assert_eq!((found.len(), told(&found).last()), (50, Some(&expected)));
}

#[test]
fn why_a_run_found_nothing() {
    let none = report("");
    let found = read("\n============= no tests ran in 0.00s =============\n", "", Some(&none), 5);
    assert_eq!(told(&found), [(None, None, "no-tests", "pytest ran no test: no tests ran in 0.00s")]);
    for (stderr, expected) in [
        (
            "ERROR: usage: pytest [options] [file_or_dir] [file_or_dir] [...]\npytest: error: unrecognized arguments: --nosuch\n  inifile: None\n  rootdir: /work\n\n",
            (None, None, "usage", "unrecognized arguments: --nosuch\n  inifile: None\n  rootdir: /work"),
        ),
        ("ERROR: file or directory not found: gone_test.py\n\n", (None, None, "usage", "file or directory not found: gone_test.py")),
        (
            "ImportError while loading conftest '/work/conftest.py'.\nconftest.py:1: in <module>\n    raise RuntimeError(\"conf\")\nE   RuntimeError: conf\n",
            (Some("svc/conftest.py"), Some(1), "ERROR", "ImportError while loading conftest '/work/conftest.py'.\nRuntimeError: conf"),
        ),
    ] {
        assert_eq!(told(&read("", stderr, None, 4)), [expected]);
    }
    let missing = "/usr/bin/python3: No module named pytest\n";
    assert_eq!(told(&read("", missing, None, 1)), [(None, None, "error", "/usr/bin/python3: No module named pytest")]);
}

/// A reader that trusts its report.
fn naive(text: &str) -> usize {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_or(0, |document| document.root_element().text().unwrap_or_default().len())
}

fn wide(attributes: usize) -> String {
    let mut wide = String::new();
    for n in 0..attributes {
        write!(wide, " a{n}=\"\"").unwrap();
    }
    wide
}

fn seconds(work: impl FnOnce()) -> f64 {
    let started = std::time::Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

#[test]
fn the_attacks_on_a_reader_that_trusts_its_report() {
    // Each attribute is compared with all before it.
    let many = format!("<a{}/>", wide(12_000));
    let parsed = seconds(|| _ = naive(&many));
    let refused = (0..5).map(|_| seconds(|| assert!(!is_modest(&many)))).fold(f64::MAX, f64::min);
    assert!(parsed > 20.0 * refused, "{parsed} {refused}");
    let bomb = format!("<!DOCTYPE a [<!ENTITY e '{}'>]><a>{}</a>", "a".repeat(1_000), "&e;".repeat(1_000));
    assert!(naive(&bomb) > 200 * bomb.len(), "{} {}", naive(&bomb), bomb.len());
    assert!(!is_modest(&bomb));
}

#[test]
fn a_report_made_to_exhaust_its_reader_is_not_parsed() {
    let wide = wide(400_000);
    let deep = "<a xmlns:b=\"x\">".repeat(400_000);
    let doctype = "<!DOCTYPE a [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><a>&b;</a>";
    for bad in [
        format!("<a{wide}/>"),
        report(&format!("<testcase{wide}/>")),
        // A quote in what is no tag would hide the tags after it.
        format!("<a><!-- ' --><b{wide}/></a>"),
        format!("<a><?x ' ?><b{wide}/></a>"),
        format!("<?xml version=\"1.0\"?><!-- ' --><b{wide}/>"),
        deep,
        doctype.to_owned(),
        format!("<?xml version=\"1.0\"?>{doctype}"),
        report(&format!("<testcase name=\"{}\"/>", "x".repeat(LARGEST))),
    ] {
        assert!(!is_modest(&bad), "{bad:.60}");
        assert_eq!(from_report(bad.as_bytes(), ""), None);
    }
    assert!(is_modest(&report(CASES)) && is_modest(&report(&CASES.repeat(500))));
    assert_eq!(from_report(&[0xff, 0xfe], ""), None);
}

#[test]
fn depth_is_counted_as_tags_open_and_close() {
    for (text, modest) in [
        ("<a><b x='>'/></a>".to_owned(), true),
        (format!("<a>{}</a>", "<b><c/></b>".repeat(5_000)), true),
        (format!("{}{}", "<a>".repeat(16), "</a>".repeat(16)), true),
        (format!("{}{}", "<a>".repeat(17), "</a>".repeat(17)), false),
        (format!("<a>{}</a>", "<b x='/'>".repeat(17)), false),
    ] {
        assert_eq!(is_modest(&text), modest, "{text:.17}");
    }
}
