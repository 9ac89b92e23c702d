//! T62: line breaks and NULs in what becomes a header or a recipient, and recipients that nobody allowed; each is shown to work against a naive
//! version first.

use serde_json::json;

use super::super::*;
use super::out::{mail, scene};
use crate::domain::{MessageId, Timestamp};
use crate::tools::testing::{call, code};

/// What somebody wants to slip in.
const TITLES: [&str; 5] = [
    "Report\r\nBcc: thief@evil.example",
    "Report\nBcc: thief@evil.example",
    "Report\rBcc: thief@evil.example",
    "Report\r\n\r\nanother text",
    "Report\0",
];
const RECIPIENTS: [&str; 12] = [
    "ann@example.com\r\nRCPT TO:<thief@evil.example>",
    "ann@example.com\nBcc: thief@evil.example",
    "ann@example.com\0",
    "ann@example.com, thief@evil.example",
    "Ann <thief@evil.example>",
    "<ann@example.com>",
    "\"ann@example.com\"@evil.example",
    "thief%evil.example@example.org",
    "evil.example!thief@example.org",
    "thief@evil.example",
    "ann@example.com.evil.example",
    "x@sub.example.org",
];

/// The headers of a mail, unfolded, by name.
fn headers(mail: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(mail).replace("\r\n ", " ").replace("\r\n\t", " ");
    let head = text.split_once("\r\n\r\n").map_or(text.as_str(), |(head, _)| head).to_owned();
    head.split("\r\n").filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn what_would_end_a_header_is_refused_and_would_have_worked() {
    // The naive version: a text with the title in its place.
    let naive = format!("From: a@b\r\nSubject: {}\r\n\r\ntext", TITLES[0]);
    assert!(headers(naive.as_bytes()).contains(&("Bcc".into(), "thief@evil.example".into())), "the attack does not even work: {naive}");
    let (bench, tool, outbox) = scene(&[]);
    for title in TITLES {
        for channel in ["mail", "ops", "chat", "console"] {
            let input = json!({ "message": "m", "title": title, "channel": channel });
            assert_eq!(code(&tool, &bench, input).await, ErrorCode::InvalidInput, "{title:?} on {channel}");
        }
    }
    assert!(outbox.letters.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_is_written_to_who_is_not_on_the_list() {
    // The naive version: a command with the recipient in its place, and a list that is looked for in the text.
    let naive = format!("RCPT TO:<{}>\r\n", RECIPIENTS[0]);
    assert_eq!(naive.matches("RCPT TO:").count(), 2, "the attack does not even work");
    assert!(RECIPIENTS[10].contains("ann@example.com") && RECIPIENTS[11].ends_with("example.org"));
    let (bench, tool, outbox) = scene(&[]);
    for to in RECIPIENTS {
        let input = json!({ "message": "m", "channel": "mail", "to": ["ann@example.com", to] });
        assert_eq!(code(&tool, &bench, input).await, ErrorCode::InvalidInput, "{to:?}");
    }
    assert!(outbox.letters.lock().unwrap().is_empty());
    call(&tool, &bench, json!({ "message": "m", "channel": "mail", "to": ["ann@Example.com", "any@example.org", "ann@example.com"] }))
        .await
        .unwrap();
    let to: Vec<String> = outbox.letters.lock().unwrap()[0].to.iter().map(ToString::to_string).collect();
    assert_eq!(to, ["ann@example.com", "any@example.org"], "each once");
}

/// The last line of defence: even a letter that came past all checks cannot begin a header.
#[test]
fn a_letter_past_all_checks_begins_no_header() {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    for title in TITLES {
        let to = vec!["ann@example.com".parse().unwrap()];
        let text = ".\r\nRCPT TO:<thief@evil.example>\nline with ünï".to_owned();
        let letter = Letter { channel: "mail".into(), kind: "email", level: Level::Info, title: title.into(), text, to };
        let parcel = Parcel { id: MessageId::mint(now), run: RunId::mint(now), queued: now, letter };
        let written = email::written(&parcel, &mail(&["ann@example.com"])).unwrap();
        let headers = headers(&written.bytes);
        let names: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.contains(&"Bcc") && names.iter().filter(|name| **name == "Subject").count() == 1, "{title:?}: {headers:?}");
        assert_eq!(written.envelope.to().len(), 1);
        let id = headers.iter().find(|(name, _)| name == "Message-ID").map(|(_, value)| value.clone());
        assert_eq!(id, Some(format!("<{}@example.com>", parcel.id)));
        assert_eq!(written.bytes, email::written(&parcel, &mail(&["ann@example.com"])).unwrap().bytes, "the same mail at every attempt");
    }
}
