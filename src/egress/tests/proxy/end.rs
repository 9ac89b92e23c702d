//! Limits, silence, and ends that come early.

use super::*;
use crate::domain::{Bytes, ErrorCode};

/// A tunnel to a port, open.
async fn tunnel(proxy: &Running, port: u16) -> TcpStream {
    let mut stream = proxy.connect().await;
    stream.write_all(&connect_to(&format!("a.test:{port}"))).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream
}

/// What a server of one line needs to begin.
const GO: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_end() {
    let (egress, mut terms) = at(1);
    terms.head = Millis(30);
    let proxy = Running::start(&egress, terms);
    let answer = proxy.ask(b"CONNECT a.test:1 HTTP/1.1\r\nHost").await;
    assert_eq!(status(&answer), "408", "{answer}");
    // One that says nothing at all, and one that drips: the time is for the whole head.
    assert_eq!(status(&proxy.ask(b"").await), "408");
    let (mut reader, mut writer) = proxy.connect().await.into_split();
    let mut drip = JoinSet::new();
    drip.spawn(async move {
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(5));
        while writer.write_all(b"x").await.is_ok() {
            pause.tick().await;
        }
    });
    let mut said = [0; 12];
    reader.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"HTTP/1.1 408");
    // One that ends in the middle, and one that leaves without a word.
    let mut stream = proxy.connect().await;
    stream.write_all(b"CONNECT a").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(status(&rest(&mut stream).await.0), "400");
    let mut stream = proxy.connect().await;
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await.0, "");
    let errors: Vec<_> = proxy.records(5).await.into_iter().map(|r| r.error).collect();
    let late = Some(ErrorCode::Timeout);
    assert_eq!(errors, [late, late, late, Some(ErrorCode::InvalidInput), None]);
}

#[tokio::test]
async fn only_so_many_connections_at_once() {
    let server = Server::start(|_| Reply::Hang(String::new())).await;
    let (egress, mut terms) = at(server.port);
    terms.connections = 2;
    let proxy = Running::start(&egress, terms);
    let (first, _second) = (tunnel(&proxy, server.port).await, tunnel(&proxy, server.port).await);
    // The third has to wait: nobody reads its head before another is done.
    let mut third = proxy.connect().await;
    third.write_all(&connect_to(&format!("a.test:{}", server.port))).await.unwrap();
    let waited = tokio::time::timeout(std::time::Duration::from_millis(50), third.read_u8()).await;
    assert!(waited.is_err(), "{waited:?}");
    drop(first);
    assert!(head(&mut third).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn only_so_many_connections_in_all() {
    let server = Server::fixed(200, "", "x").await;
    let (egress, mut terms) = at(server.port);
    terms.total = 2;
    let proxy = Running::start(&egress, terms);
    let request = get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port));
    assert_eq!(status(&proxy.ask(&request).await), "200");
    assert_eq!(status(&proxy.ask(&request).await), "200");
    let answer = proxy.ask(&request).await;
    assert!(status(&answer) == "429" && answer.contains("2 connections"), "{answer}");
    let gone = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).await.map(drop);
    assert_eq!(gone.map_err(|e| e.kind()), Err(ErrorKind::ConnectionRefused));
    let records = proxy.records(3).await;
    assert_eq!((records.len(), records[2].error), (3, Some(ErrorCode::LimitExceeded)));
}

#[tokio::test]
async fn bytes_are_counted_over_all_connections() {
    let server = Server::start(|_| Reply::Flood(String::new(), "x".repeat(5000))).await;
    let (egress, mut terms) = at(server.port);
    terms.bytes = Bytes(100_000);
    let proxy = Running::start(&egress, terms);
    // Naive: whoever only counts its own connection lets two have twice as much.
    let (mut one, mut two) = (tunnel(&proxy, server.port).await, tunnel(&proxy, server.port).await);
    one.write_all(GO).await.unwrap();
    two.write_all(GO).await.unwrap();
    let (one, two) = tokio::join!(rest(&mut one), rest(&mut two));
    assert_eq!((one.1, two.1), (Err(ErrorKind::ConnectionReset), Err(ErrorKind::ConnectionReset)), "what is cut off does not look whole");
    assert!(one.0.len() + two.0.len() <= 100_000 - 2 * GO.len());
    let answer = proxy.ask(&connect_to(&format!("a.test:{}", server.port))).await;
    assert!(status(&answer) == "429" && answer.contains("100000 bytes"), "{answer}");
    let records = proxy.records(3).await;
    let moved: u64 = records.iter().map(|r| r.bytes_in.0 + r.bytes_out.0).sum();
    assert_eq!(moved, 100_000);
    assert!(records.iter().all(|r| r.error == Some(ErrorCode::LimitExceeded)), "{records:?}");
}

/// The bound itself is allowed, one byte less is not; a program that sends counts as well.
#[tokio::test]
async fn the_bound_of_bytes_is_exact() {
    for (bytes, whole) in [(GO.len() + 10, true), (GO.len() + 9, false), (3, false)] {
        let server = Server::start(|_| Reply::Say("0123456789".into())).await;
        let (egress, mut terms) = at(server.port);
        terms.bytes = Bytes(bytes as u64);
        terms.idle = Millis(2000);
        let proxy = Running::start(&egress, terms);
        let mut stream = tunnel(&proxy, server.port).await;
        stream.write_all(GO).await.unwrap();
        stream.shutdown().await.unwrap();
        let (text, end) = rest(&mut stream).await;
        assert_eq!((text == "0123456789", end.is_ok()), (whole, whole), "{bytes}: {text}");
        let record = proxy.records(1).await.remove(0);
        assert_eq!((record.bytes_in.0 + record.bytes_out.0, record.error.is_none()), (bytes as u64, whole));
    }
    // Plain http: an answer without length that is cut off must not end as if it were whole.
    let server = Server::start(|_| Reply::Say(format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(50_000)))).await;
    let (egress, mut terms) = at(server.port);
    terms.bytes = Bytes(30_000);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    stream.write_all(&get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))).await.unwrap();
    let (text, end) = rest(&mut stream).await;
    assert!(text.starts_with("HTTP/1.1 200 ") && end == Err(ErrorKind::ConnectionReset), "{end:?}");
}

#[tokio::test]
async fn silence_and_age_end_a_connection() {
    let silent = Server::start(|_| Reply::Hang(String::new())).await;
    let dripping = Server::start(|_| Reply::Drip(String::new())).await;
    for (server, idle, wall, why) in [(&silent, 40, 20_000, "silence"), (&dripping, 2000, 60, "age")] {
        let (egress, mut terms) = at(server.port);
        terms.idle = Millis(idle);
        terms.terms.caps.wall = Millis(wall);
        let proxy = Running::start(&egress, terms);
        let mut stream = tunnel(&proxy, server.port).await;
        stream.write_all(GO).await.unwrap();
        assert_eq!(rest(&mut stream).await.1, Err(ErrorKind::ConnectionReset), "{why}");
        assert_eq!(proxy.records(1).await[0].error, Some(ErrorCode::Timeout), "{why}");
    }
    // A host that never answers a plain request is a host that is too slow.
    let (egress, mut terms) = at(silent.port);
    terms.idle = Millis(40);
    let proxy = Running::start(&egress, terms);
    let answer = proxy.ask(&get_of(&silent.url("a.test", "/"), &format!("a.test:{}", silent.port))).await;
    assert_eq!(status(&answer), "504", "{answer}");
    // One that keeps moving is not silent.
    let (egress, mut terms) = at(dripping.port);
    terms.idle = Millis(60);
    let proxy = Running::start(&egress, terms);
    let mut stream = tunnel(&proxy, dripping.port).await;
    stream.write_all(GO).await.unwrap();
    stream.read_exact(&mut [0; 40]).await.unwrap();
}

#[tokio::test]
async fn a_cancel_ends_everything_soon() {
    let server = Server::start(|_| Reply::Hang("HTTP/1.1 200 OK\r\n\r\nbegun".into())).await;
    let (egress, terms) = at(server.port);
    let mut proxy = Running::start(&egress, terms);
    let mut waiting = tunnel(&proxy, server.port).await;
    let mut answered = proxy.connect().await;
    answered.write_all(&get_of(&server.url("a.test", "/"), &format!("a.test:{}", server.port))).await.unwrap();
    head(&mut answered).await;
    let mut asking = proxy.connect().await;
    asking.write_all(b"CONNECT").await.unwrap();
    // One that was refused and does not leave.
    let mut refused = proxy.connect().await;
    refused.write_all(b"nothing\r\n\r\n").await.unwrap();
    head(&mut refused).await;

    let begun = std::time::Instant::now();
    proxy.stop.cancel();
    proxy.served.join_next().await.unwrap().unwrap();
    assert!(begun.elapsed().as_millis() < 100, "{:?}", begun.elapsed());
    for stream in [&mut waiting, &mut answered, &mut asking] {
        assert_eq!(rest(stream).await.1, Err(ErrorKind::ConnectionReset));
    }
    let errors: Vec<_> = proxy.kept.log.records().into_iter().map(|r| r.error).collect();
    assert_eq!(errors.iter().filter(|e| **e == Some(ErrorCode::Cancelled)).count(), 3, "{errors:?}");
    assert_eq!(errors.len(), 4);
    server.left.notified().await;
}

#[tokio::test]
async fn either_side_may_leave_early() {
    // The host: before an answer, and in a tunnel.
    let server = Server::start(|_| Reply::Say(String::new())).await;
    let (egress, terms) = at(server.port);
    let proxy = Running::start(&egress, terms);
    let mut stream = tunnel(&proxy, server.port).await;
    stream.write_all(GO).await.unwrap();
    assert_eq!(rest(&mut stream).await, (String::new(), Ok(())));
    drop(stream);
    // The program: the host sees it, although it says nothing itself.
    let hanging = Server::start(|_| Reply::Hang(String::new())).await;
    let (egress, terms) = at(hanging.port);
    let other = Running::start(&egress, terms);
    let mut stream = tunnel(&other, hanging.port).await;
    stream.write_all(GO).await.unwrap();
    hanging.began.notified().await;
    drop(stream);
    hanging.left.notified().await;
    // Nobody listens there.
    let (egress, terms) = at(1);
    let nobody = Running::start(&egress, terms);
    let answer = nobody.ask(&connect_to("a.test:1")).await;
    assert!(status(&answer) == "502" && answer.contains("connection refused"), "{answer}");
    let record = nobody.records(1).await.remove(0);
    assert_eq!((record.error, record.status, record.address), (Some(ErrorCode::EgressFailed), None, loopback(1)));
    assert_eq!(proxy.records(1).await[0].error, None);
}

#[tokio::test]
async fn without_records_nothing_is_served() {
    let server = Server::fixed(200, "", "x").await;
    let (egress, terms) = at(server.port);
    let mut proxy = Running::logged(&egress, terms, Log::broken());
    let mut stream = proxy.connect().await;
    stream.write_all(&get_of("http://other.test/", "other.test")).await.unwrap();
    assert_eq!(rest(&mut stream).await, (String::new(), Err(ErrorKind::ConnectionReset)));
    proxy.served.join_next().await.unwrap().unwrap();
    assert!(!proxy.stop.is_cancelled(), "it ended by itself, and ended nothing else");
}

/// Closed with unread bytes, a connection is reset, and what was said last may be lost.
#[tokio::test]
async fn a_refusal_can_be_read_to_its_end() {
    let (egress, terms) = at(1);
    let proxy = Running::start(&egress, terms);
    let mut stream = proxy.connect().await;
    stream.write_all(&vec![b'x'; 100_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let (text, end) = rest(&mut stream).await;
    assert_eq!((status(&text), end), ("413", Ok(())), "{text}");
}
