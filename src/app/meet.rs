//! Meets a server as a client would: opens, lists its tools, and goes. For `doctor`.
//!
//! INVARIANT: nothing is called, so nothing is decided on or recorded but what opening a home records. Every wait has an end. A request goes
//! to the one address that was named; a token is in no message.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::ports::{Met, Way};
use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::{
    Caps, Egress, EgressOptions, HostRules, NoCredentials, PrivateException, Request, RequestLog, RequestRecord, SystemResolver, Terms,
};
use crate::sandbox::peer::Peer;

/// Clients give up after ten seconds and later; a busy machine is given more.
const LIMIT: Duration = Duration::from_secs(30);
/// What the requests are called.
const PURPOSE: &str = "doctor";
const LEGACY: &str = "2025-11-25";
const MODERN: &str = "2026-07-28";
/// Lists have one page; this ends a server that says otherwise for ever.
const MOST_PAGES: usize = 50;

/// Meets the server at the end of this way.
///
/// # Errors
/// `PROGRAM_NOT_FOUND` where it cannot be started, `TIMEOUT` where it does not answer in time, `UNAUTHENTICATED` where it wants another
/// token, `EGRESS_FAILED` where nothing is reached, `INVALID_OUTPUT` where what answers does not speak the protocol.
pub(super) async fn meet(way: Way) -> Result<Met, Fault> {
    match way {
        Way::Start { program, arguments, environment } => tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            let mut peer = Peer::start(&program, &arguments, &environment).map_err(|error| {
                let message = format!("`{}` cannot be started: {error}", program.display());
                Fault::new(ErrorCode::ProgramNotFound, message).hint("see that it is there and may be run")
            })?;
            let met = by_lines(&mut peer, began);
            let complaints = peer.end();
            met.map_err(|fault| with_last_words(fault, &complaints))
        })
        .await
        .map_err(|_| Fault::internal("meeting a server was broken off"))?,
        Way::Reach { url, headers } => by_requests(&url, headers).await,
    }
}

fn by_lines(peer: &mut Peer, began: Instant) -> Result<Met, Fault> {
    let until = began + LIMIT;
    let info = json!({ "name": "toolgate-doctor", "version": env!("CARGO_PKG_VERSION") });
    let opening = json!({ "protocolVersion": LEGACY, "capabilities": {}, "clientInfo": info });
    let opened = ask(peer, 1, "initialize", &opening, until)?;
    tell(peer, &json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }))?;
    let (mut tools, mut params) = (Vec::new(), json!({}));
    for id in (2..).take(MOST_PAGES) {
        let page = ask(peer, id, "tools/list", &params, until)?;
        match next_page(&page, &mut tools) {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    met(&opened["serverInfo"], tools, began)
}

fn tell(peer: &mut Peer, message: &Value) -> Result<(), Fault> {
    peer.tell(&message.to_string()).map_err(|_| ended())
}

/// Asks, and gives the result; what the server says meanwhile is not heard.
fn ask(peer: &mut Peer, id: u64, method: &str, params: &Value, until: Instant) -> Result<Value, Fault> {
    tell(peer, &json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))?;
    while let Some(line) = peer.hear(until) {
        let Ok(message) = serde_json::from_str::<Value>(&line) else {
            return Err(not_spoken(&format!("it says `{}`, which is no line of the protocol", shown(&line))));
        };
        if message.get("id").and_then(Value::as_u64) == Some(id) {
            return result(method, &message);
        }
    }
    if Instant::now() < until { Err(ended()) } else { Err(late()) }
}

async fn by_requests(url: &str, headers: Vec<(String, String)>) -> Result<Met, Fault> {
    let began = Instant::now();
    let wrong = |why: &str| Fault::new(ErrorCode::InvalidInput, format!("`{}`: {why}", shown(url))).hint("mend the address");
    let parsed = url::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?.to_owned();
    let port = parsed.port_or_known_default().ok_or_else(|| wrong("it names no port"))?;
    let egress = Egress::new(EgressOptions {
        proxy: None,
        // The operator's own client goes there; this goes nowhere else.
        private: vec![PrivateException { purpose: PURPOSE.to_owned(), host: host.clone(), port }],
        extra_roots_pem: None,
        resolver: std::sync::Arc::new(SystemResolver),
        credentials: std::sync::Arc::new(NoCredentials),
    })?;
    let wall = Millis(u64::try_from(LIMIT.as_millis()).unwrap_or(u64::MAX));
    let caps = Caps { redirects: 0, answer_body: Bytes(16 << 20), wall, ..Caps::default() };
    let terms = Terms { purpose: PURPOSE.to_owned(), rules: HostRules::parse([format!("{host}:{port}")])?, caps };
    let place = Place { url: url.to_owned(), headers, egress, terms };
    let opened = place.ask(1, "server/discover", json!({})).await?;
    let (mut tools, mut params) = (Vec::new(), json!({}));
    for id in (2..).take(MOST_PAGES) {
        let page = place.ask(id, "tools/list", params).await?;
        match next_page(&page, &mut tools) {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    let info = opened.get("_meta").and_then(|meta| meta.get("io.modelcontextprotocol/serverInfo"));
    met(info.or_else(|| opened.get("serverInfo")).unwrap_or(&Value::Null), tools, began)
}

/// An address and how it is gone to.
struct Place {
    url: String,
    headers: Vec<(String, String)>,
    egress: Egress,
    terms: Terms,
}

impl Place {
    /// One request that stands for itself.
    async fn ask(&self, id: u64, method: &str, mut params: Value) -> Result<Value, Fault> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": { "name": "toolgate-doctor", "version": env!("CARGO_PKG_VERSION") },
        });
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers = vec![
            header("Content-Type", "application/json"),
            header("Accept", "application/json, text/event-stream"),
            header("MCP-Protocol-Version", MODERN),
            header("Mcp-Method", method),
        ];
        headers.extend(self.headers.iter().cloned());
        let request = Request { method: "POST".to_owned(), url: self.url.clone(), headers, body: body.into_bytes().into() };
        let answer = self.egress.send(request, &self.terms, &CancellationToken::new(), &Unrecorded).await.map_err(|fault| {
            let hint = "see that the server runs there: `toolgate serve --http`";
            if fault.code == ErrorCode::EgressFailed { fault.hint(hint) } else { fault }
        })?;
        let text = String::from_utf8_lossy(&answer.body);
        match answer.status {
            200..=299 => {}
            401 | 403 => {
                return Err(Fault::new(ErrorCode::Unauthenticated, format!("it answers {}: the token is missing or not its own", answer.status))
                    .hint("give the client the token of that server: the file `http.token` in its home"));
            }
            status => return Err(not_spoken(&format!("it answers {status}: `{}`", shown(&text)))),
        }
        // A stream has the answer as the data of one of its events.
        let events = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
        let answers = std::iter::once(text.trim()).chain(events).filter_map(|json| serde_json::from_str::<Value>(json).ok());
        let mut answers = answers.filter(|message| message.get("id").and_then(Value::as_u64) == Some(id));
        let message = answers.next().ok_or_else(|| not_spoken(&format!("it answers `{}`, which is not of the protocol", shown(&text))))?;
        result(method, &message)
    }
}

/// What doctor asks is nothing that a run did.
struct Unrecorded;

#[async_trait]
impl RequestLog for Unrecorded {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        tracing::debug!(host = %record.host, port = record.port, status = record.status, "met a server");
        Ok(())
    }
}

fn result(method: &str, message: &Value) -> Result<Value, Fault> {
    match (message.get("result"), message.get("error")) {
        (Some(result), None) => Ok(result.clone()),
        (_, Some(error)) => Err(not_spoken(&format!("it answers `{method}` with the error `{}`", shown(&error.to_string())))),
        (None, None) => Err(not_spoken(&format!("it answers `{method}` with nothing"))),
    }
}

/// Takes the names of a page; the cursor of the next.
fn next_page(page: &Value, tools: &mut Vec<String>) -> Option<String> {
    let listed = page.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tools.extend(listed.iter().filter_map(|tool| tool.get("name").and_then(Value::as_str)).map(str::to_owned));
    page.get("nextCursor").and_then(Value::as_str).map(str::to_owned)
}

fn met(info: &Value, tools: Vec<String>, began: Instant) -> Result<Met, Fault> {
    let text = |name: &str| info.get(name).and_then(Value::as_str).unwrap_or("?");
    let took = Millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    if tools.is_empty() {
        return Err(not_spoken("it lists no tools"));
    }
    Ok(Met { server: format!("{} {}", text("name"), text("version")), tools, took })
}

fn not_spoken(what: &str) -> Fault {
    Fault::new(ErrorCode::InvalidOutput, what.to_owned()).hint("see that this is toolgate's own program or address")
}

fn ended() -> Fault {
    Fault::new(ErrorCode::InvalidOutput, "it ends instead of answering").hint("start it by hand as it stands in the settings, and see what it says")
}

fn late() -> Fault {
    Fault::new(ErrorCode::Timeout, format!("no answer within {} s", LIMIT.as_secs())).hint("look at the load of the machine, and try again")
}

/// The fault, with the last line of what the program complained about.
fn with_last_words(mut fault: Fault, complaints: &str) -> Fault {
    if let Some(line) = complaints.lines().rev().find(|line| !line.trim().is_empty()) {
        fault.message = format!("{}; it says: {}", fault.message, shown(line));
    }
    fault
}

/// A text of others, short.
fn shown(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
