use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::{Effect, Effects};
use crate::tools::testing::{bench, call, code, prepare};
use crate::tools::{Handler, handler};

fn write() -> Arc<dyn Handler> {
    handler(WorkspaceWrite)
}

#[tokio::test]
async fn writes_text_base64_and_artifacts_and_reads_them_back() {
    let bench = bench();
    let stored = bench.context.artifacts.put(b"stored".to_vec(), "text/plain").await.unwrap();
    let files = json!({ "files": [
        { "path": "a.txt", "content": "hi\n" },
        { "path": "b/raw", "content_base64": "/wA=" },
        { "path": "c.sh", "artifact": stored.artifact, "executable": true },
    ] });
    let answer = call(&handler(WorkspaceWrite), &bench, files).await.unwrap();
    assert_eq!(answer["written"][0]["sha256"], "98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4");
    assert_eq!(answer["written"][1]["size"], 2);

    let read = call(&handler(WorkspaceRead), &bench, json!({ "paths": ["a.txt", "b/raw"] })).await.unwrap();
    assert_eq!(read["files"][0], json!({ "path": "a.txt", "size": 3, "text": "hi\n", "truncated": false }));
    assert_eq!(read["files"][1], json!({ "path": "b/raw", "size": 2, "base64": "/wA=", "truncated": false }));

    let list = call(&handler(WorkspaceList), &bench, json!({})).await.unwrap();
    assert_eq!(list["files"][2], json!({ "path": "c.sh", "size": 6, "executable": true }));
    let under = call(&handler(WorkspaceList), &bench, json!({ "under": "b" })).await.unwrap();
    assert_eq!(under["files"], json!([{ "path": "b/raw", "size": 2 }]));

    let gone = call(&handler(WorkspaceRemove), &bench, json!({ "paths": ["b", "never"] })).await.unwrap();
    assert_eq!(gone, json!({ "removed": ["b"], "missing": ["never"] }));
    assert_eq!(code(&handler(WorkspaceRead), &bench, json!({ "paths": ["b/raw"] })).await, ErrorCode::NotFound);
}

#[tokio::test]
async fn pages_end_between_characters() {
    let bench = bench();
    call(&write(), &bench, json!({ "files": [{ "path": "t", "content": "añb" }] })).await.unwrap();
    let read = handler(WorkspaceRead);
    let first = call(&read, &bench, json!({ "paths": ["t"], "limit": 2 })).await.unwrap();
    assert_eq!(first["files"][0], json!({ "path": "t", "size": 4, "text": "a", "truncated": true, "next_offset": 1 }));
    let second = call(&read, &bench, json!({ "paths": ["t"], "offset": 1 })).await.unwrap();
    assert_eq!(second["files"][0], json!({ "path": "t", "size": 4, "text": "ñb", "truncated": false }));
    let inside = call(&read, &bench, json!({ "paths": ["t"], "offset": 2 })).await.unwrap();
    assert_eq!(inside["files"][0]["base64"], "sWI=");
    let beyond = call(&read, &bench, json!({ "paths": ["t"], "offset": 99 })).await.unwrap();
    assert_eq!(beyond["files"][0], json!({ "path": "t", "size": 4, "text": "", "truncated": false }));
}

#[tokio::test]
async fn an_answer_stays_below_the_output_limit() {
    let mut bench = bench();
    bench.context.limits.output = crate::domain::Bytes(4_000);
    let files: Vec<_> = (0..4).map(|n| json!({ "path": format!("f{n}"), "content": "\u{1}".repeat(600) })).collect();
    call(&write(), &bench, json!({ "files": files })).await.unwrap();
    let read = call(&handler(WorkspaceRead), &bench, json!({ "paths": ["f0", "f1", "f2", "f3"] })).await.unwrap();
    assert_eq!(read["files"][1]["next_offset"], 400);
    assert_eq!(read["files"][3], json!({ "path": "f3", "size": 600, "text": "", "truncated": true, "next_offset": 0 }));
}

#[tokio::test]
async fn nothing_is_written_when_one_file_is_refused() {
    let bench = bench();
    std::os::unix::fs::symlink("/etc", bench.root.join("link")).unwrap();
    let first = json!({ "path": "first", "content": "x" });
    for (second, expected) in [
        (json!({ "path": "../x", "content": "x" }), ErrorCode::InvalidInput),
        (json!({ "path": "link/x", "content": "x" }), ErrorCode::PathRefused),
        (json!({ "path": ".git/config", "content": "x" }), ErrorCode::PathRefused),
        (json!({ "path": "sub/.GIT/hooks/x", "content": "x" }), ErrorCode::PathRefused),
        (json!({ "path": "git~1/config", "content": "x" }), ErrorCode::PathRefused),
        (json!({ "path": "FIRST", "content": "x" }), ErrorCode::PathRefused),
        (json!({ "path": "first", "content": "x" }), ErrorCode::InvalidInput),
        (json!({ "path": "first/below", "content": "x" }), ErrorCode::InvalidInput),
        (json!({ "path": "b" }), ErrorCode::InvalidInput),
        (json!({ "path": "b", "content": "x", "content_base64": "eA==" }), ErrorCode::InvalidInput),
        (json!({ "path": "b", "content_base64": "!" }), ErrorCode::InvalidInput),
        (json!({ "path": "b", "artifact": "00" }), ErrorCode::InvalidInput),
        (json!({ "path": "b", "artifact": "0".repeat(64) }), ErrorCode::UnknownArtifact),
        (json!({ "path": "b", "content": "x", "mode": 7 }), ErrorCode::InvalidInput),
    ] {
        assert_eq!(code(&write(), &bench, json!({ "files": [first, second] })).await, expected, "{second}");
        assert!(!bench.root.join("first").exists(), "{second}");
    }
}

#[tokio::test]
async fn git_folders_are_not_reached_as_files() {
    let bench = bench();
    std::fs::create_dir_all(bench.root.join("repo/.git")).unwrap();
    std::fs::write(bench.root.join("repo/.git/config"), "").unwrap();
    std::fs::write(bench.root.join("repo/file"), "").unwrap();
    for paths in [json!([".git/config"]), json!(["repo/.git/config"]), json!(["repo"]), json!(["repo/.Git"])] {
        assert_eq!(code(&handler(WorkspaceRemove), &bench, json!({ "paths": paths })).await, ErrorCode::PathRefused);
    }
    assert_eq!(code(&handler(WorkspaceRead), &bench, json!({ "paths": ["repo/.git/config"] })).await, ErrorCode::PathRefused);
    let list = call(&handler(WorkspaceList), &bench, json!({})).await.unwrap();
    assert_eq!(list["files"], json!([{ "path": "repo/file", "size": 0 }]));
    assert!(bench.root.join("repo/.git/config").exists());
}

#[tokio::test]
async fn effects_are_narrow_and_the_gateways_arguments_are_known() {
    let bench = bench();
    let input = json!({ "files": [{ "path": "a", "content": "" }], "run_id": "run_x" });
    let prepared = prepare(&write(), &bench, input).await.unwrap();
    assert_eq!(prepared.effects, Effects::only(Effect::Write));
    assert_eq!(prepared.target["workspace"], bench.context.run.to_string());
    let prepared = prepare(&handler(WorkspaceList), &bench, json!({ "run_id": "run_x" })).await.unwrap();
    assert_eq!(prepared.effects, Effects::only(Effect::Read));
    assert!(!bench.root.join("a").exists(), "prepare only reads");
}
