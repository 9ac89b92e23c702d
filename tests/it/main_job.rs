//! The main job and the human's side of it, by the real binary as a user runs it.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Ran, Toolgate, files};

/// The result line of `run --json` or `runs watch --json`.
pub fn result(ran: &Ran) -> Value {
    let line = ran.stdout.lines().rev().find(|line| line.starts_with("{\"exit\"") || line.contains("\"result\"")).unwrap_or_default();
    serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}\n{}\n{}", ran.stdout, ran.stderr))["result"].clone()
}

#[test]
fn build_service_plans_writes_tests_and_commits_with_nothing_but_this_program() {
    let toolgate = Toolgate::new();
    let ran = toolgate.run(&["run", "build_service", "-i", "resource=Listing", "-i", "stack=stdlib", "--json"]).exits(0);
    let view = result(&ran);
    let steps: Vec<(String, String)> =
        view["steps"].as_array().unwrap().iter().map(|step| (step["id"].to_string(), step["state"].to_string())).collect();
    assert!(
        steps
            .iter()
            .all(|(id, state)| state == "\"succeeded\"" || (["\"search\"", "\"web\""].contains(&id.as_str()) && state == "\"failed\"")),
        "every step ended well; drive and network may be missing: {steps:?}"
    );
    let commit = view["output"]["repo"]["commit"].as_str().unwrap();
    assert!(view["output"]["eval"]["passed"].as_bool().unwrap());
    let ran_tests = view["output"]["eval"].to_string();
    assert!(ran_tests.contains("Ran "), "unittest really ran: {ran_tests}");

    let workspace = std::path::PathBuf::from(view["workspace"].as_str().unwrap());
    assert!(files(&workspace).iter().any(|path| path.ends_with("README.md")));
    let head = std::fs::read_to_string(workspace.join(".git/refs/heads/main")).unwrap();
    assert_eq!(head.trim(), commit);

    let report = toolgate.json(0, &["audit", "verify", "--json"]);
    assert!(report["records"].as_u64().unwrap() > 20 && report["broken"].is_null(), "{report}");
    let listed = toolgate.json(0, &["runs", "list", "--json"]);
    assert_eq!(listed[0]["status"], "succeeded");
}

#[test]
fn hello_world_waits_for_the_operator_and_goes_on() {
    let toolgate = Toolgate::new();
    let waiting = toolgate.run(&["run", "hello_world", "-i", "name=Ada"]).exits(4);
    assert!(waiting.stderr.contains("approvals approve apr_") && waiting.stderr.contains("runs watch run_"), "{}", waiting.stderr);
    let asked = toolgate.json(0, &["approvals", "list", "--json"]);
    let (id, run) = (asked[0]["id"].as_str().unwrap(), asked[0]["run_id"].as_str().unwrap());
    assert!(asked[0]["shown"].to_string().contains("Hello, Ada!"), "the human sees what it is about: {asked}");

    toolgate.run(&["approvals", "approve", id]).exits(3);
    answer(&toolgate, &["approvals", "approve", id], "correct horse").exits(0);
    answer(&toolgate, &["approvals", "approve", id], "correct horse").exits(2);
    let ended = toolgate.run(&["runs", "watch", run, "--json"]).exits(0);
    assert_eq!(result(&ended)["status"], "succeeded");
    let again = toolgate.run(&["runs", "watch", run, "--json"]).exits(0);
    assert_eq!(result(&again)["last_seq"], result(&ended)["last_seq"], "a run that is over is only told");
}

#[test]
fn a_denied_step_fails_its_run_and_a_wrong_passphrase_answers_nothing() {
    let toolgate = Toolgate::new();
    toolgate.run(&["run", "hello_world"]).exits(4);
    let asked = toolgate.json(0, &["approvals", "list", "--json"]);
    let (id, run) = (asked[0]["id"].as_str().unwrap(), asked[0]["run_id"].as_str().unwrap());
    answer(&toolgate, &["approvals", "deny", id, "--reason", "not today"], "first use sets it").exits(0);
    let ended = toolgate.run(&["runs", "watch", run, "--json"]).exits(3);
    assert_eq!(result(&ended)["status"], "failed");
    assert!(ended.stdout.contains("not today"));

    toolgate.run(&["run", "hello_world"]).exits(4);
    let asked = toolgate.json(0, &["approvals", "list", "--json"]);
    let second = asked[0]["id"].as_str().unwrap();
    let refused = answer(&toolgate, &["approvals", "approve", second], "a guess").exits(3);
    assert!(refused.stderr.contains("OPERATOR_LOCKED"), "{}", refused.stderr);
    assert_eq!(toolgate.json(0, &["approvals", "show", second, "--json"])["status"], "pending");
}

/// Runs a verb that needs the operator, with the passphrase on an inherited descriptor.
pub fn answer(toolgate: &Toolgate, args: &[&str], passphrase: &str) -> Ran {
    let mut file = tempfile::tempfile().unwrap();
    // Twice, as the first use asks for it again.
    writeln!(file, "{passphrase}\n{passphrase}").unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let mut command = toolgate.command(args);
    // Standard input is the one descriptor that a child inherits without further ado.
    command.args(["--passphrase-fd", "0"]).stdin(file);
    Ran::of(command.output().unwrap())
}

#[test]
fn the_path_is_the_same_from_the_terminal() {
    let toolgate = Toolgate::new();
    let hello = toolgate.json(0, &["tools", "call", "python.run", r#"{"entrypoint": "inline", "code": "print(6 * 7)"}"#, "--json"]);
    assert!(hello.to_string().contains("42\\n"), "{hello}");
    let listed = toolgate.json(0, &["tools", "list", "--json"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    for name in ["python.run", "eval.run", "workspace.write", "repo.git.commit", "transform.jq", "run.start", "artifact.read", "drive.get"]
    {
        assert!(names.contains(&name), "{name} is missing of {names:?}");
    }
    let events = toolgate.json(0, &["runs", "list", "--json"]);
    assert_eq!(events[0]["kind"], "adhoc");
}

#[test]
fn a_tool_needs_no_rust() {
    let toolgate = Toolgate::new();
    let folder = toolgate.data().join("tool-manifests");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("count.py"),
        "import json, sys\ntext = json.load(sys.stdin)['text']\nprint(json.dumps({'words': len(text.split())}))\n",
    )
    .unwrap();
    let schema = |properties: Value, required: &str| {
        json!({"type": "object", "properties": properties, "required": [required], "additionalProperties": false}).to_string()
    };
    std::fs::write(folder.join("in.json"), schema(json!({"text": {"type": "string"}}), "text")).unwrap();
    std::fs::write(folder.join("out.json"), schema(json!({"words": {"type": "integer"}}), "words")).unwrap();
    let manifest = "name: text.count\nversion: 1.0.0\ndescription: Counts words.\nexecutor: {python: count.py}\neffects: [pure]\nscopes: [text]\n\
                    limits: {wall: 10s, output: 64KiB}\nidempotent: true\ninput_schema: in.json\noutput_schema: out.json\n\
                    examples:\n  - accept: {text: one two}\n  - refuse: {text: 7}\n    because: text\n";
    std::fs::write(folder.join("text.count.yaml"), manifest).unwrap();
    let counted = toolgate.json(0, &["tools", "call", "text.count", r#"{"text": "a b c"}"#, "--json"]);
    assert!(counted.to_string().contains(r#""words":3"#), "{counted}");
    std::fs::write(folder.join("text.count.yaml"), manifest.replace("{text: 7}", "{text: seven}").replace("version: 1.0.0", "versoin: 1"))
        .unwrap();
    let broken = toolgate.run(&["tools", "list"]).exits(2);
    assert!(broken.stderr.contains("text.count.yaml:"), "file and line: {}", broken.stderr);
    assert!(broken.stderr.contains("versoin"), "every problem: {}", broken.stderr);
}
