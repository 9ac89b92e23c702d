//! Google Drive through the real binary: queries, documents, exports, and everything that its documentation says can go wrong.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::domain::{Digest, ErrorCode};
use toolgate::tools::drive::{Provider as _, Query};

use crate::drive_login::{log_in, prepared};
use crate::support::drive_room::{context, google_drive};
use crate::support::google::Google;
use crate::support::{Ran, Toolgate, files};

pub fn command(toolgate: &Toolgate, google: &Google, tool: &str, arguments: &Value) -> Command {
    let mut command = toolgate.command(&["tools", "call", tool, &arguments.to_string(), "--json"]);
    google.settings(&mut command);
    command
}

pub fn call(toolgate: &Toolgate, google: &Google, tool: &str, arguments: &Value) -> Ran {
    Ran::of(command(toolgate, google, tool, arguments).output().unwrap())
}

pub fn value(ran: &Ran) -> Value {
    serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr))["output"].clone()
}

/// A home that is logged in.
pub fn logged_in(google: &Google) -> Toolgate {
    let toolgate = prepared(google);
    log_in(&toolgate, google);
    toolgate
}

fn titles(found: &Value) -> Vec<&str> {
    found["results"].as_array().unwrap().iter().map(|hit| hit["title"].as_str().unwrap()).collect()
}

fn refusal(ran: &Ran, code: &str) {
    assert!(ran.code != 0 && format!("{ran:?}").contains(code), "wanted {code}: {ran:?}");
}

#[test]
fn what_is_searched_for_is_words_and_changes_no_query() {
    let google = Google::start();
    google.put("plain1", "orchard plan.md", "text/markdown", b"about trees");
    google.put("quote1", "it's a plan.md", "text/markdown", b"quotes");
    google.put("slash1", "back\\slash.md", "text/markdown", b"slashes");
    google.put("folder1", "plan folder", "application/vnd.google-apps.folder", b"");
    google.put("other1", "unrelated.md", "text/markdown", b"nothing");
    let toolgate = logged_in(&google);
    for (query, expected) in [
        ("plan", vec!["orchard plan.md", "it's a plan.md"]),
        ("it's plan", vec!["it's a plan.md"]),
        ("back\\slash", vec!["back\\slash.md"]),
        // With an unescaped quote each of these would be another query, and find everything or fail.
        ("' or trashed = true or name contains '", vec![]),
        ("x\\' or fullText contains \\'plan", vec![]),
        ("'", vec!["it's a plan.md"]),
        ("\\", vec!["back\\slash.md"]),
    ] {
        let found = value(&call(&toolgate, &google, "drive.search", &json!({ "query": query })).exits(0));
        let mut got = titles(&found);
        let mut expected = expected;
        got.sort_unstable();
        expected.sort_unstable();
        assert_eq!(got, expected, "{query}");
        assert!(found["results"].as_array().unwrap().iter().all(|hit| hit["source"] == "google" && hit.get("path").is_none()), "{found}");
    }
    for input in [json!({ "query": "x", "folder": "a' or '1'='1" }), json!({ "query": "x", "folder": "../up" })] {
        refusal(&call(&toolgate, &google, "drive.search", &input), "INVALID_INPUT");
    }
    let within = value(&call(&toolgate, &google, "drive.search", &json!({ "query": "plan", "folder": "root" })).exits(0));
    assert_eq!(titles(&within).len(), 2);
    let requests = serde_json::to_string(&toolgate.http_requests()).unwrap();
    assert!(requests.contains("/drive/v3/files") && !requests.contains("fullText"), "no query is recorded: {requests}");
}

#[test]
fn pages_are_followed_and_shared_drives_are_searched_where_the_operator_says() {
    let google = Google::start();
    for n in 0..25 {
        google.put(&format!("file{n:02}"), &format!("note {n:02}.md"), "text/markdown", b"x");
    }
    google.set(|state| state.page = 7);
    let toolgate = logged_in(&google);
    let found = value(&call(&toolgate, &google, "drive.search", &json!({ "query": "note", "limit": 20 })).exits(0));
    assert_eq!((titles(&found).len(), found["complete"].clone()), (20, json!(true)));
    let lists = |google: &Google| {
        google.server.asked().into_iter().filter(|asked| asked.path() == "/drive/v3/files").map(|asked| asked.target).collect::<Vec<_>>()
    };
    let pages = lists(&google);
    assert!(pages.len() == 3 && pages[1].contains("pageToken=page-7") && pages[2].contains("pageToken=page-14"), "{pages:?}");
    assert!(pages.iter().all(|page| page.contains("corpora=user") && !page.contains("includeItemsFromAllDrives")), "{pages:?}");
    for (shared, wanted) in [
        ("all", vec!["corpora=allDrives", "includeItemsFromAllDrives=true", "supportsAllDrives=true"]),
        ("0ABcd-9", vec!["corpora=drive", "driveId=0ABcd-9"]),
    ] {
        let mut asked = command(&toolgate, &google, "drive.search", &json!({ "query": "note", "limit": 3 }));
        Ran::of(asked.env("TOOLGATE_DRIVE_GOOGLE_SHARED", shared).output().unwrap()).exits(0);
        let last = lists(&google).pop().unwrap();
        assert!(wanted.iter().all(|pair| last.contains(pair)), "{shared}: {last}");
    }
}

#[test]
fn documents_come_as_text_and_only_where_the_call_says() {
    let google = Google::start();
    google.put("doc1", "Plan", "application/vnd.google-apps.document", b"# Plan\n");
    google.put("sheet1", "Numbers", "application/vnd.google-apps.spreadsheet", b"a,b\n1,2\n");
    google.put("slides1", "Talk", "application/vnd.google-apps.presentation", b"Slide one\n");
    google.put("evil1", "../../../escaped\u{202e}.md", "text/markdown", b"evil name");
    google.put("link1", "Link", "application/vnd.google-apps.shortcut:evil1", b"");
    google.put("form1", "Form", "application/vnd.google-apps.form", b"");
    google.put("raw1", "photo.png", "image/png", b"\x89PNG\0");
    let toolgate = logged_in(&google);
    let get = |id: &str| value(&call(&toolgate, &google, "drive.get", &json!({ "id": format!("google/{id}") })).exits(0));
    let doc = get("doc1");
    assert_eq!(
        (&doc["text"], &doc["media_type"], &doc["exported_from"]),
        (&json!("# Plan\n"), &json!("text/markdown"), &json!("application/vnd.google-apps.document"))
    );
    assert_eq!((&get("sheet1")["text"], &get("sheet1")["media_type"]), (&json!("a,b\n1,2\n"), &json!("text/csv")));
    assert_eq!(get("slides1")["media_type"], "text/plain");
    assert_eq!(get("raw1")["artifact"]["media_type"], "image/png");
    assert_eq!(get("link1")["text"], "evil name");
    // A name is shown without what would lie, and leads nowhere.
    let evil = value(&call(&toolgate, &google, "drive.download", &json!({ "id": "google/evil1", "to": "in/evil.md" })).exits(0));
    assert_eq!(evil["title"], "../../../escaped.md");
    let kept = value(&call(&toolgate, &google, "drive.download", &json!({ "id": "google/evil1" })).exits(0));
    assert_eq!(kept["sha256"], json!(Digest::of(b"evil name").to_string()));
    let escaped: Vec<_> = files(toolgate.home()).into_iter().filter(|path| path.to_string_lossy().contains("escaped")).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
    let pdf = value(&call(&toolgate, &google, "drive.download", &json!({ "id": "google/doc1", "format": "pdf" })).exits(0));
    assert_eq!(pdf["media_type"], "application/pdf");
    for (id, format, code) in [
        ("doc1", json!("csv"), "INVALID_INPUT"),
        ("form1", Value::Null, "DRIVE_REFUSED"),
        ("raw1", json!("markdown"), "INVALID_INPUT"),
        ("none", Value::Null, "NOT_FOUND"),
    ] {
        let mut input = json!({ "id": format!("google/{id}") });
        if !format.is_null() {
            input["format"] = format;
        }
        refusal(&call(&toolgate, &google, "drive.download", &input), code);
    }
    for id in ["google/../doc1", "google/doc1?alt=media", "google/a/b", "google/doc1%2f.."] {
        refusal(&call(&toolgate, &google, "drive.get", &json!({ "id": id })), "INVALID_INPUT");
    }
}

#[test]
fn a_sum_or_a_length_that_lies_is_noticed() {
    let google = Google::start();
    google.put("a1", "a.md", "text/markdown", b"right");
    let toolgate = logged_in(&google);
    let get = || call(&toolgate, &google, "drive.get", &json!({ "id": "google/a1" }));
    get().exits(0);
    google.set(|state| state.files.get_mut("a1").unwrap().told_sum = Some(Digest::of(b"wrong").to_string()));
    refusal(&get(), "EGRESS_FAILED");
    google.set(|state| {
        let file = state.files.get_mut("a1").unwrap();
        (file.told_sum, file.told_size) = (None, Some(4));
    });
    refusal(&get(), "EGRESS_FAILED");
    google.set(|state| state.files.get_mut("a1").unwrap().told_size = Some(200 << 20));
    refusal(&get(), "LIMIT_EXCEEDED");
}

#[test]
fn what_google_refuses_has_its_meaning() {
    let google = Google::start();
    google.put("a1", "a.md", "text/markdown", b"x");
    let large = vec![b'x'; (10 << 20) + 1];
    google.put("large1", "Large", "application/vnd.google-apps.document", &large);
    let toolgate = logged_in(&google);
    let body = |reason: &str| json!({ "error": { "code": 0, "errors": [{ "reason": reason }] } });
    for (status, reason, code) in [
        (403, "dailyLimitExceeded", "DRIVE_LIMITED"),
        (403, "appNotAuthorizedToFile", "DRIVE_REFUSED"),
        (403, "insufficientFilePermissions", "DRIVE_REFUSED"),
        (404, "notFound", "NOT_FOUND"),
        (302, "", "EGRESS_DENIED"),
        (400, "invalid", "DRIVE_UNAVAILABLE"),
    ] {
        google.set(|state| {
            state.instead.push_back(("/drive/v3/files/a1", status, body(reason), vec![("Location", "http://169.254.169.254/".into())]))
        });
        refusal(&call(&toolgate, &google, "drive.get", &json!({ "id": "google/a1" })), code);
    }
    // More than Google exports, and more than we take where it does not say so itself.
    refusal(&call(&toolgate, &google, "drive.get", &json!({ "id": "google/large1" })), "LIMIT_EXCEEDED");
    google.set(|state| state.instead.push_back(("/drive/v3/files", 200, json!("not a list"), vec![])));
    refusal(&call(&toolgate, &google, "drive.search", &json!({ "query": "x" })), "EGRESS_FAILED");
}

#[test]
fn rates_are_waited_for_and_told_where_they_last() {
    let google = Google::start();
    google.put("a1", "a.md", "text/markdown", b"x");
    let toolgate = logged_in(&google);
    let limited = |status: u16, reason: &str, after: Option<&str>| {
        let body = json!({ "error": { "code": status, "errors": [{ "domain": "usageLimits", "reason": reason }] } });
        ("/drive/v3/files", status, body, after.map(|after| ("Retry-After", after.to_owned())).into_iter().collect())
    };
    google.set(|state| {
        state.instead.push_back(limited(403, "userRateLimitExceeded", None));
        state.instead.push_back(limited(429, "rateLimitExceeded", Some("2")));
        state.instead.push_back(limited(503, "backendError", None));
    });
    let begun = Instant::now();
    let found = value(&call(&toolgate, &google, "drive.search", &json!({ "query": "a" })).exits(0));
    assert_eq!(titles(&found), ["a.md"]);
    assert!(begun.elapsed() >= Duration::from_secs(2), "it did not wait for as long as it was asked to");
    assert_eq!(google.server.times("/drive/v3/files"), 4);
    // A wait that is longer than the call is told.
    google.set(|state| state.instead.push_back(limited(429, "rateLimitExceeded", Some("3600"))));
    let ran = call(&toolgate, &google, "drive.search", &json!({ "query": "a" }));
    refusal(&ran, "DRIVE_LIMITED");
    assert!(format!("{ran:?}").contains("3600"), "{ran:?}");
}

#[test]
fn a_token_that_is_over_is_replaced_once_and_a_login_that_ended_is_told() {
    let google = Google::start();
    google.put("a1", "a.md", "text/markdown", b"x");
    let toolgate = logged_in(&google);
    google.set(|state| state.refreshes = 0);
    // The first answer is that the token is no longer good.
    google.set(|state| {
        state.instead.push_back(("/drive/v3/files", 401, json!({ "error": { "errors": [{ "reason": "authError" }] } }), vec![]))
    });
    call(&toolgate, &google, "drive.search", &json!({ "query": "a" })).exits(0);
    assert_eq!(google.state.lock().unwrap().refreshes, 2);
    // It is not replaced again and again.
    google.set(|state| (0..5).for_each(|_| state.instead.push_back(("/drive/v3/files", 401, json!({}), vec![]))));
    refusal(&call(&toolgate, &google, "drive.search", &json!({ "query": "a" })), "DRIVE_LOGIN_REQUIRED");
    assert_eq!(google.state.lock().unwrap().refreshes, 4);
    google.set(|state| state.instead.clear());
    // A service that gives another login with each refresh: the vault keeps the newest.
    google.set(|state| state.rotates = true);
    for _ in 0..3 {
        call(&toolgate, &google, "drive.search", &json!({ "query": "a" })).exits(0);
    }
    google.set(|state| (state.rotates, state.logins) = (false, Default::default()));
    refusal(&call(&toolgate, &google, "drive.search", &json!({ "query": "a" })), "DRIVE_LOGIN_REQUIRED");
    for file in files(&toolgate.data()) {
        assert!(!std::fs::read(&file).unwrap().windows(7).any(|window| window == b"-canary"), "{} holds a token", file.display());
    }
}

/// A drive that answers each connection as the test says, byte by byte if it likes.
fn raw_drive(answers: impl Fn(&str, &mut std::net::TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                head.push(byte[0]);
            }
            answers(&String::from_utf8_lossy(&head), &mut stream);
        }
    });
    port
}

#[test]
fn a_body_that_never_ends_or_ends_early_holds_up_nobody() {
    let google = Google::start();
    let toolgate = logged_in(&google);
    let file = r#"{"id":"a1","name":"a.md","mimeType":"text/markdown","size":"10"}"#;
    let port = raw_drive(move |head, stream| {
        let told =
            |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        if head.contains("early") && head.contains("alt=media") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive!");
        } else if head.contains("endless") && head.contains("alt=media") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            while stream.write_all(format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16)).as_bytes()).is_ok() {}
        } else if head.contains("packed") && head.contains("alt=media") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789");
        } else {
            let _ = stream.write_all(told(file).as_bytes());
        }
    });
    let base = google.server.base();
    let places = ["auth", "token", "device", "revoke"].map(|place| format!("{place}={base}/{place}")).join(",");
    for (id, code) in [("early", "EGRESS_FAILED"), ("endless", "LIMIT_EXCEEDED"), ("packed", "EGRESS_FAILED")] {
        let mut asked = command(&toolgate, &google, "drive.get", &json!({ "id": format!("google/{id}") }));
        asked
            .env("TOOLGATE_EGRESS_PRIVATE", format!("drive=127.0.0.1:{},drive=127.0.0.1:{port}", google.server.port))
            .env("TOOLGATE_DRIVE_GOOGLE_ENDPOINTS", format!("{places},api=http://127.0.0.1:{port}"));
        refusal(&Ran::of(asked.output().unwrap()), code);
    }
}

#[test]
fn the_drive_is_reached_only_where_the_operator_opened_it() {
    let google = Google::start();
    let toolgate = logged_in(&google);
    let before = google.server.asked().len();
    let mut asked = command(&toolgate, &google, "drive.search", &json!({ "query": "a" }));
    // An exception of another purpose is none for the drive.
    refusal(
        &Ran::of(asked.env("TOOLGATE_EGRESS_PRIVATE", format!("web=127.0.0.1:{}", google.server.port)).output().unwrap()),
        "EGRESS_DENIED",
    );
    assert_eq!(google.server.asked().len(), before, "something was sent");
}

fn query() -> Query {
    Query { words: "a".into(), folder: None, limit: 5 }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test has no app that ends its tasks")]
async fn however_many_ask_one_refreshes() {
    let google = Google::start();
    google.put("a1", "a.md", "text/markdown", b"x");
    let drive = std::sync::Arc::new(google_drive(&google, google.server.port));
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let drive = drive.clone();
            tokio::spawn(async move { drive.search(&query(), &context()).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().finds.len(), 1);
    }
    assert_eq!(google.state.lock().unwrap().refreshes, 1);
    // All of them find the token gone at the same time: again one refreshes.
    google.set(|state| state.access.clear());
    let callers: Vec<_> = (0..24)
        .map(|_| {
            let drive = drive.clone();
            tokio::spawn(async move { drive.search(&query(), &context()).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(google.state.lock().unwrap().refreshes, 2);
    // A login that was refused is not tried by each of them.
    google.set(|state| (state.access.clear(), state.logins.clear()).0);
    for _ in 0..5 {
        assert_eq!(drive.search(&query(), &context()).await.unwrap_err().code, ErrorCode::DriveLoginRequired);
    }
    assert_eq!(google.state.lock().unwrap().refreshes, 3);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test has no app that ends its tasks")]
async fn a_body_that_drips_ends_with_the_call() {
    let google = Google::start();
    let port = raw_drive(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let drive = google_drive(&google, port);
    let context = context();
    let cancel = context.cancel.clone();
    let asked = tokio::spawn(async move { drive.search(&query(), &context).await });
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!asked.is_finished());
    cancel.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), asked).await.expect("it goes on").unwrap();
    assert_eq!(ended.unwrap_err().code, ErrorCode::Cancelled);
}
