//! A canary that is known as a secret goes through every sink in every encoding; and text made to forge records and log lines.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use toolgate::call::{NoRedaction, Redact};
use toolgate::domain::ErrorCode;
use toolgate::gateway::Answer;
use toolgate::mcp::{ServeOptions, serve_over};
use toolgate::secrets::live::LiveSecrets;
use toolgate::secrets::redact::Redactor;
use toolgate::secrets::scan::Scanner;
use toolgate::store::ApprovalFilter;

use crate::support::house::TestHouse;
use crate::support::{Toolgate, files};

const CANARY: &str = "c4nary/Value+1 \"é\"";

/// The canary as it is and as encoders write it, with what is not to be seen of each.
fn encodings() -> Vec<String> {
    let bytes = CANARY.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
    let quoted = json!(CANARY).to_string();
    // Between the quotes, of which the value has one of its own at its end.
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
    let base64 = "YzRuYXJ5L1ZhbHVlKzEgIsOpIg";
    vec![CANARY.into(), hex.to_uppercase(), hex, percent, "c4nary%2FValue%2B1%20%22%C3%A9%22".into(), inner.into(), base64.into()]
}

fn redactor() -> Redactor {
    let live = LiveSecrets::new();
    live.add("canary", &CANARY.into());
    Redactor::new(live).unwrap()
}

/// Which encodings stand in a text.
fn seen_in(text: &str) -> Vec<String> {
    encodings().into_iter().filter(|encoded| text.contains(encoded.as_str())).collect()
}

fn seen_below(home: &Path) -> Vec<String> {
    let mut seen: Vec<String> = files(home)
        .iter()
        .flat_map(|file| {
            let bytes = std::fs::read(file).unwrap();
            let holds = |text: &String| bytes.windows(text.len()).any(|part| part == text.as_bytes());
            encodings().into_iter().filter(holds).collect::<Vec<_>>()
        })
        .collect();
    seen.sort();
    seen.dedup();
    seen
}

/// Sends the canary wherever a caller can put text, and gives the house back.
async fn exposed(home: &Path, redact: Arc<dyn Redact>) -> TestHouse {
    let house = TestHouse::redacted(home.to_owned(), redact).await;
    for (n, word) in encodings().iter().enumerate() {
        // What runs gets the real value.
        let reply = house.call("probe.pure", json!({ "word": word })).await;
        assert_eq!(reply.outcome.unwrap().value["echo"], word.as_str());
        house.call("probe.write", json!({ "word": word, "idempotency_key": format!("{n}{word}") })).await.outcome.unwrap();
        // Refused, with the canary in the arguments, in the message and in the name of the tool.
        house.call("probe.pure", json!({ "word": [word] })).await.outcome.unwrap_err();
        house.call("probe.pure", json!({ "word": "x", word: 1 })).await.outcome.unwrap_err();
        house.call(word, json!({})).await.outcome.unwrap_err();
        // Too large to stand in the journal.
        let large = format!("{}{word}", "long ".repeat(8_000));
        house.call("probe.pure", json!({ "word": large })).await.outcome.unwrap();
        // A question, and the answer to it.
        let asked = house.call("probe.outside", json!({ "word": word })).await.outcome.unwrap_err();
        assert_eq!(asked.code, ErrorCode::ApprovalRequired);
        let id = asked.details.unwrap()["approval_id"].as_str().unwrap().parse().unwrap();
        house.answer(id, Answer::Deny { reason: format!("not {word}") }).await.unwrap();
    }
    house
}

#[tokio::test]
async fn a_canary_stands_in_no_record_and_in_no_byte_of_the_home() {
    let home = tempfile::tempdir().unwrap();
    let house = exposed(home.path(), Arc::new(redactor())).await;
    let events = serde_json::to_string(&house.events().await).unwrap();
    assert_eq!(seen_in(&events), Vec::<String>::new());
    assert!(events.contains("[REDACTED:canary]") && events.contains("\"redacted\":"));
    let asked = house.store.approvals(ApprovalFilter::default()).await.unwrap();
    assert_eq!(asked.len(), encodings().len());
    assert_eq!(seen_in(&serde_json::to_string(&asked).unwrap()), Vec::<String>::new());
    assert_eq!(seen_below(home.path()), Vec::<String>::new());
    assert!(house.store.verify().await.unwrap().bad.is_none());
    house.store.close().await;
    assert_eq!(seen_below(home.path()), Vec::<String>::new());
}

#[tokio::test]
async fn without_redaction_the_canary_would_be_everywhere() {
    let home = tempfile::tempdir().unwrap();
    let house = exposed(home.path(), Arc::new(NoRedaction)).await;
    let events = serde_json::to_string(&house.events().await).unwrap();
    // JSON within JSON escapes once more; all else stands there as it was sent.
    assert!(seen_in(&events).len() >= 5, "{:?}", seen_in(&events));
    assert!(seen_below(home.path()).len() >= 5);
}

#[tokio::test]
async fn an_approval_holds_for_the_real_arguments_although_it_shows_none() {
    let home = tempfile::tempdir().unwrap();
    let house = TestHouse::redacted(home.path().to_owned(), Arc::new(redactor())).await;
    let asked = house.call("probe.outside", json!({ "word": CANARY })).await.outcome.unwrap_err();
    let id = asked.details.unwrap()["approval_id"].as_str().unwrap().parse().unwrap();
    let row = house.answer(id, Answer::yes()).await.unwrap();
    assert_eq!(row.shown["arguments"]["word"], "[REDACTED:canary]");
    // What merely looks the same in the record is another call.
    let other = house.call("probe.outside", json!({ "word": "[REDACTED:canary]" })).await.outcome.unwrap_err();
    assert_eq!(other.code, ErrorCode::ApprovalRequired);
    let done = house.call("probe.outside", json!({ "word": CANARY })).await.outcome.unwrap();
    assert_eq!(done.value["echo"], CANARY);
    assert_eq!(house.ran(), 1);
}

/// What a client of the MCP face reads after these messages.
async fn told(redact: Option<Arc<dyn Redact>>, messages: &[Value]) -> Vec<String> {
    let house = TestHouse::new().await;
    let (client, server) = tokio::io::duplex(1 << 20);
    let (input, output) = tokio::io::split(server);
    let (mut reads, mut writes) = tokio::io::split(client);
    let options = ServeOptions { redact, toolset: toolgate::mcp::Toolset::All, ..ServeOptions::default() };
    let serving = serve_over(Arc::new(house.gateway.clone()), input, output, options, CancellationToken::new());
    let talking = async {
        for message in messages {
            writes.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        }
        writes.shutdown().await.unwrap();
        let mut text = String::new();
        reads.read_to_string(&mut text).await.unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (served, lines) = tokio::join!(serving, talking);
    served.unwrap();
    lines
}

#[tokio::test]
async fn clients_are_told_no_secret_and_their_ids_stay() {
    let call = |id: &str, name: &str, word: &str| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": name, "arguments": { "word": word } } });
    let mut messages = vec![
        json!({ "jsonrpc": "2.0", "id": "start", "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        call("unknown", CANARY, "x"),
        json!({ "jsonrpc": "2.0", "id": "resource", "method": "resources/read", "params": { "uri": format!("file:///{CANARY}") } }),
    ];
    messages.extend(encodings().iter().enumerate().map(|(n, word)| call(&format!("call {n}"), "probe_pure", word)));
    let lines = told(Some(Arc::new(redactor())), &messages).await;
    assert_eq!(seen_in(&lines.join("\n")), Vec::<String>::new());
    let answers: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), messages.len() - 1);
    let of = |id: &str| answers.iter().find(|answer| answer["id"] == id).unwrap();
    assert_eq!(of("call 0")["result"]["structuredContent"]["echo"], "[REDACTED:canary]");
    assert!(of("unknown")["error"]["message"].as_str().unwrap().contains("[REDACTED:canary]"));
    // Without redaction all of it comes back.
    assert!(seen_in(&told(None, &messages).await.join("\n")).len() >= 5);
}

/// Breaks lines, moves the cursor, hides and reorders.
const ATTACK: &str = "ok\r\n{\"level\":\"INFO\",\"message\":\"approved by the operator\"}\n\u{1b}[2K\u{1b}]0;x\u{7}\0\u{2028}\u{2029}\u{202e}evil\u{2066}\u{9b}A\u{7f}";

fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn what_is_logged_and_shown_cannot_be_forged() {
    let toolgate = Toolgate::new();
    let large = format!("{ATTACK}{}", "y".repeat(100_000));
    let calls = [
        ("transform.jq", json!({ "filter": ".", "input": ATTACK })),
        ("transform.jq", json!({ "filter": ATTACK, "input": 1 })),
        ("repo.git.commit", json!({ "path": ATTACK, "message": ATTACK })),
        ("python.run", json!({ "entrypoint": "inline", "code": "1", "allow_network": true, "allowed_hosts": [ATTACK] })),
        ("workspace.read", json!({ "paths": [ATTACK] })),
        ("notify.send", json!({ "title": ATTACK, "message": "m" })),
        ("notify.send", json!({ "title": ATTACK.replace(['\r', '\n', '\0'], ""), "message": ATTACK, "level": "info" })),
        (ATTACK, json!({})),
        ("transform.jq", json!({ "filter": ".", "input": large })),
    ];
    for (tool, arguments) in &calls {
        for flags in [&["--log", "debug"][..], &["--log", "off"]] {
            let ran = toolgate.run(&[flags, &["tools", "call", &tool.replace('\0', ""), &arguments.to_string()]].concat());
            for line in ran.stdout.lines().chain(ran.stderr.lines()) {
                assert!(!line.chars().any(is_hidden), "{tool}: {line:?}");
                assert!(!line.starts_with("{\"level\":\"INFO\",\"message\":\"approved"), "{tool}: {line:?}");
            }
            if flags[1] == "debug" {
                let logged: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("{\"timestamp\"")).collect();
                assert!(logged.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{}", ran.stderr);
            }
        }
    }
    assert_eq!(toolgate.run(&["audit", "verify"]).exits(0).stderr, "");
    let runs = toolgate.json(0, &["runs", "list", "--all", "--json"]);
    for run in runs.as_array().unwrap() {
        let ran = toolgate.run(&["runs", "events", run["id"].as_str().unwrap()]).exits(0);
        assert!(!ran.stdout.lines().any(|line| line.chars().any(is_hidden)), "{}", ran.stdout);
    }
}

#[test]
fn a_token_is_neither_shown_nor_kept_by_the_real_program() {
    let rules = Scanner::shipped().unwrap().rules();
    let token = rules.iter().find(|rule| rule.id == "github-pat").unwrap().hits[0].replace('¦', "");
    let toolgate = Toolgate::new();
    let arguments = json!({ "filter": ".", "input": { "note": format!("use {token} for it") } }).to_string();
    let ran = toolgate.run(&["--log", "debug", "tools", "call", "transform.jq", &arguments]).exits(0);
    assert!(ran.stdout.contains("use [REDACTED:github-pat] for it"), "{}", ran.stdout);
    let ran = [ran, toolgate.run(&["--log", "debug", "tools", "call", "transform.jq", &json!({ "filter": token }).to_string()])];
    assert!(ran.iter().all(|ran| !ran.stdout.contains(&token) && !ran.stderr.contains(&token)));
    let holds = |file: &std::path::PathBuf| std::fs::read(file).unwrap().windows(token.len()).any(|part| part == token.as_bytes());
    assert_eq!(files(&toolgate.data()).into_iter().filter(holds).collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
    // Whoever does not want that says so.
    std::fs::write(toolgate.data().join("toolgate.toml"), "[redaction]\npatterns = \"off\"\npii = [\"email\"]\n").unwrap();
    let ran =
        toolgate.run(&["tools", "call", "transform.jq", &json!({ "filter": ".", "input": format!("{token} a@b.example") }).to_string()]);
    assert!(ran.exits(0).stdout.contains(&format!("{token} [REDACTED:email]")));
}

#[test]
fn a_field_named_for_a_secret_is_neither_shown_nor_kept() {
    // Without a shape, and known to nobody: its name is all that tells.
    let value = "hunter2 and some";
    let held = |toolgate: &Toolgate| {
        let holds = |file: &std::path::PathBuf| std::fs::read(file).unwrap().windows(value.len()).any(|part| part == value.as_bytes());
        files(&toolgate.data()).into_iter().filter(holds).count()
    };
    let input = json!({ "user": "ann", "dbPassword": value, "headers": { "Authorization": value }, "text": json!({ "api_key": value }).to_string() });
    let arguments = json!({ "filter": ".", "input": input }).to_string();
    let toolgate = Toolgate::new();
    let ran = toolgate.run(&["--log", "trace", "tools", "call", "transform.jq", &arguments]).exits(0);
    for mark in ["[REDACTED:password]", "[REDACTED:authorization]", "[REDACTED:api_key]", "ann"] {
        assert!(ran.stdout.contains(mark), "{mark}: {}", ran.stdout);
    }
    assert!(!ran.stdout.contains(value) && !ran.stderr.contains(value) && held(&toolgate) == 0, "{}{}", ran.stdout, ran.stderr);
    // Without the names it is everywhere.
    std::fs::write(toolgate.data().join("toolgate.toml"), "[redaction]\nfields = []\n").unwrap();
    let ran = toolgate.run(&["tools", "call", "transform.jq", &arguments]).exits(0);
    assert!(ran.stdout.contains(value) && held(&toolgate) > 0);
}
