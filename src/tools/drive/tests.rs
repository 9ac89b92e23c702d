use serde_json::json;

use super::*;
use crate::domain::{ArtifactId, ErrorCode, Labels};
use crate::tools::handler;
use crate::tools::testing::{Bench, bench, call, code};

fn drive(bench: &Bench, files: &[(&str, &[u8])]) -> LocalDrive {
    for (path, bytes) in files {
        let whole = bench.root.join("drive").join(path);
        std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
        std::fs::write(whole, bytes).unwrap();
    }
    LocalDrive::new(None, &bench.root)
}

#[tokio::test]
async fn finds_by_name_and_text_the_best_first() {
    let bench = bench();
    let long = format!("{} The Listing price is in\u{1b}[31m EUR. listing", "word ".repeat(100));
    let local = drive(
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
    let search = handler(DriveSearch::new(local));
    let found = call(&search, &bench, json!({ "query": "LISTING" })).await.unwrap();
    let order: Vec<_> = found["results"].as_array().unwrap().iter().map(|hit| hit["path"].as_str().unwrap()).collect();
    assert_eq!(order, ["api/listing-guide.md", "listing/other.txt", "notes/long.txt"]);
    assert_eq!(found["results"][0]["source"], "local");
    let both = call(&search, &bench, json!({ "query": "price listing", "limit": 5 })).await.unwrap();
    assert_eq!(both["results"].as_array().unwrap().len(), 1);
    let snippet = both["results"][0]["snippet"].as_str().unwrap();
    assert!(snippet.starts_with("… word") && snippet.contains("The Listing price is in EUR. listing"), "{snippet}");
    assert_eq!(call(&search, &bench, json!({ "query": "zebra" })).await.unwrap()["results"], json!([]));
    assert_eq!(code(&search, &bench, json!({ "query": " " })).await, ErrorCode::InvalidInput);
}

#[tokio::test]
async fn a_search_that_finds_nothing_brings_nothing() {
    let found = bench();
    let search = handler(DriveSearch::new(drive(&found, &[("a.md", b"listing")])));
    call(&search, &found, json!({ "query": "listing" })).await.unwrap();
    assert_eq!(found.context.brought.with(Labels::BOTH), Labels::BOTH);
    let other = bench();
    let search = handler(DriveSearch::new(drive(&other, &[("a.md", b"listing")])));
    call(&search, &other, json!({ "query": "zebra" })).await.unwrap();
    assert!(other.context.brought.with(Labels::BOTH).is_empty());
}

#[tokio::test]
async fn gets_text_inline_and_the_rest_as_artifacts() {
    let bench = bench();
    let large = vec![b'x'; 70_000];
    let local = drive(&bench, &[("a.md", b"# hi"), ("raw.png", b"\x89PNG\0"), ("large.txt", &large)]);
    let get = handler(DriveGet::new(local.clone()));
    let found = call(&handler(DriveSearch::new(local)), &bench, json!({ "query": "hi" })).await.unwrap();
    let text = call(&get, &bench, json!({ "id": found["results"][0]["id"] })).await.unwrap();
    assert_eq!(text, json!({ "path": "a.md", "size": 4, "media_type": "text/markdown", "text": "# hi", "source": "local" }));
    let raw = call(&get, &bench, json!({ "path": "raw.png" })).await.unwrap();
    assert_eq!(raw["artifact"]["media_type"], "image/png");
    call(&get, &bench, json!({ "path": "large.txt" })).await.unwrap();
    assert_eq!(bench.context.artifacts.read(&ArtifactId::of(&large), 0, 5).await.unwrap(), (b"xxxxx".to_vec(), 70_000));
}

#[tokio::test]
async fn nothing_outside_the_drive_is_read() {
    let bench = bench();
    let local = drive(&bench, &[("a", b"x"), (".git/config", b"x")]);
    std::os::unix::fs::symlink("/etc/passwd", bench.root.join("drive/link")).unwrap();
    let get = handler(DriveGet::new(local));
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
    let absent = LocalDrive::new(Some(std::path::Path::new("/nonexistent/drive")), &bench.root);
    assert_eq!(code(&handler(DriveSearch::new(absent)), &bench, json!({ "query": "x" })).await, ErrorCode::DriveUnavailable);
}
