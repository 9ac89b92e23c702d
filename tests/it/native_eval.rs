//! `eval.run` with the real ruff, mypy and pytest: what they find, as data.
//!
//! Takes the packages of the FastAPI service, so that one environment serves these tests and that service's.

use serde_json::{Value, json};

use crate::support::native::{can_install, is_possible};
use crate::support::{Toolgate, root};

fn pins() -> Vec<String> {
    let file = root().join("src/tools/workers/templates/fastapi_service/requirements.pins");
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn run(toolgate: &Toolgate, arguments: &Value) -> Value {
    let answer = toolgate.json(0, &["tools", "call", "eval.run", &arguments.to_string(), "--json"]);
    answer["output"].clone()
}

fn found(command: &Value) -> Vec<(String, u64, String)> {
    let all = command["diagnostics"].as_array().unwrap().iter();
    all.map(|one| {
        (one["path"].as_str().unwrap_or("-").to_owned(), one["line"].as_u64().unwrap_or(0), one["code"].as_str().unwrap().to_owned())
    })
    .collect()
}

#[test]
fn what_ruff_mypy_and_pytest_find_has_path_line_and_code() {
    if !can_install() {
        return;
    }
    let toolgate = Toolgate::new();
    let files = json!([
        { "path": "svc/app.py", "content": "import os\n\n\ndef half(n: int) -> str:\n    return n // 2\n" },
        { "path": "svc/__init__.py", "content": "" },
        { "path": "tests/test_app.py", "content": "from svc.app import half\n\n\ndef test_even() -> None:\n    assert half(4) == 2\n\n\ndef test_odd() -> None:\n    assert half(3) == 2\n" },
        { "path": "ugly.py", "content": "x = {  'a':1 }\n" },
    ]);
    let commands = json!(["ruff check .", "ruff format --check .", "mypy --strict .", "python -m pytest -q", ["python", "-c", "1/0"]]);
    let output = run(&toolgate, &json!({ "files": files, "commands": commands, "requirements": pins() }));
    assert_eq!((&output["passed"], &output["sandbox"]["runtime"]), (&json!(false), &json!("process")), "{output}");
    let of = |n: usize| found(&output["commands"][n]);
    assert!(of(0).contains(&("svc/app.py".into(), 1, "F401".into())), "{:?}", of(0));
    assert!(of(1).iter().any(|(path, _, code)| path == "ugly.py" && code == "format"), "{:?}", of(1));
    assert!(of(2).contains(&("svc/app.py".into(), 5, "return-value".into())), "{:?}", of(2));
    assert!(of(3).iter().any(|(path, line, _)| path == "tests/test_app.py" && *line == 9), "{:?}", of(3));
    assert_eq!(of(4)[0].2, "ZeroDivisionError");
    for n in 0..5 {
        assert_ne!(output["commands"][n]["return_code"], 0, "{n}");
    }
    let clean = json!([{ "path": "a.py", "content": "def half(n: int) -> int:\n    return n // 2\n" }]);
    let commands = json!(["ruff check .", "ruff format --check .", "mypy --strict ."]);
    let output = run(&toolgate, &json!({ "files": clean, "commands": commands, "requirements": pins() }));
    assert_eq!(output["passed"], true, "{output}");
    assert!((0..3).all(|n| found(&output["commands"][n]).is_empty()), "{output}");
}

#[test]
fn a_missing_program_is_an_error_and_hostile_arguments_change_nothing() {
    if !is_possible() {
        return;
    }
    let toolgate = Toolgate::new();
    let call = |arguments: Value| toolgate.run(&["tools", "call", "eval.run", &arguments.to_string(), "--json"]);
    let missing = call(json!({ "commands": ["no-such-checker --fix"] })).exits(1);
    assert!(missing.stdout.contains("PROGRAM_NOT_FOUND") || missing.stderr.contains("PROGRAM_NOT_FOUND"), "{missing:?}");
    // A shell is a program like any other: it has what the job has, which is nothing worth having.
    let shell = run(&toolgate, &json!({ "commands": [["sh", "-c", "cat /etc/shadow /root/.bashrc; ls /home; echo x > /usr/x; id -u"]] }));
    let said = &shell["commands"][0];
    assert_eq!(said["stdout"], "1000\n", "{said}");
    // The words of a shell are words.
    let words = run(&toolgate, &json!({ "commands": ["python -c 'import sys; print(sys.argv[1:])' ; rm -rf / && $(id) `id`"] }));
    assert_eq!(words["commands"][0]["stdout"], "[';', 'rm', '-rf', '/', '&&', '$(id)', '`id`']\n", "{words}");
}
