//! `fastmcp` drives the real binary: by its command line, and by a script in both protocol generations over both transports.

use std::process::Command;

use serde_json::Value;

use crate::support::clients::{Served, TRUSTING, ended, home, or_skip, python, serve};
use crate::support::root;

#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn drives(mode: &str, is_http: bool) {
    let Some(python) = or_skip(python("import fastmcp")) else { return };
    let toolgate = home(TRUSTING);
    let server = is_http.then(|| Served::on(&toolgate));
    let mut command = Command::new(&python);
    command.arg("-B").arg(root().join("tests/clients/fastmcp_client.py")).arg(mode);
    match &server {
        Some(server) => command.args(["http", &server.url]).arg(&server.token_file),
        None => command.arg("stdio").args(serve(&toolgate)),
    };
    let output = ended(&mut command);
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let logged = server.map(|server| server.said()).unwrap_or_default();
    assert!(output.status.success(), "{}\n{told}\n{errors}\n{logged}", output.status);
    assert!(told.lines().filter(|line| line.starts_with("PASS")).count() >= 10, "next to nothing was checked:\n{told}");
    let rows = toolgate.json(0, &["approvals", "list", "--all", "--json"]);
    let mut ends: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["status"].as_str().unwrap()).collect();
    ends.sort_unstable();
    assert_eq!(ends, ["denied", "pending", "used"], "{rows}");
}

#[test]
fn a_person_answers_in_fastmcp() {
    drives("auto", false);
}

#[test]
fn a_person_answers_in_fastmcp_as_older_clients_ask() {
    drives("legacy", false);
}

#[test]
fn a_person_answers_in_fastmcp_over_http() {
    drives("auto", true);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn its_command_line_lists_and_calls() {
    let Some(python) = or_skip(python("import fastmcp")) else { return };
    let toolgate = home("");
    let start = serve(&toolgate).join(" ");
    let told = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-B", "-m", "fastmcp.cli"]).args(arguments);
        let output = ended(&mut command);
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {stdout}\n{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str::<Value>(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
    };
    let listed = told(&["list", "--command", &start, "--resources", "--prompts", "--json"]);
    let tools: Vec<&str> = listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(tools.contains(&"python_run") && listed["prompts"].to_string().contains("hello_world"), "{listed}");
    let input = r#"{"entrypoint": "inline", "code": "print(6 * 7)"}"#;
    let called = told(&["call", "--command", &start, "--target", "python_run", "--input-json", input, "--json"]);
    assert!(called.to_string().contains("42\\n"), "{called}");
}
