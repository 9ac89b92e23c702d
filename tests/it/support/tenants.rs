//! One real home served over HTTP to several principals, and clients that speak to it in both generations.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolgate::app::FrontDoor;
use toolgate::config::{Ambient, Options, load};
use toolgate::domain::{Fault, Principal};
use toolgate::mcp::Entrance;
use toolgate::mcp::auth::{Access, Admitted, Denied, Doorkeeper};

use super::python_cache;

/// Everything here ends within this, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);

/// Gives each principal the token `token-of-NAME`.
struct Names(Vec<&'static str>);

#[async_trait]
impl Doorkeeper for Names {
    async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        let name = self.0.iter().find(|name| token == format!("token-of-{name}")).ok_or(Denied::Token)?;
        let access = Access::Token { name: (*name).to_owned(), number: 1 };
        Ok(Admitted { principal: Principal::new(*name), access, ..Admitted::home() })
    }

    async fn stays(&self, _admitted: &Admitted) -> bool {
        true
    }
}

/// The home, the server on it, and where it listens.
pub struct Tenants {
    home: tempfile::TempDir,
    pub address: SocketAddr,
    shutdown: CancellationToken,
    server: JoinSet<Result<(), Fault>>,
    next: AtomicI64,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    }

    /// The last message of the answer.
    pub fn json(&self) -> Value {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| data.starts_with('{'));
        serde_json::from_str(data.unwrap_or(&self.body)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Tenants {
    /// Serves with these settings, where an agent may do everything that `rules` (Cedar) do not ask about or forbid.
    pub async fn serve(names: &[&'static str], settings: &str, rules: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(home.path().join("policies")).unwrap();
        let all = "@id(\"all\") permit (principal, action, resource);\n";
        std::fs::write(home.path().join("policies/all.cedar"), format!("{all}{rules}")).unwrap();
        let cache = python_cache().display();
        let file = format!("{settings}\n[policy]\nprofile = \"none\"\n[python]\ncache_dir = \"{cache}\"\n");
        std::fs::write(home.path().join("toolgate.toml"), file).unwrap();
        Self::serve_on(home, names).await
    }

    /// Serves a home that is there already.
    pub async fn serve_on(home: tempfile::TempDir, names: &[&'static str]) -> Self {
        let options = Options { home: Some(home.path().to_owned()), ..Options::default() };
        let config = load(&options, &Ambient::of_process()).unwrap_or_else(|problems| panic!("{problems}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), CancellationToken::new());
        let (first, names, told) = (names[0], Names(names.to_vec()), shutdown.clone());
        let mut server = JoinSet::new();
        server.spawn(async move { FrontDoor::new().serve_at(&config, Entrance::local(listener, Arc::new(names)), told).await });
        let tenants = Self { home, address, shutdown, server, next: AtomicI64::new(1) };
        // The first answer means that the home is open.
        let ready = tenants.send("GET", "/readyz", first, &[], "").await;
        assert_eq!(ready.status, 200, "{ready:?}");
        tenants
    }

    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    /// Ends the server and gives the home back.
    pub async fn stop(mut self) -> tempfile::TempDir {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.server.join_next()).await.expect("the server stays").unwrap();
        ended.unwrap().unwrap();
        self.home
    }

    /// Sends these bytes as a request of this principal.
    pub async fn open(&self, method: &str, path: &str, who: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer token-of-{who}\r\nConnection: close\r\n\
             Accept: application/json, text/event-stream\r\n",
            self.address
        );
        if method == "POST" {
            head.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        stream
    }

    /// Sends a request and reads until the server closes.
    pub async fn send(&self, method: &str, path: &str, who: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let mut stream = self.open(method, path, who, headers, body).await;
        let mut bytes = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end of the answer").unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        Got { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A request of the newer generation, as its whole answer.
    pub async fn ask(&self, who: &str, method: &str, params: Value) -> Got {
        let (headers, body) = self.modern(method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send("POST", "/mcp", who, &headers, &body).await
    }

    /// The headers and the body of such a request.
    pub fn modern(&self, method: &str, mut params: Value) -> (Vec<(&'static str, String)>, String) {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "t", "version": "1" },
        });
        let mut headers = vec![("MCP-Protocol-Version", "2026-07-28".to_owned()), ("Mcp-Method", method.to_owned())];
        if let Some(name) = params["name"].as_str().or_else(|| params["uri"].as_str()) {
            headers.push(("Mcp-Name", name.to_owned()));
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (headers, json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string())
    }

    /// The message that answers a request of the newer generation.
    pub async fn request(&self, who: &str, method: &str, params: Value) -> Value {
        self.ask(who, method, params).await.json()
    }

    /// What a tool gives this principal.
    pub async fn call(&self, who: &str, tool: &str, arguments: Value) -> Value {
        let answer = self.request(who, "tools/call", json!({ "name": tool.replace('.', "_"), "arguments": arguments })).await;
        answer["result"]["structuredContent"].clone()
    }

    /// Opens a session of the older generation; its id.
    pub async fn session(&self, who: &str) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
        let got = self.send("POST", "/mcp", who, &[], &body).await;
        let id = got.header("mcp-session-id").unwrap_or_else(|| panic!("{got:?}")).to_owned();
        let body = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        let told = self.send("POST", "/mcp", who, &[("Mcp-Session-Id", &id)], &body).await;
        assert_eq!(told.status, 202, "{told:?}");
        id
    }

    /// A request within a session.
    pub async fn within(&self, who: &str, session: &str, method: &str, params: Value) -> Got {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        self.send("POST", "/mcp", who, &[("Mcp-Session-Id", session)], &body).await
    }

    /// The events of a stream, each as its lines, as they come.
    pub async fn stream(&self, who: &str, session: &str, after: Option<&str>) -> Events {
        let mut headers = vec![("Mcp-Session-Id", session)];
        headers.extend(after.map(|id| ("Last-Event-ID", id)));
        Events::of(self.open("GET", "/mcp", who, &headers, "").await).await
    }
}

/// A stream of server-sent events.
pub struct Events {
    pub status: u16,
    lines: BufReader<TcpStream>,
}

/// One event.
#[derive(Debug, Clone, Default)]
pub struct Sent {
    pub id: Option<String>,
    pub data: String,
}

impl Sent {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

impl Events {
    pub async fn of(stream: TcpStream) -> Self {
        let mut lines = BufReader::new(stream);
        let mut status = 0;
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, lines.read_line(&mut line)).await.expect("no head").unwrap();
            if status == 0 {
                status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
            }
            if read == 0 || line.trim().is_empty() {
                return Self { status, lines };
            }
        }
    }

    /// The next event; `None` at the end of the stream, or where nothing comes for so long.
    pub async fn next_within(&mut self, span: Duration) -> Option<Sent> {
        let mut sent = Sent::default();
        let mut any = false;
        loop {
            let mut line = Vec::new();
            let read = tokio::time::timeout(span, self.lines.read_until(b'\n', &mut line)).await.ok()?.ok()?;
            if read == 0 {
                return None;
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(id) = line.strip_prefix("id:") {
                sent.id = Some(id.trim().to_owned());
            } else if let Some(data) = line.strip_prefix("data:") {
                sent.data.push_str(data.trim());
                any = true;
            } else if line.is_empty() && (any || sent.id.is_some()) {
                return Some(sent);
            }
        }
    }

    pub async fn next(&mut self) -> Option<Sent> {
        self.next_within(PATIENCE).await
    }

    /// The next event that holds a message of which this is so.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Option<Sent> {
        loop {
            let sent = self.next().await?;
            if wanted(&sent.json()) {
                return Some(sent);
            }
        }
    }
}
