use serde_json::{Value, json};

use super::EvalRun;
use crate::domain::{ErrorCode, Fault};
use crate::sandbox::wasm;
use crate::tools::guest_testing::{call, context, native, packages};
use crate::tools::handler;

async fn run_in(folder: &std::path::Path, arguments: Value) -> Result<Value, Fault> {
    let tool = handler(EvalRun { sandbox: wasm::tests::shared(), packages: packages(), native: native() });
    call(&*tool, arguments, &context(folder)).await
}

async fn run(arguments: Value) -> Result<Value, Fault> {
    run_in(tempfile::tempdir().unwrap().path(), arguments).await
}

fn project() -> Value {
    json!([
        {"path": "app.py", "content": "def half(n):\n    return n // 2\n"},
        {"path": "tests/test_app.py", "content": "import unittest\nimport app\n\nclass T(unittest.TestCase):\n    def test_even(self):\n        self.assertEqual(app.half(4), 2)\n\n    def test_odd(self):\n        self.assertEqual(app.half(3), 1.5)\n\n    def test_text(self):\n        app.half('x')\n"},
    ])
}

#[tokio::test]
async fn failing_tests_are_data_with_their_place() {
    let output =
        run(json!({"files": project(), "commands": ["python -m unittest discover -s tests -v", ["python3", "-c", "print('fine')"]]}))
            .await
            .unwrap();
    assert_eq!(output["passed"], false);
    let [tests, fine] = output["commands"].as_array().unwrap().as_slice() else { panic!("{output}") };
    assert_eq!(tests["argv"], json!(["python", "-m", "unittest", "discover", "-s", "tests", "-v"]));
    assert_eq!(tests["return_code"], 1);
    let found: Vec<_> = tests["diagnostics"].as_array().unwrap().iter().map(|d| json!([d["path"], d["line"], d["code"]])).collect();
    assert_eq!(found, [json!(["app.py", 2, "ERROR"]), json!(["tests/test_app.py", 9, "FAIL"])], "{tests}");
    assert_eq!((&fine["return_code"], &fine["stdout"], &fine["diagnostics"]), (&json!(0), &json!("fine\n"), &json!([])));
}

#[tokio::test]
async fn passing_tests_pass_and_commands_share_nothing() {
    let output = run(json!({
        "files": project(),
        "commands": ["python -m unittest tests.test_app.T.test_even", "python -c \"open('/tmp/x', 'w').write('1')\"", "python -c \"import os; assert not os.path.exists('/tmp/x')\""],
    }))
    .await
    .unwrap();
    assert_eq!(output["passed"], true, "{output}");
}

#[tokio::test]
async fn no_tests_found_is_not_a_pass() {
    let output =
        run(json!({"files": [{"path": "tests/x.py", "content": ""}], "commands": ["python -m unittest discover -s tests"]})).await.unwrap();
    assert_eq!(output["passed"], false, "{output}");
}

#[tokio::test]
async fn a_command_out_of_time_is_told() {
    let output = run(json!({"commands": ["python -c 'while True: pass'"], "timeout_sec": 1})).await.unwrap();
    assert_eq!((&output["passed"], &output["commands"][0]["limit"]), (&json!(false), &json!("time")));
}

#[tokio::test]
async fn programs_the_sandbox_does_not_have_are_refused_before_any_command_runs() {
    let fault = run(json!({"commands": ["python -c 'pass'", "ruff check ."], "python": "wasm"})).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::SandboxUnavailable);
    assert!(fault.message.contains("`ruff`") && fault.details.unwrap()["layer"] == "process", "{}", fault.message);
    // Without a word about the runtime the native one is meant, which this house has not.
    let fault = run(json!({"commands": ["ruff check ."]})).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::SandboxFailed, "{fault}");
    for arguments in [
        json!({"commands": []}),
        json!({"commands": [""]}),
        json!({"commands": [[]]}),
        json!({}),
        json!({"commands": ["python x.py"], "workspace": "../x"}),
    ] {
        assert_eq!(run(arguments.clone()).await.unwrap_err().code, ErrorCode::InvalidInput, "{arguments}");
    }
}

#[tokio::test]
async fn the_workspace_or_a_folder_of_it_is_the_project() {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("svc/app.py", "X = 1\n"),
        (
            "svc/tests/test_x.py",
            "import unittest, app\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(app.X, 2)\n",
        ),
        ("svc/.git/config", "secret"),
    ] {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let tests = "python -m unittest discover -s tests";
    let output = run_in(folder.path(), json!({"workspace": "svc", "commands": [tests]})).await.unwrap();
    assert_eq!(output["commands"][0]["diagnostics"][0]["path"], "svc/tests/test_x.py", "{output}");
    let mended = json!([{"path": "app.py", "content": "X = 2"}]);
    let output = run_in(folder.path(), json!({"workspace": "svc", "files": mended, "commands": [tests]})).await.unwrap();
    assert_eq!(output["passed"], true, "{output}");
    let list = "python -c \"import os; print(sorted(p for p, _, _ in os.walk('.')))\"";
    let output = run_in(folder.path(), json!({"workspace": true, "commands": [list]})).await.unwrap();
    assert_eq!(output["commands"][0]["stdout"], "['.', './svc', './svc/tests']\n");
    assert_eq!(std::fs::read_to_string(folder.path().join("svc/app.py")).unwrap(), "X = 1\n");
}
