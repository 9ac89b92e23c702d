//! What a hostile program or host tries.

use proptest::prelude::*;

use super::*;
use crate::domain::ErrorCode;
use crate::egress::proxy::ask::Ask;
use crate::egress::proxy::body::{Body, Framing};

/// An address that is global unicast by its prefix and that nobody routes to.
const NOBODY: &str = "2000::1";

#[tokio::test]
async fn no_rules_mean_no_host() {
    let server = Server::fixed(200, "", "x").await;
    let (egress, mut terms) = at(server.port);
    // Naive: no list, no limit.
    let naive = |rules: &HostRules, origin: &Origin| rules.is_empty() || rules.allows(origin);
    let origin = Origin { scheme: Scheme::Https, host: Host::parse("a.test").unwrap(), port: server.port };
    assert!(naive(&HostRules::default(), &origin));

    terms.terms.rules = HostRules::default();
    let proxy = Running::start(&egress, terms);
    for request in [connect_to(&format!("a.test:{}", server.port)), get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))]
    {
        let answer = proxy.ask(&request).await;
        assert_eq!(status(&answer), "403", "{answer}");
        assert!(answer.contains("EGRESS_DENIED: host `a.test` on port") && answer.contains("no host is allowed here"), "{answer}");
    }
    assert!(server.seen().is_empty());
    let records = proxy.records(2).await;
    assert!(records.iter().all(|r| r.error == Some(ErrorCode::EgressDenied) && r.address.is_none()), "{records:?}");
}

#[tokio::test]
async fn a_name_that_turns_inward_is_resolved_once() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let turning = || Script::new(&[("turn.test", &[&[NOBODY], &["127.0.0.1"]])]);
    let request = get_of(&inner.url("turn.test", "/"), &format!("turn.test:{}", inner.port));

    // Naive: look the name up, judge it, then dial the name.
    let script = turning();
    for address in script.resolve("turn.test").await.unwrap() {
        address::judge(address).unwrap();
    }
    let dialled = script.resolve("turn.test").await.unwrap()[0];
    let mut naive = TcpStream::connect((dialled, inner.port)).await.unwrap();
    naive.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(rest(&mut naive).await.0.ends_with("inner secret"));

    for request in [request, connect_to(&format!("turn.test:{}", inner.port))] {
        let script = turning();
        let egress = Egress::new(EgressOptions { resolver: script.clone(), ..options(&[]) }).unwrap();
        let mut terms = allowing(&[&format!("turn.test:{}", inner.port)]);
        terms.terms.caps.connect = Millis(20);
        let proxy = Running::start(&egress, terms);
        let answer = proxy.ask(&request).await;
        assert!(matches!(status(&answer), "502" | "504"), "{answer}");
        assert_eq!(script.asked(), ["turn.test"]);
        // The next one asks again, and is refused.
        assert_eq!(status(&proxy.ask(&request).await), "403");
        let records = proxy.records(2).await;
        assert_eq!(records[0].address, Some(std::net::SocketAddr::new(NOBODY.parse().unwrap(), inner.port)));
        assert_eq!(inner.seen().len(), 1, "only the naive one came");
    }
}

#[tokio::test]
async fn inner_addresses_are_refused_in_every_spelling() {
    let inner = Server::fixed(200, "", "inner secret").await;
    let egress = Egress::new(options(&[])).unwrap();
    for host in INNER.into_iter().filter(|host| host.is_ascii()) {
        let to = format!("{host}:{}", inner.port);
        let proxy = Running::start(&egress, allowing(&[&to]));
        for request in [connect_to(&to), get_of(&inner.url(host, "/"), &to)] {
            let answer = proxy.ask(&request).await;
            assert_eq!(status(&answer), "403", "{host}: {answer}");
            assert!(answer.contains("not public"), "{host}: {answer}");
        }
        let records = proxy.records(2).await;
        assert!(records.iter().all(|r| r.error == Some(ErrorCode::EgressDenied) && r.address.is_none()), "{host}: {records:?}");
    }
    assert!(inner.seen().is_empty());
}

/// Heads that are refused before any name is looked up. `PORT` stands for the server's port.
#[tokio::test]
async fn hostile_heads() {
    let server = Server::fixed(200, "", "x").await;
    let script = Script::new(&[("a.test", &[&["127.0.0.1"]])]);
    let egress = Egress::new(EgressOptions { resolver: script.clone(), ..options(&[server.port]) }).unwrap();
    let proxy = Running::start(&egress, allowing(&[&format!("a.test:{}", server.port)]));
    // Naive readers that these deceive: one that decides by suffix, one that decides by `Host` and dials what the first line says.
    assert!("evil.test\0.a.test".ends_with("a.test"));
    let by_host = |head: &str| head.split_once("Host: ").is_some_and(|(_, host)| host.starts_with("a.test"));
    assert!(by_host("CONNECT evil.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"));

    let head = |line: &str, fields: &str| format!("{line}\r\nHost: a.test:PORT\r\n{fields}\r\n");
    let connect = |to: &str| format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let get = |fields: &str| head("GET http://a.test:PORT/ HTTP/1.1", fields);
    let post = |fields: &str, body: &str| format!("{}{body}", head("POST http://a.test:PORT/ HTTP/1.1", fields));
    let heads = [
        // Where to.
        (connect("evil.test\0.a.test:PORT"), "400"),
        (connect("a.test\0:PORT"), "400"),
        (connect("a.test\r:PORT"), "400"),
        (connect("a.test%00:PORT"), "400"),
        (connect("a%2etest:PORT"), "400"),
        (connect("user@a.test:PORT"), "400"),
        (connect("a.test@evil.test:PORT"), "400"),
        (connect("a.test:PORT@evil.test:443"), "400"),
        (connect("ä.test:PORT"), "400"),
        (connect("a.test"), "400"),
        (connect("a.test:"), "400"),
        (connect("a.test:0"), "400"),
        (connect("a.test:+PORT"), "400"),
        (connect("a.test:0PORT"), "400"),
        (connect("a.test:99999"), "400"),
        (connect("a.test:PORT/path"), "400"),
        (connect("http://a.test:PORT"), "400"),
        (connect("::1:PORT"), "400"),
        (connect("[fe80::1%25eth0]:PORT"), "400"),
        (connect("a..test:PORT"), "400"),
        (connect("*.test:PORT"), "400"),
        (connect("evil.test:PORT"), "403"),
        (connect("a.test.evil.test:PORT"), "403"),
        (connect("a.test:443"), "403"),
        (head("GET /path HTTP/1.1", ""), "400"),
        (head("OPTIONS * HTTP/1.1", ""), "400"),
        (head("GET https://a.test:PORT/ HTTP/1.1", ""), "400"),
        (head("GET ftp://a.test:PORT/ HTTP/1.1", ""), "403"),
        (head("GET file:///etc/passwd HTTP/1.1", ""), "400"),
        (head("GET http://user:pw@a.test:PORT/ HTTP/1.1", ""), "400"),
        (head("GET http://a.test:PORT\\@evil.test/ HTTP/1.1", ""), "400"),
        (head("GET http:a.test:PORT/ HTTP/1.1", ""), "400"),
        (head("GET http://a.test:PORT/#x HTTP/1.1", ""), "400"),
        (head("GET http://evil.test/ HTTP/1.1", ""), "400"),
        // Two authorities, or none.
        ("CONNECT evil.test:443 HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n".into(), "400"),
        ("CONNECT a.test:PORT HTTP/1.1\r\nHost: evil.test:PORT\r\n\r\n".into(), "400"),
        ("CONNECT a.test:PORT HTTP/1.1\r\nHost: a.test\r\n\r\n".into(), "400"),
        ("CONNECT a.test:PORT HTTP/1.1\r\n\r\n".into(), "400"),
        (get("Host: a.test:PORT\r\n"), "400"),
        (get("hOST : a.test:PORT\r\n"), "400"),
        // The form of a head.
        ("CONNECT a.test:PORT HTTP/1.1\nHost: a.test:PORT\n\n".into(), "400"),
        ("\r\nCONNECT a.test:PORT HTTP/1.1\r\nHost: a.test:PORT\r\n\r\n".into(), "400"),
        (head("CONNECT  a.test:PORT HTTP/1.1", ""), "400"),
        (head("CONNECT\ta.test:PORT HTTP/1.1", ""), "400"),
        (head("CONNECT a.test:PORT HTTP/1.1 ", ""), "400"),
        (head("CONNECT a.test:PORT HTTP/2.0", ""), "400"),
        (head("CONNECT a.test:PORT", ""), "400"),
        (head("connect a.test:PORT HTTP/1.1", ""), "400"),
        (head("G(T http://a.test:PORT/ HTTP/1.1", ""), "400"),
        (head("TRACE http://a.test:PORT/ HTTP/1.1", ""), "400"),
        (get("X : y\r\n"), "400"),
        (get(" folded\r\n"), "400"),
        (get("X: y\r\n folded\r\n"), "400"),
        (get("X: a\0b\r\n"), "400"),
        (get("X: a\rb\r\n"), "400"),
        (get("X: a\nY: b\r\n"), "400"),
        (get("no colon\r\n"), "400"),
        (get(": y\r\n"), "400"),
        (get(&"X: y\r\n".repeat(100)), "400"),
        (get(&format!("X: {}\r\n", "y".repeat(17 << 10))), "413"),
        (head(&format!("GET http://a.test:PORT/{} HTTP/1.1", "y".repeat(9 << 10)), ""), "413"),
        ("x".repeat(20 << 10), "413"),
        ("\u{16}\u{3}\u{1}\0\u{1}\n".into(), "400"),
        // Two lengths.
        (post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), "400"),
        (post("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), "400"),
        (post("Content-Length: 1, 1\r\n", "x"), "400"),
        (post("Content-Length: +1\r\n", "x"), "400"),
        (post("Content-Length: 01\r\n", "x"), "400"),
        (post("Content-Length: 0x1\r\n", "x"), "400"),
        (post("Content-Length:\r\n", ""), "400"),
        (post("Content-Length: 18446744073709551616\r\n", ""), "400"),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""), "400"),
        (post("Transfer-Encoding: gzip, chunked\r\n", ""), "400"),
        (post("Transfer-Encoding: xchunked\r\n", ""), "400"),
        (post("Transfer-Encoding: \u{b}chunked\r\n", ""), "400"),
        (post("Transfer-Encoding: identity\r\n", ""), "400"),
        (post("Expect: the worst\r\n", ""), "400"),
        (head("POST http://a.test:PORT/ HTTP/1.0", "Transfer-Encoding: chunked\r\n"), "400"),
        (head("CONNECT a.test:PORT HTTP/1.1", "Content-Length: 5\r\n"), "400"),
        (head("CONNECT a.test:PORT HTTP/1.1", "Transfer-Encoding: chunked\r\n"), "400"),
    ];
    let count = heads.len();
    for (text, expected) in heads {
        let text = text.replace("PORT", &server.port.to_string());
        let answer = proxy.ask(text.as_bytes()).await;
        assert_eq!(status(&answer), expected, "{text:?}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n") && !answer.contains("pw"), "{text:?}: {answer}");
    }
    assert!(server.seen().is_empty() && script.asked().is_empty());
    assert!(proxy.records(count).await.iter().all(|r| r.error.is_some() && r.status.is_none() && !format!("{r:?}").contains("pw")));
}

/// What follows the one request of a connection goes nowhere.
#[tokio::test]
async fn a_second_request_is_not_sent_on() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let second = "GET /admin HTTP/1.1\r\nHost: inner\r\n\r\n";
    let raw = Raw::start("\r\n\r\n", ANSWER).await;
    let mut naive = TcpStream::connect((Ipv4Addr::LOCALHOST, raw.port)).await.unwrap();
    // Naive: mend the head, hand the rest on.
    naive.write_all(format!("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n{second}").as_bytes()).await.unwrap();
    let _ = rest(&mut naive).await;
    assert!(raw.got().contains("/admin"));
    drop(naive);

    let (egress, terms) = at(raw.port);
    let proxy = Running::start(&egress, terms);
    for (framing, body) in [("", ""), ("Content-Length: 4\r\n", "\r\n\r\n"), ("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n")] {
        raw.got.lock().unwrap().clear();
        let request = format!("POST http://a.test:{0}/ HTTP/1.1\r\nHost: a.test:{0}\r\n{framing}\r\n{body}{second}", raw.port);
        let answer = proxy.ask(request.as_bytes()).await;
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        assert!(raw.got().starts_with("POST / ") && !raw.got().contains("admin"), "{}", raw.got());
    }
}

#[tokio::test]
async fn chunks_with_two_readings_are_cut_off() {
    let raw = Raw::start("0\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (egress, terms) = at(raw.port);
    let proxy = Running::start(&egress, terms);
    for body in [
        "5;x=y\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello",
        "5;\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\n0\r\n\r\n",
        "0\r\nX\n",
        "fffffffffffffffff\r\n",
        "0\r\nX-Smuggled: 1\r\n\r\n",
        "0\r\nGET /admin HTTP/1.1\r\n\r\n",
    ] {
        raw.got.lock().unwrap().clear();
        let request = format!("POST http://a.test:{0}/ HTTP/1.1\r\nHost: a.test:{0}\r\nTransfer-Encoding: chunked\r\n\r\n{body}", raw.port);
        let answer = proxy.ask(request.as_bytes()).await;
        assert_eq!(status(&answer), "400", "{body:?}: {answer}");
        assert!(!raw.got().contains("hello") && !raw.got().contains("muggled") && !raw.got().contains("admin"), "{}", raw.got());
    }
    // A body that ends before its end is not passed off as whole.
    let mut stream = proxy.connect().await;
    let request = format!("POST http://a.test:{0}/ HTTP/1.1\r\nHost: a.test:{0}\r\nContent-Length: 9\r\n\r\nabc", raw.port);
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(status(&rest(&mut stream).await.0), "400");
}

/// The program never sees an answer that two readers could read in two ways, nor the words of a host that it gets no answer from.
#[tokio::test]
async fn hostile_answers() {
    for text in [
        "inner words",
        "HTTP/1.1 200 OK\n\ninner words",
        "HTTP/1.1 200 OK\r\nX : inner words\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: inner words\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: inner\0words\r\n\r\n",
        "HTTP/1.1 200 inner\rwords\r\n\r\n",
        "HTTP/1.1 20 inner words\r\n\r\n",
        "HTTP/1.1 2000 inner words\r\n\r\n",
        "HTTP/1.1 600 inner words\r\n\r\n",
        "HTTP/3 200 inner words\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nupgrade: inner\r\n\r\nwords",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\ninner",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\ninner",
        "HTTP/1.1 200 OK\r\ncontent-length: 5",
        "",
    ] {
        let server = Server::start(move |_| Reply::Say(text.into())).await;
        let (egress, terms) = at(server.port);
        let proxy = Running::start(&egress, terms);
        let answer = proxy.ask(&get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))).await;
        assert_eq!(status(&answer), "502", "{text:?}: {answer}");
        assert!(!answer.contains("inner") && !answer.contains("words") && answer.contains("EGRESS_FAILED"), "{text:?}: {answer}");
        assert_eq!(proxy.records(1).await[0].error, Some(ErrorCode::EgressFailed));
    }
    for (first, more) in [("HTTP/1.1 200 OK\r\n", "x: inner words\r\n"), ("", "HTTP/1.1 103 X\r\n\r\n")] {
        let server = Server::start(move |_| Reply::Flood(first.into(), more.into())).await;
        let (egress, terms) = at(server.port);
        let proxy = Running::start(&egress, terms);
        let answer = proxy.ask(&get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))).await;
        assert_eq!(status(&answer), "502", "{answer}");
    }
}

fn record() -> send::Note {
    send::Note::new("test", "", 0)
}

proptest! {
    /// However a body arrives, exactly the body is taken.
    #[test]
    fn a_framing_takes_its_body_and_no_more(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..5),
        chunked in any::<bool>(),
        after in prop::collection::vec(any::<u8>(), 0..20),
        piece in 1..40_usize,
    ) {
        let plain = chunks.concat();
        let mut body = Vec::new();
        for chunk in &chunks {
            body.extend(format!("{:x}\r\n", chunk.len()).bytes().chain(chunk.iter().copied()).chain(*b"\r\n"));
        }
        body.extend(b"0\r\n\r\n");
        let (framing, body) = if chunked { (Body::Chunked, body) } else { (Body::Exact(plain.len() as u64), plain) };
        let mut framing = Framing::new(framing);
        let mut taken = 0;
        for bytes in [body.clone(), after].concat().chunks(piece) {
            taken += framing.take(bytes).unwrap();
        }
        prop_assert!(framing.is_done());
        prop_assert_eq!(taken, body.len());
    }

    /// Whatever passes has one reading: one head, whose host is the one decided on.
    #[test]
    fn what_passes_is_one_request(
        method in "[A-Z]{1,5}|CONNECT",
        to in "(http://)?[a-zA-Z0-9.@%:\\[\\]]{1,12}(:[0-9]{1,5})?(/[!-~]{0,6})?",
        fields in "([a-zA-Z-]{0,5}[ :]{1,2}[ -~\t\r\n\u{0}é]{0,8}(\r\n|\n)){0,3}",
        same in any::<bool>(),
    ) {
        let host = to.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let host = if same { format!("Host: {host}\r\n") } else { String::new() };
        let text = format!("{method} {to} HTTP/1.1\r\n{host}{fields}");
        let mut note = record();
        let ask = Ask::parse(text.trim_end_matches("\r\n").as_bytes(), &Caps::default(), &mut note);
        if let Ok(ask) = ask {
            let (origin, head) = match &ask {
                Ask::Tunnel(origin) => (origin, None),
                Ask::Fetch(fetch) => (&fetch.origin, Some(String::from_utf8_lossy(&fetch.head).into_owned())),
            };
            prop_assert_eq!(&note.record.host, &origin.host.to_string());
            prop_assert_eq!(Host::parse(&note.record.host), Ok(origin.host.clone()));
            if let Some(head) = head {
                prop_assert_eq!(head.find("\r\n\r\n"), Some(head.len() - 4), "{}", head);
                prop_assert_eq!(head.matches("\nhost: ").count(), 1);
                prop_assert_eq!(head.matches('\n').count(), head.matches("\r\n").count());
                prop_assert!(!head.contains('\0') && head.matches('\r').count() == head.matches('\n').count());
            }
        }
    }
}
