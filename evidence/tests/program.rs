//! The program as somebody without toolgate runs it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fall over, and say where")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[expect(clippy::disallowed_methods, reason = "a test is a user, and a user starts programs")]
fn verify(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_toolgate-verify")).args(args).current_dir(vectors()).env_clear().output().unwrap()
}

#[test]
fn it_tells_what_is_proven_and_by_which_key() {
    let held = verify(&["good.json"]);
    let told = String::from_utf8(held.stdout).unwrap();
    assert_eq!(held.status.code(), Some(0));
    assert!(told.starts_with("the bundle holds\n") && told.contains("0bb9c08a") && told.contains("came with the bundle"), "{told}");
    let pinned = String::from_utf8(verify(&["--key", "log.pub", "good.json"]).stdout).unwrap();
    assert!(pinned.contains("(given)") && !pinned.contains("came with"), "{pinned}");
    let json: serde_json::Value = serde_json::from_slice(&verify(&["--json", "good.json", "--key", "log.pub"]).stdout).unwrap();
    assert_eq!((json["trust"].as_str(), json["events"].as_u64()), (Some("given"), Some(6)));
}

#[test]
fn it_names_the_first_thing_that_is_wrong() {
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(vectors().join("vectors.json")).unwrap()).unwrap();
    for vector in &listed {
        let file = vector["file"].as_str().unwrap();
        let found = verify(&[file]);
        let said = String::from_utf8(found.stderr).unwrap();
        match vector["wrong"].as_str() {
            None => assert_eq!(found.status.code(), Some(0), "{file}: {said}"),
            Some(wrong) => {
                assert_eq!(found.status.code(), Some(1), "{file}");
                assert!(said.starts_with(&format!("error: {wrong}")), "{file}: {said}");
            }
        }
    }
    let forged = verify(&["forged-with-another-key.json", "--key", "log.pub"]);
    assert_eq!(String::from_utf8(forged.stderr).unwrap(), "error: the checkpoint: none of the keys signed it\n");
    assert_eq!(forged.status.code(), Some(1));
}

#[test]
fn wrong_use_is_told_apart_from_a_bad_bundle() {
    for args in [&[][..], &["--what"], &["a", "b"], &["--key"], &["good.json", "--key", "good.json"], &["nowhere.json"]] {
        assert_eq!(verify(args).status.code(), Some(2), "{args:?}");
    }
    assert_eq!(verify(&["--help"]).status.code(), Some(0));
}
