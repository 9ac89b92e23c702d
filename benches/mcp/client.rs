//! A client as small as may be, the same for every server: over lines or HTTP, in either protocol generation.
//!
//! INVARIANT: an answer is taken for one only where its id is the request's. Keeps one connection; says what was refused and does not retry.

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use super::servers::{Kind, Running};
use super::shared::Outcome;

/// The older generation opens a session, the newer one says everything with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    Older,
    Newer,
}

impl Generation {
    /// The protocol version that is spoken.
    pub fn version(self) -> &'static str {
        match self {
            Self::Older => "2025-11-25",
            Self::Newer => "2026-07-28",
        }
    }
}

/// What came back.
pub enum Answer {
    /// A result.
    Result(Value),
    /// The server has no room for it now: an HTTP status.
    Refused(u16),
}

enum Way {
    Lines { input: pipe::Sender, output: BufReader<pipe::Receiver> },
    Http { stream: BufReader<TcpStream>, head: String, session: Option<String> },
}

/// A connected client.
pub struct Client {
    way: Way,
    generation: Generation,
    id: u64,
    line: String,
}

impl Client {
    /// Starts a server on its standard streams and connects.
    pub async fn of_lines(kind: &Kind, generation: Generation) -> Outcome<(Running, Self)> {
        let (running, input, output) = kind.lines()?;
        let input = pipe::Sender::from_owned_fd(input.into())?;
        let output = BufReader::new(pipe::Receiver::from_owned_fd(output.into())?);
        let mut client = Self { way: Way::Lines { input, output }, generation, id: 0, line: String::new() };
        client.begin().await?;
        Ok((running, client))
    }

    /// Connects over HTTP to a server that listens.
    pub async fn of_http(kind: &Kind, running: &mut Running, generation: Generation) -> Outcome<Self> {
        let stream = running.listening().await?;
        stream.set_nodelay(true)?;
        let address = running.address.ok_or("not over HTTP")?;
        let token = kind.token()?.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {address}\r\n{token}Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        );
        let way = Way::Http { stream: BufReader::new(stream), head, session: None };
        let mut client = Self { way, generation, id: 0, line: String::new() };
        client.begin().await?;
        Ok(client)
    }

    /// The older generation's greeting.
    async fn begin(&mut self) -> Outcome<()> {
        if self.generation == Generation::Newer {
            return Ok(());
        }
        let hello =
            json!({"protocolVersion": self.generation.version(), "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}});
        if let Answer::Refused(status) = self.request("initialize", hello).await? {
            return Err(format!("no session was opened: status {status}").into());
        }
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
        match &mut self.way {
            Way::Lines { input, .. } => send_line(input, done).await,
            Way::Http { stream, head, session } => {
                let (status, ..) = exchange(stream, &with(head, session.as_deref(), self.generation, None), &done).await?;
                if status == 202 { Ok(()) } else { Err(format!("`notifications/initialized`: status {status}").into()) }
            }
        }
    }

    /// One request and its answer.
    pub async fn request(&mut self, method: &str, mut params: Value) -> Outcome<Answer> {
        self.id += 1;
        let name = params.get("name").and_then(Value::as_str).map(str::to_owned);
        if let (Generation::Newer, Some(params)) = (self.generation, params.as_object_mut()) {
            let meta = json!({"io.modelcontextprotocol/protocolVersion": self.generation.version(),
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"}});
            params.insert("_meta".to_owned(), meta);
        }
        let body = json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}).to_string();
        match &mut self.way {
            Way::Lines { input, output } => {
                send_line(input, body).await?;
                loop {
                    self.line.clear();
                    if output.read_line(&mut self.line).await? == 0 {
                        return Err("the server is gone".into());
                    }
                    if let Some(result) = result_of(&self.line, self.id)? {
                        return Ok(Answer::Result(result));
                    }
                }
            }
            Way::Http { stream, head, session } => {
                let head = with(head, session.as_deref(), self.generation, Some((method, name.as_deref())));
                let (status, opened, body) = exchange(stream, &head, &body).await?;
                if opened.is_some() {
                    *session = opened;
                }
                if matches!(status, 429 | 503) {
                    return Ok(Answer::Refused(status));
                }
                let messages = body.lines().filter_map(|line| line.strip_prefix("data:")).chain(std::iter::once(body.as_str()));
                for message in messages {
                    if let Ok(Some(result)) = result_of(message, self.id) {
                        return Ok(Answer::Result(result));
                    }
                }
                Err(format!("status {status}: {}", body.chars().take(300).collect::<String>()).into())
            }
        }
    }

    /// Asks over HTTP whether the server lives, with its token or a wrong one; the status.
    pub async fn knock(&mut self, with_token: bool) -> Outcome<u16> {
        let Way::Http { stream, head, .. } = &mut self.way else { return Err("not over HTTP".into()) };
        let head = head.replacen("POST /mcp", "GET /healthz", 1);
        let head = if with_token { head } else { head.replacen("Bearer ", "Bearer not-", 1) };
        Ok(exchange(stream, &head, "").await?.0)
    }

    /// Gives an open session back.
    pub async fn end(mut self) -> Outcome<()> {
        if let Way::Http { stream, head, session: Some(session) } = &mut self.way {
            let head = with(head, Some(session), self.generation, None).replacen("POST", "DELETE", 1);
            exchange(stream, &head, "").await?;
        }
        Ok(())
    }
}

/// The head of a request, without its length.
fn with(head: &str, session: Option<&str>, generation: Generation, asked: Option<(&str, Option<&str>)>) -> String {
    let mut head = head.to_owned();
    let mut add = |name: &str, value: &str| [name, ": ", value, "\r\n"].iter().for_each(|part| head.push_str(part));
    if session.is_some() || generation == Generation::Newer {
        add("MCP-Protocol-Version", generation.version());
    }
    if let Some(session) = session {
        add("Mcp-Session-Id", session);
    }
    if let (Generation::Newer, Some((method, name))) = (generation, asked) {
        add("Mcp-Method", method);
        if let Some(name) = name {
            add("Mcp-Name", name);
        }
    }
    head
}

/// The result in a message with this id; `None` for any other message.
fn result_of(message: &str, id: u64) -> Outcome<Option<Value>> {
    let mut message: Value = serde_json::from_str(message)?;
    if message.get("id").and_then(Value::as_u64) != Some(id) {
        return Ok(None);
    }
    match message.get_mut("result") {
        Some(result) => Ok(Some(result.take())),
        None => Err(message.to_string().into()),
    }
}

async fn send_line(input: &mut (impl AsyncWrite + Unpin), mut line: String) -> Outcome<()> {
    line.push('\n');
    Ok(input.write_all(line.as_bytes()).await?)
}

/// One HTTP exchange: status, the session that was opened, and the body.
async fn exchange(stream: &mut BufReader<TcpStream>, head: &str, body: &str) -> Outcome<(u16, Option<String>, String)> {
    stream.get_mut().write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let status: u16 = line.split(' ').nth(1).ok_or("the server is gone")?.parse()?;
    let (mut length, mut is_chunked, mut session) = (None, false, None);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err("an answer's head has no end".into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("content-length", value) => length = Some(value.parse::<usize>()?),
            ("transfer-encoding", value) => is_chunked = value.eq_ignore_ascii_case("chunked"),
            ("mcp-session-id", value) => session = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut bytes = Vec::new();
    while is_chunked {
        line.clear();
        stream.read_line(&mut line).await?;
        let size = usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16)?;
        take(stream, size, &mut bytes).await?;
        line.clear();
        stream.read_line(&mut line).await?;
        is_chunked = size > 0;
    }
    take(stream, length.unwrap_or_default(), &mut bytes).await?;
    Ok((status, session, String::from_utf8(bytes)?))
}

async fn take(stream: &mut (impl AsyncRead + Unpin), size: usize, bytes: &mut Vec<u8>) -> Outcome<()> {
    let read = stream.take(size as u64).read_to_end(bytes).await?;
    if read == size { Ok(()) } else { Err("an answer was cut off".into()) }
}
