//! Tokens as an operator makes them and a running server takes them.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::door::{Ask, Served, body, free_port, message, until};
use crate::support::{Ran, Toolgate, files};
use crate::vault::{as_operator, operator};

/// The run that tells of tokens.
const RUN: &str = "run_00000000000070008000746f6b656e73";

/// Makes a token and gives its value.
pub fn create(toolgate: &Toolgate, args: &[&str]) -> String {
    let made = as_operator(toolgate, &[&["tokens", "create"], args].concat(), "").exits(0);
    made.stdout.trim_end().to_owned()
}

/// A home whose operator has a passphrase.
pub fn home() -> Toolgate {
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    toolgate
}

fn events(toolgate: &Toolgate) -> Vec<Value> {
    let told = toolgate.run(&["runs", "events", RUN, "--json"]).exits(0).stdout;
    told.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_token_is_made_listed_and_taken_back_by_the_operator_alone() {
    let toolgate = home();
    let made = as_operator(&toolgate, &["tokens", "create", "ci", "--scopes", "tools:read", "--toolsets", "runs,workspace"], "").exits(0);
    let value = made.stdout.trim_end();
    assert!(made.stdout.lines().count() == 1 && value.starts_with("tgt_") && value.len() == 47, "{made:?}");
    assert!(!made.stderr.contains(value) && made.stderr.contains("not shown again"), "{made:?}");
    let json: Value = serde_json::from_str(
        &as_operator(&toolgate, &["tokens", "create", "ann", "--principal", "alice", "--expires", "never", "--json"], "").exits(0).stdout,
    )
    .unwrap();
    assert_eq!((&json["principal"], &json["expires"], &json["scopes"]), (&json!("alice"), &Value::Null, &json!(["tools:exec"])));

    // Neither value is anywhere but where it was printed.
    for value in [value, json["token"].as_str().unwrap()] {
        for file in files(&toolgate.data()) {
            let bytes = std::fs::read(&file).unwrap();
            assert!(!bytes.windows(20).any(|part| part == &value.as_bytes()[4..24]), "{}", file.display());
        }
    }
    let listed = toolgate.json(0, &["tokens", "list", "--json"]);
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|token| token["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ann", "ci"]);
    assert!(listed.to_string().contains("\"toolsets\":[\"runs\",\"workspace\"]") && !listed.to_string().contains("tgt_"), "{listed}");

    // Without the passphrase nothing is made or taken back.
    for args in [&["tokens", "create", "evil"] as &[&str], &["tokens", "revoke", "ci"]] {
        let mut child = toolgate.command(args);
        assert_eq!(Ran::of(child.output().unwrap()).code, 3, "{args:?}: nobody is at a terminal");
        let mut wrong = operator(&toolgate, args, "");
        std::fs::write(toolgate.home().join("phrase"), "not the passphrase\n").unwrap();
        let wrong = Ran::of(wrong.stdin(Stdio::null()).output().unwrap());
        assert!(wrong.code == 3 && wrong.stderr.contains("OPERATOR_LOCKED") && wrong.stdout.is_empty(), "{args:?}: {wrong:?}");
    }
    for wrong in [
        &["tokens", "create", "x", "--scopes", "approve"] as &[&str],
        &["tokens", "create", "x", "--toolsets", "nothing-of-ours"],
        &["tokens", "create", "x", "--expires", "soon"],
        &["tokens", "create", "x", "--principal", "operator"],
        &["tokens", "create", "ci"],
        &["tokens", "revoke", "cy"],
    ] {
        let ran = as_operator(&toolgate, wrong, "");
        assert!(ran.code == 2 && ran.stdout.is_empty(), "{wrong:?}: {ran:?}");
    }
    as_operator(&toolgate, &["tokens", "revoke", "ci"], "").exits(0);
    let states = toolgate.json(0, &["tokens", "list", "--all", "--json"]);
    assert_eq!(states[1]["state"], "revoked", "{states}");
    assert_eq!(toolgate.json(0, &["tokens", "list", "--json"]).as_array().unwrap().len(), 1);

    let told = events(&toolgate);
    let words: Vec<&str> = told.iter().filter_map(|event| event["payload"]["event"].as_str()).collect();
    assert_eq!(words, ["access_token_created", "access_token_created", "access_token_revoked"], "{told:#?}");
    assert!(told.iter().skip(1).all(|event| event["actor"]["principal"] == "operator"), "{told:#?}");
    assert_eq!(told[1]["payload"]["sha256"].as_str().map(str::len), Some(64));
    toolgate.json(0, &["audit", "verify", "--json"]);
}

#[test]
fn a_running_server_takes_up_tokens_and_lets_go_of_them_at_once() {
    let toolgate = home();
    let served = Served::start(&toolgate, "127.0.0.1", free_port(), &[]);
    let list = |token: &str| message(&served, token, "tools/list", json!({}));
    assert_eq!(list("tgt_0000000000000000000000000000000000000000000").status, 401);
    // Made while it serves, with toolsets of their own.
    let runs = create(&toolgate, &["alice", "--toolsets", "runs"]);
    let files = create(&toolgate, &["bob", "--toolsets", "workspace", "--scopes", "tools:read"]);
    let (runs_see, files_see) = (list(&runs).tools(), list(&files).tools());
    assert!(runs_see.iter().all(|name| name.starts_with("run_")) && runs_see.contains(&"run_start".to_owned()), "{runs_see:?}");
    assert_eq!(files_see, ["workspace_list", "workspace_read"]);

    // A call is its principal's, and one beyond the scope is told and recorded.
    let called = message(&served, &runs, "tools/call", json!({"name": "run_list", "arguments": {}}));
    assert_eq!(called.json()["result"]["isError"].as_bool().unwrap_or_default(), false, "{called:?}");
    let refused = message(&served, &files, "tools/call", json!({"name": "workspace_write", "arguments": {"path": "x", "content": "y"}}));
    assert_eq!((refused.status, &refused.json()["result"]["structuredContent"]["error"]["code"]), (200, &json!("INSUFFICIENT_SCOPE")));
    let all = toolgate.json(0, &["runs", "list", "--json"]);
    let run_of = |principal: &str| {
        let run = all.as_array().unwrap().iter().find(|run| run["principal"] == principal).unwrap_or_else(|| panic!("{all}"));
        let run = run["id"].as_str().unwrap().to_owned();
        toolgate.run(&["runs", "events", &run, "--json"]).exits(0).stdout
    };
    assert!(run_of("alice").contains("run.list"));
    let told = run_of("bob");
    assert!(told.contains("INSUFFICIENT_SCOPE") && told.contains("\"tool_error\""), "{told}");

    // A session and a stream of the older generation, and one of the newer, end with their token.
    let authorization = format!("Bearer {runs}");
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let headers = [("Authorization", authorization.as_str())];
    let opened = Ask { method: "POST", path: "/mcp", headers: &headers, body: &initialize.to_string() }.over(served.connect());
    let session = opened.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();
    let mut stream = served.connect();
    let head = format!(
        "GET /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nMcp-Session-Id: {session}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut listening = served.connect();
    let listen = body("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: subscriptions/listen\r\n\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{listen}",
        listen.len()
    );
    listening.write_all(head.as_bytes()).unwrap();
    let mut first = [0_u8; 12];
    for stream in [&mut stream, &mut listening] {
        stream.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    }
    as_operator(&toolgate, &["tokens", "revoke", "alice"], "").exits(0);
    assert_eq!(list(&runs).status, 401, "the very next request");
    for stream in [&mut stream, &mut listening] {
        let mut rest = Vec::new();
        let mut part = [0_u8; 1024];
        while !rest.ends_with(b"0\r\n\r\n") {
            match stream.read(&mut part) {
                Ok(0) => break,
                Ok(count) => rest.extend_from_slice(&part[..count]),
                Err(error) => panic!("it stays open: {error}"),
            }
        }
    }
    assert_eq!(list(&files).status, 200, "nobody else's ends");
    // Its session is nobody's, whoever gets the name.
    let again = create(&toolgate, &["alice"]);
    let authorization = format!("Bearer {again}");
    let headers = [("Authorization", authorization.as_str()), ("Mcp-Session-Id", &session), ("MCP-Protocol-Version", "2025-11-25")];
    let asked = Ask { method: "POST", path: "/mcp", headers: &headers, body: r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"# };
    assert_eq!(asked.over(served.connect()).status, 404);
    // The log says who came to what, and no token.
    let log = served.log();
    assert!(![&runs, &files, &again].iter().any(|token| log.contains(&token[4..24])), "{log}");
}

#[test]
fn a_token_ends_by_itself_when_its_time_is_over() {
    let toolgate = home();
    let served = Served::start(&toolgate, "127.0.0.1", free_port(), &[]);
    let short = create(&toolgate, &["short", "--expires", "2s"]);
    until("its time is over", || message(&served, &short, "tools/list", json!({})).status == 401);
    assert_eq!(toolgate.json(0, &["tokens", "list", "--json"])[0]["state"], "expired");
}
