//! Several tokens at one server: what each reaches and sees, whose sessions are whose, and what ends with a token.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::tests::{Got, MODERN, Serving, call, serving_by};
use super::*;
use crate::domain::{Principal, Scope, Scopes};
use crate::mcp::Toolset;
use crate::mcp::auth::{Access, Denied, SignIn};

/// Tokens by their text, which can be taken away.
#[derive(Default)]
struct Many {
    tokens: Mutex<HashMap<&'static str, Admitted>>,
    sign_in: Option<SignIn>,
}

impl Many {
    fn with(self, text: &'static str, principal: &str, scopes: &[Scope], toolset: Option<&str>) -> Self {
        let access = Access::Token { name: text.to_owned(), number: 1 };
        self.know(text, access, principal, scopes, toolset)
    }

    fn signed_in(self, text: &'static str, principal: &str, scopes: &[Scope]) -> Self {
        let access = Access::SignedIn { principal: Principal::new(principal), client: "app".to_owned() };
        self.know(text, access, principal, scopes, None)
    }

    fn know(self, text: &'static str, access: Access, principal: &str, scopes: &[Scope], toolset: Option<&str>) -> Self {
        let (principal, scopes) = (Principal::new(principal), Scopes::of(scopes.iter().copied()));
        let admitted = Admitted { principal, access, scopes, toolset: toolset.map(Toolset::parse), until: None };
        self.tokens.lock().unwrap().insert(text, admitted);
        self
    }

    fn revoke(&self, text: &str) {
        self.tokens.lock().unwrap().remove(text).unwrap();
    }
}

#[async_trait::async_trait]
impl Doorkeeper for Many {
    async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        self.tokens.lock().unwrap().get(token).cloned().ok_or(Denied::Token)
    }

    async fn stays(&self, admitted: &Admitted) -> bool {
        self.tokens.lock().unwrap().values().any(|known| known.access == admitted.access)
    }

    fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }
}

const RUN: &str = "run://run_018bcfe5680070008000000000000001";

const BOTH: [Scope; 2] = [Scope::ToolsRead, Scope::ToolsExec];

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

async fn calls(serving: &Serving, token: &str, tool: &str) -> Got {
    let token = bearer(token);
    let headers = [MODERN[0], MODERN[1], ("Mcp-Name", Some(tool)), ("Authorization", Some(token.as_str()))];
    serving.send("POST", "/mcp", &headers, &call(tool, "x").to_string()).await
}

async fn asks(serving: &Serving, token: &str, method: &str, name: Option<&str>, params: Value) -> Got {
    let token = bearer(token);
    let mut body = call("x", "x");
    body["method"] = method.into();
    let meta = body["params"]["_meta"].take();
    body["params"] = params;
    body["params"]["_meta"] = meta;
    let headers = [MODERN[0], ("Mcp-Method", Some(method)), ("Mcp-Name", name), ("Authorization", Some(token.as_str()))];
    serving.send("POST", "/mcp", &headers, &body.to_string()).await
}

fn names(got: &Got) -> Vec<String> {
    got.json()["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{got:?}"))
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_reaches_as_far_as_its_scopes_and_the_refusal_is_recorded() {
    let many = Many::default().with("read", "alice", &[Scope::ToolsRead], None).with("exec", "bob", &[Scope::ToolsExec], None).with(
        "none",
        "carol",
        &[Scope::MetricsRead],
        None,
    );
    let serving = serving_by(Arc::new(many), None).await;
    assert_eq!(calls(&serving, "read", "test.echo").await.json()["result"]["structuredContent"]["text"], "x");
    for tool in ["test.slow", "test.fail", "run.start", "run_start"] {
        let got = calls(&serving, "read", tool).await;
        let result = &got.json()["result"];
        assert_eq!(
            (got.status, &result["isError"], &result["structuredContent"]["error"]["code"]),
            (200, &json!(true), &json!("INSUFFICIENT_SCOPE")),
            "{tool}: {got:?}"
        );
        assert!(got.body.contains("tools:exec"), "{got:?}");
    }
    assert_eq!(serving.calls(), 1, "nothing beyond the scopes came to the path");
    assert_eq!(serving.gate.refused.lock().unwrap().len(), 4);
    assert_eq!(serving.gate.refused.lock().unwrap()[0], ("test.slow".to_owned(), "alice".to_owned()));
    // Exec holds read; what holds neither reaches nothing.
    assert!(calls(&serving, "exec", "test.echo").await.json()["result"]["isError"].as_bool() != Some(true));
    assert_eq!(calls(&serving, "none", "test.echo").await.json()["result"]["structuredContent"]["error"]["code"], "INSUFFICIENT_SCOPE");
    // Resources and prompts are read by calls, and are bound like them.
    for (method, name, params) in
        [("resources/read", Some(RUN), json!({ "uri": RUN })), ("resources/list", None, json!({})), ("prompts/list", None, json!({}))]
    {
        let got = asks(&serving, "none", method, name, params).await;
        let told = got.head.contains("www-authenticate");
        assert!(got.status == 403 && got.body.contains("INSUFFICIENT_SCOPE") && !told, "{method}: {got:?}");
    }
}

#[tokio::test]
async fn each_token_sees_its_own_tools_and_none_that_it_cannot_call() {
    let many = Many::default().with("runs", "alice", &BOTH, Some("run")).with("tests", "alice", &BOTH, Some("test")).with(
        "readers",
        "alice",
        &[Scope::ToolsRead],
        Some("run,test"),
    );
    let serving = serving_by(Arc::new(many), None).await;
    let runs = names(&asks(&serving, "runs", "tools/list", None, json!({})).await);
    let tests = names(&asks(&serving, "tests", "tools/list", None, json!({})).await);
    let readers = asks(&serving, "readers", "tools/list", None, json!({})).await;
    assert!(runs.contains(&"run_start".to_owned()) && runs.iter().all(|name| name.starts_with("run_")), "{runs:?}");
    assert!(tests.contains(&"test_slow".to_owned()) && tests.iter().all(|name| name.starts_with("test_")), "{tests:?}");
    assert_eq!(readers.json()["result"]["cacheScope"], "private");
    let readers = names(&readers);
    assert!(readers.contains(&"run_list".to_owned()) && readers.contains(&"test_echo".to_owned()), "{readers:?}");
    assert!(!readers.contains(&"run_start".to_owned()) && !readers.contains(&"test_slow".to_owned()), "{readers:?}");
    // What is not listed can be called by name: lists are for models, scopes and policy for safety.
    assert_eq!(calls(&serving, "runs", "test.echo").await.json()["result"]["structuredContent"]["text"], "x");
}

#[tokio::test]
async fn who_signed_in_is_told_every_scope_that_is_needed() {
    let public = PublicUrl::parse("https://tools.example.com").unwrap();
    let many = Many { sign_in: Some(SignIn { public: public.clone(), issuer: "https://login.example.com".to_owned() }), ..Many::default() };
    let many = many
        .signed_in("read", "oidc:login.example.com:alice", &[Scope::ToolsRead])
        .signed_in("none", "oidc:login.example.com:bob", &[])
        .with("static", "ci", &[Scope::ToolsRead], None);
    let serving = serving_by(Arc::new(many), Some(public)).await;
    let got = calls(&serving, "read", "test.slow").await;
    let challenge = "www-authenticate: bearer error=\"insufficient_scope\", resource_metadata=\"https://tools.example.com/.well-known/oauth-protected-resource/mcp\", scope=\"tools:read tools:exec\"";
    assert!(got.status == 403 && got.head.contains(challenge), "{got:?}");
    assert_eq!(got.json()["error"]["code"], "INSUFFICIENT_SCOPE");
    assert_eq!(serving.gate.refused.lock().unwrap().as_slice(), [("test.slow".to_owned(), "oidc:login.example.com:alice".to_owned())]);
    let got = asks(&serving, "none", "resources/list", None, json!({})).await;
    assert!(got.status == 403 && got.head.contains("scope=\"tools:read\""), "{got:?}");
    // To see what there is needs nothing, and all of it is shown: the client can sign in for more.
    assert!(names(&asks(&serving, "none", "tools/list", None, json!({})).await).contains(&"test_slow".to_owned()));
    // A token of the operator's cannot be widened by signing in: its bearer gets an answer that a model reads.
    assert_eq!(calls(&serving, "static", "test.slow").await.status, 200);
    assert_eq!(serving.calls(), 0);
    let got = serving.send("GET", "/metrics", &[("Authorization", Some("Bearer read"))], "").await;
    assert!(got.status == 403 && got.head.contains("scope=\"metrics:read\""), "{got:?}");

    // Without a token, and with a bad one.
    let got = serving.send("POST", "/mcp", &[("Authorization", None)], "{}").await;
    let where_to =
        "resource_metadata=\"https://tools.example.com/.well-known/oauth-protected-resource/mcp\", scope=\"tools:read tools:exec\"";
    assert!(got.status == 401 && got.head.contains(&format!("www-authenticate: bearer {where_to}")), "{got:?}");
    let got = serving.send("POST", "/mcp", &[("Authorization", Some("Bearer bad"))], "{}").await;
    assert!(got.status == 401 && got.head.contains(&format!("www-authenticate: bearer error=\"invalid_token\", {where_to}")), "{got:?}");
    // In the address it is none, even beside a good one.
    assert_eq!(serving.send("POST", "/mcp?access_token=read", &[("Authorization", Some("Bearer read"))], "{}").await.status, 401);
    assert_eq!(serving.send("POST", "/mcp?x=1&Access_Token=read", &[("Authorization", Some("Bearer read"))], "{}").await.status, 401);

    for path in ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"] {
        let got = serving.send("GET", path, &[("Authorization", None)], "").await;
        assert_eq!(got.status, 200, "{got:?}");
        let told = got.json();
        assert_eq!(
            (&told["resource"], &told["authorization_servers"]),
            (&json!("https://tools.example.com/mcp"), &json!(["https://login.example.com"]))
        );
        assert_eq!(told["bearer_methods_supported"], json!(["header"]));
        // Its host and origin are held to as everywhere.
        assert_eq!(serving.send("GET", path, &[("Authorization", None), ("Host", Some("evil.example"))], "").await.status, 403);
        assert_eq!(serving.send("GET", path, &[("Authorization", None), ("Origin", Some("https://evil.example"))], "").await.status, 403);
        assert_eq!(serving.send("POST", path, &[("Authorization", None)], "{}").await.status, 404);
    }
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/oauth-protected-resource/x", "/.well-known/openid-configuration"]
    {
        assert_eq!(serving.send("GET", path, &[("Authorization", None)], "").await.status, 404, "we are no authorization server");
    }
    for path in ["/healthz", "/readyz", "/metrics", "/", "/register", "/authorize", "/token"] {
        assert_eq!(serving.send("GET", path, &[("Authorization", None)], "").await.status, 401, "{path}");
    }
    assert_eq!(
        serving.send("GET", "/healthz", &[("Host", Some("tools.example.com")), ("Authorization", Some("Bearer none"))], "").await.status,
        200
    );
}

async fn open(serving: &Serving, token: &str) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let got = serving.send("POST", "/mcp", &[("Authorization", Some(&bearer(token)))], &body).await;
    assert_eq!(got.status, 200, "{got:?}");
    let id = got.head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().to_owned();
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    assert_eq!(in_session(serving, token, &id, "POST", &ready).await.status, 202);
    id
}

async fn in_session(serving: &Serving, token: &str, id: &str, method: &str, body: &str) -> Got {
    let token = bearer(token);
    let headers = [("Authorization", Some(token.as_str())), ("Mcp-Session-Id", Some(id)), ("MCP-Protocol-Version", Some("2025-11-25"))];
    serving.send(method, "/mcp", &headers, body).await
}

const LIST: &str = r#"{"jsonrpc": "2.0", "id": 7, "method": "tools/list"}"#;

#[tokio::test]
async fn a_session_is_its_openers_and_to_others_as_unknown_as_none() {
    let many = Many::default()
        .with("alice", "alice", &BOTH, None)
        .with("alice2", "alice", &BOTH, None)
        .with("bob", "bob", &BOTH, None)
        .signed_in("carol-at-nine", "oidc:x:carol", &BOTH)
        .signed_in("carol-at-ten", "oidc:x:carol", &BOTH);
    let serving = serving_by(Arc::new(many), None).await;
    let id = open(&serving, "alice").await;
    assert_eq!(in_session(&serving, "alice", &id, "POST", LIST).await.status, 200);
    let unknown = "01234567-89ab-cdef-0123-456789abcdef";
    for other in ["bob", "alice2"] {
        for (method, body) in [("POST", LIST), ("GET", ""), ("DELETE", "")] {
            let theirs = in_session(&serving, other, &id, method, body).await;
            let none = in_session(&serving, other, unknown, method, body).await;
            let without_date =
                |got: &Got| got.head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(
                (theirs.status, &theirs.body, without_date(&theirs)),
                (none.status, &none.body, without_date(&none)),
                "{other} {method}"
            );
            assert!(method == "DELETE" || theirs.status == 404, "{other} {method}: {theirs:?}");
        }
    }
    assert_eq!(in_session(&serving, "alice", &id, "POST", LIST).await.status, 200, "nobody else ended it");
    // Two ids at once are none.
    let both = format!("{id}\r\nMcp-Session-Id: {unknown}");
    assert_eq!(in_session(&serving, "alice", &both, "POST", LIST).await.status, 404);
    assert!(in_session(&serving, "alice", &id, "DELETE", "").await.status < 300);
    assert_eq!(in_session(&serving, "alice", &id, "POST", LIST).await.status, 404);
    // A sign-in service renews its tokens while a session lives on.
    let id = open(&serving, "carol-at-nine").await;
    assert_eq!(in_session(&serving, "carol-at-ten", &id, "POST", LIST).await.status, 200);
}

/// Sends a request and hands the connection over once its answer has begun.
async fn stream(serving: &Serving, head: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(serving.address).await.unwrap();
    let all = format!(
        "{head}Host: localhost\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(all.as_bytes()).await.unwrap();
    stream
}

async fn ends(mut stream: TcpStream) -> String {
    let mut all = Vec::new();
    let mut part = [0_u8; 4096];
    let read = async {
        loop {
            match stream.read(&mut part).await {
                Ok(0) | Err(_) => break,
                Ok(count) => all.extend_from_slice(&part[..count]),
            }
            // The last chunk of a body.
            if all.ends_with(b"0\r\n\r\n") || all.windows(4).any(|end| end == b" 401") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), read).await.expect("it stays open");
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test]
async fn with_a_token_ends_all_that_was_opened_by_it() {
    let many = Arc::new(Many::default().with("alice", "alice", &BOTH, None).with("bob", "bob", &BOTH, None));
    let serving = serving_by(many.clone(), None).await;
    let (id, kept) = (open(&serving, "alice").await, open(&serving, "bob").await);
    let head = |token: &str, id: &str| {
        format!("GET /mcp HTTP/1.1\r\nAuthorization: Bearer {token}\r\nMcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-11-25\r\n")
    };
    let listening = stream(&serving, &head("alice", &id), "").await;
    let mut others = stream(&serving, &head("bob", &kept), "").await;
    let body = call("test.slow", "60000").to_string();
    let calling = "POST /mcp HTTP/1.1\r\nAuthorization: Bearer alice\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: test.slow\r\n";
    let calling = stream(&serving, calling, &body).await;
    while serving.calls() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    many.revoke("alice");
    assert_eq!(calls(&serving, "alice", "test.echo").await.status, 401, "at once");
    ends(listening).await;
    ends(calling).await;
    let cancelled = async {
        while serving.gate.cancelled.load(std::sync::atomic::Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), cancelled).await.expect("the call goes on");
    // Somebody gets the same name again: the session is gone all the same, and nobody else's is.
    many.tokens.lock().unwrap().insert("alice", Admitted { access: Access::Token { name: "alice".into(), number: 2 }, ..Admitted::home() });
    assert_eq!(in_session(&serving, "alice", &id, "POST", LIST).await.status, 404);
    assert_eq!(in_session(&serving, "bob", &kept, "POST", LIST).await.status, 200);
    let mut part = [0_u8; 4096];
    let more =
        tokio::time::timeout(Duration::from_millis(300), async { while others.read(&mut part).await.is_ok_and(|count| count > 0) {} });
    assert!(more.await.is_err(), "another's stream ended too");
}

#[tokio::test]
async fn sessions_of_a_token_that_ended_make_room_for_others() {
    let many = Arc::new(Many::default().with("alice", "alice", &BOTH, None).with("bob", "bob", &BOTH, None));
    let serving = serving_by(many.clone(), None).await;
    for _ in 0..MOST_SESSIONS {
        open(&serving, "alice").await;
    }
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}).to_string();
    let bob = bearer("bob");
    let headers = [("Authorization", Some(bob.as_str()))];
    assert_eq!(serving.send("POST", "/mcp", &headers, &body).await.status, 503);
    many.revoke("alice");
    let comes_in = async {
        while serving.send("POST", "/mcp", &headers, &body).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), comes_in).await.expect("her sessions stay");
}
