//! Uploads to Google Drive: in parts, gone on with after the process was killed at each of them, and never made twice.

#![cfg(unix)]

use std::process::Stdio;

use serde_json::{Value, json};
use toolgate::domain::Digest;

use crate::drive_google::{call, command, logged_in, value};
use crate::support::google::{Google, STEP};
use crate::support::{Ran, Toolgate};

/// Four parts, the last one smaller.
const SIZE: usize = 3 * STEP + 1234;

fn content(size: usize, seed: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from((n * 31 + n / 251 + seed) % 251).unwrap()).collect()
}

/// A home that is logged in, and a workspace with the file that is sent.
struct Scene {
    google: Google,
    toolgate: Toolgate,
    run: String,
    bytes: Vec<u8>,
}

impl Scene {
    fn with_file(size: usize) -> Self {
        let google = Google::start();
        let toolgate = logged_in(&google);
        let mut scene = Self { google, toolgate, run: String::new(), bytes: Vec::new() };
        scene.write(content(size, 0));
        scene
    }

    fn write(&mut self, bytes: Vec<u8>) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let input = self.toolgate.home().join("input.json");
        std::fs::write(&input, json!({ "files": [{ "path": "big.bin", "content_base64": text }] }).to_string()).unwrap();
        let mut command = self.toolgate.command(&["tools", "call", "workspace.write", &format!("@{}", input.display()), "--json"]);
        self.google.settings(&mut command);
        let ran = Ran::of(command.output().unwrap()).exits(0);
        let told: Value = serde_json::from_str(&ran.stdout).unwrap();
        (self.run, self.bytes) = (told["run"].as_str().unwrap().to_owned(), bytes);
    }

    fn arguments(&self, more: Value) -> Value {
        let mut all = json!({ "path": "big.bin", "name": "big.bin", "run_id": self.run });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    }

    fn call(&self, more: Value) -> Ran {
        call(&self.toolgate, &self.google, "drive.upload", &self.arguments(more))
    }

    fn send(&self) -> Value {
        value(&self.call(json!({})).exits(0))
    }

    /// Sends it, and is killed when the drive has gone silent for that many times.
    fn is_killed(&self, times: u32) {
        let mut command = command(&self.toolgate, &self.google, "drive.upload", &self.arguments(json!({})));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        self.google.wait_silent(times);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// The one document that is there holds these bytes, and each of them came once and in order.
    fn has_one_document(&self) {
        let state = self.google.state.lock().unwrap();
        assert_eq!(state.files.len(), 1, "{:?}", state.files.keys());
        assert!(state.files.values().all(|file| file.bytes == self.bytes && file.name == "big.bin"));
        for session in state.sessions.values() {
            let mut at = 0;
            for (first, end) in &session.parts {
                assert_eq!(*first, at, "a part came twice or out of turn: {:?}", session.parts);
                at = *end;
            }
        }
    }

    fn parts(&self) -> Vec<usize> {
        self.google
            .server
            .asked()
            .iter()
            .filter(|asked| asked.method == "PUT" && !asked.body.is_empty())
            .map(|asked| asked.body.len())
            .collect()
    }
}

#[test]
fn an_upload_goes_part_by_part_and_the_same_again_sends_nothing() {
    let scene = Scene::with_file(SIZE);
    let sent = scene.send();
    assert_eq!((&sent["sha256"], &sent["unchanged"]), (&json!(Digest::of(&scene.bytes).to_string()), &json!(false)));
    scene.has_one_document();
    assert_eq!(scene.parts(), [STEP, STEP, STEP, 1234]);
    let again = scene.send();
    assert_eq!((&again["id"], &again["unchanged"]), (&sent["id"], &json!(true)));
    assert_eq!(scene.parts().len(), 4);
    scene.has_one_document();
    // It can be read back by its id, and what is sent elsewhere is another document.
    let got = value(&call(&scene.toolgate, &scene.google, "drive.download", &json!({ "id": sent["id"] })).exits(0));
    assert_eq!(got["sha256"], sent["sha256"]);
    let other = value(&scene.call(json!({ "folder": "0Folder-1" })).exits(0));
    assert_ne!(other["id"], sent["id"]);
    assert_eq!(scene.google.state.lock().unwrap().files.values().filter(|file| file.parents == ["0Folder-1"]).count(), 1);
}

#[test]
fn an_upload_that_is_killed_at_any_part_goes_on_where_it_stopped() {
    let mut scene = Scene::with_file(SIZE);
    let mut times = 0;
    // For each part: killed while it is on its way, once it was lost and once it had come.
    for part in 1..=4_usize {
        for kept in [false, true] {
            times += 1;
            scene.write(content(SIZE, times as usize));
            scene.google.set(|state| {
                state.files.clear();
                state.sessions.clear();
                state.silent_after = Some((part, kept));
            });
            scene.is_killed(times);
            let there = scene.google.state.lock().unwrap().sessions.values().next().unwrap().kept.len();
            assert_eq!(there, if kept { (part * STEP).min(SIZE) } else { (part - 1) * STEP });
            let sent = scene.send();
            let was_done = there == SIZE;
            assert_eq!(sent["unchanged"], json!(was_done), "part {part}, kept {kept}");
            if !was_done {
                assert_eq!(sent.get("resumed_from").and_then(Value::as_u64).unwrap_or(0), there as u64, "part {part}, kept {kept}");
            }
            scene.has_one_document();
            assert_eq!(scene.google.state.lock().unwrap().sessions.len(), 1, "part {part}, kept {kept}: it began anew");
        }
    }
}

#[test]
fn an_upload_that_is_killed_again_and_again_comes_to_its_end() {
    let scene = Scene::with_file(SIZE);
    for time in 1..=3_u32 {
        scene.google.set(|state| state.silent_after = Some((time as usize, true)));
        scene.is_killed(time);
    }
    assert_eq!(scene.send()["resumed_from"], json!(3 * STEP));
    scene.has_one_document();
}

#[test]
fn other_bytes_are_another_upload() {
    let mut scene = Scene::with_file(SIZE);
    scene.google.set(|state| state.silent_after = Some((2, true)));
    scene.is_killed(1);
    scene.write(content(SIZE, 1));
    let sent = scene.send();
    assert!(sent.get("resumed_from").is_none(), "{sent}");
    scene.has_one_document();
}

#[test]
fn a_session_that_was_forgotten_and_parts_that_are_lost_change_nothing_of_it() {
    let mut scene = Scene::with_file(SIZE);
    // A session that ended while nobody sent.
    scene.google.set(|state| state.silent_after = Some((2, true)));
    scene.is_killed(1);
    scene.google.set(|state| state.sessions.clear());
    let sent = scene.send();
    assert!(sent.get("resumed_from").is_none(), "{sent}");
    scene.has_one_document();
    // A drive that is out of order for a moment, and keeps half a part.
    scene.write(content(SIZE, 1));
    scene.google.set(|state| {
        state.files.clear();
        state.sessions.clear();
        state.keeps_of_a_part = Some(STEP / 2);
        state.instead.push_back(("/upload/drive/v3/files", 503, json!({}), vec![]));
    });
    scene.send();
    scene.has_one_document();
}

#[test]
fn a_full_drive_and_a_place_that_is_not_googles_are_refused() {
    let mut scene = Scene::with_file(10);
    let full = json!({ "error": { "errors": [{ "reason": "storageQuotaExceeded" }] } });
    scene.google.set(|state| state.instead.push_back(("/upload", 403, full, vec![])));
    let ran = scene.call(json!({})).exits(1);
    assert!(ran.stdout.contains("DRIVE_LIMITED"), "{ran:?}");
    // The login would go to whoever is named as the place of the upload.
    for place in ["http://127.0.0.1:1/steal", "https://evil.example/upload", "/relative", "http://user@127.0.0.1/x"] {
        scene.google.set(|state| state.instead.push_back(("/upload", 200, json!({}), vec![("Location", place.to_owned())])));
        let ran = scene.call(json!({})).exits(1);
        assert!(ran.stdout.contains("EGRESS_FAILED"), "{place}: {ran:?}");
    }
    assert!(scene.google.state.lock().unwrap().files.is_empty());
    for name in ["../up.md", "a/b.md", "a\u{202e}b", " "] {
        let ran = scene.call(json!({ "name": name }));
        assert!(ran.code != 0 && ran.stdout.contains("INVALID_INPUT"), "{name}: {ran:?}");
    }
    // An empty document is one, too.
    scene.write(Vec::new());
    scene.send();
    scene.has_one_document();
}
