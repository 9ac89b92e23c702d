//! Answers that are kept: for whom, for how long, and when not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::sync::CancellationToken;

use super::support::*;
use crate::domain::{Bytes, Clock, ErrorCode, Fault, Timestamp};
use crate::egress::*;

/// A clock that a test moves.
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_800_000_000_000 + self.0.load(Ordering::SeqCst) * 1_000)
    }
}

struct Scene {
    folder: tempfile::TempDir,
    clock: Arc<Hand>,
    server: Server,
    egress: Egress,
    log: Log,
}

impl Scene {
    async fn new(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let server = Server::start(reply).await;
        let egress = egress(&[&server]);
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(Hand(AtomicU64::new(0))), server, egress, log: Log::default() }
    }

    fn cache(&self, most: u64) -> Cache {
        Cache::new(self.folder.path().join("http"), Bytes(most), self.clock.clone())
    }

    async fn send(&self, request: Request, owner: &str) -> Result<Answer, Fault> {
        self.send_by(&self.egress, request, owner, &terms(&[&self.server])).await
    }

    async fn send_by(&self, egress: &Egress, request: Request, owner: &str, terms: &Terms) -> Result<Answer, Fault> {
        let (cache, cancel) = (self.cache(1 << 20), CancellationToken::new());
        egress.send_cached(request, terms, Patience { tries: 1, ..Patience::default() }, (&cache, owner), (&cancel, &self.log)).await
    }

    fn page(&self, path: &str) -> Request {
        get(&self.server.url("a.test", path))
    }
}

#[tokio::test]
async fn a_fresh_answer_is_kept_for_its_time_and_each_hit_is_recorded() {
    let scene = Scene::new(|_| ok("cache-control: max-age=60\r\nx-own: 1\r\n", "kept")).await;
    for _ in 0..2 {
        let answer = scene.send(scene.page("/?q=secret"), "alice").await.unwrap();
        assert_eq!((answer.status, answer.body.as_ref()), (200, &b"kept"[..]));
        assert!(answer.headers.iter().any(|(name, value)| (name.as_str(), value.as_str()) == ("x-own", "1")));
    }
    assert_eq!(scene.server.seen().len(), 1);
    let records = scene.log.records();
    assert_eq!(
        records.iter().map(|record| (record.cached, record.status, record.path.as_str())).collect::<Vec<_>>(),
        [(false, Some(200), "/"), (true, Some(200), "/")]
    );
    // Another owner's is not his, and a later time is not now.
    scene.send(scene.page("/?q=secret"), "bob").await.unwrap();
    assert_eq!(scene.server.seen().len(), 2);
    scene.clock.0.store(61, Ordering::SeqCst);
    scene.send(scene.page("/?q=secret"), "alice").await.unwrap();
    assert_eq!(scene.server.seen().len(), 3);
}

#[tokio::test]
async fn what_is_stale_is_asked_about_by_its_validator() {
    let scene = Scene::new(|request| {
        if request.to_lowercase().contains("if-none-match: \"v1\"") {
            Reply::Say("HTTP/1.1 304 X\r\netag: \"v1\"\r\ncache-control: max-age=60\r\n\r\n".into())
        } else {
            ok("etag: \"v1\"\r\ncache-control: max-age=0\r\n", "kept")
        }
    })
    .await;
    for (hits, at) in [(1, 0), (2, 5), (2, 6)] {
        scene.clock.0.store(at, Ordering::SeqCst);
        let answer = scene.send(scene.page("/"), "alice").await.unwrap();
        assert_eq!((answer.status, answer.body.as_ref()), (200, &b"kept"[..]), "at {at}");
        assert_eq!(scene.server.seen().len(), hits, "at {at}: what was confirmed is fresh again");
    }
}

#[tokio::test]
async fn what_is_not_for_all_is_not_kept() {
    for headers in ["cache-control: private, max-age=60\r\n", "cache-control: no-store\r\n", "cache-control: max-age=60\r\nvary: *\r\n", ""]
    {
        let scene = Scene::new(move |_| ok(headers, "x")).await;
        for _ in 0..2 {
            scene.send(scene.page("/"), "alice").await.unwrap();
        }
        assert_eq!(scene.server.seen().len(), 2, "{headers}");
    }
    let scene = Scene::new(|_| ok("cache-control: max-age=60\r\n", "x")).await;
    for _ in 0..2 {
        for name in ["authorization", "cookie", "range"] {
            scene.send(with(scene.page("/"), &[(name, "x")]), "alice").await.unwrap();
        }
        scene.send(Request { method: "POST".into(), ..scene.page("/") }, "alice").await.unwrap();
    }
    assert_eq!(scene.server.seen().len(), 8);
    let scene = Scene::new(|_| Reply::Say("HTTP/1.1 404 X\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n".into())).await;
    for _ in 0..2 {
        scene.send(scene.page("/"), "alice").await.unwrap();
    }
    assert_eq!(scene.server.seen().len(), 2);
}

#[tokio::test]
async fn a_kept_answer_opens_nothing_that_is_closed_now() {
    let scene = Scene::new(|_| ok("cache-control: max-age=60\r\n", "0123456789")).await;
    scene.send(scene.page("/"), "alice").await.unwrap();
    // The caller's rules and caps hold for what is kept as well.
    let mut tight = terms(&[&scene.server]);
    tight.caps.answer_body = Bytes(5);
    assert_eq!(scene.send_by(&scene.egress, scene.page("/"), "alice", &tight).await.unwrap_err().code, ErrorCode::LimitExceeded);
    let closed = Terms { rules: HostRules::default(), ..terms(&[&scene.server]) };
    assert_eq!(scene.send_by(&scene.egress, scene.page("/"), "alice", &closed).await.unwrap_err().code, ErrorCode::EgressDenied);
    // So does the operator's exception, once it is taken back.
    let without = Egress::new(EgressOptions { private: Vec::new(), ..options(&[]) }).unwrap();
    let refused = scene.send_by(&without, scene.page("/"), "alice", &terms(&[&scene.server])).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::EgressDenied);
}

#[tokio::test]
async fn what_lies_there_is_not_trusted_and_does_not_grow() {
    let scene = Scene::new(|_| ok("cache-control: max-age=60\r\n", &"x".repeat(1000))).await;
    scene.send(scene.page("/"), "alice").await.unwrap();
    let folder = scene.folder.path().join("http");
    let files = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let kept = std::fs::read(&files()[0]).unwrap();
    for broken in [&b""[..], b"{}\nx", &kept[..kept.len() - 1], b"\xff\xff\n", &[kept.as_slice(), b"more"].concat()] {
        std::fs::write(&files()[0], broken).unwrap();
        let before = scene.server.seen().len();
        assert_eq!(scene.send(scene.page("/"), "alice").await.unwrap().body.len(), 1000);
        assert_eq!(scene.server.seen().len(), before + 1);
    }
    // A file that is another address's: moved there, it is no answer.
    let of_first = files()[0].clone();
    scene.send(scene.page("/other"), "alice").await.unwrap();
    let of_other = files().into_iter().find(|path| *path != of_first).unwrap();
    std::fs::copy(&of_first, &of_other).unwrap();
    let before = scene.server.seen().len();
    scene.send(scene.page("/other"), "alice").await.unwrap();
    assert_eq!(scene.server.seen().len(), before + 1);

    let (small, cancel) = (scene.cache(10_000), CancellationToken::new());
    for number in 0..40 {
        let page = scene.page(&format!("/{number}"));
        let ports: (&CancellationToken, &dyn RequestLog) = (&cancel, &scene.log);
        scene.egress.send_cached(page, &terms(&[&scene.server]), Patience::default(), (&small, "alice"), ports).await.unwrap();
    }
    let size: u64 = files().iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    assert!(size <= 10_000 && !files().is_empty(), "{size}");
}
