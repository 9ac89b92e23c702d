//! The binary as an HTTP server, and a client that sends exactly what it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Toolgate;

/// How long the machine may take for anything, however busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that ends with the test.
pub struct Served {
    child: Child,
    pub port: u16,
    log: std::path::PathBuf,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Served {
    /// Starts it at this address with these settings, and waits until it takes connections.
    pub fn start(toolgate: &Toolgate, host: &str, port: u16, vars: &[(&str, &str)]) -> Self {
        let log = toolgate.home().join(format!("log-{port}"));
        let mut command = toolgate.command(&["serve", "--http", &format!("{host}:{port}")]);
        command.envs(vars.iter().copied()).stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut served = Self { child: command.spawn().unwrap(), port, log };
        let until = Instant::now() + PATIENCE;
        while !served.log().contains("serving MCP over HTTP") {
            let ended = served.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "it does not serve ({ended:?}):\n{}", served.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        served
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], self.port))).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// What came back.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| data.starts_with('{'));
        serde_json::from_str(data.unwrap_or(&self.body)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The names of the listed tools.
    pub fn tools(&self) -> Vec<String> {
        let tools = self.json();
        tools["result"]["tools"]
            .as_array()
            .unwrap_or_else(|| panic!("{self:?}"))
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().into())
            .collect()
    }
}

/// A request as it is written: headers that are given take the place of the usual ones, an empty one leaves it out.
pub struct Ask<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
}

impl Ask<'_> {
    /// Sends it and reads to the end.
    pub fn over(&self, mut stream: impl Read + Write) -> Got {
        let length = self.body.len().to_string();
        let usual = [
            ("Host", "127.0.0.1"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Connection", "close"),
            ("Content-Length", &length),
        ];
        let mut all: Vec<(&str, &str)> =
            usual.into_iter().filter(|(name, _)| !self.headers.iter().any(|(given, _)| given == name)).collect();
        all.extend(self.headers.iter().filter(|(_, value)| !value.is_empty()));
        let head: String = all.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let sent = write!(stream, "{} {} HTTP/1.1\r\n{head}\r\n{}", self.method, self.path, self.body).and_then(|()| stream.flush());
        let mut answer = Vec::new();
        // A server that turns somebody away need not read what they send.
        let _ = sent.and_then(|()| stream.read_to_end(&mut answer).map(drop));
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        Got { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

/// A message of the newer generation with the headers that go with it, beside these.
pub fn message(served: &Served, bearer: &str, method: &str, params: Value) -> Got {
    let name = params.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let authorization = format!("Bearer {bearer}");
    let headers = [
        ("Authorization", if bearer.is_empty() { "" } else { authorization.as_str() }),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", method),
        ("Mcp-Name", &name),
    ];
    Ask { method: "POST", path: "/mcp", headers: &headers, body: &body(method, params).to_string() }.over(served.connect())
}

/// The message itself.
pub fn body(method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// A client of TLS that believes this certificate alone.
pub fn tls(served: &Served, certificate: &[u8], name: &str) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.to_vec().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let connection = rustls::ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
    rustls::StreamOwned::new(connection, served.connect())
}

/// Waits until this holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
