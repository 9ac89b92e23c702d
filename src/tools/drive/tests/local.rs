use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{drives, local};
use crate::domain::{ArtifactId, Digest, ErrorCode, Labels};
use crate::tools::drive::{DriveDownload, DriveGet, DriveSearch, DriveUpload, LocalDrive};
use crate::tools::testing::{Bench, bench, call, code, prepare};
use crate::tools::{Handler, handler};

fn search(drive: &LocalDrive) -> Arc<dyn Handler> {
    handler(DriveSearch::new(drives(drive)))
}

fn get(drive: &LocalDrive) -> Arc<dyn Handler> {
    handler(DriveGet::new(drives(drive)))
}

fn upload(drive: &LocalDrive) -> Arc<dyn Handler> {
    handler(DriveUpload::new(drives(drive)))
}

async fn paths(tool: &Arc<dyn Handler>, bench: &Bench, query: &str) -> Vec<String> {
    let found = call(tool, bench, json!({ "query": query, "limit": 50 })).await.unwrap();
    assert_eq!(found["complete"], true);
    found["results"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn finds_by_name_and_text_the_best_first() {
    let bench = bench();
    let long = format!("{} The Listing price is in\u{1b}[31m EUR. listing", "word ".repeat(100));
    let drive = local(
        &bench,
        &[
            ("api/listing-guide.md", b"All about it"),
            ("notes/long.txt", long.as_bytes()),
            ("listing/other.txt", b"nothing here"),
            ("raw.bin", b"listing\0\xff"),
            ("unrelated.md", b"price only"),
        ],
    );
    std::os::unix::fs::symlink("/etc", bench.root.join("drive/listing-etc")).unwrap();
    let search = search(&drive);
    assert_eq!(paths(&search, &bench, "LISTING").await, ["api/listing-guide.md", "listing/other.txt", "notes/long.txt"]);
    assert_eq!(paths(&search, &bench, "list").await.len(), 3, "the beginning of a word is enough");
    let found = call(&search, &bench, json!({ "query": "listing", "folder": "listing" })).await.unwrap();
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    assert_eq!((&found["results"][0]["source"], &found["results"][0]["id"]), (&json!("local"), &json!("local/listing/other.txt")));
    let both = call(&search, &bench, json!({ "query": "price listing", "limit": 5 })).await.unwrap();
    assert_eq!(both["results"].as_array().unwrap().len(), 1);
    let snippet = both["results"][0]["snippet"].as_str().unwrap();
    assert!(snippet.starts_with("… word") && snippet.contains("The Listing price is in EUR. listing"), "{snippet}");
    assert_eq!(call(&search, &bench, json!({ "query": "zebra" })).await.unwrap()["results"], json!([]));
    assert_eq!(code(&search, &bench, json!({ "query": " " })).await, ErrorCode::InvalidInput);
    assert_eq!(code(&search, &bench, json!({ "query": "x", "provider": "google" })).await, ErrorCode::DriveUnavailable);
    assert_eq!(code(&search, &bench, json!({ "query": "x", "folder": "../a" })).await, ErrorCode::PathRefused);
}

#[tokio::test]
async fn a_search_sees_what_changed_since_the_last() {
    let bench = bench();
    let drive = local(&bench, &[("a.md", b"alpha"), ("b/c.md", b"alpha too")]);
    let search = search(&drive);
    assert_eq!(paths(&search, &bench, "alpha").await.len(), 2);
    // The same size, and the same time of its content: only the words differ.
    let file = bench.root.join("drive/a.md");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, "omega").unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    assert_eq!(paths(&search, &bench, "omega").await, ["a.md"]);
    assert_eq!(paths(&search, &bench, "alpha").await, ["b/c.md"]);
    std::fs::remove_dir_all(bench.root.join("drive/b")).unwrap();
    assert_eq!(paths(&search, &bench, "alpha").await, [""; 0]);
    std::fs::rename(&file, bench.root.join("drive/z.md")).unwrap();
    assert_eq!(paths(&search, &bench, "omega").await, ["z.md"]);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a test has no app that ends its tasks")]
async fn a_watched_drive_is_up_to_date_as_well() {
    let bench = bench();
    let drive = local(&bench, &[("a.md", b"alpha")]);
    let search = search(&drive);
    let stop = CancellationToken::new();
    let watching = tokio::spawn(drive.clone().watch(stop.clone()));
    let comes = async |query: &str, wanted: &[&str]| {
        for _ in 0..200 {
            if paths(&search, &bench, query).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{query}: {:?}", paths(&search, &bench, query).await);
    };
    comes("alpha", &["a.md"]).await;
    std::fs::create_dir_all(bench.root.join("drive/new/folder")).unwrap();
    std::fs::write(bench.root.join("drive/new/folder/b.md"), "beta").unwrap();
    comes("beta", &["new/folder/b.md"]).await;
    std::fs::write(bench.root.join("drive/a.md"), "gamma").unwrap();
    comes("gamma", &["a.md"]).await;
    std::fs::rename(bench.root.join("drive/new"), bench.root.join("drive/old")).unwrap();
    comes("beta", &["old/folder/b.md"]).await;
    std::fs::remove_dir_all(bench.root.join("drive/old")).unwrap();
    comes("beta", &[]).await;
    stop.cancel();
    watching.await.unwrap();
    std::fs::write(bench.root.join("drive/late.md"), "delta").unwrap();
    assert_eq!(paths(&search, &bench, "delta").await, ["late.md"], "without a watch each search looks for itself");
}

#[tokio::test]
async fn a_search_that_finds_nothing_brings_nothing() {
    let found = bench();
    call(&search(&local(&found, &[("a.md", b"listing")])), &found, json!({ "query": "listing" })).await.unwrap();
    assert_eq!(found.context.brought.with(Labels::BOTH), Labels::BOTH);
    let other = bench();
    call(&search(&local(&other, &[("a.md", b"listing")])), &other, json!({ "query": "zebra" })).await.unwrap();
    assert!(other.context.brought.with(Labels::BOTH).is_empty());
}

#[tokio::test]
async fn gets_text_inline_and_the_rest_as_artifacts() {
    let bench = bench();
    let large = vec![b'x'; 70_000];
    let drive = local(&bench, &[("a.md", b"# hi"), ("raw.png", b"\x89PNG\0"), ("large.txt", &large)]);
    let get = get(&drive);
    let found = call(&search(&drive), &bench, json!({ "query": "hi" })).await.unwrap();
    let text = call(&get, &bench, json!({ "id": found["results"][0]["id"] })).await.unwrap();
    let expected = json!({ "id": "local/a.md", "title": "a.md", "path": "a.md", "size": 4, "media_type": "text/markdown", "text": "# hi", "source": "local" });
    assert_eq!(text, expected);
    let raw = call(&get, &bench, json!({ "path": "raw.png" })).await.unwrap();
    assert_eq!(raw["artifact"]["media_type"], "image/png");
    call(&get, &bench, json!({ "path": "large.txt" })).await.unwrap();
    assert_eq!(bench.context.artifacts.read(&ArtifactId::of(&large), 0, 5).await.unwrap(), (b"xxxxx".to_vec(), 70_000));
}

#[tokio::test]
async fn nothing_outside_the_drive_is_read() {
    let bench = bench();
    let drive = local(&bench, &[("a", b"x"), (".git/config", b"x")]);
    std::os::unix::fs::symlink("/etc/passwd", bench.root.join("drive/link")).unwrap();
    let get = get(&drive);
    for (input, expected) in [
        (json!({ "path": "../a" }), ErrorCode::InvalidInput),
        (json!({ "id": "local/../a" }), ErrorCode::PathRefused),
        (json!({ "id": "local//etc/passwd" }), ErrorCode::PathRefused),
        (json!({ "id": "google/x" }), ErrorCode::DriveUnavailable),
        (json!({ "path": "link" }), ErrorCode::PathRefused),
        (json!({ "path": ".GIT/config" }), ErrorCode::PathRefused),
        (json!({ "path": "none" }), ErrorCode::NotFound),
        (json!({}), ErrorCode::InvalidInput),
        (json!({ "path": "a", "id": "local/a" }), ErrorCode::InvalidInput),
    ] {
        assert_eq!(code(&get, &bench, input.clone()).await, expected, "{input}");
    }
    let absent = LocalDrive::new(
        std::path::Path::new("/nonexistent/drive"),
        Arc::new(super::Indexed(crate::store::DriveIndex::of(&bench.root))),
        Arc::new(crate::tools::testing::StillClock),
    );
    assert_eq!(code(&search(&absent), &bench, json!({ "query": "x" })).await, ErrorCode::DriveUnavailable);
}

#[tokio::test]
async fn an_upload_keeps_what_stood_there() {
    let bench = bench();
    let drive = local(&bench, &[("a.md", b"old words")]);
    std::fs::write(bench.root.join("report.md"), "new words").unwrap();
    let (upload, get, search) = (upload(&drive), get(&drive), search(&drive));
    let input = json!({ "path": "report.md", "name": "a.md" });
    let sent = call(&upload, &bench, input.clone()).await.unwrap();
    assert_eq!(sent["previous"]["sha256"], json!(Digest::of(b"old words").to_string()));
    let kept = call(&get, &bench, json!({ "id": sent["previous"]["id"] })).await.unwrap();
    assert_eq!(kept["text"], "old words");
    assert_eq!(call(&get, &bench, json!({ "path": "a.md" })).await.unwrap()["text"], "new words");
    assert_eq!(paths(&search, &bench, "words").await, ["a.md"], "earlier versions are not searched");
    let again = call(&upload, &bench, input).await.unwrap();
    assert_eq!((&again["unchanged"], &again["previous"]), (&json!(true), &Value::Null));
    let stored = bench.context.artifacts.put(b"\0raw".to_vec(), "x/y").await.unwrap();
    let deep = call(&upload, &bench, json!({ "artifact": stored.artifact, "name": "new/deep/raw.bin" })).await.unwrap();
    assert_eq!((&deep["size"], &deep["unchanged"]), (&json!(4), &json!(false)));
}

#[tokio::test]
async fn what_is_approved_is_these_bytes_for_this_place() {
    let bench = bench();
    let drive = local(&bench, &[("a.md", b"old")]);
    let upload = upload(&drive);
    let target = async || prepare(&upload, &bench, json!({ "path": "report.md", "name": "a.md" })).await.unwrap().target;
    std::fs::write(bench.root.join("report.md"), "one").unwrap();
    let first = target().await;
    assert_eq!(first, target().await);
    std::fs::write(bench.root.join("report.md"), "two").unwrap();
    let other_bytes = target().await;
    assert_ne!(first, other_bytes);
    std::fs::write(bench.root.join("drive/a.md"), "older").unwrap();
    assert_ne!(other_bytes, target().await, "another file would be replaced");
}

#[tokio::test]
async fn an_upload_goes_nowhere_else() {
    let bench = bench();
    let drive = local(&bench, &[("folder/a.md", b"x")]);
    std::fs::write(bench.root.join("report.md"), "x").unwrap();
    std::os::unix::fs::symlink("/tmp", bench.root.join("drive/link")).unwrap();
    let upload = upload(&drive);
    for name in ["../a", "/etc/x", ".git/hooks/post-commit", "link/a", "link", "folder", ".versions/a.md/1", "a\0b"] {
        assert_eq!(code(&upload, &bench, json!({ "path": "report.md", "name": name })).await, ErrorCode::PathRefused, "{name}");
    }
    for input in [
        json!({ "name": "a" }),
        json!({ "name": "a", "path": "report.md", "artifact": "0".repeat(64) }),
        json!({ "name": "a", "path": "report.md", "folder": "x" }),
    ] {
        assert_eq!(code(&upload, &bench, input.clone()).await, ErrorCode::InvalidInput, "{input}");
    }
    assert_eq!(code(&upload, &bench, json!({ "name": "a", "path": "none" })).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_download_stands_where_the_call_says() {
    let bench = bench();
    let drive = local(&bench, &[("a.md", b"# hi")]);
    let download = handler(DriveDownload::new(drives(&drive)));
    let got = call(&download, &bench, json!({ "path": "a.md", "to": "docs/b.md" })).await.unwrap();
    assert_eq!((&got["to"], &got["sha256"]), (&json!("docs/b.md"), &json!(Digest::of(b"# hi").to_string())));
    assert_eq!(std::fs::read(bench.root.join("docs/b.md")).unwrap(), b"# hi");
    let stored = call(&download, &bench, json!({ "id": "local/a.md" })).await.unwrap();
    assert_eq!(stored["artifact"]["artifact"], json!(ArtifactId::of(b"# hi").to_string()));
    for to in [".git/config", ".git"] {
        assert_eq!(code(&download, &bench, json!({ "path": "a.md", "to": to })).await, ErrorCode::PathRefused);
    }
    assert_eq!(code(&download, &bench, json!({ "path": "a.md", "format": "csv" })).await, ErrorCode::InvalidInput);
}
