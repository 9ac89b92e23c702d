//! The machine's own installers, where it has them and they reach an index; says so where not.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio_util::sync::CancellationToken;

use super::room::{Stamp, TestClock};
use crate::domain::{ErrorCode, Fault};
use crate::packages::installer::InstallerOptions;
use crate::packages::{PackageSet, Packages, PackagesOptions, Requirement};

/// The machine's installers, or only those in the folders named.
fn machine(only: Option<&[PathBuf]>) -> InstallerOptions {
    let path = std::env::vars_os().find(|(name, _)| name == "PATH").map(|(_, value)| value).unwrap_or_default();
    let path = only.map_or(path, |folders| std::env::join_paths(folders).unwrap());
    let wanted = |name: &str| {
        name.starts_with("PIP_")
            || name.starts_with("UV_")
            || name.starts_with("XDG_")
            || name.starts_with("SSL_CERT_")
            || name == "HOME"
            || name.to_ascii_uppercase().ends_with("_PROXY")
    };
    let environment = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)).collect();
    InstallerOptions { path, environment }
}

/// Ways to resolve on this machine: with uv, and with pip alone.
#[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
fn ways() -> Vec<(&'static str, InstallerOptions)> {
    let all = machine(None);
    let mut ways = Vec::new();
    if all.uv().is_some() {
        ways.push(("uv", all.clone()));
    }
    let without: Vec<PathBuf> = std::env::split_paths(&all.path).filter(|folder| !folder.join("uv").exists()).collect();
    let pip = InstallerOptions { path: std::env::join_paths(without).unwrap(), ..all };
    if !pip.pips().is_empty() {
        ways.push(("pip", pip));
    }
    if ways.is_empty() {
        eprintln!("skipped: this machine has neither uv nor pip");
    }
    ways
}

async fn get(installer: InstallerOptions, entries: &[&str]) -> (Result<Arc<PackageSet>, Fault>, Vec<String>) {
    let place = tempfile::tempdir().unwrap();
    let options = PackagesOptions {
        cache: place.path().join("packages"),
        installer,
        compiler: Arc::new(Stamp::default()),
        clock: Arc::new(TestClock::default()),
    };
    let packages = Packages::new(options);
    let notes = Mutex::new(Vec::new());
    let note = |text: &str| notes.lock().unwrap().push(text.to_owned());
    let roots = Requirement::parse_all(entries).unwrap();
    let outcome = packages.get(&roots, &CancellationToken::new(), &note).await;
    assert_eq!(packages.cached(&roots).is_some(), outcome.is_ok());
    assert_eq!(std::fs::read_dir(place.path().join("packages/jobs")).unwrap().count(), 0, "the job's folder is gone");
    (outcome, notes.into_inner().unwrap())
}

/// Whether the index can be asked at all; a test needs one package that exists.
#[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
fn offline(way: &str, outcome: &Result<Arc<PackageSet>, Fault>) -> bool {
    let unreachable =
        outcome.as_ref().err().and_then(|fault| fault.details.as_ref()).is_some_and(|details| details.get("unreachable").is_some());
    if unreachable {
        eprintln!("skipped with {way}: no index can be reached");
    }
    unreachable
}

fn names(set: &PackageSet) -> Vec<String> {
    set.lock.packages().iter().map(|package| package.name.clone()).collect()
}

#[tokio::test]
async fn a_package_with_an_optional_compiled_part_comes_without_it() {
    let mut locks = BTreeSet::new();
    let mut contents = BTreeSet::new();
    for (way, installer) in ways() {
        let (outcome, notes) = get(installer, &["jinja2==3.1.6", "pytest==9.0.0"]).await;
        if offline(way, &outcome) {
            continue;
        }
        let set = outcome.unwrap();
        let names = names(&set);
        for name in ["iniconfig", "jinja2", "markupsafe", "packaging", "pluggy", "pygments", "pytest"] {
            assert!(names.contains(&name.to_owned()), "{way}: {names:?}");
        }
        let has = |path: &str| set.files.iter().any(|(known, _)| known == path);
        assert!(
            has("markupsafe/_native.py")
                && has("jinja2/__init__.py")
                && has("_pytest/__init__.py")
                && has("pytest-9.0.0.dist-info/entry_points.txt")
        );
        assert!(!has("bin/pytest") && set.files.iter().all(|(path, _)| !path.ends_with(".so")), "{way}");
        let markupsafe = set.lock.packages().iter().find(|package| package.name == "markupsafe").unwrap();
        assert!(markupsafe.wheel.contains("cp314-cp314") && !markupsafe.root, "the published wheel is locked: {}", markupsafe.wheel);
        assert!(notes.iter().any(|note| note.contains(way)) && notes.iter().any(|note| note.contains("markupsafe")), "{notes:?}");
        locks.insert(set.lock.to_string());
        let files: Vec<String> = set.files.iter().map(|(path, bytes)| format!("{path} {}", crate::domain::Digest::of(bytes))).collect();
        contents.insert(files);
    }
    assert!(locks.len() <= 1, "both ways lock the same: {locks:#?}");
    assert!(contents.len() <= 1, "both ways give the same files");
}

#[tokio::test]
async fn a_package_of_machine_code_is_refused_by_name() {
    for (way, installer) in ways() {
        let (outcome, _) = get(installer.clone(), &["numpy==2.3.4"]).await;
        if offline(way, &outcome) {
            continue;
        }
        let fault = outcome.unwrap_err();
        assert_eq!(fault.code, ErrorCode::RequirementRefused, "{way}: {fault:?}");
        assert!(fault.message.contains("numpy 2.3.4") && fault.hint.unwrap().contains("process"), "{way}: {}", fault.message);

        // One that is needed by another.
        let fault = get(installer, &["pydantic==2.12.0"]).await.0.unwrap_err();
        assert_eq!(fault.code, ErrorCode::RequirementRefused, "{way}: {fault:?}");
        assert!(fault.message.contains("pydantic-core 2.41.1"), "{way}: {}", fault.message);
    }
}

#[tokio::test]
async fn pins_that_do_not_exist_or_do_not_fit_are_unresolved() {
    for (way, installer) in ways() {
        for entries in [&["jinja2==99.1"][..], &["pytest==9.0.0", "pluggy==0.13"]] {
            let (outcome, _) = get(installer.clone(), entries).await;
            if offline(way, &outcome) {
                continue;
            }
            let fault = outcome.unwrap_err();
            assert_eq!(fault.code, ErrorCode::RequirementsUnresolved, "{way} {entries:?}: {fault:?}");
            assert!(!fault.message.contains("://"), "{way}: {}", fault.message);
        }
    }
}

#[tokio::test]
async fn an_index_that_does_not_answer_is_said_to_be_so() {
    for (way, mut installer) in ways() {
        installer.environment.retain(|(name, _)| {
            name != "HOME" && !name.to_string_lossy().starts_with("PIP_") && !name.to_string_lossy().starts_with("UV_")
        });
        let dead = OsString::from("http://127.0.0.1:9/simple");
        for name in ["PIP_INDEX_URL", "UV_DEFAULT_INDEX"] {
            installer.environment.push((name.into(), dead.clone()));
        }
        for (name, value) in [("PIP_RETRIES", "1"), ("UV_HTTP_RETRIES", "0"), ("PIP_CONFIG_FILE", "/dev/null"), ("UV_NO_CONFIG", "1")] {
            installer.environment.push((name.into(), value.into()));
        }
        let (outcome, _) = get(installer, &["jinja2==3.1.6"]).await;
        let fault = outcome.unwrap_err();
        assert!(fault.code == ErrorCode::RequirementsUnresolved && fault.message.contains("cannot be reached"), "{way}: {fault:?}");
    }
}
