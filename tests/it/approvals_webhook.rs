//! The webhook hears of questions, more than once where it failed to hear, and cannot answer them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use toolgate::secrets::sealed::signature;

use crate::main_job::answer;
use crate::support::Toolgate;

const SECRET: &str = "sixteen bytes at least";

/// What a request brought.
struct Heard {
    headers: Vec<(String, String)>,
    body: String,
}

impl Heard {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// What the address does with what it hears.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Answers the first request with 500, every other with an approval, as if that could be one.
    Answers,
    /// Never answers, so that whoever tells is still telling.
    Holds,
}

fn listener(manner: Manner) -> (u16, Receiver<Heard>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (n, stream) in listener.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut headers, mut line) = (Vec::new(), String::new());
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with("POST /hook "), "{line}");
            loop {
                line.clear();
                reader.read_line(&mut line).unwrap();
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
            let heard = Heard { headers, body: String::new() };
            let mut body = vec![0; heard.header("content-length").parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            if manner == Manner::Holds {
                held.push(stream);
                if sender.send(Heard { body: String::from_utf8(body).unwrap(), ..heard }).is_err() {
                    return;
                }
                continue;
            }
            let answer = "{\"approve\": true, \"decision\": \"approve\", \"action\": \"accept\"}";
            let status = if n == 0 { "500 Sorry" } else { "200 OK" };
            let _ = (&stream).write_all(format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).as_bytes());
            if sender.send(Heard { body: String::from_utf8(body).unwrap(), ..heard }).is_err() {
                return;
            }
        }
    });
    (port, heard)
}

fn ask(input: &mut ChildStdin) {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
    });
    let arguments = json!({ "entrypoint": "inline", "code": "print(1)", "allow_network": true, "allowed_hosts": ["example.org"] });
    let params = json!({ "name": "python_run", "arguments": arguments, "_meta": meta });
    writeln!(input, "{}", json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })).unwrap();
    input.flush().unwrap();
}

/// A home that tells this port.
fn telling(port: u16) -> Toolgate {
    let toolgate = Toolgate::new();
    std::fs::create_dir_all(toolgate.data()).unwrap();
    std::fs::write(toolgate.data().join("hook.secret"), format!("{SECRET}\n")).unwrap();
    let settings = format!(
        "[approvals]\nwait_sec = 0\nwebhook = \"http://127.0.0.1:{port}/hook\"\nwebhook_secret = \"hook.secret\"\n\
         [egress]\nprivate = [\"approvals=127.0.0.1:{port}\"]\n"
    );
    std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
    toolgate
}

/// Killed while it tells: the next process tells the same question again, under the same id; once somebody answered, nobody is told.
#[test]
fn killed_while_it_tells_it_tells_again_and_nothing_is_asked_twice() {
    let (port, heard) = listener(Manner::Holds);
    let toolgate = telling(port);
    let serve = || toolgate.command(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut ids = Vec::new();
    for round in 0..2 {
        let mut server = serve();
        let mut input = server.stdin.take().unwrap();
        if round == 0 {
            ask(&mut input);
        }
        let told = heard.recv_timeout(Duration::from_secs(120)).unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
        ids.push(told.header("toolgate-delivery").to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    let rows = toolgate.json(0, &["approvals", "list", "--all", "--json"]);
    assert_eq!((rows.as_array().unwrap().len(), &rows[0]["id"], &rows[0]["status"]), (1, &json!(ids[0]), &json!("pending")), "{rows}");
    answer(&toolgate, &["approvals", "approve", &ids[0]], "correct horse battery").exits(0);
    let mut server = serve();
    let mut input = server.stdin.take().unwrap();
    assert!(heard.recv_timeout(Duration::from_secs(3)).is_err(), "what is answered is not told any more");
    ask(&mut input);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.contains("APPROVAL_REQUIRED"), "the yes lets the call through: {line}");
    drop(input);
    server.wait().unwrap();
    assert_eq!(toolgate.json(0, &["approvals", "show", &ids[0], "--json"])["status"], "used");
}

#[test]
fn it_hears_at_least_once_and_has_no_say() {
    let (port, heard) = listener(Manner::Answers);
    let toolgate = telling(port);
    let serve = || toolgate.command(&["serve"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut server = serve();
    let mut input = server.stdin.take().unwrap();
    ask(&mut input);
    let patience = Duration::from_secs(120);
    let (failed, second) = (heard.recv_timeout(patience).unwrap(), heard.recv_timeout(patience).unwrap());
    assert_eq!(failed.header("toolgate-delivery"), second.header("toolgate-delivery"), "the same id each time");
    let told: Value = serde_json::from_str(&second.body).unwrap();
    assert_eq!(told["id"], second.header("toolgate-delivery"));
    assert!(told["text"].as_str().unwrap().contains("print(1)") && told["tool"] == "python.run", "{told}");
    let (time, signed) = second.header("toolgate-signature").strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(signed, signature(SECRET.as_bytes(), &[time.as_bytes(), b".", second.body.as_bytes()]).unwrap());
    assert_ne!(signed, signature(b"another", &[time.as_bytes(), b".", second.body.as_bytes()]).unwrap());

    let id = told["id"].as_str().unwrap();
    let told_in_log = || {
        let run = told["run_id"].as_str().unwrap();
        let events = toolgate.run(&["runs", "events", run, "--json"]).exits(0).stdout;
        events.matches("question_told").count()
    };
    while told_in_log() == 0 {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(toolgate.json(0, &["approvals", "show", id, "--json"])["status"], "pending", "what it answered is not heard");
    drop(input);
    server.wait().unwrap();
    // A new start does not tell it again.
    let mut server = serve();
    let mut input = server.stdin.take().unwrap();
    ask(&mut input);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("APPROVAL_REQUIRED"), "{line}");
    assert!(heard.recv_timeout(Duration::from_secs(3)).is_err());
    assert_eq!(told_in_log(), 1);
    drop(input);
    server.wait().unwrap();
}

#[test]
fn settings_that_would_leak_are_refused() {
    for (url, secret, word) in [
        ("http://example.org/hook", "long enough, it is", "https"),
        ("https://example.org/hook", "short", "16 bytes"),
        ("nonsense", "long enough, it is", "webhook"),
    ] {
        let toolgate = Toolgate::new();
        std::fs::create_dir_all(toolgate.data()).unwrap();
        std::fs::write(toolgate.data().join("hook.secret"), secret).unwrap();
        let settings = format!("[approvals]\nwebhook = \"{url}\"\nwebhook_secret = \"hook.secret\"\n");
        std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
        let ran = toolgate.run(&["runs", "list"]);
        assert!(ran.code == 2 && ran.stderr.contains(word), "{url}: {}", ran.stderr);
    }
}
