//! `doctor` and the clients' settings: which have toolgate, and whether each entry leads to a server that answers.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::Toolgate;
use crate::support::clients::{Served, home};

const CLIENTS: [&str; 6] = ["claude-desktop", "claude-code", "codex", "vscode", "cursor", "gemini"];

/// The checks of entries, which all tell their file; the exit code says whether everything works.
fn entries(toolgate: &Toolgate, variables: &[(&str, &str)]) -> Vec<Value> {
    let mut command = toolgate.command(&["doctor", "--json"]);
    command.envs(variables.iter().copied()).current_dir(toolgate.home());
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    let checks = told["checks"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!checks.iter().all(|check| check["ok"] == true))), "{told}");
    checks.iter().filter(|check| check["detail"].as_str().unwrap().contains("` in /")).cloned().collect()
}

fn one(toolgate: &Toolgate, variables: &[(&str, &str)]) -> (bool, String, String) {
    let found = entries(toolgate, variables);
    assert_eq!(found.len(), 1, "{found:#?}");
    let text = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
    (found[0]["ok"] == true, text("detail"), text("mend"))
}

/// Claude Code's settings, with this entry.
fn settings(toolgate: &Toolgate, entry: &Value) {
    std::fs::write(toolgate.home().join(".claude.json"), json!({ "mcpServers": { "toolgate": entry } }).to_string()).unwrap();
}

/// A program of our name that does this.
fn program(toolgate: &Toolgate, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = toolgate.home().join("bin");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("toolgate");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn what_install_wrote_connects_in_every_client() {
    let toolgate = home("");
    assert!(entries(&toolgate, &[]).is_empty(), "nothing is configured yet");
    let data = toolgate.data();
    for client in CLIENTS {
        toolgate.run(&["--home", data.to_str().unwrap(), "install", client]).exits(0);
    }
    // What Claude Code keeps for one project, and what a project brings along.
    let file = toolgate.home().join(".claude.json");
    let mut claude: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let entry = claude["mcpServers"]["toolgate"].clone();
    claude["projects"] = json!({ "/some/project": { "mcpServers": { "build": entry } } });
    std::fs::write(&file, claude.to_string()).unwrap();
    std::fs::write(toolgate.home().join(".mcp.json"), json!({ "mcpServers": { "toolgate": entry, "other": { "command": "x" } } }).to_string())
        .unwrap();
    let found = entries(&toolgate, &[]);
    let names: Vec<&str> = found.iter().map(|check| check["name"].as_str().unwrap()).collect();
    let due = [
        "Claude Desktop",
        "Claude Code",
        "Claude Code in /some/project",
        "Claude Code (project)",
        "Codex",
        "VS Code",
        "Cursor",
        "Gemini CLI",
    ];
    assert_eq!(names, due);
    for check in &found {
        let detail = check["detail"].as_str().unwrap();
        assert!(check["ok"] == true && detail.starts_with("connects to /") && detail.contains(" tools, "), "{check}");
    }
}

#[test]
fn an_entry_that_leads_nowhere_is_told_with_its_mend() {
    let toolgate = home("");
    let own = env!("CARGO_BIN_EXE_toolgate");
    let data = toolgate.data();
    let data = data.to_str().unwrap();
    for (entry, told) in [
        (json!({ "command": "/no/where/toolgate", "args": ["serve"] }), "there is no `/no/where/toolgate`"),
        (json!({ "command": "toolgate", "args": ["serve"] }), "no whole path"),
        (json!({ "command": own, "args": ["--home", "/no/home", "serve"] }), "its home `/no/home` is not there"),
        (json!({ "command": own, "args": ["--home=home", "serve"] }), "its home `home` is no whole path"),
        (json!({ "command": own, "args": ["serve"], "env": { "TOOLGATE_HOME": "/no/home" } }), "its home `/no/home` is not there"),
        (json!({ "command": program(&toolgate, "echo broken >&2; exit 3"), "args": ["serve"] }), "it ends instead of answering; it says: broken"),
        (json!({ "command": own, "args": ["--home", data, "srve"] }), "it ends instead of answering"),
    ] {
        settings(&toolgate, &entry);
        let (ok, detail, mend) = one(&toolgate, &[]);
        assert!(!ok && detail.contains(told) && !mend.is_empty(), "{entry}: {detail} {mend}");
    }
    settings(&toolgate, &json!({ "command": program(&toolgate, "echo hello; cat"), "args": ["serve"] }));
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(!ok && detail.contains("INVALID_OUTPUT") && detail.contains("`hello`"), "{detail}");
    // A home whose settings are wrong: the server lives, to tell of it.
    let broken = toolgate.home().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("toolgate.toml"), "nonsense = 1\n").unwrap();
    settings(&toolgate, &json!({ "command": own, "args": ["--home", broken, "serve"] }));
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(!ok && detail.contains("only to tell what is wrong"), "{detail}");
    // What is not ours is not started, and a file that only its client can read is told, not touched.
    let mark = toolgate.home().join("started");
    settings(&toolgate, &json!({ "command": "/bin/sh", "args": ["-c", format!("touch {}", mark.display())] }));
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(ok && detail.contains("not tried") && !mark.exists(), "{detail}");
    std::fs::write(toolgate.home().join(".claude.json"), "{ // toolgate\n}").unwrap();
    let ran = toolgate.run(&["doctor"]).exits(1);
    assert!(ran.stdout.contains("✗ Claude Code") && ran.stdout.contains("not plain JSON"), "{}", ran.stdout);
}

#[test]
fn a_server_that_says_nothing_is_given_up_and_ended() {
    let toolgate = home("");
    let file = toolgate.home().join("number");
    let script = format!("sleep 600 &\necho $! > {}\nwait", file.display());
    settings(&toolgate, &json!({ "command": program(&toolgate, &script), "args": ["serve"] }));
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(!ok && detail.contains("TIMEOUT: no answer within 30 s"), "{detail}");
    let child = std::fs::read_to_string(file).unwrap();
    let state = std::fs::read_to_string(Path::new("/proc").join(child.trim()).join("stat"));
    assert!(state.is_err() || state.unwrap().contains(") Z "), "what it had started is gone with it");
}

#[test]
fn an_address_is_reached_with_its_token() {
    let toolgate = home("");
    let server = Served::on(&toolgate);
    let bearer = |token: &str| json!({ "type": "http", "url": server.url, "headers": { "Authorization": format!("Bearer {token}") } });
    settings(&toolgate, &bearer(&server.token()));
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(ok && detail.starts_with(&format!("connects to {}: toolgate ", server.url)), "{detail}");
    assert!(!detail.contains(&server.token()));
    settings(&toolgate, &bearer("${TOKEN}"));
    assert!(one(&toolgate, &[("TOKEN", &server.token())]).0);
    let (ok, detail, _) = one(&toolgate, &[]);
    assert!(ok && detail.contains("not tried") && detail.contains("${TOKEN}"), "{detail}");
    for entry in [bearer(&"0".repeat(64)), json!({ "type": "http", "url": server.url })] {
        settings(&toolgate, &entry);
        let (ok, detail, mend) = one(&toolgate, &[]);
        assert!(!ok && detail.contains("UNAUTHENTICATED") && mend.contains("http.token"), "{detail} {mend}");
    }
    std::fs::remove_file(toolgate.home().join(".claude.json")).unwrap();
    let folder = toolgate.home().join(".codex");
    std::fs::create_dir(&folder).unwrap();
    let entry = format!("[mcp_servers.toolgate]\nurl = \"{}\"\nbearer_token_env_var = \"TOOLGATE_TOKEN\"\n", server.url);
    std::fs::write(folder.join("config.toml"), entry).unwrap();
    assert!(one(&toolgate, &[("TOOLGATE_TOKEN", &server.token())]).0);
    let (_, detail, _) = one(&toolgate, &[]);
    assert!(detail.contains("`TOOLGATE_TOKEN`"), "{detail}");
    let token = server.token();
    drop(server);
    let (ok, detail, mend) = one(&toolgate, &[("TOOLGATE_TOKEN", &token)]);
    assert!(!ok && detail.contains("EGRESS_FAILED") && mend.contains("serve --http"), "{detail} {mend}");
}
