//! Evidence that leaves the house: bundles of real runs, checked by the binary and by a script that shares no code with it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Ran, Toolgate, root};

fn vectors() -> PathBuf {
    root().join("evidence/vectors")
}

/// What the script looks at; the rest of a bundle it does not check, as `docs/evidence.md` says.
const BESIDE_THE_RECORDS: &[&str] = &[
    "changed-artifact.json",
    "changed-pin.json",
    "changed-plan.json",
    "changed-status.json",
    "forked-newest.json",
    "hidden-approval.json",
    "not-canonical.json",
    "repeated-member.json",
];

/// Runs the twenty lines of Python on a bundle.
#[expect(clippy::disallowed_methods, reason = "a test is a user, and a user starts programs")]
pub fn script(bundle: &Path, key: &Path) -> Ran {
    let python = std::env::var("TOOLGATE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = Command::new(python);
    command.arg("-I").arg("-B").arg("-c");
    // Isolated from the machine's settings, with only the two files beside it.
    let folder = root().join("evidence");
    command.arg(format!(
        "import sys, runpy; sys.path.insert(0, {folder:?}); sys.argv = sys.argv[1:]; runpy.run_path({script:?}, run_name='__main__')",
        folder = folder.display().to_string(),
        script = folder.join("verify.py").display().to_string(),
    ));
    Ran::of(command.arg("verify.py").arg(bundle).arg(key).output().unwrap())
}

#[test]
fn twenty_lines_of_python_find_what_is_wrong_with_the_records() {
    let text = std::fs::read_to_string(root().join("evidence/verify.py")).unwrap();
    let code = text.lines().skip(3).filter(|line| !line.is_empty()).count();
    assert_eq!(code, 20, "it is called a script of twenty lines");
    let listed: Vec<Value> = serde_json::from_slice(&std::fs::read(vectors().join("vectors.json")).unwrap()).unwrap();
    assert!(listed.len() > 20, "{listed:?}");
    for vector in &listed {
        let file = vector["file"].as_str().unwrap();
        let holds = vector["wrong"].is_null() && file != "forged-with-another-key.json" || BESIDE_THE_RECORDS.contains(&file);
        let ran = script(&vectors().join(file), &vectors().join("log.pub"));
        assert_eq!(ran.code == 0, holds, "{file}: {}", ran.stderr);
    }
}

#[test]
fn a_bundle_is_verified_without_a_home() {
    let toolgate = Toolgate::new();
    let at = |name: &str| vectors().join(name).display().to_string();
    let (good, key) = (at("good.json"), at("log.pub"));
    let told = toolgate.run(&["verify-bundle", &good]).exits(0).stdout;
    assert!(told.contains("came with the bundle"), "{told}");
    let report = toolgate.json(0, &["verify-bundle", &good, "--key", &key, "--json"]);
    assert_eq!((report["trust"].as_str(), report["events"].as_u64()), (Some("given"), Some(6)));
    let listed: Vec<Value> = serde_json::from_slice(&std::fs::read(vectors().join("vectors.json")).unwrap()).unwrap();
    for vector in listed.iter().filter(|vector| vector["wrong"].is_string()) {
        let told = toolgate.run(&["verify-bundle", &at(vector["file"].as_str().unwrap())]).exits(1).stderr;
        assert!(told.contains(vector["wrong"].as_str().unwrap().split(" the key").next().unwrap()), "{vector}: {told}");
    }
    toolgate.run(&["verify-bundle", &good, "--key", &good]).exits(2);
    toolgate.run(&["verify-bundle", "/nowhere/at/all"]).exits(2);
    assert!(!toolgate.data().exists(), "a home was made");
}
