//! How a server ends, and what it leaves: nothing of it is there a second after its parent has vanished or it was told to stop, whatever it
//! was doing and whoever was still connected; what was under way is in the log.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{Toolgate, native, python_cache};

/// The most time from the order to stop, or the parent's end, to the end of the process.
const GONE_WITHIN: Duration = Duration::from_secs(1);
/// Everything that is waited for before that, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(180);

/// Waits until this is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is there, and not only waits to be collected.
fn lives(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// The processes below this one.
fn below(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children: Vec<u32> = children.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            open.extend(&children);
            found.extend(children);
        }
    }
    found
}

/// A program that is busy for as long as it may be, in the runtime that starts processes where there is one.
fn busy() -> Value {
    let runtime = if native::is_possible() { "process" } else { "wasm" };
    json!({ "code": "while True: pass", "timeout_sec": 200, "runtime": runtime })
}

fn home(settings: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("policies")).unwrap();
    std::fs::write(home.path().join("policies/all.cedar"), "@id(\"all\") permit (principal, action, resource);\n").unwrap();
    let cache = python_cache().display();
    let file = format!("{settings}\n[policy]\nprofile = \"none\"\n[python]\ncache_dir = \"{cache}\"\n");
    std::fs::write(home.path().join("toolgate.toml"), file).unwrap();
    home
}

/// Whether the log holds a call that has begun.
fn has_begun(home: &Path, tool: &str) -> bool {
    let text = |args: &[&str]| {
        let mut all = vec!["--home", home.to_str().unwrap()];
        all.extend(args);
        Toolgate::new().run(&all).stdout
    };
    let rows: Value = serde_json::from_str(&text(&["runs", "list", "--json"])).unwrap_or_default();
    rows.as_array().into_iter().flatten().any(|row| {
        let events = text(&["runs", "events", row["id"].as_str().unwrap_or_default(), "--json"]);
        events.lines().any(|line| line.contains("\"call_goes_on\"") && line.contains(tool))
    })
}

/// A shell that starts the server with its own input, and then only waits.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn shell(home: &Path) -> (Child, u32) {
    let script = "exec 3<&0; \"$0\" --home \"$1\" serve <&3 >/dev/null 2>&1 & echo $!; exec sleep 600 >/dev/null";
    let mut shell = Command::new("/bin/sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_toolgate"), home.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let server = line.trim().parse().unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (shell, server)
}

#[test]
fn a_server_whose_parent_vanished_is_gone_within_a_second_with_all_its_children() {
    let home = home("[serve]\nanswer_sec = 1\n");
    let (mut shell, server) = shell(home.path());
    let mut input = shell.stdin.take().unwrap();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let messages = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "python_run", "arguments": busy()}}),
    ];
    for message in messages {
        writeln!(input, "{message}").unwrap();
    }
    // It is answered with a handle and goes on: nobody waits for it any more.
    until("the call does not go on", || has_begun(home.path(), "python.run"));
    let children = below(server);
    assert!(!native::is_possible() || !children.is_empty(), "a native program is a child");
    shell.kill().unwrap();
    shell.wait().unwrap();
    let begun = Instant::now();
    while lives(server) || children.iter().any(|child| lives(*child)) {
        assert!(begun.elapsed() < PATIENCE, "{server} lives, or some of {children:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = begun.elapsed();
    assert!(took < GONE_WITHIN, "{took:?}");
    // Its input was open all the while: it did not end for that.
    drop(input);
    // What was under way stands in the log as ended.
    let rows = Toolgate::new().json(0, &["--home", home.path().to_str().unwrap(), "runs", "list", "--json"]);
    let run = rows.as_array().unwrap().iter().find(|row| row["principal"] == "local").unwrap()["id"].as_str().unwrap().to_owned();
    let events = Toolgate::new().run(&["--home", home.path().to_str().unwrap(), "runs", "events", &run, "--json"]).exits(0).stdout;
    assert!(events.contains("CANCELLED") || events.contains("INTERRUPTED"), "{events}");
}

/// A server over HTTP, with its address and token.
struct Served {
    child: Child,
    address: String,
    token: String,
}

impl Served {
    #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
    fn start(home: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_toolgate"))
            .args(["--home", home.to_str().unwrap(), "serve", "--http", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.unwrap())
            .find_map(|line| Some(line.split_once("http://")?.1.split_once("/mcp")?.0.to_owned()))
            .expect("the server tells no address");
        // A pipe that nobody reads would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        let token = std::fs::read_to_string(home.join("http.token")).unwrap().trim().to_owned();
        let served = Self { child, address, token };
        until("the server does not answer", || {
            served.try_send("GET", "/readyz", &[], "").is_some_and(|stream| first_line(stream).contains("200"))
        });
        served
    }

    fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json, text/event-stream\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n",
            self.address,
            self.token,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
        Some(stream)
    }

    fn modern(&self, method: &str, name: Option<&str>, mut params: Value) -> TcpStream {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
        headers.extend(name.map(|name| ("Mcp-Name", name)));
        self.try_send("POST", "/mcp", &headers, &body).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_line(stream: TcpStream) -> String {
    let mut line = String::new();
    let _ = BufReader::new(stream).read_line(&mut line);
    line
}

#[test]
fn the_order_to_stop_ends_an_http_server_within_a_second_whoever_is_connected() {
    let home = home("[serve]\nanswer_sec = 1\n");
    let mut served = Served::start(home.path());
    // A call that goes on without its client, and one whose client waits for it.
    let _first = served.modern("tools/call", Some("python_run"), json!({ "name": "python_run", "arguments": busy() }));
    until("the call does not go on", || has_begun(home.path(), "python.run"));
    let jq = json!({ "name": "transform_jq", "arguments": { "filter": "[range(100000000)] | length", "input": null } });
    let _second = served.modern("tools/call", Some("transform_jq"), jq);
    // A subscription, a session's stream of notices, a half request, and a connection that says nothing.
    let mut listening = served.modern("subscriptions/listen", None, json!({ "notifications": { "toolsListChanged": true } }));
    let mut some = [0; 12];
    listening.read_exact(&mut some).unwrap();
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).to_string();
    let opened = served.try_send("POST", "/mcp", &[("Connection", "close")], &hello).unwrap();
    let session = BufReader::new(opened)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("mcp-session-id: ").map(str::to_owned))
        .unwrap();
    let mut notices = served.try_send("GET", "/mcp", &[("Mcp-Session-Id", &session)], "").unwrap();
    notices.read_exact(&mut some).unwrap();
    let mut half = TcpStream::connect(&served.address).unwrap();
    half.write_all(b"POST /mcp HTT").unwrap();
    let _silent = TcpStream::connect(&served.address).unwrap();
    let children = below(served.child.id());

    kill_process(Pid::from_child(&served.child), Signal::TERM).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = served.child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "the server does not end");
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = begun.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < GONE_WITHIN, "{took:?}");
    until("a child is left", || !children.iter().any(|child| lives(*child)));
    let folder: PathBuf = home.path().join("owners");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0, "it gave its lock back");
}
