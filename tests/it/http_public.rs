//! A port that other machines reach: what it refuses to start without, and how it is then reached over TLS.

use std::path::Path;

use serde_json::json;

use crate::http_tokens::{create, home};
use crate::support::Ran;
use crate::support::door::{Ask, Served, body, free_port, tls, until};

/// A certificate for `localhost` with its key, written where the server looks.
struct Pair {
    der: Vec<u8>,
    chain: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Self { der: made.cert.der().to_vec(), chain: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn write(&self, folder: &Path) -> (String, String) {
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        write(&chain, &self.chain, 0o644);
        write(&key, &self.key, 0o600);
        (chain.display().to_string(), key.display().to_string())
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_port_that_others_reach_is_opened_only_when_all_is_settled() {
    let toolgate = home();
    let (chain, key) = Pair::new().write(toolgate.home());
    let other = toolgate.home().join("other.pem");
    write(&other, &Pair::new().key, 0o600);
    let (other, open) = (other.display().to_string(), toolgate.home().join("open.pem"));
    write(&open, &std::fs::read_to_string(&key).unwrap(), 0o644);
    let (open, nowhere) = (open.display().to_string(), toolgate.home().join("nowhere.pem").display().to_string());
    let url = ("TOOLGATE_HTTP_PUBLIC_URL", "https://localhost:8443");
    let proxy = ("TOOLGATE_HTTP_BEHIND_PROXY", "yes");
    let cert = |path: &'static str| ("TOOLGATE_HTTP_TLS_CERT", path);
    let key_at = |path: &'static str| ("TOOLGATE_HTTP_TLS_KEY", path);
    let [chain, key, other, open, nowhere] = [chain, key, other, open, nowhere].map(|text| &*Box::leak(text.into_boxed_str()));
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: &[Row<'_>] = &[
        (&[], &["http.public_url"]),
        (&[proxy], &["http.public_url"]),
        (&[url], &["http.tls_cert", "http.behind_proxy"]),
        (&[url, cert(chain)], &["http.tls_key"]),
        (&[url, cert(chain), key_at(other)], &["http.tls_key", "not the key of the certificate"]),
        (&[url, cert(nowhere), key_at(key)], &["http.tls_cert", "cannot be read"]),
        (&[url, cert(chain), key_at(nowhere)], &["http.tls_key", "cannot be read"]),
        (&[url, cert(key), key_at(key)], &["http.tls_cert", "BEGIN CERTIFICATE"]),
        (&[url, cert(chain), key_at(chain)], &["http.tls_key"]),
        (&[url, cert(chain), key_at(open)], &["http.tls_key", "chmod"]),
        (&[("TOOLGATE_HTTP_PUBLIC_URL", "http://tools.example.com"), proxy], &["must be https"]),
        (&[("TOOLGATE_HTTP_PUBLIC_URL", "https://tools.example.com/mcp"), proxy], &["no path"]),
        // All is there but somebody who could come in.
        (&[url, proxy], &["toolgate tokens create", "oidc.issuer"]),
        (&[url, cert(chain), key_at(key)], &["toolgate tokens create"]),
    ];
    for (vars, words) in table {
        let mut command = toolgate.command(&["serve", "--http", "0.0.0.0:0"]);
        let ran = Ran::of(command.envs(vars.iter().copied()).output().unwrap());
        assert!(ran.code == 2 && ran.stderr.contains("CONFIG_INVALID"), "{vars:?}: {ran:?}");
        assert!(words.iter().all(|word| ran.stderr.contains(word)), "{words:?} {vars:?}: {}", ran.stderr);
    }
    // A token that is over lets nobody in either.
    create(&toolgate, &["old", "--expires", "1s"]);
    until("it is over", || toolgate.json(0, &["tokens", "list", "--json"])[0]["state"] == "expired");
    let mut command = toolgate.command(&["serve", "--http", "0.0.0.0:0"]);
    assert_eq!(Ran::of(command.envs([url, proxy]).output().unwrap()).code, 2);
}

#[test]
fn others_come_in_over_tls_by_tokens_that_were_made_for_it() {
    let toolgate = home();
    // The home's own token is there from an earlier start.
    drop(Served::start(&toolgate, "127.0.0.1", free_port(), &[]));
    let own = std::fs::read_to_string(toolgate.data().join("http.token")).unwrap().trim().to_owned();
    let token = create(&toolgate, &["ann"]);
    let pair = Pair::new();
    let (chain, key) = pair.write(toolgate.home());
    let port = free_port();
    let public = format!("https://localhost:{port}");
    let vars = [("TOOLGATE_HTTP_PUBLIC_URL", public.as_str()), ("TOOLGATE_HTTP_TLS_CERT", &chain), ("TOOLGATE_HTTP_TLS_KEY", &key)];
    let served = Served::start(&toolgate, "0.0.0.0", port, &vars);
    let host = format!("localhost:{port}");
    let health = |certificate: &[u8], changes: &[(&str, &str)]| {
        let authorization = format!("Bearer {token}");
        let mut headers = vec![("Host", host.as_str()), ("Authorization", authorization.as_str())];
        headers.retain(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        headers.extend_from_slice(changes);
        let mut stream = tls(&served, certificate, "localhost");
        let got = Ask { method: "GET", path: "/healthz", headers: &headers, body: "" }.over(&mut stream);
        (got.status, stream.conn.alpn_protocol().map(<[u8]>::to_vec))
    };
    assert_eq!(health(&pair.der, &[]), (200, Some(b"http/1.1".to_vec())));
    assert_eq!(health(&pair.der, &[("Origin", &public)]).0, 200);
    // Whoever comes under another name, from another page, or with the token of this machine stays outside.
    for host in ["127.0.0.1", "localhost", "evil.example", "127.0.0.1:443", "0.0.0.0"] {
        assert_eq!(health(&pair.der, &[("Host", host)]).0, 403, "{host}");
    }
    for origin in ["https://evil.example", "null", "https://localhost", "http://localhost"] {
        assert_eq!(health(&pair.der, &[("Origin", origin)]).0, 403, "{origin}");
    }
    let (own, wrong) = (format!("Bearer {own}"), format!("Bearer {token}x"));
    for bad in [own.as_str(), &wrong, ""] {
        assert_eq!(health(&pair.der, &[("Authorization", bad)]).0, 401, "{bad}");
    }
    // A whole message goes the whole way.
    let authorization = format!("Bearer {token}");
    let headers = [
        ("Host", host.as_str()),
        ("Authorization", authorization.as_str()),
        ("MCP-Protocol-Version", "2026-07-28"),
        ("Mcp-Method", "tools/call"),
        ("Mcp-Name", "run_list"),
    ];
    let message = body("tools/call", json!({"name": "run_list", "arguments": {}})).to_string();
    let got = Ask { method: "POST", path: "/mcp", headers: &headers, body: &message }.over(tls(&served, &pair.der, "localhost"));
    assert!(got.status == 200 && got.json()["result"]["structuredContent"]["runs"].is_array(), "{got:?}");
    // Nothing is said in the clear, and nothing to those who do not believe the certificate.
    let plain = Ask { method: "GET", path: "/healthz", headers: &headers[..2], body: "" }.over(served.connect());
    assert_eq!(plain.status, 0, "{plain:?}");
    assert_eq!(health(&Pair::new().der, &[]).0, 0);

    // A new certificate is shown without a new start; one that does not fit is not.
    let renewed = Pair::new();
    write(Path::new(&chain), &renewed.chain, 0o644);
    until("the log tells of the pair that does not fit", || served.log().contains("stays as it was"));
    assert_eq!(health(&pair.der, &[]).0, 200, "the old one is still shown");
    write(Path::new(&key), &renewed.key, 0o600);
    until("the new one is shown", || health(&renewed.der, &[]).0 == 200);
    assert_eq!(health(&pair.der, &[]).0, 0);
}

#[test]
fn behind_a_proxy_the_public_name_alone_counts() {
    let toolgate = home();
    let token = create(&toolgate, &["ann"]);
    let vars = [("TOOLGATE_HTTP_PUBLIC_URL", "https://tools.example.com"), ("TOOLGATE_HTTP_BEHIND_PROXY", "yes")];
    let served = Served::start(&toolgate, "0.0.0.0", free_port(), &vars);
    let authorization = format!("Bearer {token}");
    let ask = |host: &str, origin: &str| {
        let headers = [("Host", host), ("Authorization", authorization.as_str()), ("Origin", origin)];
        Ask { method: "GET", path: "/healthz", headers: &headers, body: "" }.over(served.connect()).status
    };
    assert_eq!(ask("tools.example.com", ""), 200);
    assert_eq!(ask("tools.example.com:443", "https://tools.example.com"), 200);
    for (host, origin) in
        [("127.0.0.1", ""), ("tools.example.com:80", ""), ("tools.example.com", "http://tools.example.com"), ("evil.example", "")]
    {
        assert_eq!(ask(host, origin), 403, "{host} {origin}");
    }
}
