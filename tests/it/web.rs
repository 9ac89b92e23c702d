//! `web.search` and `web.fetch` through the real binary, against local servers that speak each service's documented form.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::web_server::{Asked, Reply, WebServer};
use crate::support::{Ran, Toolgate};
use crate::vault::{as_operator, assert_nowhere};

pub const KEY: &str = crate::vault::CANARY;

pub fn settings(command: &mut Command, server: &WebServer, providers: &[&str]) {
    let each = |make: &dyn Fn(&str) -> String| providers.iter().map(|name| make(name)).collect::<Vec<_>>().join(",");
    command
        .env("TOOLGATE_EGRESS_PRIVATE", format!("web=127.0.0.1:{}", server.port))
        .env("TOOLGATE_WEB_PROVIDERS", providers.join(","))
        .env("TOOLGATE_WEB_ENDPOINTS", each(&|name| format!("{name}={}", server.base())))
        .env("TOOLGATE_WEB_KEYS", "brave=secret:KEY,tavily=secret:KEY,google=secret:KEY")
        .env("TOOLGATE_WEB_GOOGLE_ENGINE", "engine")
        .env("TOOLGATE_WEB_CACHE_BYTES", "0")
        // Proxies of the environment are nobody's word.
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .env("http_proxy", "http://127.0.0.1:9")
        .env("ALL_PROXY", "http://127.0.0.1:9")
        .env("TOOLGATE_LOG", "debug");
}

pub fn call(toolgate: &Toolgate, server: &WebServer, providers: &[&str], tool: &str, arguments: &Value) -> Ran {
    let mut command = toolgate.command(&["tools", "call", tool, &arguments.to_string(), "--json"]);
    settings(&mut command, server, providers);
    Ran::of(command.output().unwrap())
}

/// What the tool gave.
pub fn value(ran: &Ran) -> Value {
    let whole: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr));
    whole["output"].clone()
}

pub fn with_key(server: &WebServer) -> Toolgate {
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    as_operator(&toolgate, &["vault", "set", "KEY", "--hosts", &server.base()], &format!("{KEY}\n")).exits(0);
    toolgate
}

/// Every service at once, each at its own path.
pub fn services(asked: &Asked) -> Reply {
    let hit = |title: &str| json!({ "title": title, "url": format!("https://{title}.test/"), "link": format!("https://{title}.test/"), "description": "d", "content": "c", "snippet": "s" });
    let keyed = |header: &str, before: &str| asked.header(header) == Some(&format!("{before}{KEY}"));
    match asked.path() {
        "/res/v1/web/search" if keyed("x-subscription-token", "") => Reply::json(&json!({ "web": { "results": [hit("brave")] } })),
        "/customsearch/v1" if keyed("x-goog-api-key", "") => Reply::json(&json!({ "items": [hit("google")] })),
        "/search" if asked.method == "POST" && keyed("authorization", "Bearer ") => Reply::json(&json!({ "results": [hit("tavily")] })),
        "/search" if asked.method == "GET" => Reply::json(&json!({ "results": [hit("searxng")] })),
        "/html/" => Reply::html("<div class=result><a class=result__a href='https://duckduckgo.test/'>duckduckgo</a></div>"),
        "/w/api.php" => Reply::json(&json!({ "query": { "search": [{ "title": "wikipedia", "snippet": "s" }] } })),
        _ => Reply::new(401, "text/plain", "no key"),
    }
}

#[test]
fn each_service_is_searched_in_its_own_form_and_its_key_is_seen_by_it_alone() {
    let server = WebServer::start(services);
    let toolgate = with_key(&server);
    let all = ["brave", "tavily", "searxng", "google", "duckduckgo", "wikipedia"];
    for name in all {
        let ran = call(&toolgate, &server, &all, "web.search", &json!({ "query": "rust async runtime", "provider": name })).exits(0);
        let found = value(&ran);
        assert_eq!(
            (&found["provider"], &found["results"][0]["title"], &found["results"][0]["rank"]),
            (&json!(name), &json!(name), &json!(1))
        );
        assert_eq!(found["results"][0]["source"], name);
        assert_nowhere("the answer", ran.stdout.as_bytes());
        assert_nowhere("the log", ran.stderr.as_bytes());
    }
    for file in crate::support::files(&toolgate.data()) {
        assert_nowhere(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
    let requests = toolgate.http_requests();
    assert!(
        requests.iter().all(|request| request["purpose"] == "web" && request["host"] == "127.0.0.1" && request["path"].is_string()),
        "{requests:?}"
    );
    assert!(!requests.is_empty() && !serde_json::to_string(&requests).unwrap().contains("async"), "no query is recorded: {requests:?}");
}

#[test]
fn a_service_that_fails_is_passed_over_with_its_reason() {
    let server = WebServer::start(|asked| match asked.path() {
        "/res/v1/web/search" => Reply::new(429, "application/json", "{}"),
        "/html/" => Reply::html("<p>Are you a robot?</p>"),
        _ => services(asked),
    });
    let toolgate = with_key(&server);
    let found = value(&call(&toolgate, &server, &["brave", "duckduckgo", "wikipedia"], "web.search", &json!({ "query": "x" })).exits(0));
    assert_eq!(found["provider"], "wikipedia");
    let passed = found["passed_over"].as_array().unwrap();
    assert!(
        passed[0]["reason"].as_str().unwrap().contains("no more requests") && passed[1]["reason"].as_str().unwrap().contains("robot"),
        "{passed:?}"
    );
    // 429 is asked again a few times before it is believed.
    assert_eq!(server.times("/res/v1/web/search"), 3);

    let none = call(&toolgate, &server, &["brave"], "web.search", &json!({ "query": "x" })).exits(1);
    assert!(none.stdout.contains("EGRESS_FAILED") || none.stderr.contains("EGRESS_FAILED"), "{none:?}");
    let cannot = call(&toolgate, &server, &["wikipedia"], "web.search", &json!({ "query": "x", "site": "docs.rs" })).exits(2);
    assert!(format!("{cannot:?}").contains("no filter for `site`"), "{cannot:?}");
}

#[test]
fn a_key_goes_only_where_its_terms_allow() {
    let server = WebServer::start(services);
    let toolgate = Toolgate::new();
    as_operator(&toolgate, &["init"], "").exits(0);
    as_operator(&toolgate, &["vault", "set", "KEY", "--hosts", "https://api.search.brave.com"], &format!("{KEY}\n")).exits(0);
    let ran = call(&toolgate, &server, &["brave"], "web.search", &json!({ "query": "x" })).exits(3);
    assert!(format!("{ran:?}").contains("SECRET_REFUSED"), "{ran:?}");
    assert!(server.asked().is_empty(), "nothing was sent");
}

#[test]
fn settings_that_cannot_work_are_told_at_once() {
    let server = WebServer::start(services);
    let toolgate = Toolgate::new();
    for (variable, text, word) in [
        ("TOOLGATE_WEB_PROVIDERS", "altavista", "altavista"),
        ("TOOLGATE_WEB_PROVIDERS", "brave,brave", "twice"),
        ("TOOLGATE_WEB_KEYS", "brave=sk-12345", "secret:NAME"),
        ("TOOLGATE_WEB_ENDPOINTS", "searxng=ftp://x", "http or https"),
        ("TOOLGATE_WEB_DAILY", "brave=many", "NUMBER"),
        ("TOOLGATE_WEB_ROBOTS", "maybe", "heed"),
    ] {
        let mut command = toolgate.command(&["config", "check"]);
        settings(&mut command, &server, &["brave"]);
        let ran = Ran::of(command.env(variable, text).output().unwrap()).exits(2);
        assert!(ran.stderr.contains(word), "{variable}={text}: {}", ran.stderr);
    }
}

const ARTICLE: &str = r##"<!doctype html><html lang="en"><head><title>On Runtimes</title><meta name="author" content="Ada Byron">
<script>alert("script text")</script><style>.x{}</style></head><body>
<nav><a href="/home">Home</a><a href="/about">About us</a></nav>
<article><h1>On Runtimes</h1><p>A runtime polls futures, and a reactor wakes them; both are needed for programs that wait for many things at once, as servers do all day long.</p>
<p>See <a href="/guide?utm=1#top">the guide</a> and <a href="https://other.test/x">another site</a>. The following example shows the smallest program that uses one, and it is worth reading slowly, line by line, before going on.</p>
<pre><code class="language-rust">fn main() {
    block_on(async { 1 + 1 });
}</code></pre>
<table><thead><tr><th>Name</th><th>Threads</th></tr></thead><tbody><tr><td>small</td><td>1</td></tr><tr><td>large</td><td>many</td></tr></tbody></table>
<p>A last paragraph with enough words in it that whoever looks for the main text of this page finds it here, and nowhere in the navigation around it.</p></article>
<footer>Copyright nobody</footer></body></html>"##;

#[test]
fn a_page_is_read_as_markdown_and_its_original_is_kept() {
    let server = WebServer::start(|asked| match asked.path() {
        "/page" => Reply::html(ARTICLE),
        "/data.json" => Reply::new(200, "application/json", r#"{"a": [1, 2]}"#),
        "/latin" => Reply::new(200, "text/plain; charset=iso-8859-1", b"caf\xe9".to_vec()),
        "/moved" => Reply::new(301, "text/plain", "").header("Location", "/page"),
        "/away" => Reply::new(302, "text/plain", "").header("Location", "https://elsewhere.test/landing"),
        "/inside" => Reply::new(302, "text/plain", "").header("Location", "http://localhost:1/admin"),
        "/round" => Reply::new(302, "text/plain", "").header("Location", "/round"),
        "/blob" => Reply::new(200, "application/octet-stream", vec![0, 1, 2, 255]),
        "/missing" => Reply::new(404, "text/html", "<title>Gone</title><p>Nothing is here any more.</p>"),
        _ => Reply::new(404, "text/plain", ""),
    });
    let toolgate = Toolgate::new();
    let fetch = |path: &str| call(&toolgate, &server, &[], "web.fetch", &json!({ "url": format!("{}{path}", server.base()) }));
    let page = value(&fetch("/page").exits(0));
    let text = page["text"].as_str().unwrap();
    for whole in ["A runtime polls futures", "[the guide](", "```rust\nfn main() {", "block_on(async { 1 + 1 });", "| small", "Threads"] {
        assert!(text.contains(whole), "{whole} is missing:\n{text}");
    }
    for around in ["script text", "About us", "Copyright nobody", "<p>"] {
        assert!(!text.contains(around), "{around} stayed:\n{text}");
    }
    assert_eq!((&page["title"], &page["status"], &page["content_type"]), (&json!("On Runtimes"), &json!(200), &json!("text/html")));
    assert_eq!((&page["byline"], &page["language"]), (&json!("Ada Byron"), &json!("en")));
    let links: Vec<&str> = page["links"].as_array().unwrap().iter().map(|link| link["url"].as_str().unwrap()).collect();
    assert_eq!(links, [format!("{}/guide?utm=1", server.base()).as_str(), "https://other.test/x"]);
    let original = page["original"]["artifact"].as_str().unwrap();
    let kept = toolgate.json(0, &["tools", "call", "artifact.read", &json!({ "artifact": original }).to_string(), "--json"]);
    assert!(kept.to_string().contains("script text"), "{kept}");

    assert_eq!(value(&fetch("/data.json").exits(0))["text"], r#"{"a": [1, 2]}"#);
    assert_eq!(value(&fetch("/latin").exits(0))["text"], "café");
    let moved = value(&fetch("/moved").exits(0));
    assert_eq!((&moved["url"], &moved["title"]), (&json!(format!("{}/page", server.base())), &json!("On Runtimes")));
    for (path, place) in [("/away", "https://elsewhere.test/landing"), ("/inside", "http://localhost:1/admin")] {
        let away = value(&fetch(path).exits(0));
        assert_eq!((&away["moved_to"], &away["status"]), (&json!(place), &json!(302)), "{away}");
    }
    assert!(format!("{:?}", fetch("/round").exits(1)).contains("more than 5 times"));
    assert!(value(&fetch("/blob").exits(0))["unread"].as_str().unwrap().contains("artifact"));
    assert_eq!(value(&fetch("/missing").exits(0))["status"], 404);
}

#[test]
fn robots_files_are_heeded_unless_the_operator_says_otherwise() {
    let server = WebServer::start(|asked| match asked.path() {
        "/robots.txt" => Reply::new(200, "text/plain", "User-agent: *\nDisallow: /closed\n"),
        _ => Reply::html("<title>T</title><p>text</p>"),
    });
    let toolgate = Toolgate::new();
    let fetch = |path: &str, robots: &str| {
        let arguments = json!({ "url": format!("{}{path}", server.base()) }).to_string();
        let mut command = toolgate.command(&["tools", "call", "web.fetch", &arguments, "--json"]);
        settings(&mut command, &server, &[]);
        Ran::of(command.env("TOOLGATE_WEB_ROBOTS", robots).output().unwrap())
    };
    fetch("/open", "heed").exits(0);
    assert!(format!("{:?}", fetch("/closed/x", "heed").exits(1)).contains("EGRESS_DENIED"));
    assert_eq!(server.times("/closed/x"), 0);
    fetch("/closed/x", "ignore").exits(0);
}

#[test]
fn hostile_answers_end_in_errors_or_in_bounded_text() {
    use std::io::Write as _;
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b'a'; 64 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let server = WebServer::start(move |asked| match asked.path() {
        "/bomb" => Reply::html("").header("Content-Encoding", "gzip").with_body(bomb.clone()),
        "/large" => Reply::html(&"x".repeat(3 << 20)),
        "/deep" => Reply::html(&format!("<title>deep</title>{}bottom", "<div>".repeat(100_000))),
        "/tables" => Reply::html(&"<table><tr><td>".repeat(20_000)),
        "/links" => Reply::html(&(0..5_000).map(|n| format!("<p><a href='/{n}'>n {n}</a></p>")).collect::<String>()),
        "/broken.pdf" => Reply::new(200, "application/pdf", "%PDF-1.7\n1 0 obj << /Type /Catalog >> [[[[[[["),
        "/deep.pdf" => Reply::new(200, "application/pdf", format!("%PDF-1.7\n1 0 obj {} endobj", "[".repeat(1 << 20))),
        "/nul" => Reply::html("<title>a\u{0}b\u{202e}</title>\u{1b}[31m"),
        _ => Reply::new(404, "text/plain", ""),
    });
    let toolgate = Toolgate::new();
    let fetch = |path: &str| call(&toolgate, &server, &[], "web.fetch", &json!({ "url": format!("{}{path}", server.base()) }));
    for path in ["/bomb", "/large"] {
        let ran = fetch(path).exits(1);
        assert!(format!("{ran:?}").contains("LIMIT_EXCEEDED"), "{path}: {ran:?}");
    }
    for path in ["/broken.pdf", "/deep.pdf"] {
        let page = value(&fetch(path).exits(0));
        assert!(page["unread"].as_str().unwrap().contains("PDF") && page["text"] == "" && page["original"].is_object(), "{path}: {page}");
    }
    let deep = value(&fetch("/deep").exits(0));
    assert!(deep["text"].as_str().unwrap().contains("bottom"), "{deep}");
    fetch("/tables").exits(0);
    assert_eq!(value(&fetch("/links").exits(0))["links"].as_array().unwrap().len(), 100);
    let nul = fetch("/nul").exits(0);
    assert!(!nul.stdout.contains('\u{1b}') && !nul.stdout.contains('\0'), "{}", nul.stdout);
}

#[test]
fn private_addresses_and_other_schemes_are_refused_in_every_spelling() {
    let toolgate = Toolgate::new();
    let server = WebServer::start(|_| Reply::html("inside"));
    let port = server.port;
    for url in [
        format!("http://localhost:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://example.com/".to_owned(),
        "data:text/html,x".to_owned(),
        format!("http://user:pass@127.0.0.1:{port}/"),
        "http://".to_owned(),
    ] {
        // Without the exception that the other tests set.
        let arguments = json!({ "url": url }).to_string();
        let ran = Ran::of(toolgate.command(&["tools", "call", "web.fetch", &arguments, "--json"]).output().unwrap());
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        let (code, exit) = (told["error"]["code"].as_str().unwrap_or_default(), ran.code);
        assert!([("EGRESS_DENIED", 1), ("INVALID_INPUT", 2)].contains(&(code, exit)), "{url}: {ran:?}");
    }
    assert!(server.asked().is_empty(), "{:?}", server.asked());
}

#[test]
fn a_page_is_kept_for_as_long_as_its_server_allows_and_asked_about_after() {
    let server = WebServer::start(|asked| match (asked.path(), asked.header("if-none-match")) {
        ("/robots.txt", _) => Reply::new(404, "text/plain", ""),
        (_, Some("\"v1\"")) => Reply::new(304, "text/html", "").header("ETag", "\"v1\""),
        (path, _) if path.starts_with("/fresh") => Reply::html("<p>kept</p>").header("Cache-Control", "max-age=600"),
        (path, _) if path.starts_with("/private") => Reply::html("<p>kept</p>").header("Cache-Control", "private, max-age=600"),
        _ => Reply::html("<p>kept</p>").header("ETag", "\"v1\"").header("Cache-Control", "max-age=0"),
    });
    let toolgate = Toolgate::new();
    // The cache is shared by all tests, so the addresses are this test's own.
    let own = toolgate.home().file_name().unwrap().to_str().unwrap().to_owned();
    let fetch = |path: &str| {
        let arguments = json!({ "url": format!("{}{path}-{own}", server.base()) }).to_string();
        let mut command = toolgate.command(&["tools", "call", "web.fetch", &arguments, "--json"]);
        settings(&mut command, &server, &[]);
        value(&Ran::of(command.env("TOOLGATE_WEB_CACHE_BYTES", "1000000").output().unwrap()).exits(0))
    };
    for (path, times) in [("/fresh", 1), ("/private", 2), ("/asks", 2)] {
        let (first, second) = (fetch(path), fetch(path));
        assert_eq!((&first["text"], &second["text"], &second["status"]), (&json!("kept"), &json!("kept"), &json!(200)), "{path}");
        assert_eq!(server.times(&format!("{path}-{own}")), times, "{path}");
    }
    let asked = server.asked();
    assert!(asked.iter().any(|asked| asked.path().starts_with("/asks") && asked.header("if-none-match") == Some("\"v1\"")));
}
