//! `install` with the real binary in a scratch home of a user, for every client.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const CLIENTS: [(&str, &str, &str); 6] = [
    ("claude-desktop", ".config/Claude/claude_desktop_config.json", "mcpServers"),
    ("claude-code", ".claude.json", "mcpServers"),
    ("codex", ".codex/config.toml", "mcp_servers"),
    ("vscode", ".config/Code/User/mcp.json", "servers"),
    ("cursor", ".cursor/mcp.json", "mcpServers"),
    ("gemini", ".gemini/settings.json", "mcpServers"),
];

#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn toolgate(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_toolgate")).env_clear().env("HOME", home).current_dir(home).args(arguments).output().unwrap()
}

fn good(home: &Path, arguments: &[&str]) -> String {
    let output = toolgate(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The entry that a client finds.
fn entry(file: &Path, servers: &str) -> Option<(String, Vec<String>)> {
    let text = std::fs::read_to_string(file).ok()?;
    let data: Value = if file.extension().unwrap() == "toml" {
        serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
    } else {
        serde_json::from_str(&text).unwrap()
    };
    let entry = data.get(servers)?.get("toolgate")?;
    let args = entry["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap().to_owned()).collect();
    Some((entry["command"].as_str().unwrap().to_owned(), args))
}

#[test]
#[cfg(target_os = "linux")]
fn every_client_is_given_an_entry_that_starts_this_server_and_loses_it_again() {
    for (client, file, servers) in CLIENTS {
        let user = tempfile::tempdir().unwrap();
        let file = user.path().join(file);
        let printed = good(user.path(), &["install", client, "--print"]);
        assert!(!file.exists() && printed.contains("serve"), "{client}");
        let told = good(user.path(), &["--home", "here", "install", client]);
        assert!(told.starts_with("wrote") && !told.contains("backup"), "{told}");
        let (command, args) = entry(&file, servers).unwrap();
        assert!(
            Path::new(&command).is_absolute() && args[0] == "--home" && Path::new(&args[1]).is_absolute(),
            "{client}: {command} {args:?}"
        );
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions()) & 0o777, 0o600);
        answers(user.path(), &command, &args);
        assert!(good(user.path(), &["--home", "here", "install", client]).starts_with("kept"));
        assert!(good(user.path(), &["install", client, "--undo"]).starts_with("wrote"));
        assert!(!file.exists(), "what install alone has made goes with it");
        assert!(good(user.path(), &["install", client, "--undo"]).starts_with("kept"));
    }
}

/// Starts what the client would start, and asks it.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn answers(home: &Path, command: &str, args: &[String]) {
    use std::io::Write as _;
    use std::process::Stdio;
    let mut server = Command::new(command)
        .env_clear()
        .env("HOME", home)
        .current_dir("/")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let params = r#"{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}"#;
    let request = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{params}}}\n");
    server.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
    let output = server.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"serverInfo\":{\"name\":\"toolgate\""));
}

#[test]
#[cfg(target_os = "linux")]
fn what_others_wrote_comes_back_to_the_byte() {
    for (client, file, servers) in CLIENTS {
        let user = tempfile::tempdir().unwrap();
        // The settings lie elsewhere, as people who keep theirs under version control have them.
        let (link, file) = (user.path().join(file), user.path().join("dotfiles"));
        let before = match client {
            "codex" => "# mine\nmodel = 'x'   # odd   spaces\n[mcp_servers.other]\ncommand = \"x\"\n".to_owned(),
            _ => format!("{{ \"odd\":   [ 1,2 ],\n\n \"{servers}\": {{\"other\": {{\"command\": \"x\"}}}} }}"),
        };
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::fs::write(&file, &before).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let told = good(user.path(), &["install", client]);
        assert!(told.contains("backup"), "{told}");
        assert!(entry(&link, servers).is_some() && std::fs::symlink_metadata(&link).unwrap().is_symlink(), "{client}");
        assert_eq!(std::fs::read_to_string(user.path().join("dotfiles.before-toolgate")).unwrap(), before);
        good(user.path(), &["install", client, "--undo"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), before, "{client}");
        assert!(!user.path().join("dotfiles.before-toolgate").exists());
        // What was changed since is kept: then only the entry goes.
        good(user.path(), &["install", client]);
        let now = std::fs::read_to_string(&file).unwrap().replace("\"x\"", "\"changed\"");
        std::fs::write(&file, now).unwrap();
        good(user.path(), &["install", client, "--undo"]);
        let after = std::fs::read_to_string(&file).unwrap();
        assert!(after.contains("changed") && entry(&link, servers).is_none(), "{after}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_not_touched() {
    let user = tempfile::tempdir().unwrap();
    let file = user.path().join(".claude.json");
    std::fs::write(&file, "{ // a comment\n}").unwrap();
    let output = toolgate(user.path(), &["install", "claude-code"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("CONFIG_INVALID") && told.contains("--print"), "{told}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ // a comment\n}");
    assert_eq!(std::fs::read_dir(user.path()).unwrap().count(), 1, "no file beside it");
    let output = toolgate(user.path(), &["install", "claude-code", "--name", "a b"]);
    assert_eq!(output.status.code(), Some(2));
}
