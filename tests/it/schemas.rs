//! `schemas/` equals what the Rust types say. `UPDATE_SCHEMAS=1` writes it anew.

use std::collections::BTreeMap;

use toolgate::config::{Ambient, Options, load};

use crate::support::{files, root};

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a switch for whoever works on toolgate, not a setting")]
async fn schemas_are_what_the_code_says() {
    let home = tempfile::tempdir().unwrap();
    let options = Options { home: Some(home.path().to_owned()), ..Options::default() };
    let config = load(&options, &Ambient::of_process()).unwrap();
    let generated = toolgate::app::generated_schemas(&config).await.unwrap();
    let folder = root().join("schemas");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        for (name, text) in &generated {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }
    let stored: BTreeMap<String, String> = files(&folder)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    for (name, text) in &generated {
        assert_eq!(stored.get(name), Some(text), "schemas/{name} differs from the code; UPDATE_SCHEMAS=1 writes it anew");
    }
    for name in stored.keys() {
        assert!(generated.contains_key(name) || !is_builtin(name), "schemas/{name} belongs to no tool");
    }
}

/// Schemas of tools whose executor is a script are written by hand.
fn is_builtin(name: &str) -> bool {
    let tool = name.trim_end_matches(".json").trim_end_matches(".input").trim_end_matches(".output");
    let manifest = root().join("tool-manifests").join(format!("{tool}.yaml"));
    std::fs::read_to_string(manifest).is_ok_and(|text| text.contains("executor: builtin"))
}
