//! CPython's own regression tests, inside the sandbox: what a Python program may rely on.
//!
//! The tests are the machine's (Debian: `libpython3.11-testsuite`), or those in the folder that `TOOLGATE_TEST_CPYTHON` names. Without
//! them this says so and passes, unless `TOOLGATE_TEST_REQUIRE_CLIENTS` is set. `tests/python/cpython/expected.toml` names the modules
//! and every test that is known to fail, with the reason.
//!
//! INVARIANT: a failure that is not expected, an expected one that does not come, and a module that runs too few tests all fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{Toolgate, files, root};

/// Where Debian's package puts them.
const INSTALLED: &str = "/usr/lib/python3.11/test";

/// Larger files of the tests' folder are given only to modules that ask for them.
const MOST_BYTES: u64 = 400_000;

/// `expected.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Short word to why a test fails or is left out.
    reasons: BTreeMap<String, String>,
    modules: BTreeMap<String, Module>,
}

/// One module of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Module {
    /// So many tests must have run.
    least: i64,
    /// Other files, folders and modules of the tests that it reads.
    #[serde(default)]
    needs: Vec<String>,
    /// Pattern of tests that are expected to fail, to the word of the reason.
    #[serde(default)]
    fails: BTreeMap<String, String>,
    /// Pattern of tests that are not begun, as they would end the interpreter or the time.
    #[serde(default)]
    never: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    root().join("tests/python/cpython")
}

fn expected() -> Expected {
    let path = folder().join("expected.toml");
    toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The folder of the machine's tests.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test reads its settings, and says why it was skipped")]
fn tests() -> Option<PathBuf> {
    let folder = std::env::var_os("TOOLGATE_TEST_CPYTHON").map_or_else(|| PathBuf::from(INSTALLED), PathBuf::from);
    if folder.join("test_math.py").is_file() && folder.join("support").is_dir() {
        return Some(folder);
    }
    let why = format!(
        "CPython's tests are not in {}: install libpython3.11-testsuite, or name their folder in TOOLGATE_TEST_CPYTHON",
        folder.display()
    );
    assert!(std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_none(), "{why}");
    eprintln!("skipped: {why}");
    None
}

/// What a module is given: the driver, the tests' own helpers, itself, and what it asks for.
fn given(tests: &Path, name: &str, module: &Module) -> Vec<Value> {
    let mut chosen = BTreeSet::new();
    for entry in std::fs::read_dir(tests).unwrap().map(Result::unwrap) {
        let helper = !entry.file_name().to_string_lossy().starts_with("test_") && entry.file_type().unwrap().is_file();
        if helper && entry.metadata().unwrap().len() < MOST_BYTES {
            chosen.insert(entry.path());
        }
    }
    let own = name.split('.').next().unwrap().to_owned();
    for part in ["support".to_owned(), own].iter().chain(&module.needs) {
        let path = tests.join(part);
        let code = tests.join(format!("{part}.py"));
        if path.is_dir() {
            chosen.extend(files(&path));
        }
        chosen.extend([path, code].into_iter().filter(|path| path.is_file()));
    }
    let mut given = vec![json!({"path": "run.py", "content": std::fs::read_to_string(folder().join("run.py")).unwrap()})];
    for path in chosen.iter().filter(|path| !path.components().any(|part| part.as_os_str() == "__pycache__")) {
        let inside = format!("test/{}", path.strip_prefix(tests).unwrap().to_str().unwrap());
        given.push(match String::from_utf8(std::fs::read(path).unwrap()) {
            Ok(text) => json!({"path": inside, "content": text}),
            Err(other) => json!({"path": inside, "content_base64": base64::engine::general_purpose::STANDARD.encode(other.as_bytes())}),
        });
    }
    given
}

/// Whether a name has the form of a pattern, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))),
    }
}

/// What is wrong with a module's run, and how many tests it ran.
fn judge(module: &Module, output: &Value) -> (Vec<String>, i64) {
    let mut wrong = Vec::new();
    let result = &output["result"];
    let Some(bad) = result["bad"].as_object() else {
        let last: Vec<&str> = output["stderr"].as_str().unwrap_or_default().lines().rev().take(6).collect();
        return (vec![format!("ended with {}, limit {}: {last:?}", output["return_code"], output["limit"])], 0);
    };
    for (test, why) in bad {
        if !module.fails.keys().any(|pattern| matches(pattern, test)) {
            wrong.push(format!("{test}: {why}"));
        }
    }
    for pattern in module.fails.keys() {
        if !bad.keys().any(|test| matches(pattern, test)) {
            wrong.push(format!("{pattern} is expected to fail and does not"));
        }
    }
    let left_out = result["left_out"].as_array().unwrap();
    for pattern in module.never.keys() {
        if !left_out.iter().any(|test| matches(pattern, test.as_str().unwrap())) {
            wrong.push(format!("{pattern} is to be left out, but there is no such test"));
        }
    }
    let ran = result["ran"].as_i64().unwrap();
    if ran < module.least {
        wrong.push(format!("only {ran} tests ran, not {}: {}", module.least, result["load_errors"]));
    }
    (wrong, ran)
}

fn run(toolgate: &Toolgate, tests: &Path, name: &str, module: &Module) -> Value {
    let mut args = vec![name];
    args.extend(module.never.keys().map(String::as_str));
    let request = json!({
        "entrypoint": "run.py", "args": args, "files": given(tests, name, module), "timeout_sec": 300, "memory_mb": 1024,
    });
    call(toolgate, name, &request)
}

/// Calls `python.run`; gives its whole output.
fn call(toolgate: &Toolgate, name: &str, request: &Value) -> Value {
    let path = toolgate.home().join(format!("{name}.json"));
    std::fs::write(&path, request.to_string()).unwrap();
    let mut command = toolgate.command(&["tools", "call", "python.run", &format!("@{}", path.display()), "--json"]);
    let output = command.env("TOOLGATE_LIMITS_INLINE_OUTPUT_BYTES", "1048576").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str::<Value>(&told).unwrap_or_else(|e| panic!("{name}: {e}: {}", String::from_utf8_lossy(&output.stderr)))["output"]
        .clone()
}

#[test]
#[expect(clippy::print_stderr, reason = "a summary is wanted")]
fn cpythons_own_tests_pass() {
    let Some(tests) = tests() else { return };
    let expected = expected();
    let toolgate = Toolgate::new();
    let queue = Mutex::new(expected.modules.iter().rev().collect::<Vec<_>>());
    let report = Mutex::new((String::new(), 0, Duration::ZERO, ("", Duration::ZERO)));
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, module)) = { queue.lock().unwrap().pop() } {
                    let begin = Instant::now();
                    let (wrong, ran) = judge(module, &run(&toolgate, &tests, name, module));
                    let took = begin.elapsed();
                    let mut report = report.lock().unwrap();
                    report.1 += ran;
                    report.2 += took;
                    if took > report.3.1 {
                        report.3 = (name, took);
                    }
                    for problem in wrong {
                        writeln!(report.0, "{name}: {problem}").unwrap();
                    }
                }
            });
        }
    });
    let (problems, ran, spent, (longest, took)) = report.into_inner().unwrap();
    let known: usize = expected.modules.values().map(|module| module.fails.len() + module.never.len()).sum();
    eprintln!(
        "{ran} tests of {} modules of CPython in {:.0?} ({spent:.0?} in all, longest {longest} with {took:.0?}); {known} known failures",
        expected.modules.len(),
        begin.elapsed(),
    );
    assert!(problems.is_empty(), "{problems}");
}

#[test]
fn every_expected_failure_has_its_reason() {
    let expected = expected();
    assert!(expected.modules.len() > 60);
    let used: BTreeSet<&String> = expected.modules.values().flat_map(|module| module.fails.values().chain(module.never.values())).collect();
    let known: BTreeSet<&String> = expected.reasons.keys().collect();
    assert_eq!(used, known);
}

#[test]
fn a_wrong_outcome_is_seen() {
    let module: Module = toml::from_str("least = 2\nfails = { 'T.a*' = 'x' }\nnever = { 'T.n' = 'x' }").unwrap();
    let outcome = |bad: Value, ran: i64| json!({"result": {"bad": bad, "ran": ran, "left_out": ["T.n"], "load_errors": []}});
    assert_eq!(judge(&module, &outcome(json!({"T.ab": ["fail", "why"]}), 2)), (vec![], 2));
    for (wrong, told) in [
        (outcome(json!({"T.ab": ["fail", "why"], "T.b": ["fail", "new"]}), 2), "T.b"),
        (outcome(json!({}), 2), "does not"),
        (outcome(json!({"T.ab": ["fail", "why"]}), 1), "only 1"),
        (json!({"return_code": 134, "stderr": "T.c\nstopped"}), "T.c"),
        (json!({"result": {"bad": {"T.a": []}, "ran": 2, "left_out": [], "load_errors": []}}), "no such test"),
    ] {
        let problems = judge(&module, &wrong).0;
        assert!(problems.len() == 1 && problems[0].contains(told), "{problems:?}");
    }
    assert!(matches("a*c*", "abcd") && !matches("a*c", "abcd") && matches("*", "") && !matches("a", "ab"));
}

/// Modules that docs/python.md need not name: jokes, parts of others, old names, and what only other systems have.
const UNNAMED: &[&str] = &[
    "antigravity",
    "genericpath",
    "msvcrt",
    "nt",
    "ntpath",
    "nturl2path",
    "opcode",
    "posixpath",
    "pydoc_data",
    "pyexpat",
    "sre_compile",
    "sre_constants",
    "sre_parse",
    "this",
    "turtledemo",
    "winreg",
    "winsound",
];

/// The names in backticks between a mark in docs/python.md and the next empty line.
fn documented(mark: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/python.md")).unwrap();
    let (_, rest) = text.split_once(&format!("<!-- {mark} -->\n")).unwrap_or_else(|| panic!("no list `{mark}`"));
    let names = rest.split("\n\n").next().unwrap();
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_documented_modules_are_there_and_the_missing_are_missing() {
    let [present, missing, of_os] = ["present", "missing", "missing of os"].map(documented);
    assert!(present.len() > 170 && missing.len() > 20 && of_os.len() > 60);
    let all: Vec<&str> = present.iter().chain(&missing).map(String::as_str).chain(["--"]).chain(of_os.iter().map(String::as_str)).collect();
    let program = std::fs::read_to_string(root().join("tests/python/modules.py")).unwrap();
    let request = json!({"entrypoint": "modules.py", "args": all, "files": [{"path": "modules.py", "content": program}]});
    let output = call(&Toolgate::new(), "modules", &request);
    let failed = output["result"]["failed"].as_object().unwrap_or_else(|| panic!("{output}"));
    for name in &present {
        assert!(!failed.contains_key(name), "docs/python.md says that `{name}` works: {}", failed[name]);
    }
    for name in &missing {
        assert!(failed.contains_key(name), "docs/python.md says that `{name}` is missing, but it can be imported");
    }
    assert_eq!(output["result"]["has"], json!([]), "docs/python.md says that `os` has not what it has");
    let named: BTreeSet<&str> =
        present.iter().chain(&missing).map(|name| name.split('.').next().unwrap()).chain(UNNAMED.iter().copied()).collect();
    for name in output["result"]["all"].as_array().unwrap() {
        assert!(named.contains(name.as_str().unwrap()), "docs/python.md does not name the module {name}");
    }
}
