//! Requests made again: when, how often, and when not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::support::*;
use crate::domain::{ErrorCode, Fault, Millis};
use crate::egress::*;

const QUICK: Patience = Patience { tries: 3, pause: Millis(1), longest: Millis(1_500) };

/// Answers with the first so often, then with 200.
async fn after(times: usize, first: &'static str) -> Server {
    let count = Arc::new(AtomicUsize::new(0));
    Server::start(move |_| if count.fetch_add(1, Ordering::SeqCst) < times { Reply::Say(first.to_owned()) } else { ok("", "good") }).await
}

async fn patiently(server: &Server, method: &str, terms: &Terms, log: &Log) -> Result<Answer, Fault> {
    let request = Request { method: method.into(), ..get(&server.url("a.test", "/")) };
    let cancel = CancellationToken::new();
    warm(server, &terms.caps).await.send_patiently(request, terms, &NoFill, QUICK, (&cancel, log)).await
}

const BUSY: &str = "HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_busy_server_is_asked_again_and_each_try_is_recorded() {
    for first in [
        BUSY,
        "HTTP/1.1 429 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 504 X\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = after(2, first).await;
        let log = Log::default();
        let answer = patiently(&server, "GET", &terms(&[&server]), &log).await.unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"good"[..]));
        let statuses: Vec<_> = log.records().iter().map(|record| record.status.unwrap()).collect();
        assert_eq!((statuses.len(), statuses[2]), (3, 200), "{statuses:?}");
    }
}

#[tokio::test]
async fn in_the_end_the_answer_is_the_answer() {
    let server = after(usize::MAX, BUSY).await;
    let log = Log::default();
    assert_eq!(patiently(&server, "GET", &terms(&[&server]), &log).await.unwrap().status, 503);
    assert_eq!(log.records().len(), 3);
    // What the server means is asked once.
    let server = after(usize::MAX, "HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(patiently(&server, "GET", &terms(&[&server]), &log).await.unwrap().status, 404);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_broken_connection_is_made_again_and_a_lie_about_the_length_is_a_broken_one() {
    for first in ["", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort"] {
        let server = after(1, first).await;
        let log = Log::default();
        assert_eq!(patiently(&server, "GET", &terms(&[&server]), &log).await.unwrap().body.as_ref(), b"good");
        let codes: Vec<_> = log.records().iter().map(|record| record.error).collect();
        assert_eq!(codes, [Some(ErrorCode::EgressFailed), None]);
    }
}

#[tokio::test]
async fn what_changes_something_is_sent_once() {
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let server = after(1, BUSY).await;
        assert_eq!(patiently(&server, method, &terms(&[&server]), &Log::default()).await.unwrap().status, 503);
        assert_eq!(server.seen().len(), 1, "{method}");
    }
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    let server = after(usize::MAX, BUSY).await;
    let log = Log::default();
    let terms = Terms { rules: HostRules::parse(["other.test"]).unwrap(), ..terms(&[&server]) };
    assert_eq!(patiently(&server, "GET", &terms, &log).await.unwrap_err().code, ErrorCode::EgressDenied);
    assert_eq!((log.records().len(), server.seen().len()), (1, 0));
}

#[tokio::test]
async fn a_server_that_says_when_is_not_asked_before() {
    let server = after(1, "HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n").await;
    let begun = Instant::now();
    assert_eq!(patiently(&server, "GET", &terms(&[&server]), &Log::default()).await.unwrap().status, 200);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    // One that asks for more than there is patience is left alone, at once.
    let server = after(1, "HTTP/1.1 429 X\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(patiently(&server, "GET", &terms(&[&server]), &Log::default()).await.unwrap().status, 429);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn the_wall_time_and_a_cancel_hold_for_all_tries() {
    let server = after(usize::MAX, "HTTP/1.1 429 X\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n").await;
    let mut short = terms(&[&server]);
    short.caps.wall = Millis(600);
    let begun = Instant::now();
    assert_eq!(patiently(&server, "GET", &short, &Log::default()).await.unwrap().status, 429);
    assert_eq!(server.seen().len(), 1, "the next try would begin after the end: {:?}", begun.elapsed());

    let (cancel, log) = (CancellationToken::new(), Log::default());
    let patience = Patience { longest: Millis(600_000), ..QUICK };
    let server = after(usize::MAX, "HTTP/1.1 429 X\r\nretry-after: 500\r\ncontent-length: 0\r\n\r\n").await;
    let (egress, mut long) = (egress(&[&server]), terms(&[&server]));
    long.caps.wall = Millis(1_000_000);
    let sending = egress.send_patiently(get(&server.url("a.test", "/")), &long, &NoFill, patience, (&cancel, &log));
    let cancelling = async {
        server.began.notified().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    };
    let (answer, ()) = tokio::join!(sending, cancelling);
    assert_eq!(answer.unwrap_err().code, ErrorCode::Cancelled);
}

#[tokio::test]
async fn each_host_has_a_pace_of_its_own_and_what_is_refused_waits_for_nothing() {
    let (server, other) = (after(0, "").await, after(0, "").await);
    let one = NonZeroU32::new(4).unwrap();
    let egress = Egress::new(options(&[server.port, other.port])).unwrap().paced(Pace::new(one, NonZeroU32::MIN));
    let (terms, log) = (terms(&[&server, &other]), Log::default());
    send(&egress, get(&server.url("a.test", "/")), &terms, &log).await.unwrap();
    let begun = Instant::now();
    for _ in 0..4 {
        send(&egress, get(&server.url("a.test", "/")), &terms, &log).await.unwrap();
    }
    // Four more at four a second.
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    // The limit says nothing about another host: its turn is now. All turns of the first are far away.
    let slow = Egress::new(options(&[server.port, other.port])).unwrap().paced(Pace::new(NonZeroU32::MIN, NonZeroU32::MIN));
    send(&slow, get(&server.url("a.test", "/")), &terms, &log).await.unwrap();
    let mut hasty = terms.clone();
    hasty.caps.wall = Millis(300);
    assert_eq!(send(&slow, get(&server.url("a.test", "/")), &hasty, &log).await.unwrap_err().code, ErrorCode::Timeout);
    send(&slow, get(&other.url("a.test", "/")), &terms, &log).await.unwrap();
    assert_eq!(send(&slow, get("http://other.test/"), &hasty, &log).await.unwrap_err().code, ErrorCode::EgressDenied);
    let before = server.seen().len();
    assert_eq!(log.records().iter().filter(|record| record.error == Some(ErrorCode::Timeout)).count(), 1);
    assert_eq!(before, 6, "who waited in vain sent nothing");
}
