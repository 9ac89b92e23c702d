//! Caps, times and cancels.

use tokio_util::sync::CancellationToken;

use super::support::*;
use crate::domain::{Bytes, ErrorCode, Millis};
use crate::egress::*;

/// Sends to a server that does this, with changed caps; gives the error's code, the record, and the server.
async fn fails(reply: fn() -> Reply, caps: impl Fn(&mut Caps)) -> (ErrorCode, RequestRecord, Server) {
    let server = Server::start(move |_| reply()).await;
    let (mut terms, log) = (terms(&[&server]), Log::default());
    caps(&mut terms.caps);
    let egress = warm(&server, &terms.caps).await;
    let fault = send(&egress, get(&server.url("a.test", "/")), &terms, &log).await.unwrap_err();
    assert!(fault.hint.is_some(), "{}", fault.message);
    assert_eq!(log.records().len(), 1);
    let record = log.records().remove(0);
    assert_eq!(record.error, Some(fault.code));
    (fault.code, record, server)
}

#[tokio::test]
async fn a_body_without_end_is_cut() {
    let flood = || Reply::Flood("HTTP/1.1 200 OK\r\n\r\n".into(), "x".repeat(1000));
    let (code, record, server) = fails(flood, |caps| caps.answer_body = Bytes(100_000)).await;
    assert_eq!((code, record.status), (ErrorCode::LimitExceeded, Some(200)));
    assert!((100_000..2_000_000).contains(&record.bytes_in.0), "{record:?}");
    server.left.notified().await;
    // The same in chunks, which tell no length either.
    let chunks = || Reply::Flood("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(), "4\r\nabcd\r\n".repeat(100));
    assert_eq!(fails(chunks, |caps| caps.answer_body = Bytes(100_000)).await.0, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn a_length_over_the_cap_is_not_even_read() {
    let told = || Reply::Hang("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n".into());
    let (code, record, server) = fails(told, |caps| caps.answer_body = Bytes(10)).await;
    assert_eq!((code, record.status), (ErrorCode::LimitExceeded, Some(200)));
    server.left.notified().await;
}

#[tokio::test]
async fn the_cap_itself_is_allowed() {
    let server = Server::fixed(200, "content-encoding: gzip\r\n", "0123456789").await;
    let (egress, mut terms) = (egress(&[&server]), terms(&[&server]));
    terms.caps.answer_body = Bytes(10);
    let answer = send(&egress, get(&server.url("a.test", "/")), &terms, &Log::default()).await.unwrap();
    assert_eq!(&answer.body[..], b"0123456789", "what is said to be gzip is handed on as it came");
    terms.caps.answer_body = Bytes(9);
    assert_eq!(send(&egress, get(&server.url("a.test", "/")), &terms, &Log::default()).await.unwrap_err().code, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn headers_without_end_are_cut() {
    let one = || Reply::Flood("HTTP/1.1 200 OK\r\nx: ".into(), "x".repeat(1000));
    assert_eq!(fails(one, |_| {}).await.0, ErrorCode::LimitExceeded);
    let many = || Reply::Flood("HTTP/1.1 200 OK\r\n".into(), "x: y\r\n".repeat(50));
    assert_eq!(fails(many, |_| {}).await.0, ErrorCode::LimitExceeded);
    let large = || ok(&format!("x: {}\r\n", "x".repeat(2000)), "");
    assert_eq!(fails(large, |caps| caps.answer_headers = Bytes(1000)).await.0, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn the_wall_time_ends_everything() {
    let silent = || Reply::Hang(String::new());
    let half = || Reply::Hang("HTTP/1.1 200 OK\r\nx: ".into());
    let stuck = || Reply::Hang("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab".into());
    let drip = || Reply::Drip("HTTP/1.1 200 OK\r\n\r\n".into());
    for reply in [silent, half, stuck, drip] {
        let (code, record, server) = fails(reply, |caps| caps.wall = Millis(250)).await;
        assert_eq!(code, ErrorCode::Timeout);
        assert!(record.duration.0 >= 100, "{record:?}");
        server.left.notified().await;
    }
}

/// The time is for all hops together: each of these alone is quick enough.
#[tokio::test]
async fn redirects_share_the_wall_time() {
    let server = Server::start(|_| Reply::Late("HTTP/1.1 302 X\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n".into())).await;
    let (mut terms, log) = (terms(&[&server]), Log::default());
    terms.caps.redirects = 255;
    terms.caps.wall = Millis(300);
    let egress = warm(&server, &terms.caps).await;
    let fault = send(&egress, get(&server.url("a.test", "/")), &terms, &log).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Timeout);
    let records = log.records();
    assert!((1..20).contains(&records.len()), "{}", records.len());
    assert_eq!(records.last().unwrap().error, Some(ErrorCode::Timeout));
}

#[tokio::test]
async fn a_server_that_does_not_take_the_connection() {
    // TLS is asked for, and the other side never says a word.
    let server = Server::start(|_| Reply::Hang(String::new())).await;
    let mut terms = terms(&[&server]);
    terms.caps.connect = Millis(100);
    let log = Log::default();
    let url = server.url("a.test", "/").replace("http:", "https:");
    let fault = send(&egress(&[&server]), get(&url), &terms, &log).await.unwrap_err();
    assert_eq!(fault.code, ErrorCode::Timeout, "{}", fault.message);
    assert!(fault.message.contains("connected"), "{}", fault.message);
    assert_eq!(log.records()[0].address, loopback(server.port));
}

#[tokio::test]
async fn a_cancel_frees_the_connection_at_once() {
    for reply in [|| Reply::Hang(String::new()), || Reply::Hang("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab".into())] {
        let server = Server::start(move |_| reply()).await;
        let (egress, terms, log, cancel) = (egress(&[&server]), terms(&[&server]), Log::default(), CancellationToken::new());
        let sending = egress.send(get(&server.url("a.test", "/")), &terms, &cancel, &log);
        let cancelling = async {
            server.began.notified().await;
            cancel.cancel();
        };
        let (answer, ()) = tokio::join!(sending, cancelling);
        assert_eq!(answer.unwrap_err().code, ErrorCode::Cancelled);
        assert_eq!(log.records()[0].error, Some(ErrorCode::Cancelled));
        // The client, the egress and the answer's future still exist; the connection does not.
        server.left.notified().await;
    }
    // One that was cancelled before is not sent.
    let server = Server::fixed(200, "", "x").await;
    let (cancel, log) = (CancellationToken::new(), Log::default());
    cancel.cancel();
    let answer = egress(&[&server]).send(get(&server.url("a.test", "/")), &terms(&[&server]), &cancel, &log).await;
    assert_eq!(answer.unwrap_err().code, ErrorCode::Cancelled);
    assert!(server.seen().is_empty());
}
