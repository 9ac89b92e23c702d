//! What reaches the server over real sockets, byte for byte, and what does not.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::stream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::*;
use crate::mcp::auth::Denied;
use crate::mcp::tests::support::{FakeGate, options};

pub(super) const TOKEN: &str = "a-token-of-forty-letters-and-some-more-xx";

struct One;

#[async_trait::async_trait]
impl Doorkeeper for One {
    async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        if token == TOKEN { Ok(Admitted::home()) } else { Err(Denied::Token) }
    }

    async fn stays(&self, _admitted: &Admitted) -> bool {
        true
    }
}

pub(super) struct Serving {
    pub(super) address: SocketAddr,
    pub(super) gate: Arc<FakeGate>,
    shutdown: CancellationToken,
    server: JoinSet<Result<(), Fault>>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        let data = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).rfind(|data| data.starts_with('{'));
        serde_json::from_str(data.unwrap_or(&self.body)).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn serving() -> Serving {
    serving_by(Arc::new(One), None).await
}

/// The same with another doorkeeper, known by this URL.
pub(super) async fn serving_by(doorkeeper: Arc<dyn Doorkeeper>, public: Option<PublicUrl>) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, gate, shutdown) = (listener.local_addr().unwrap(), Arc::new(FakeGate::default()), CancellationToken::new());
    let mut server = JoinSet::new();
    let entrance = Entrance { public, ..Entrance::local(listener, doorkeeper) };
    server.spawn(serve_http(gate.clone(), entrance, options(), shutdown.clone()));
    Serving { address, gate, shutdown, server }
}

impl Serving {
    /// Sends these bytes and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> Got {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("no end of the answer").unwrap();
        let text = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_default();
        Got { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// A request as a good client sends it, but for these headers: `None` leaves one out.
    pub(super) async fn send(&self, method: &str, path: &str, changes: &[(&str, Option<&str>)], body: &str) -> Got {
        let (host, length) = (self.address.to_string(), body.len().to_string());
        let token = format!("Bearer {TOKEN}");
        let mut headers = vec![
            ("Host", host.as_str()),
            ("Authorization", &token),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
            ("Connection", "close"),
            ("Content-Length", &length),
        ];
        for (name, value) in changes {
            headers.retain(|(there, _)| there != name);
            if let Some(value) = value {
                headers.push((name, value));
            }
        }
        let head: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.raw(format!("{method} {path} HTTP/1.1\r\n{head}\r\n{body}").as_bytes()).await
    }

    async fn call(&self, changes: &[(&str, Option<&str>)]) -> Got {
        let all: Vec<_> = MODERN.iter().copied().chain(changes.iter().copied()).collect();
        self.send("POST", "/mcp", &all, &call("test.echo", "x").to_string()).await
    }

    pub(super) fn calls(&self) -> usize {
        self.gate.calls.lock().unwrap().len()
    }
}

/// What the newer generation says in headers of the call that [`call`] makes.
pub(super) const MODERN: [(&str, Option<&str>); 3] =
    [("MCP-Protocol-Version", Some("2026-07-28")), ("Mcp-Method", Some("tools/call")), ("Mcp-Name", Some("test.echo"))];

pub(super) fn call(tool: &str, text: &str) -> Value {
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"}});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {"text": text}, "_meta": meta}})
}

#[tokio::test]
async fn a_good_request_is_answered_and_its_call_is_its_principals() {
    let serving = serving().await;
    let got = serving.call(&[]).await;
    assert_eq!((got.status, got.json()["result"]["structuredContent"]["text"].as_str()), (200, Some("x")), "{got:?}");
    assert_eq!(serving.calls(), 1);
}

#[tokio::test]
async fn another_sites_name_or_page_never_reaches_a_tool() {
    let serving = serving().await;
    let port = serving.address.port();
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost@evil.example", "0.0.0.0", "", "127.0.0.2", "[::2]"]
    {
        let got = serving.call(&[("Host", Some(host))]).await;
        assert!(matches!(got.status, 400 | 403), "{host}: {got:?}");
    }
    assert_eq!(serving.call(&[("Host", None)]).await.status, 403);
    let twice = format!("localhost\r\nHost: evil.example:{port}");
    assert_eq!(serving.call(&[("Host", Some(&twice))]).await.status, 403);
    let ours = format!("http://127.0.0.1:{port}");
    let others = [
        "http://evil.example".to_owned(),
        "null".to_owned(),
        String::new(),
        "http://127.0.0.1".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{}", port ^ 1),
        format!("{ours}.evil.example"),
        format!("{ours}\r\nOrigin: http://evil.example"),
    ];
    for origin in &others {
        let got = serving.call(&[("Origin", Some(origin))]).await;
        assert_eq!(got.status, 403, "{origin}: {got:?}");
        assert!(!got.head.contains("access-control-allow"), "{got:?}");
    }
    // A whole address in the request line counts like the header.
    let line = format!(
        "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(serving.raw(line.as_bytes()).await.status, 403);
    assert_eq!(serving.calls(), 0);
    // The checks are not so strict that nothing passes.
    for good in [ours.as_str(), &format!("http://localhost:{port}")] {
        assert_eq!(serving.call(&[("Origin", Some(good))]).await.status, 200);
    }
    assert_eq!(serving.call(&[("Host", Some("LocalHost:1"))]).await.status, 200);
}

#[tokio::test]
async fn without_the_token_every_path_is_closed() {
    let serving = serving().await;
    let bad = [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic eDp5"), Some("Bearer wrong"), Some(TOKEN)];
    for token in bad {
        for path in ["/mcp", "/healthz", "/readyz", "/metrics", "/", "/nothing"] {
            for method in ["GET", "POST", "DELETE", "OPTIONS"] {
                let got = serving.send(method, path, &[("Authorization", token)], "{}").await;
                assert_eq!(got.status, 401, "{method} {path} {token:?}: {got:?}");
                assert!(
                    got.head.contains("www-authenticate: bearer realm=\"toolgate\"") && !got.head.contains("resource_metadata"),
                    "{got:?}"
                );
            }
        }
    }
    // A token in the address is none.
    let path = format!("/mcp?token={TOKEN}&access_token={TOKEN}");
    assert_eq!(serving.send("POST", &path, &[("Authorization", None)], "{}").await.status, 401);
    let twice = format!("Bearer wrong\r\nAuthorization: Bearer {TOKEN}");
    assert_eq!(serving.call(&[("Authorization", Some(&twice))]).await.status, 401);
    // Nothing there invites a client to sign in.
    let path = "/.well-known/oauth-protected-resource/mcp";
    assert_eq!(serving.send("GET", path, &[("Authorization", None)], "").await.status, 404);
    assert_eq!(serving.calls(), 0);
    assert_eq!(serving.send("GET", "/healthz", &[], "").await.status, 200);
    assert_eq!(serving.send("GET", "/nothing", &[], "").await.status, 404);
    assert_eq!(serving.call(&[("Authorization", Some(&format!("bearer  {TOKEN}")))]).await.status, 200);
}

#[tokio::test]
async fn what_a_page_sends_without_asking_is_not_read() {
    let serving = serving().await;
    for kind in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("multipart/form-data"), Some("application/jsonx")]
    {
        assert_eq!(serving.call(&[("Content-Type", kind)]).await.status, 415, "{kind:?}");
    }
    assert_eq!(serving.calls(), 0);
    assert_eq!(serving.call(&[("Content-Type", Some("Application/JSON; charset=utf-8"))]).await.status, 200);
}

#[tokio::test]
async fn headers_that_say_something_else_than_the_body_are_refused() {
    let serving = serving().await;
    for (name, value) in [("Mcp-Method", Some("tools/list")), ("Mcp-Name", Some("test.slow")), ("Mcp-Method", None), ("Mcp-Name", None)] {
        let got = serving.call(&[(name, value)]).await;
        assert_eq!((got.status, got.json()["error"]["code"].as_i64()), (400, Some(-32020)), "{name} {value:?}: {got:?}");
    }
    let got = serving.call(&[("MCP-Protocol-Version", Some("2025-11-25"))]).await;
    assert_eq!(got.status, 400, "{got:?}");
    assert_eq!(serving.calls(), 0);
}

#[tokio::test]
async fn what_two_readers_could_read_differently_is_refused() {
    let serving = serving().await;
    let good = call("test.echo", "x").to_string();
    let bodies = [
        good.replace("\"jsonrpc\"", "\"Method\":\"tools/list\",\"jsonrpc\""),
        good.replace("\"arguments\"", "\"name\":\"test.slow\",\"arguments\""),
        good.replace("\"params\"", "\"param\u{17f}\":{},\"params\""),
        format!("[{good}]"),
        format!("{good}{good}"),
        good.replace("\"x\"", "\"\\ud800\""),
        good.replace("\"x\"", "1e400"),
        good.replace("\"x\"", &format!("{}{}", "[".repeat(200), "]".repeat(200))),
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
    ];
    for body in &bodies {
        let got = serving.send("POST", "/mcp", &MODERN, body).await;
        assert_eq!(got.status, 400, "{body}: {got:?}");
        assert!(got.json()["error"]["code"].as_i64().is_some_and(|code| code < 0), "{body}: {got:?}");
    }
    let mut bytes = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(b"\"\xff\xfe\"");
    assert_eq!(serving.raw(&bytes).await.status, 400);
    assert_eq!(serving.calls(), 0);
    assert_eq!(serving.call(&[]).await.status, 200);
}

#[tokio::test]
async fn two_lengths_are_no_request() {
    let serving = serving().await;
    for (name, value) in [("Content-Length", "5\r\nContent-Length: 6"), ("Content-Length", "5, 6"), ("Content-Length", "-1")] {
        assert_eq!(serving.call(&[(name, Some(value))]).await.status, 400, "{value}");
    }
    // Both ways of telling a length: the second request must not be taken for one.
    let smuggled = format!("0\r\n\r\nPOST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    let got = serving.send("POST", "/mcp", &[("Transfer-Encoding", Some("chunked"))], &smuggled).await;
    assert!(got.status == 400 && got.body.matches("HTTP/1.1").count() == 0, "{got:?}");
    assert_eq!(serving.calls(), 0);
}

#[tokio::test]
async fn too_much_is_refused_before_it_is_held() {
    let serving = serving().await;
    let huge = (exchange::LARGEST_BODY + 1).to_string();
    let got = serving.call(&[("Content-Length", Some(&huge))]).await;
    assert_eq!(got.status, 413, "{got:?}");
    // Without a length it is read only so far.
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    let mut sent = 0;
    while sent < 1 << 30 && stream.write_all(&chunk).await.is_ok() {
        sent += 1 << 20;
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let many: String = (0..200).map(|at| format!("x\r\nX-{at}: y")).collect();
    assert_eq!(serving.call(&[("X-Many", Some(&many))]).await.status, 431);
    let long = "x".repeat(200_000);
    assert_eq!(serving.call(&[("X-Long", Some(&long))]).await.status, 431);
    assert_eq!(serving.calls(), 0);
}

#[tokio::test]
async fn so_many_sessions_are_open_at_once_and_no_more() {
    let serving = serving().await;
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let open = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let mut last = String::new();
    // One principal has no more than could still be opened.
    for _ in 0..sessions::MOST / 2 {
        let got = serving.send("POST", "/mcp", &[], &open).await;
        assert_eq!(got.status, 200, "{got:?}");
        last = got.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();
    }
    assert_eq!(serving.send("POST", "/mcp", &[], &open).await.status, 503);
    // Who needs no session, or has one, is served.
    assert_eq!(serving.call(&[]).await.status, 200);
    assert!(matches!(serving.send("DELETE", "/mcp", &[("Mcp-Session-Id", Some(&last))], "").await.status, 200 | 202 | 204));
    assert_eq!(serving.send("POST", "/mcp", &[], &open).await.status, 200);
}

#[tokio::test]
async fn clients_with_the_same_ids_see_their_own_answers() {
    let serving = Arc::new(serving().await);
    let mut clients = JoinSet::new();
    for number in 0..200 {
        let serving = serving.clone();
        clients.spawn(async move {
            let mine = format!("mine-{number}");
            let got = serving.send("POST", "/mcp", &MODERN, &call("test.echo", &mine).to_string()).await;
            assert_eq!(got.json()["result"]["structuredContent"]["text"], mine.as_str(), "{got:?}");
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(serving.calls(), 200);
}

#[tokio::test]
async fn a_client_that_leaves_cancels_its_call() {
    let serving = serving().await;
    let body = call("test.slow", "60000").to_string();
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n\
         Mcp-Name: test.slow\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    while serving.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(stream);
    let cancelled = async {
        while serving.gate.cancelled.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), cancelled).await.expect("the call goes on");
    assert_eq!(serving.call(&[]).await.status, 200);
}

#[tokio::test]
async fn the_order_to_stop_ends_calls_and_connections() {
    let mut serving = serving().await;
    let idle = TcpStream::connect(serving.address).await.unwrap();
    serving.shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), serving.server.join_next()).await.expect("the server stays");
    ended.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(serving.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn an_address_that_others_reach_is_not_served() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let served =
        serve_http(Arc::new(FakeGate::default()), Entrance::local(listener, Arc::new(One)), options(), CancellationToken::new()).await;
    assert_eq!(served.unwrap_err().code, ErrorCode::ConfigInvalid);
}

/// Takes out one word, as the real one takes out secrets.
struct NoWord;

impl crate::call::Redact for NoWord {
    fn text<'t>(&self, text: &'t str) -> std::borrow::Cow<'t, str> {
        text.replace("hunter2", "***").into()
    }

    fn bytes<'t>(&self, bytes: &'t [u8]) -> std::borrow::Cow<'t, [u8]> {
        bytes.into()
    }

    fn value(&self, value: &mut Value) -> usize {
        *value = serde_json::from_str(&self.text(&value.to_string())).unwrap();
        1
    }

    fn known(&self, value: &mut Value) -> usize {
        self.value(value)
    }

    fn may_touch(&self, bytes: &[u8]) -> bool {
        bytes.windows(7).any(|part| part == b"hunter2")
    }

    fn stream(&self) -> Box<dyn crate::call::RedactStream> {
        crate::call::NoRedaction.stream()
    }
}

#[tokio::test]
async fn no_secret_leaves_in_an_answer_or_in_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, gate, shutdown) = (listener.local_addr().unwrap(), Arc::new(FakeGate::default()), CancellationToken::new());
    let options = ServeOptions { redact: Some(Arc::new(NoWord)), ..options() };
    let mut server = JoinSet::new();
    server.spawn(serve_http(gate.clone(), Entrance::local(listener, Arc::new(One)), options, shutdown.clone()));
    let serving = Serving { address, gate, shutdown, server };
    let got = serving.send("POST", "/mcp", &MODERN, &call("test.echo", "pass hunter2 on").to_string()).await;
    assert_eq!(got.json()["result"]["structuredContent"]["text"], "pass *** on", "{got:?}");
    let refused = call("test.fail", "hunter2").to_string();
    let headers = [MODERN[0], MODERN[1], ("Mcp-Name", Some("test.fail"))];
    let got = serving.send("POST", "/mcp", &headers, &refused).await;
    assert!(!got.body.contains("hunter2") && got.body.contains("***"), "{got:?}");
    // The naive reader of parts would let it pass: it comes in two.
    let parts = stream::iter(["data: {\"result\":\"hun", "ter2\"}\n\ndata: {\"result\":1}\n", "\n"].map(Ok::<_, std::io::Error>));
    let whole = events::without_secrets(axum::body::Body::from_stream(parts), Arc::new(NoWord));
    let bytes = axum::body::to_bytes(whole, 1 << 20).await.unwrap();
    assert_eq!(bytes, "data: {\"result\":\"***\"}\n\ndata: {\"result\":1}\n\n");
}
