//! Whatever bytes a client sends, as lines or over a connection: nothing panics or hangs, what is taken is what every reader would take, and
//! nothing comes through unseen (T05, T06, T08). The seeds of `fuzz/corpus` are replayed, then damaged at random; fuzzers go on from there.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use toolgate::mcp::probe::{self, Heard, Passed, TOKEN};

use crate::support::root;

/// The committed seeds of a target: name and bytes.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = std::fs::read_dir(root().join("fuzz/corpus").join(target))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 12, "{target}: {}", seeds.len());
    seeds
}

/// Runs one exchange; none may take long.
fn done<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), work).await.expect("it hangs") })
}

fn heard(bytes: &[u8]) -> Heard {
    let whole = done(probe::lines(bytes, usize::MAX));
    for part in [1, 7, 4096] {
        assert_eq!(whole, done(probe::lines(bytes, part)), "in parts of {part}");
    }
    whole
}

/// What must hold of any lines.
fn check_lines(bytes: &[u8]) -> Heard {
    let heard = heard(bytes);
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let whole = &lines[..lines.len() - 1];
    assert!(heard.messages.len() + heard.answers.len() <= whole.len());
    for answer in &heard.answers {
        assert!(answer.ends_with(b"\n") && answer.iter().filter(|byte| **byte == b'\n').count() == 1);
        let answer: Value = serde_json::from_slice(answer).unwrap();
        assert_eq!(answer["jsonrpc"], "2.0");
        assert!(matches!(answer["error"]["code"].as_i64(), Some(-32700 | -32600)), "{answer}");
    }
    // Every message is one of the lines as a plain reader takes it, in order: the same method, the same request.
    let mut plain = whole
        .iter()
        .filter_map(|line| serde_json::from_slice::<Value>(line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii()).ok());
    for message in &heard.messages {
        let of = |value: &Value, name: &str| value.get(name).filter(|found| !found.is_null()).cloned();
        let same = |value: &Value| ["method", "id"].iter().all(|name| of(value, name) == of(message, name));
        assert!(plain.any(|value| same(&value)), "nobody said {message}");
    }
    heard
}

/// What must hold of any connection.
fn check_requests(bytes: &[u8]) -> (Vec<Passed>, String) {
    let (passed, answer) = done(probe::requests(bytes));
    let has_token = bytes.windows(TOKEN.len()).any(|window| window == TOKEN.as_bytes());
    assert!(has_token || passed.is_empty(), "without the token: {passed:?}");
    for request in &passed {
        let of = |name: &str| request.headers.iter().filter(|(there, _)| there == name).map(|(_, value)| value.clone()).collect::<Vec<_>>();
        assert_eq!(request.principal.as_deref(), Some("local"), "{request:?}");
        assert!(of("authorization").is_empty(), "the token went on: {request:?}");
        let host = of("host").join(" ").to_ascii_lowercase();
        let name =
            host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(host.as_str(), |(name, _)| name);
        assert!(["localhost", "127.0.0.1", "[::1]"].contains(&name), "{request:?}");
        assert!(
            of("origin")
                .iter()
                .all(|origin| ["http://localhost:8801", "http://127.0.0.1:8801", "http://[::1]:8801"].contains(&origin.as_str()))
        );
        if request.method == "POST" {
            // One object, whose every reader agrees: it was written anew.
            let value: Value = serde_json::from_slice(&request.body).unwrap();
            assert!(value.is_object() && serde_json::to_vec(&value).unwrap() == request.body, "{request:?}");
            assert_eq!(of("content-length"), [request.body.len().to_string()], "{request:?}");
        }
    }
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
    (passed, String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn after_every_bad_line_the_next_request_is_taken() {
    let good = b"\n{\"jsonrpc\":\"2.0\",\"id\":\"after\",\"method\":\"ping\"}\n";
    for (name, bytes) in seeds("lines") {
        let heard = check_lines(&[bytes.as_slice(), good].concat());
        assert_eq!(heard.messages.last().map(|message| &message["id"]), Some(&Value::from("after")), "{name}");
    }
}

#[test]
fn a_sloppy_reader_takes_what_ours_refuses() {
    let line = br#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{"name":"x"}}"#;
    let naive: Value = serde_json::from_slice(line).unwrap();
    assert_eq!(naive["method"], "tools/call", "the last one counts, where another reader takes the first");
    let ours = check_lines(&[line.as_slice(), b"\n"].concat());
    assert!(ours.messages.is_empty() && String::from_utf8_lossy(&ours.answers[0]).contains("appears twice"));
}

/// What each seed comes to, a line each: read the golden file to see what is taken and what is not.
#[test]
#[expect(clippy::disallowed_methods, reason = "the golden file is written anew on request")]
fn the_seeds_come_to_what_they_must() {
    let mut text = String::from(
        "# Written by the test `wire_bytes`; UPDATE_GOLDEN=1 writes it anew.\n\nlines: messages taken, lines answered with an error\n",
    );
    for (name, bytes) in seeds("lines") {
        let heard = check_lines(&bytes);
        text.push_str(&format!("{name:<24} {} {}\n", heard.messages.len(), heard.answers.len()));
    }
    text.push_str("\nhttp: requests that came through, statuses\n");
    for (name, bytes) in seeds("http") {
        let (passed, answer) = check_requests(&bytes);
        let statuses: Vec<&str> = answer.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)).collect();
        text.push_str(&format!("{name:<24} {} {}\n", passed.len(), statuses.join(" ")));
    }
    let path = root().join("tests/golden/client-bytes.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap_or_default());
}

/// A seed with a few bytes changed, left out, or put in.
fn damaged(target: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds(target).into_iter().map(|(_, bytes)| bytes).collect();
    let damage = (any::<prop::sample::Index>(), 0_usize..6, prop::collection::vec(any::<u8>(), 0..5));
    (prop::sample::select(seeds), prop::collection::vec(damage, 0..6)).prop_map(|(mut bytes, all)| {
        for (at, length, put) in all {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, put);
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_as_lines(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        check_lines(&bytes);
    }

    #[test]
    fn any_damaged_lines(bytes in damaged("lines")) {
        check_lines(&bytes);
    }

    #[test]
    fn any_bytes_as_a_connection(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
        check_requests(&bytes);
    }

    #[test]
    fn any_damaged_connection(bytes in damaged("http")) {
        check_requests(&bytes);
    }
}
