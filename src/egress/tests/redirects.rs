//! Each hop passes the same checks, and secrets stay with their origin.

use super::support::*;
use crate::domain::ErrorCode;
use crate::egress::*;

const SECRETS: &[(&str, &str)] =
    &[("Authorization", "Bearer mine"), ("Cookie", "id=1"), ("X-Api-Key", "k3y"), ("Content-Type", "text/plain"), ("X-Plain", "1")];

fn request(method: &str, url: &str) -> Request {
    Request { method: method.into(), body: "data".into(), ..with(get(url), SECRETS) }
}

#[tokio::test]
async fn methods_change_as_in_browsers() {
    let server = Server::start(|request| match request.split(' ').nth(1).unwrap().strip_prefix("/r") {
        Some(status) => redirect(status.parse().unwrap(), "../end?x=1"),
        None => ok("", "end"),
    })
    .await;
    let (egress, terms) = (egress(&[&server]), terms(&[&server]));
    for (status, method, expected, body) in [
        (301, "POST", "GET", false),
        (302, "POST", "GET", false),
        (303, "POST", "GET", false),
        (303, "PUT", "GET", false),
        (303, "HEAD", "HEAD", true),
        (301, "PUT", "PUT", true),
        (302, "DELETE", "DELETE", true),
        (307, "POST", "POST", true),
        (308, "PATCH", "PATCH", true),
    ] {
        let (log, before) = (Log::default(), server.seen().len());
        let answer = send(&egress, request(method, &server.url("a.test", &format!("/r{status}"))), &terms, &log).await.unwrap();
        assert_eq!((answer.status, answer.hops), (200, 1), "{status} {method}");
        assert_eq!(answer.url, server.url("a.test", "/end?x=1"));
        let seen = server.seen()[before + 1].clone();
        assert!(seen.starts_with(&format!("{expected} /end?x=1 ")), "{status} {method}: {seen}");
        assert_eq!(seen.ends_with("data"), body, "{status} {method}: {seen}");
        assert_eq!(seen.contains("content-type"), body, "{status} {method}: {seen}");
        assert!(seen.contains("Bearer mine") && seen.contains("id=1"), "the origin is the same: {seen}");
        assert_eq!(log.brief(), [("a.test".into(), Some(status), None), ("a.test".into(), Some(200), None)]);
    }
}

#[tokio::test]
async fn secrets_do_not_follow_to_another_origin() {
    let end = Server::fixed(200, "", "end").await;
    let (other_host, other_port) = (end.url("b.test", "/"), end.url("a.test", "/"));
    let back = Server::start(move |request| match request.split(' ').nth(1).unwrap() {
        "/host" => redirect(307, &other_host),
        _ => redirect(307, &other_port),
    })
    .await;
    // Naive: each hop sends what the first one sent, and the other host has the token.
    let naive = naive().redirect(reqwest::redirect::Policy::none()).resolve("b.test", loopback(0).unwrap()).build().unwrap();
    let mut url = back.url("127.0.0.1", "/host");
    loop {
        let answer = naive.get(&url).header("authorization", "Bearer mine").send().await.unwrap();
        let Some(next) = answer.headers().get("location") else { break };
        next.to_str().unwrap().clone_into(&mut url);
    }
    assert!(end.seen()[0].contains("Bearer mine"));

    for path in ["/host", "/port"] {
        let before = end.seen().len();
        let answer = send(&egress(&[&end, &back]), request("POST", &back.url("a.test", path)), &terms(&[&end, &back]), &Log::default())
            .await
            .unwrap();
        assert_eq!(answer.hops, 1);
        let seen = end.seen()[before].clone();
        assert!(!seen.contains("mine") && !seen.contains("id=1") && !seen.contains("k3y"), "{seen}");
        assert!(seen.contains("x-plain: 1") && seen.ends_with("data"), "{seen}");
    }
}

/// What a redirect cannot do, and that the body of the redirect is never told.
#[tokio::test]
async fn redirects_that_are_refused() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let (same, literal) = (inner.port, format!("http://127.0.0.1:{}/", inner.port));
    for (location, code, host) in [
        ("http://c.test/".to_owned(), ErrorCode::EgressDenied, "c.test"),
        (format!("http://inner.test:{same}/"), ErrorCode::EgressDenied, "inner.test"),
        (literal, ErrorCode::EgressDenied, "127.0.0.1"),
        ("http://169.254.169.254/latest/meta-data/".into(), ErrorCode::EgressDenied, "169.254.169.254"),
        ("file:///etc/passwd".into(), ErrorCode::EgressDenied, ""),
        ("gopher://a.test/".into(), ErrorCode::EgressDenied, ""),
        ("data:text/html,x".into(), ErrorCode::EgressDenied, ""),
        ("http://u:p@a.test/".into(), ErrorCode::EgressDenied, ""),
        ("//ex%61mple.com/".into(), ErrorCode::EgressDenied, ""),
        ("/a\tb".into(), ErrorCode::EgressDenied, ""),
        ("\\\\c.test\\x".into(), ErrorCode::EgressDenied, ""),
        ("http://".into(), ErrorCode::EgressDenied, ""),
        (format!("/{}", "x".repeat(9000)), ErrorCode::LimitExceeded, ""),
        ("/a\r\nlocation: /b".into(), ErrorCode::EgressFailed, "a.test"),
    ] {
        let to = location.clone();
        let server = Server::start(move |_| redirect(302, &to)).await;
        let mut terms = terms(&[&server]);
        // The rules even allow some of these hosts; the guard does not.
        terms.rules = HostRules::parse([
            format!("a.test:{}", server.port),
            format!("inner.test:{same}"),
            format!("127.0.0.1:{same}"),
            "169.254.169.254".into(),
        ])
        .unwrap();
        let mut options = options(&[server.port]);
        options.resolver = Script::new(&[("a.test", &[&["127.0.0.1"]]), ("inner.test", &[&["127.0.0.1"]])]);
        let log = Log::default();
        let fault = send(&Egress::new(options).unwrap(), get(&server.url("a.test", "/")), &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, code, "{location}: {}", fault.message);
        assert!(!fault.message.contains("secret"), "{}", fault.message);
        let records = log.records();
        let last = records.last().unwrap();
        assert_eq!((last.host.as_str(), last.error), (host, Some(code)), "{location}");
        if code != ErrorCode::EgressFailed {
            assert_eq!((records.len(), records[0].status, last.status, last.hop), (2, Some(302), None, 1), "{location}");
        }
    }
    assert!(inner.seen().is_empty());
}

#[tokio::test]
async fn a_client_that_follows_by_itself_is_bitten() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let to = inner.url("127.0.0.1", "/");
    let server = Server::start(move |_| redirect(302, &to)).await;
    // Naive: the first host is checked, then the library follows.
    let naive = naive().build().unwrap();
    assert_eq!(naive.get(server.url("127.0.0.1", "/")).send().await.unwrap().text().await.unwrap(), "inner secret");

    let fault = send(&egress(&[&server]), get(&server.url("a.test", "/")), &terms(&[&server]), &Log::default()).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::EgressDenied);
    assert_eq!(inner.seen().len(), 1);
}

#[tokio::test]
async fn the_number_of_redirects_is_capped() {
    let server = Server::start(|_| redirect(302, "/again")).await;
    let (egress, url) = (egress(&[&server]), server.url("a.test", "/"));
    let mut terms = terms(&[&server]);
    for (cap, requests) in [(1, 2), (3, 4), (255, 256)] {
        terms.caps.redirects = cap;
        let (log, before) = (Log::default(), server.seen().len());
        let fault = send(&egress, get(&url), &terms, &log).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::LimitExceeded, "{}", fault.message);
        assert_eq!(server.seen().len() - before, requests);
        assert_eq!(log.records().len(), requests + 1, "the refused hop is recorded too");
    }
    terms.caps.redirects = 0;
    let answer = send(&egress, get(&url), &terms, &Log::default()).await.unwrap();
    assert_eq!((answer.status, answer.hops, &answer.body[..]), (302, 0, &b"secret"[..]));
    assert!(answer.headers.contains(&("location".into(), "/again".into())));
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_answer() {
    let server = Server::fixed(302, "", "body").await;
    let answer = send(&egress(&[&server]), get(&server.url("a.test", "/")), &terms(&[&server]), &Log::default()).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (302, &b"body"[..]));
}
