//! Tests that notice what was left out.

use std::collections::BTreeSet;

use toolgate::domain::ErrorCode;

use crate::support::{files, root};

#[test]
fn every_test_file_is_named_in_main() {
    let main = std::fs::read_to_string(root().join("tests/it/main.rs")).unwrap();
    let folder = root().join("tests/it");
    for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let has_module = path.is_dir() || path.extension().is_some_and(|e| e == "rs");
        if name != "main" && has_module {
            assert!(main.contains(&format!("mod {name};")), "tests/it/{name} is not part of tests/it/main.rs");
        }
    }
}

#[test]
fn every_error_code_has_its_page_and_every_page_its_code() {
    let pages: BTreeSet<String> =
        files(&root().join("docs/errors")).iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let codes: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    let missing: Vec<_> = codes.difference(&pages).collect();
    let stale: Vec<_> = pages.difference(&codes).filter(|page| *page != "README").collect();
    assert!(missing.is_empty() && stale.is_empty(), "codes without a page: {missing:?}; pages without a code: {stale:?}");
}

#[test]
fn every_error_code_is_raised_somewhere() {
    let code_list = root().join("src/domain/code.rs");
    let text: String = files(&root().join("src"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "rs") && **path != code_list)
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let unraised: Vec<_> = ErrorCode::ALL.iter().filter(|code| !text.contains(&format!("ErrorCode::{code:?}"))).collect();
    assert!(unraised.is_empty(), "codes that nothing raises: {unraised:?}");
}

#[test]
fn every_shipped_schema_belongs_to_a_manifest() {
    let manifests: String = files(&root().join("tool-manifests"))
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    for path in files(&root().join("schemas")) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(manifests.contains(&name), "schemas/{name} is named by no manifest");
    }
}
