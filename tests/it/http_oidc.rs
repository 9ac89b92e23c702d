//! Signing in: a service of the test's own, its tokens at the real server, and what it never hears.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::http_tokens::{create, home};
use crate::support::door::{Ask, Served, free_port, message, until};
use crate::support::{Toolgate, files};

/// A sign-in service on this machine.
struct Issuer {
    url: String,
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    keys: Mutex<Vec<Value>>,
    heard: Mutex<Vec<String>>,
}

struct Key {
    id: &'static str,
    key: EncodingKey,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        Self { id, key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap() }
    }

    fn shown(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    fn signs(&self, claims: &Value) -> String {
        encode(&Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) }, claims, &self.key).unwrap()
    }
}

impl Issuer {
    fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (url, shared) = (format!("http://127.0.0.1:{port}/realm"), Arc::new(Shared::default()));
        let issuer = Self { url: url.clone(), port, shared: shared.clone() };
        issuer.show(keys);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let request: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
                let path = request.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
                shared.heard.lock().unwrap().push(request.join("\n"));
                let page = match path.as_str() {
                    "/realm/.well-known/openid-configuration" => json!({"issuer": url, "jwks_uri": format!("{url}/keys")}),
                    "/realm/keys" => json!({"keys": *shared.keys.lock().unwrap()}),
                    _ => Value::Null,
                };
                let (status, page) = if page.is_null() { ("404 Not Found", String::new()) } else { ("200 OK", page.to_string()) };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    page.len()
                );
                let _ = stream.write_all(format!("{head}{page}").as_bytes());
            }
        });
        issuer
    }

    fn show(&self, keys: &[&Key]) {
        *self.shared.keys.lock().unwrap() = keys.iter().map(|key| key.shown()).collect();
    }

    fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// The server that takes its tokens, at this URL.
    fn serves(&self, toolgate: &Toolgate) -> (Served, String) {
        let port = free_port();
        let public = format!("http://127.0.0.1:{port}");
        let private = format!("oidc=127.0.0.1:{}", self.port);
        let vars = [
            ("TOOLGATE_HTTP_PUBLIC_URL", public.as_str()),
            ("TOOLGATE_OIDC_ISSUER", &self.url),
            ("TOOLGATE_EGRESS_PRIVATE", &private),
            ("TOOLGATE_OIDC_SCOPES", "mcp.read=tools:read,mcp.run=tools:exec"),
        ];
        (Served::start(toolgate, "127.0.0.1", port, &vars), public)
    }

    fn claims(&self, public: &str, scope: &str) -> Value {
        json!({"iss": self.url, "aud": format!("{public}/mcp"), "sub": "alice", "exp": now() + 3600, "scope": scope, "azp": "an-app"})
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn who_signs_in_is_a_principal_of_their_own_within_their_scopes() {
    let (toolgate, key, stranger) = (home(), Key::new("one"), Key::new("one"));
    let issuer = Issuer::start(&[&key]);
    let (served, public) = issuer.serves(&toolgate);
    let call = |token: &str, tool: &str| message(&served, token, "tools/call", json!({"name": tool, "arguments": {}}));

    // What a client finds before it has a token.
    let got = message(&served, "", "tools/list", json!({}));
    let place = format!("{public}/.well-known/oauth-protected-resource/mcp");
    assert!(
        got.status == 401
            && got.head.contains(&format!("www-authenticate: bearer resource_metadata=\"{place}\", scope=\"tools:read tools:exec\"")),
        "{got:?}"
    );
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let told = Ask { method: "GET", path, headers: &[], body: "" }.over(served.connect());
        assert_eq!((told.status, &told.json()["authorization_servers"]), (200, &json!([issuer.url])));
        assert_eq!(told.json()["resource"], format!("{public}/mcp"));
    }
    let reader = key.signs(&issuer.claims(&public, "openid mcp.read"));
    assert_eq!(call(&reader, "run_list").status, 200);
    let got = message(&served, &reader, "tools/call", json!({"name": "workspace_write", "arguments": {"path": "x", "content": "y"}}));
    let challenge =
        format!("www-authenticate: bearer error=\"insufficient_scope\", resource_metadata=\"{place}\", scope=\"tools:read tools:exec\"");
    assert!(got.status == 403 && got.head.contains(&challenge), "{got:?}");
    let writer = key.signs(&issuer.claims(&public, "mcp.run"));
    let got = message(&served, &writer, "tools/call", json!({"name": "workspace_write", "arguments": {"path": "x", "content": "y"}}));
    assert!(got.status == 200 && !got.body.contains("INSUFFICIENT_SCOPE"), "{got:?}");
    // It is the subject's own record, with the refusal in it.
    let principal = format!("oidc:127.0.0.1:{}/realm:alice", issuer.port);
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let run = runs.as_array().unwrap().iter().find(|run| run["principal"] == principal.as_str()).unwrap_or_else(|| panic!("{runs}"));
    let told = toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
    assert!(told.contains("INSUFFICIENT_SCOPE") && told.contains("run.list"), "{told}");

    let with = |name: &str, value: Value| {
        let mut claims = issuer.claims(&public, "mcp.run");
        claims[name] = value;
        claims
    };
    let forged = [
        ("another audience", key.signs(&with("aud", json!("https://other.example/mcp")))),
        ("another issuer", key.signs(&with("iss", json!("https://login.example.com")))),
        ("expired", key.signs(&with("exp", json!(now() - 60)))),
        ("not yet valid", key.signs(&with("nbf", json!(now() + 600)))),
        ("another's key", stranger.signs(&issuer.claims(&public, "mcp.run"))),
        ("a shared secret", {
            let secret = EncodingKey::from_secret(key.shown().to_string().as_bytes());
            encode(&Header { kid: Some("one".into()), ..Header::default() }, &issuer.claims(&public, "mcp.run"), &secret).unwrap()
        }),
        ("unsigned", {
            use base64::Engine as _;
            let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
            format!("{}.{}.", part(json!({"alg": "none"})), part(issuer.claims(&public, "mcp.run")))
        }),
    ];
    for (what, token) in &forged {
        let got = call(token, "run_list");
        assert!(got.status == 401 && got.head.contains("error=\"invalid_token\""), "{what}: {got:?}");
    }
    let path = format!("/mcp?access_token={writer}");
    assert_eq!(Ask { method: "POST", path: &path, headers: &[], body: "{}" }.over(served.connect()).status, 401);

    // The token is for us alone: the service does not see it again, and no file nor log holds it.
    let heard = issuer.heard();
    assert!(heard.len() >= 2 && heard.iter().all(|request| !request.to_lowercase().contains("authorization")), "{heard:#?}");
    let secret =
        |text: &[u8]| [&reader, &writer].iter().any(|token| text.windows(40).any(|part| part == &token.as_bytes()[token.len() - 40..]));
    assert!(!heard.iter().any(|request| secret(request.as_bytes())));
    assert!(!secret(served.log().as_bytes()), "{}", served.log());
    for file in files(&toolgate.data()) {
        assert!(!secret(&std::fs::read(&file).unwrap()), "{}", file.display());
    }
    // What was asked of it is on record.
    let told = toolgate.run(&["runs", "events", "run_00000000000070008000746f6b656e73", "--json"]).exits(0).stdout;
    assert!(told.contains("http_request"), "{told}");
}

#[test]
fn keys_change_while_it_serves_and_a_flood_of_unknown_ones_reaches_nobody() {
    let (toolgate, one, two) = (home(), Key::new("one"), Key::new("two"));
    let issuer = Issuer::start(&[&one]);
    let (served, public) = issuer.serves(&toolgate);
    let list = |token: &str| message(&served, token, "tools/list", json!({})).status;
    let (old, new) = (one.signs(&issuer.claims(&public, "mcp.read")), two.signs(&issuer.claims(&public, "mcp.read")));
    until("the service was asked", || list(&old) == 200);
    issuer.show(&[&two]);
    assert_eq!(list(&new), 200, "the new key is looked up at once");
    assert_eq!(list(&old), 401, "and the old one is gone");
    let before = issuer.heard().len();
    for number in 0..60 {
        let header = Header { kid: Some(format!("unknown-{number}")), ..Header::new(Algorithm::ES256) };
        assert_eq!(list(&encode(&header, &issuer.claims(&public, "mcp.read"), &two.key).unwrap()), 401);
    }
    let asked = issuer.heard().len() - before;
    // A machine this busy may take long enough for some more to be free.
    assert!(asked <= 20, "{asked} requests for 60 tokens");
    assert_eq!(list(&new), 200);
}

#[test]
fn a_service_inside_the_network_is_reached_by_the_operators_leave_alone_and_tokens_made_by_hand_work_beside_it() {
    let (toolgate, key) = (home(), Key::new("one"));
    let issuer = Issuer::start(&[&key]);
    let port = free_port();
    let public = format!("http://127.0.0.1:{port}");
    let vars = [("TOOLGATE_HTTP_PUBLIC_URL", public.as_str()), ("TOOLGATE_OIDC_ISSUER", &issuer.url)];
    let served = Served::start(&toolgate, "127.0.0.1", port, &vars);
    let got = message(&served, &key.signs(&issuer.claims(&public, "tools:read")), "tools/list", json!({}));
    assert!(got.status == 503 && got.head.contains("retry-after"), "{got:?}");
    assert!(issuer.heard().is_empty(), "{:?}", issuer.heard());
    until("the log says why", || served.log().contains("nobody can sign in yet"));
    let token = create(&toolgate, &["ci", "--scopes", "tools:read"]);
    assert_eq!(message(&served, &token, "tools/list", json!({})).status, 200);
    // It cannot be widened by signing in, so its bearer is answered by the tool.
    let got = message(&served, &token, "tools/call", json!({"name": "workspace_write", "arguments": {"path": "x", "content": "y"}}));
    assert!(got.status == 200 && got.body.contains("INSUFFICIENT_SCOPE"), "{got:?}");
}
