//! The TypeScript clients, the one of the first line and the one of the second, drive the real binary over both transports.

use std::process::Command;

use crate::support::clients::{Npm, Served, TRUSTING, ended, home_that_asks, node, or_skip, serve};
use crate::support::root;

#[derive(Clone, Copy)]
enum Way {
    Stdio,
    Http,
}

#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn drives(sdk: &str, package: &str, mode: &str, way: Way) {
    let Some((node, npm)) = or_skip(node().and_then(|node| Ok((node, Npm::with(package)?)))) else { return };
    let toolgate = home_that_asks(TRUSTING);
    let server = matches!(way, Way::Http).then(|| Served::on(&toolgate));
    let mut command = Command::new(node);
    command.env("TOOLGATE_TEST_NPM", npm.folder()).arg(root().join("tests/clients/typescript.mjs")).args([sdk, mode]);
    match &server {
        Some(server) => command.args(["http", &server.url]).arg(&server.token_file),
        None => command.arg("stdio").args(serve(&toolgate)),
    };
    let output = ended(&mut command);
    let (told, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let logged = server.map(|server| server.said()).unwrap_or_default();
    assert!(output.status.success(), "{}\n{told}\n{errors}\n{logged}", output.status);
    assert!(told.lines().filter(|line| line.starts_with("PASS")).count() >= 20, "next to nothing was checked:\n{told}");
    let report = toolgate.json(0, &["audit", "verify", "--json"]);
    assert!(report["broken"].is_null() && report["records"].as_u64().unwrap() > 20, "{report}");
}

const V1: &str = "@modelcontextprotocol/sdk";
const V2: &str = "@modelcontextprotocol/client";

#[test]
fn the_first_client_over_stdio() {
    drives("v1", V1, "legacy", Way::Stdio);
}

#[test]
fn the_first_client_over_http() {
    drives("v1", V1, "legacy", Way::Http);
}

#[test]
fn the_second_client_over_stdio_as_the_first_does() {
    drives("v2", V2, "legacy", Way::Stdio);
}

#[test]
fn the_second_client_over_stdio() {
    drives("v2", V2, "auto", Way::Stdio);
}

#[test]
fn the_second_client_over_http_as_the_first_does() {
    drives("v2", V2, "legacy", Way::Http);
}

#[test]
fn the_second_client_over_http() {
    drives("v2", V2, "auto", Way::Http);
}
