//! The local drive through the real binary.

use serde_json::{Value, json};

use crate::support::{Ran, Toolgate};

fn call(toolgate: &Toolgate, tool: &str, arguments: &Value) -> Ran {
    toolgate.run(&["tools", "call", tool, &arguments.to_string(), "--json"])
}

fn value(ran: &Ran) -> Value {
    serde_json::from_str::<Value>(&ran.stdout).unwrap_or_else(|error| panic!("{error}\n{}\n{}", ran.stdout, ran.stderr))["output"].clone()
}

/// Writes a file of a workspace; the run that it belongs to.
fn write(toolgate: &Toolgate, path: &str, content: &str) -> String {
    let ran = call(toolgate, "workspace.write", &json!({ "files": [{ "path": path, "content": content }] })).exits(0);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["run"].as_str().unwrap().to_owned()
}

fn put(toolgate: &Toolgate, path: &str, bytes: &[u8]) {
    let whole = toolgate.data().join("drive").join(path);
    std::fs::create_dir_all(whole.parent().unwrap()).unwrap();
    std::fs::write(whole, bytes).unwrap();
}

#[test]
fn documents_are_found_read_downloaded_and_put_back_with_the_old_ones_kept() {
    let toolgate = Toolgate::new();
    put(&toolgate, "plans/roadmap.md", b"# Roadmap\nThe orchard opens in May.\n");
    put(&toolgate, "plans/budget.md", b"nothing of that");
    let found = value(&call(&toolgate, "drive.search", &json!({ "query": "orchard May" })).exits(0));
    assert_eq!((&found["results"][0]["id"], &found["complete"]), (&json!("local/plans/roadmap.md"), &json!(true)));
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    let text = value(&call(&toolgate, "drive.get", &json!({ "id": found["results"][0]["id"] })).exits(0));
    assert_eq!(text["text"], "# Roadmap\nThe orchard opens in May.\n");

    let run = write(&toolgate, "out.md", "# Roadmap\nThe orchard opens in June.\n");
    let got =
        value(&call(&toolgate, "drive.download", &json!({ "path": "plans/roadmap.md", "to": "in/roadmap.md", "run_id": run })).exits(0));
    assert_eq!(got["to"], "in/roadmap.md");
    let read = value(&call(&toolgate, "workspace.read", &json!({ "paths": ["in/roadmap.md"], "run_id": run })).exits(0));
    assert_eq!(read["files"][0]["text"], text["text"]);
    // That run has seen content from outside and private data: what it sends is looked at by a human, whoever asks.
    let upload = |run: &str| json!({ "path": "out.md", "name": "plans/roadmap.md", "run_id": run });
    let asked = call(&toolgate, "drive.upload", &upload(&run)).exits(4);
    assert!(asked.stdout.contains("APPROVAL_REQUIRED"), "{asked:?}");
    let upload = upload(&write(&toolgate, "out.md", "# Roadmap\nThe orchard opens in June.\n"));
    let sent = value(&call(&toolgate, "drive.upload", &upload).exits(0));
    assert!(sent["previous"]["id"].as_str().unwrap().starts_with("local/.versions/plans/roadmap.md/"), "{sent}");
    let kept = value(&call(&toolgate, "drive.get", &json!({ "id": sent["previous"]["id"] })).exits(0));
    assert_eq!(kept["text"], text["text"]);
    assert_eq!(value(&call(&toolgate, "drive.upload", &upload).exits(0))["unchanged"], true);
    // The index of an earlier process is gone on with: the new words are found, the old ones are not.
    assert_eq!(value(&call(&toolgate, "drive.search", &json!({ "query": "June" })).exits(0))["results"].as_array().unwrap().len(), 1);
    assert_eq!(value(&call(&toolgate, "drive.search", &json!({ "query": "May" })).exits(0))["results"], json!([]));
}

#[test]
fn no_document_leaves_its_folder_and_no_call_reaches_beyond_it() {
    let toolgate = Toolgate::new();
    put(&toolgate, "a.md", b"alpha");
    std::fs::write(toolgate.home().join("outside.md"), "alpha secret").unwrap();
    std::os::unix::fs::symlink(toolgate.home().join("outside.md"), toolgate.data().join("drive/link.md")).unwrap();
    let run = write(&toolgate, "x.md", "x");
    for (tool, arguments) in [
        ("drive.get", json!({ "id": "local/../outside.md" })),
        ("drive.get", json!({ "path": "link.md" })),
        ("drive.upload", json!({ "path": "x.md", "name": "../outside.md", "run_id": run })),
        ("drive.upload", json!({ "path": "x.md", "name": "link.md", "run_id": run })),
        ("drive.upload", json!({ "path": "x.md", "name": ".versions/a.md/1", "run_id": run })),
        ("drive.download", json!({ "path": "a.md", "to": ".git/config" })),
    ] {
        let refused = call(&toolgate, tool, &arguments).exits(2);
        assert!(["PATH_REFUSED", "INVALID_INPUT"].iter().any(|code| refused.stdout.contains(code)), "{tool} {arguments}: {refused:?}");
    }
    let found = value(&call(&toolgate, "drive.search", &json!({ "query": "alpha" })).exits(0));
    assert_eq!(found["results"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(std::fs::read_to_string(toolgate.home().join("outside.md")).unwrap(), "alpha secret");
}

#[test]
fn an_index_that_is_damaged_is_made_anew() {
    let toolgate = Toolgate::new();
    put(&toolgate, "a.md", b"alpha");
    call(&toolgate, "drive.search", &json!({ "query": "alpha" })).exits(0);
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(toolgate.data().join(format!("drive-index.db{ending}")));
    }
    std::fs::write(toolgate.data().join("drive-index.db"), vec![b'x'; 9000]).unwrap();
    let found = value(&call(&toolgate, "drive.search", &json!({ "query": "alpha" })).exits(0));
    assert_eq!(found["results"].as_array().unwrap().len(), 1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(toolgate.data().join("drive-index.db")).unwrap().permissions().mode() & 0o077, 0);
    }
}
