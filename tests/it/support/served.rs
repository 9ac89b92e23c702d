//! The binary as it serves over HTTP: its address, its token, and what it logs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Toolgate;

/// The first start in a home compiles the sandbox, on a machine that runs other tests too.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// A server that is killed with its test.
pub struct Served {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub address: SocketAddr,
    pub token: String,
}

/// An answer: its status and its body.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub body: String,
}

impl Served {
    /// With these variables set besides.
    pub fn start(toolgate: &Toolgate, variables: &[(&str, &str)]) -> Self {
        let mut command = toolgate.command(&["serve", "--http", "127.0.0.1:0"]);
        let mut child = command.envs(variables.iter().copied()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = Arc::<Mutex<Vec<String>>>::default();
        let (errors, kept) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines() {
                let Ok(line) = line else { break };
                kept.lock().unwrap().push(line);
            }
        });
        let mut served = Self { child, log, address: ([127, 0, 0, 1], 0).into(), token: String::new() };
        served.wait_for("an address", |line| line["address"].is_string());
        let line = served.lines().into_iter().find(|line| line["address"].is_string()).unwrap();
        let address = line["address"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/mcp");
        served.address = address.parse().unwrap();
        std::fs::read_to_string(toolgate.data().join("http.token")).unwrap().trim().clone_into(&mut served.token);
        served
    }

    /// What was logged so far, as it was written.
    pub fn raw_lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// What was logged so far; every line must be JSON.
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.raw_lines();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// Waits for a line of the log.
    pub fn wait_for(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let begun = Instant::now();
        while !self.lines().iter().any(&is_it) {
            assert!(begun.elapsed() < PATIENCE, "{what} is not logged: {:#?}", self.raw_lines());
            assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {:#?}", self.raw_lines());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a request with these headers besides, and reads all of its answer.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (host, length) = (self.address, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") { joined(body) } else { body.to_owned() };
        Got { status, body }
    }

    /// Reads a path as the home's user.
    pub fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[("Authorization", &format!("Bearer {}", self.token))], "")
    }

    /// Calls a tool; its result, or the error.
    pub fn call(&self, tool: &str, arguments: &Value, meta: &Value) -> Value {
        let mut all = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
        all.as_object_mut().unwrap().extend(meta.as_object().cloned().unwrap_or_default());
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": all}});
        let headers = [
            ("Authorization", format!("Bearer {}", self.token)),
            ("Content-Type", "application/json".to_owned()),
            ("Accept", "application/json, text/event-stream".to_owned()),
            ("MCP-Protocol-Version", "2026-07-28".to_owned()),
            ("Mcp-Method", "tools/call".to_owned()),
            ("Mcp-Name", tool.to_owned()),
        ];
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let got = self.ask("POST", "/mcp", &headers, &request.to_string());
        let data = got.body.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| data.trim().starts_with('{'));
        serde_json::from_str(data.unwrap_or(&got.body)).unwrap_or_else(|error| panic!("{error}: {got:?}"))
    }

    /// Tells the server to end; how long it took.
    #[cfg(unix)]
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
        begun.elapsed()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A body that came in chunks.
fn joined(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_default();
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}
