//! The Python MCP client drives the real binary, in both protocol generations.
//!
//! Where the client is not installed the tests say so and pass, unless `TOOLGATE_TEST_REQUIRE_CLIENTS` is set; `support/clients.rs` tells
//! where it is looked for.

use std::path::Path;
use std::process::Command;

use crate::support::clients::{or_skip, python};
use crate::support::native::can_install;
use crate::support::root;

fn run(script: &str) {
    run_in(script, tempfile::tempdir().unwrap().path(), &[]);
}

/// Runs a script over HTTP.
fn run_over_http(script: &str) {
    run_with(&["--http"], script, tempfile::tempdir().unwrap().path(), &[]);
}

/// Runs a script on this home, with more variables.
fn run_in(script: &str, home: &Path, variables: &[(&str, &str)]) {
    run_with(&[], script, home, variables);
}

/// Runs a script with these options.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn run_with(options: &[&str], script: &str, home: &Path, variables: &[(&str, &str)]) {
    let Some(python) = or_skip(python("from mcp import Client")) else { return };
    let output = Command::new(python)
        .envs(variables.iter().copied())
        .arg("-B")
        .arg(root().join("tests/clients").join(script))
        .args(options)
        .args([env!("CARGO_BIN_EXE_toolgate"), "--home", home.to_str().unwrap(), "serve"])
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let errors: Vec<&str> = errors.lines().collect();
    let last_errors = errors[errors.len().saturating_sub(60)..].join("\n");
    assert!(output.status.success(), "{script}: {}\n{told}\n{last_errors}", output.status);
    assert!(told.lines().filter(|line| line.starts_with("PASS [auto]")).count() > 10, "{script} checked next to nothing:\n{told}");
}

#[test]
fn a_client_runs_python() {
    run("python_run.py");
}

#[test]
fn a_client_runs_python_over_http() {
    run_over_http("python_run.py");
}

#[test]
fn a_client_builds_a_service_over_http() {
    run_over_http("build_service.py");
}

#[test]
fn a_client_builds_a_service() {
    run("build_service.py");
}

/// A home whose operator trusts the human in front of the client.
fn trusting() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("toolgate.toml"), "[approvals]\nelicitation = \"trusted-clients\"\ntrusted_principals = [\"local\"]\n")
        .unwrap();
    home
}

#[test]
fn a_person_answers_in_a_client() {
    run_in("approvals.py", trusting().path(), &[]);
}

#[test]
fn a_person_answers_in_a_client_over_http() {
    run_with(&["--http"], "approvals.py", trusting().path(), &[]);
}

#[test]
fn what_a_client_says_it_used_is_counted() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("workflows")).unwrap();
    let step = |id: &str, after: &str| format!("- {{id: {id}, kind: plan, depends_on: [{after}]}}\n");
    let steps = [step("one", ""), step("two", "one"), step("three", "two")].concat();
    let definition = format!("name: asks\nversion: 1.0.0\nlimits: {{max_tokens: 500}}\nsteps:\n{steps}");
    std::fs::write(home.path().join("workflows/asks.yaml"), definition).unwrap();
    std::fs::write(home.path().join("toolgate.toml"), "[budgets.run]\ntokens = 1000\n").unwrap();
    run_in("budgets.py", home.path(), &[]);
}

/// The packages of the checks, pinned as the shipped service pins them.
fn pins() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("src/tools/workers/templates/fastapi_service/requirements.pins")).unwrap();
    let wanted = ["ruff==", "mypy==", "pytest==", "pytest-cov=="];
    text.lines().filter(|line| wanted.iter().any(|name| line.starts_with(name))).map(str::to_owned).collect()
}

#[test]
fn a_client_mends_what_the_checks_found() {
    if !can_install() {
        return;
    }
    let (home, pins) = (tempfile::tempdir().unwrap(), pins());
    assert_eq!(pins.len(), 4, "{pins:?}");
    // As the operator, with the environment that a client gives its server: what is made once needs nobody's yes again.
    let arguments = serde_json::json!({ "commands": ["ruff --version"], "files": [], "requirements": pins });
    #[expect(clippy::disallowed_methods, reason = "a test starts programs, and hands on its own environment")]
    let made = Command::new(env!("CARGO_BIN_EXE_toolgate"))
        .env_clear()
        .envs(["HOME", "PATH"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        .args(["--home", home.path().to_str().unwrap(), "tools", "call", "eval.run", &arguments.to_string(), "--json"])
        .output()
        .unwrap();
    let (told, errors) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert!(made.status.success() && told.contains("\"passed\":true"), "{told}\n{errors}");
    run_in("repair_service.py", home.path(), &[("TOOLGATE_TEST_PINS", &pins.join(","))]);
}
