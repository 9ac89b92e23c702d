//! Uploads to Google Drive: in parts, gone on with after the process was killed at each of them, and never made twice.

#![cfg(unix)]

use std::process::{Child, Stdio};

use serde_json::{Value, json};
use toolgate::domain::Digest;

use crate::drive_google::{call, command, logged_in, value};
use crate::support::Toolgate;
use crate::support::google::{Google, STEP};

/// Four parts, the last one smaller.
const SIZE: usize = 3 * STEP + 1234;

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n * 31 + n / 251) % 251).unwrap()).collect()
}

/// A home whose workspace has the file.
fn with_file(google: &Google, size: usize) -> (Toolgate, Vec<u8>) {
    let toolgate = logged_in(google);
    let bytes = content(size);
    write(&toolgate, google, &bytes);
    (toolgate, bytes)
}

fn write(toolgate: &Toolgate, google: &Google, bytes: &[u8]) {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    let input = toolgate.home().join("input.json");
    std::fs::write(&input, json!({ "files": [{ "path": "big.bin", "content_base64": text }] }).to_string()).unwrap();
    let mut command = toolgate.command(&["tools", "call", "workspace.write", &format!("@{}", input.display()), "--json"]);
    google.settings(&mut command);
    crate::support::Ran::of(command.output().unwrap()).exits(0);
}

fn upload() -> Value {
    json!({ "path": "big.bin", "name": "big.bin" })
}

fn begin(toolgate: &Toolgate, google: &Google) -> Child {
    command(toolgate, google, "drive.upload", &upload()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The one document that is there holds these bytes, and each of them came in order.
fn one_document(google: &Google, bytes: &[u8]) {
    let state = google.state.lock().unwrap();
    assert_eq!(state.files.len(), 1, "{:?}", state.files.keys());
    assert!(state.files.values().all(|file| file.bytes == bytes && file.name == "big.bin"));
    for session in state.sessions.values() {
        let mut at = 0;
        for (first, end) in &session.parts {
            assert_eq!(*first, at, "a part came twice or out of turn: {:?}", session.parts);
            at = *end;
        }
    }
}

#[test]
fn an_upload_goes_part_by_part_and_the_same_again_sends_nothing() {
    let google = Google::start();
    let (toolgate, bytes) = with_file(&google, SIZE);
    let sent = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
    assert_eq!((&sent["sha256"], &sent["unchanged"]), (&json!(Digest::of(&bytes).to_string()), &json!(false)));
    one_document(&google, &bytes);
    let parts = |google: &Google| {
        google
            .server
            .asked()
            .iter()
            .filter(|asked| asked.method == "PUT" && !asked.body.is_empty())
            .map(|asked| asked.body.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(parts(&google), [STEP, STEP, STEP, 1234]);
    let again = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
    assert_eq!((&again["id"], &again["unchanged"]), (&sent["id"], &json!(true)));
    assert_eq!(parts(&google).len(), 4);
    one_document(&google, &bytes);
    // It can be read back by its id, and what is sent elsewhere is another document.
    let got = value(&call(&toolgate, &google, "drive.download", &json!({ "id": sent["id"] })).exits(0));
    assert_eq!(got["sha256"], sent["sha256"]);
    let other =
        value(&call(&toolgate, &google, "drive.upload", &json!({ "path": "big.bin", "name": "big.bin", "folder": "0Folder-1" })).exits(0));
    assert_ne!(other["id"], sent["id"]);
    assert_eq!(google.state.lock().unwrap().files.values().filter(|file| file.parents == ["0Folder-1"]).count(), 1);
}

#[test]
fn an_upload_that_is_killed_at_any_part_goes_on_where_it_stopped() {
    // For each part: killed while it is on its way, once it was lost and once it had come.
    for part in 1..=4_usize {
        for kept in [false, true] {
            let google = Google::start();
            let (toolgate, bytes) = with_file(&google, SIZE);
            google.set(|state| state.silent_after = Some((part, kept)));
            let mut child = begin(&toolgate, &google);
            google.wait_silent(1);
            child.kill().unwrap();
            child.wait().unwrap();
            let there = google.state.lock().unwrap().sessions.values().next().unwrap().kept.len();
            assert_eq!(there, if kept { (part * STEP).min(SIZE) } else { (part - 1) * STEP });
            let sent = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
            let was_done = there == SIZE;
            assert_eq!(sent["unchanged"], json!(was_done), "part {part}, kept {kept}");
            if !was_done {
                assert_eq!(sent.get("resumed_from").and_then(Value::as_u64).unwrap_or(0), there as u64, "part {part}, kept {kept}");
            }
            one_document(&google, &bytes);
            assert_eq!(google.state.lock().unwrap().sessions.len(), 1, "part {part}, kept {kept}: it began anew");
        }
    }
}

#[test]
fn an_upload_that_is_killed_again_and_again_comes_to_its_end() {
    let google = Google::start();
    let (toolgate, bytes) = with_file(&google, SIZE);
    for time in 1..=3_u32 {
        google.set(|state| state.silent_after = Some((time as usize, true)));
        let mut child = begin(&toolgate, &google);
        google.wait_silent(time);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let sent = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
    assert_eq!(sent["resumed_from"], json!(3 * STEP));
    one_document(&google, &bytes);
}

#[test]
fn other_bytes_are_another_upload() {
    let google = Google::start();
    let (toolgate, _) = with_file(&google, SIZE);
    google.set(|state| state.silent_after = Some((2, true)));
    let mut child = begin(&toolgate, &google);
    google.wait_silent(1);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut changed = content(SIZE);
    changed[0] ^= 1;
    write(&toolgate, &google, &changed);
    let sent = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
    assert!(sent.get("resumed_from").is_none(), "{sent}");
    assert_eq!(google.state.lock().unwrap().files.values().next().unwrap().bytes, changed);
}

#[test]
fn a_session_that_was_forgotten_and_parts_that_are_lost_change_nothing_of_it() {
    let google = Google::start();
    let (toolgate, bytes) = with_file(&google, SIZE);
    // A session that ended while nobody sent.
    google.set(|state| state.silent_after = Some((2, true)));
    let mut child = begin(&toolgate, &google);
    google.wait_silent(1);
    child.kill().unwrap();
    child.wait().unwrap();
    google.set(|state| state.sessions.clear());
    let sent = value(&call(&toolgate, &google, "drive.upload", &upload()).exits(0));
    assert!(sent.get("resumed_from").is_none(), "{sent}");
    one_document(&google, &bytes);
    // A drive that is out of order for a moment, keeps half a part, and takes the token back.
    let google = Google::start();
    let (toolgate, bytes) = with_file(&google, SIZE);
    google.set(|state| {
        state.keeps_of_a_part = Some(STEP / 2);
        let upload = "/upload/drive/v3/files";
        state.instead.push_back((upload, 503, json!({}), vec![]));
    });
    call(&toolgate, &google, "drive.upload", &upload()).exits(0);
    one_document(&google, &bytes);
}

#[test]
fn a_full_drive_and_a_place_that_is_not_googles_are_refused() {
    let google = Google::start();
    let (toolgate, _) = with_file(&google, 10);
    let full = json!({ "error": { "errors": [{ "reason": "storageQuotaExceeded" }] } });
    google.set(|state| state.instead.push_back(("/upload", 403, full, vec![])));
    let ran = call(&toolgate, &google, "drive.upload", &upload()).exits(1);
    assert!(format!("{ran:?}").contains("DRIVE_LIMITED"), "{ran:?}");
    // The login would go to whoever is named as the place of the upload.
    for place in ["http://127.0.0.1:1/steal", "https://evil.example/upload", "/relative", "http://user@127.0.0.1/x"] {
        google.set(|state| state.instead.push_back(("/upload", 200, json!({}), vec![("Location", place.to_owned())])));
        let ran = call(&toolgate, &google, "drive.upload", &upload()).exits(1);
        assert!(format!("{ran:?}").contains("EGRESS_FAILED"), "{place}: {ran:?}");
    }
    assert!(google.state.lock().unwrap().files.is_empty());
    for (name, code) in
        [("../up.md", "INVALID_INPUT"), ("a/b.md", "INVALID_INPUT"), ("a\u{202e}b", "INVALID_INPUT"), (" ", "INVALID_INPUT")]
    {
        let ran = call(&toolgate, &google, "drive.upload", &json!({ "path": "big.bin", "name": name }));
        assert!(ran.code != 0 && format!("{ran:?}").contains(code), "{name}: {ran:?}");
    }
    // An empty document is one, too.
    write(&toolgate, &google, b"");
    call(&toolgate, &google, "drive.upload", &upload()).exits(0);
    one_document(&google, b"");
}
