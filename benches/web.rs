//! The web tools beside the raw client that they stand on, in the same run, against one server on the loopback.
//!
//! `cargo bench --profile dev --bench web [-- FETCHES]`. The whole path is measured: policy, the log on disk, the robots file kept, the page
//! stored and read. The raw client (reqwest) opens a connection for each request, as ours does, and reads the body.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use toolgate::app::FrontDoor;
use toolgate::call::NoProgress;
use toolgate::cli::ports::{CallAsk, Door as _, House};
use toolgate::config::{self, Ambient, Options};
use toolgate::egress::{
    Caps, Egress, EgressOptions, HostRules, NoCredentials, PrivateException, Request, RequestLog, RequestRecord, SystemResolver, Terms,
};
use toolgate::tools::web::markdown::convert;

#[path = "shared/mod.rs"]
#[expect(dead_code, reason = "shared with other benchmarks")]
mod shared;

use shared::{Committer, Outcome, at, median, millis};

/// At once, where many are.
const AT_ONCE: usize = 50;

#[expect(clippy::print_stdout, reason = "a benchmark's output is its result")]
fn say(what: &str, figure: &str) {
    println!("{what:<72} {figure}");
}

fn main() -> Outcome<()> {
    let fetches = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000);
    markdown()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(network(fetches))
}

/// A page as they are: navigation, a long text with links, code and tables, a footer.
fn page(paragraphs: usize) -> String {
    let navigation: String = (0..40).map(|n| format!("<li><a href='/n{n}'>Section {n}</a></li>")).collect();
    let text: String = (0..paragraphs)
        .map(|n| {
            format!(
                "<h2>Part {n}</h2><p>A runtime polls futures, and a <a href='/doc/{n}'>reactor</a> wakes them; both are needed for programs that \
                 wait for <em>many</em> things at once, as servers do all day long, and as <code>select</code> did before.</p>\
                 <pre><code class='language-rust'>fn part_{n}() {{ block_on(async {{ {n} }}); }}</code></pre>\
                 <table><tr><th>Name</th><th>Threads</th></tr><tr><td>small</td><td>1</td></tr><tr><td>large</td><td>{n}</td></tr></table>"
            )
        })
        .collect();
    format!(
        "<!doctype html><html lang=en><head><title>On Runtimes</title><script>var x = '<p>';</script></head><body><nav><ul>{navigation}</ul></nav>\
         <article><h1>On Runtimes</h1>{text}</article><footer>Nobody</footer></body></html>"
    )
}

fn markdown() -> Outcome<()> {
    let base = "http://bench.test/".parse()?;
    for paragraphs in [20, 200, 2_000] {
        let html = page(paragraphs);
        let rounds = (8_000 / paragraphs).clamp(3, 200);
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let begun = Instant::now();
            assert!(convert(&html, &base).markdown.contains("block_on"), "the text is there");
            ours.push(begun.elapsed());
            let begun = Instant::now();
            assert!(htmd::convert(&html)?.contains("block_on"), "the text is there");
            peer.push(begun.elapsed());
        }
        let rate = |spans: Vec<Duration>| html.len() as f64 / 1e6 / median(spans).as_secs_f64();
        let (ours, peer) = (rate(ours), rate(peer));
        say(
            &format!("HTML of {} KB to Markdown, main text found", html.len() / 1000),
            &format!("{ours:.1} MB/s; htmd alone, all of the page: {peer:.1} MB/s"),
        );
    }
    Ok(())
}

/// Answers everything, one request a connection.
async fn serve(listener: TcpListener, page: Arc<str>) {
    while let Ok((stream, _)) = listener.accept().await {
        #[expect(clippy::disallowed_methods, reason = "a benchmark's server ends with it")]
        drop(tokio::spawn(answer(stream, page.clone())));
    }
}

async fn answer(mut stream: TcpStream, page: Arc<str>) -> std::io::Result<()> {
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        head.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
    let (status, kind, body): (_, _, &str) = if head.starts_with(b"GET /w/api.php") {
        let found: Vec<Value> = (0..10).map(|n| json!({ "title": format!("Article {n}"), "snippet": "a <b>match</b>" })).collect();
        let body = json!({ "query": { "search": found } }).to_string();
        return write(&mut stream, 200, "application/json", &body).await;
    } else if head.starts_with(b"GET /robots.txt") {
        (404, "text/plain", "")
    } else if head.starts_with(b"GET /small") {
        (200, "text/plain", "hello")
    } else {
        (200, "text/html; charset=utf-8", &page)
    };
    write(&mut stream, status, kind, body).await
}

async fn write(stream: &mut TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Forgets everything.
struct NoLog;

#[async_trait::async_trait]
impl RequestLog for NoLog {
    async fn record(&self, _record: RequestRecord) -> Result<(), toolgate::domain::Fault> {
        Ok(())
    }
}

async fn network(fetches: usize) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    #[expect(clippy::disallowed_methods, reason = "a benchmark's server ends with it")]
    drop(tokio::spawn(serve(listener, page(20).into())));
    let base = format!("http://127.0.0.1:{port}");
    let folder = tempfile::tempdir()?;
    let house = open(folder.path(), port).await?;
    let raw = raw()?;
    let egress = Egress::new(EgressOptions {
        proxy: None,
        private: vec![PrivateException { purpose: "bench".into(), host: "127.0.0.1".into(), port }],
        extra_roots_pem: None,
        resolver: Arc::new(SystemResolver),
        credentials: Arc::new(NoCredentials),
    })?;
    let terms = Terms { purpose: "bench".into(), rules: HostRules::parse([format!("127.0.0.1:{port}")])?, caps: Caps::default() };

    let rounds = (fetches / 5).max(20);
    let small = format!("{base}/small");
    let (mut by_raw, mut by_egress, mut by_fetch, mut by_search, mut commits) = (vec![], vec![], vec![], vec![], vec![]);
    let mut commit = Committer::open(&folder.path().join("floor.db")).await?;
    for round in 0..rounds + 10 {
        let spans = [
            timed(raw_get(&raw, &small)).await?,
            timed(egress_get(&egress, &terms, &small)).await?,
            timed(call(&house, "web.fetch", json!({ "url": small }))).await?,
            timed(call(&house, "web.search", json!({ "query": "rust async runtime" }))).await?,
            commit.one().await?,
        ];
        // The first ones open what the rest uses.
        if round >= 10 {
            for (all, span) in [&mut by_raw, &mut by_egress, &mut by_fetch, &mut by_search, &mut commits].into_iter().zip(spans) {
                all.push(span);
            }
        }
    }
    let (raw_p50, floor) = (median(by_raw), median(commits));
    say("one small GET by the raw client: p50", &format!("{:.3} ms", millis(raw_p50)));
    let above = |span: Duration| millis(span.saturating_sub(raw_p50));
    let egress_p50 = median(by_egress);
    say("the same by egress, without a record: p50", &format!("{:.3} ms, {:.3} ms above it", millis(egress_p50), above(egress_p50)));
    say("one bare durable commit (the log makes three of a fetch): p50", &format!("{:.3} ms", millis(floor)));
    for (what, spans) in [("web.fetch of the same, whole path", by_fetch), ("web.search, whole path", by_search)] {
        let p50 = median(spans);
        say(&format!("{what}: p50"), &format!("{:.3} ms, {:.3} ms above the raw client", millis(p50), above(p50)));
    }

    let article = format!("{base}/article");
    let (raw_rate, raw_p99) = many(fetches, || timed(raw_get(&raw, &article))).await?;
    say(&format!("{fetches} pages by the raw client, {AT_ONCE} at once"), &format!("{raw_rate:.0}/s, p99 {raw_p99:.1} ms"));
    let (rate, p99) = many(fetches, || timed(egress_get(&egress, &terms, &article))).await?;
    say(&format!("{fetches} pages by egress, {AT_ONCE} at once"), &format!("{rate:.0}/s = {:.2} of it, p99 {p99:.1} ms", rate / raw_rate));
    let (rate, p99) = many(fetches, || timed(call(&house, "web.fetch", json!({ "url": article })))).await?;
    say(
        &format!("{fetches} pages by web.fetch, {AT_ONCE} at once"),
        &format!("{rate:.0}/s = {:.2} of it, p99 {p99:.1} ms", rate / raw_rate),
    );
    house.close().await;
    Ok(())
}

/// A house on a new home, without pace and cache, which searches this server.
async fn open(folder: &std::path::Path, port: u16) -> Outcome<Arc<dyn House>> {
    let mut ambient = Ambient { platform: Ambient::of_process().platform, ..Ambient::default() };
    for (name, value) in [
        ("TOOLGATE_EGRESS_PRIVATE", format!("web=127.0.0.1:{port}")),
        ("TOOLGATE_EGRESS_PER_HOST_PER_SECOND", "0".to_owned()),
        ("TOOLGATE_WEB_PROVIDERS", "wikipedia".to_owned()),
        ("TOOLGATE_WEB_ENDPOINTS", format!("wikipedia=http://127.0.0.1:{port}")),
        ("TOOLGATE_WEB_CACHE_BYTES", "0".to_owned()),
    ] {
        ambient.vars.insert(name.to_owned(), value.into());
    }
    let options = Options { home: Some(folder.join("home")), ..Options::default() };
    let config = config::load(&options, &ambient).map_err(|problems| problems.to_string())?;
    Ok(FrontDoor::new().open(&config).await?)
}

fn raw() -> Outcome<reqwest::Client> {
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).http1_only().tcp_nodelay(true).build()?)
}

async fn raw_get(client: &reqwest::Client, url: &str) -> Outcome<()> {
    let body = client.get(url).send().await?.bytes().await?;
    if body.is_empty() { Err("an empty body".into()) } else { Ok(()) }
}

async fn egress_get(egress: &Egress, terms: &Terms, url: &str) -> Outcome<()> {
    let request = Request { method: "GET".into(), url: url.into(), headers: Vec::new(), body: bytes::Bytes::new() };
    let answer = egress.send(request, terms, &CancellationToken::new(), &NoLog).await?;
    if answer.status == 200 { Ok(()) } else { Err("no page".into()) }
}

async fn call(house: &Arc<dyn House>, tool: &str, arguments: Value) -> Outcome<()> {
    let ask = CallAsk { tool: tool.to_owned(), arguments, progress: Arc::new(NoProgress), cancel: CancellationToken::new() };
    house.call(ask).await?.outcome?;
    Ok(())
}

async fn timed(work: impl Future<Output = Outcome<()>>) -> Outcome<Duration> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// So many, some at once: the rate, and the time that one in a hundred takes longer than, in milliseconds.
async fn many<F: Future<Output = Outcome<Duration>>>(count: usize, one: impl Fn() -> F) -> Outcome<(f64, f64)> {
    let begun = Instant::now();
    let mut spans = Vec::with_capacity(count);
    let mut running = stream::iter((0..count).map(|_| one())).buffer_unordered(AT_ONCE);
    while let Some(span) = running.next().await {
        spans.push(span?);
    }
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    spans.sort_unstable();
    Ok((rate, millis(at(&spans, 99))))
}
