//! What is sent, what comes back, what is recorded.

use super::support::*;
use crate::domain::{Bytes, ErrorCode};
use crate::egress::*;

#[tokio::test]
async fn a_request_and_its_answer() {
    let server = Server::start(|_| {
        Reply::Say(
            "HTTP/1.1 418 Short\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\
             X-A: 1\r\nset-cookie: c=1\r\nx-a: 2\r\nx-l: \u{e9}\r\n\r\n\
             3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
                .into(),
        )
    })
    .await;
    let log = Log::default();
    let mut request = with(
        get(&server.url("A.TEST.", "/p%20q/x y?token=hidden#frag")),
        &[("Host", "evil.test"), ("X-Mine", "1"), ("Content-Length", "99"), ("Transfer-Encoding", "chunked")],
    );
    request.method = "post".into();
    request.body = "hello".into();
    let answer = send(&egress(&[&server]), request, &terms(&[&server]), &log).await.unwrap();

    assert_eq!((answer.status, answer.reason.as_str(), answer.hops), (418, "I'm a teapot", 0));
    assert_eq!(&answer.body[..], b"abcde");
    assert_eq!(answer.url, server.url("a.test", "/p%20q/x%20y?token=hidden"));
    let headers: Vec<_> = answer.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert_eq!(headers, [("x-a", "1"), ("x-a", "2"), ("set-cookie", "c=1"), ("x-l", "é")]);

    let seen = server.seen().remove(0);
    assert!(seen.starts_with("POST /p%20q/x%20y?token=hidden HTTP/1.1\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
    let seen = seen.to_lowercase();
    assert_eq!(seen.matches(&format!("\r\nhost: a.test:{}\r\n", server.port)).count(), 1, "{seen}");
    assert_eq!(seen.matches("content-length: 5\r\n").count(), 1, "{seen}");
    assert!(seen.contains("x-mine: 1") && !seen.contains("evil") && !seen.contains("chunked"), "{seen}");
    assert!(!seen.contains("accept-encoding") && !seen.contains("cookie"), "{seen}");

    let record = log.records().remove(0);
    assert_eq!(record.path, "/p%20q/x%20y");
    assert_eq!((record.purpose.as_str(), record.method.as_str(), record.scheme.as_str()), ("test", "POST", "http"));
    assert_eq!((record.host.as_str(), record.port, record.hop), ("a.test", server.port, 0));
    assert_eq!((record.address, record.proxied, record.status, record.error), (loopback(server.port), false, Some(418), None));
    assert_eq!(record.bytes_out, Bytes(5 + 7), "the body and `x-mine: 1`");
    assert!(record.bytes_in.0 > 5);
    assert!(!format!("{record:?}").contains("hidden"));
}

/// A cookie of one answer is not in the next request, and each request has a connection of its own.
#[tokio::test]
async fn requests_share_nothing() {
    let server = Server::fixed(200, "set-cookie: id=1\r\n", "x").await;
    let (egress, log) = (egress(&[&server]), Log::default());
    for _ in 0..2 {
        send(&egress.clone(), get(&server.url("a.test", "/")), &terms(&[&server]), &log).await.unwrap();
    }
    assert!(!server.seen()[1].to_lowercase().contains("cookie"));
    assert_eq!(log.records().len(), 2);
}

#[tokio::test]
async fn what_is_malformed_is_refused_and_recorded() {
    let server = Server::fixed(200, "", "x").await;
    let (egress, terms, url) = (egress(&[&server]), terms(&[&server]), server.url("a.test", "/"));
    let method = |method: &str| Request { method: method.into(), ..get(&url) };
    for (request, code, recorded) in [
        (method("CONNECT"), ErrorCode::InvalidInput, "a.test"),
        (method("trace"), ErrorCode::InvalidInput, "a.test"),
        (method("GET /evil HTTP/1.1\r\nX:"), ErrorCode::InvalidInput, "a.test"),
        (method(""), ErrorCode::InvalidInput, "a.test"),
        (with(get(&url), &[("X", "a\r\nY: b")]), ErrorCode::InvalidInput, "a.test"),
        (Request { body: vec![0; (8 << 20) + 1].into(), ..get(&url) }, ErrorCode::LimitExceeded, "a.test"),
        (get("http://user:pw@a.test/"), ErrorCode::InvalidInput, ""),
        (get("file://a.test/etc/passwd"), ErrorCode::EgressDenied, ""),
        (get("http://c.test/"), ErrorCode::EgressDenied, "c.test"),
        (get("http://a.test/"), ErrorCode::EgressDenied, "a.test"),
    ] {
        let log = Log::default();
        let fault = send(&egress, request, &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, code, "{}", fault.message);
        assert_eq!(log.brief(), [(recorded.into(), None, Some(code))], "{}", fault.message);
        assert!(!log.records()[0].method.contains(char::is_control));
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn nothing_is_handed_on_that_is_not_recorded() {
    let server = Server::fixed(200, "", "x").await;
    let fault = send(&egress(&[&server]), get(&server.url("a.test", "/")), &terms(&[&server]), &Log::broken()).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::StoreFailed);
    assert_eq!(server.seen().len(), 1);
    // Nor followed.
    let server = Server::start(|_| redirect(302, "/next")).await;
    send(&egress(&[&server]), get(&server.url("a.test", "/")), &terms(&[&server]), &Log::broken()).await.unwrap_err();
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn failures_have_words_of_our_own() {
    // Bound, so that nobody else gets the port, but not listening.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = silent.local_addr().unwrap().port();
    let garbage = Server::start(|_| Reply::Say("SSH-2.0-secretbanner\r\n\r\n".into())).await;
    let short = Server::start(|_| Reply::Say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc".into())).await;
    let nothing = Server::start(|_| Reply::Say(String::new())).await;
    let egress = Egress::new(options(&[free, garbage.port, short.port, nothing.port])).unwrap();
    for (host, port, expected) in [
        ("a.test", free, "connection refused"),
        ("a.test", garbage.port, "not an HTTP answer"),
        ("a.test", short.port, "broke off"),
        ("a.test", nothing.port, "broke off"),
        ("nowhere.test", free, "has no address"),
    ] {
        let log = Log::default();
        let terms = Terms { rules: HostRules::parse([format!("{host}:{port}")]).unwrap(), ..terms(&[]) };
        let fault = send(&egress, get(&format!("http://{host}:{port}/?q=hidden")), &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::EgressFailed, "{}", fault.message);
        assert!(fault.message.contains(expected) && fault.hint.is_some(), "{expected}: {}", fault.message);
        assert!(!fault.message.contains("secret") && !fault.message.contains("hidden"), "{}", fault.message);
        assert_eq!(log.records()[0].error, Some(ErrorCode::EgressFailed));
    }
}

struct Vault;

impl Credentials for Vault {
    fn attach(&self, purpose: &str, origin: &Origin, headers: &mut HeaderList) {
        if purpose == "test" && origin.host.to_string() == "a.test" {
            headers.set_secret("Authorization", "Bearer s3cr3t-token").unwrap();
        }
    }
}

#[tokio::test]
async fn attached_secrets_reach_the_server_and_nobody_else() {
    let server = Server::start(|request| match request.lines().next().unwrap() {
        // A page that shows the request, and one that sends it on.
        "GET /leak HTTP/1.1" => redirect(302, "/echo?s3cr3t-token"),
        _ => ok("x-echo: s3cr3t-token\r\n", &format!("you sent {request}")),
    })
    .await;
    let egress = Egress::new(EgressOptions { credentials: std::sync::Arc::new(Vault), ..options(&[server.port]) }).unwrap();
    let (terms, log) = (terms(&[&server]), Log::default());
    let request = with(get(&server.url("a.test", "/echo")), &[("Authorization", "Bearer placeholder")]);
    let answer = send(&egress, request, &terms, &log).await.unwrap();
    assert!(server.seen()[0].contains("authorization: Bearer s3cr3t-token"), "{}", server.seen()[0]);
    assert!(!server.seen()[0].contains("placeholder"));
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains("you sent") && body.contains("***"), "{body}");
    assert!(!format!("{body}{answer:?}{:?}", log.records()).contains("s3cr3t"), "{answer:?}");

    let fault = send(&egress, get(&server.url("a.test", "/leak")), &terms, &log).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::EgressFailed);
    assert!(!format!("{fault:?}{:?}", log.records()).contains("s3cr3t"));
    // Another host gets nothing.
    let before = server.seen().len();
    send(&egress, get(&server.url("b.test", "/echo")), &terms, &log).await.unwrap();
    assert!(!server.seen()[before].contains("s3cr3t"));
}
