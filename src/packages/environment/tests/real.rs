//! Environments from the index that this machine is set up with; says so where none answers.

use std::ffi::OsString;
use std::path::Path;

use super::lab::{House, Lab, house, run_in, step, usable, uv_folder};
use crate::domain::{ErrorCode, Fault};
use crate::packages::InstallerOptions;

fn machine(uv: bool) -> InstallerOptions {
    let wanted = |name: &str| {
        ["PIP_", "UV_", "XDG_", "SSL_CERT_"].iter().any(|head| name.starts_with(head))
            || ["HOME", "NETRC", "REQUESTS_CA_BUNDLE"].contains(&name)
            || name.to_ascii_uppercase().ends_with("_PROXY")
    };
    let environment = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)).collect();
    let path = uv.then(uv_folder).flatten().map(OsString::from).unwrap_or_default();
    InstallerOptions { path, environment }
}

fn ways(cache: &Path) -> Vec<(&'static str, House)> {
    if !usable() {
        return Vec::new();
    }
    let mut ways = vec![("pip", house(&cache.join("pip"), machine(false), Lab::default()))];
    if uv_folder().is_some() {
        ways.push(("uv", house(&cache.join("uv"), machine(true), Lab::default())));
    }
    ways
}

#[expect(clippy::print_stderr, reason = "a test that does nothing says so")]
fn offline<T>(way: &str, outcome: &Result<T, Fault>) -> bool {
    let offline =
        outcome.as_ref().err().and_then(|fault| fault.details.as_ref()).is_some_and(|details| details.get("unreachable").is_some());
    if offline {
        eprintln!("skipped with {way}: no index can be reached");
    }
    offline
}

#[tokio::test]
async fn a_native_package_and_a_program_work_where_only_the_system_is_seen() {
    let place = tempfile::tempdir().unwrap();
    let mut locks = Vec::new();
    for (way, house) in ways(place.path()) {
        let outcome = house.get(&["markupsafe==3.0.2", "pytest==9.0.0"]).await;
        if offline(way, &outcome) {
            continue;
        }
        let environment = outcome.unwrap();
        let native = "import markupsafe._speedups as s, markupsafe, sys; print(s.__file__, sys.prefix, markupsafe.escape('<'))";
        let told = run_in(&environment, &["/env/bin/python", "-c", native]);
        assert!(told.stdout.contains("/env/lib/python") && told.stdout.contains(" /env &lt;"), "{way}: {told:?}");
        assert_eq!(environment.bin, ["py.test", "pygmentize", "pytest"]);
        let told = run_in(&environment, &["/env/bin/pytest", "--version"]);
        assert!(told.code == 0 && told.stdout.contains("pytest 9.0.0"), "{way}: {told:?}");
        assert!(house.lab.jobs.lock().unwrap().iter().any(|job| step(job) == "make" && (job.hosts.is_empty() == (way == "pip"))));
        assert!(house.lab.refused.lock().unwrap().is_empty(), "{way}: {:?}", house.lab.refused.lock().unwrap());
        locks.push(environment.lock.clone());
    }
    locks.dedup();
    assert!(locks.len() <= 1, "both ways lock the same: {locks:#?}");
}

#[tokio::test]
async fn what_has_no_wheel_is_refused_and_what_does_not_exist_unresolved() {
    let place = tempfile::tempdir().unwrap();
    for (way, house) in ways(place.path()) {
        for (entries, code, word) in [
            (&["docopt==0.6.2"][..], ErrorCode::RequirementRefused, "docopt 0.6.2"),
            (&["pywin32==306"][..], ErrorCode::RequirementRefused, "pywin32 306"),
            (&["six==99.0"][..], ErrorCode::RequirementsUnresolved, "six"),
            (&["pytest==9.0.0", "pluggy==0.13"][..], ErrorCode::RequirementsUnresolved, "pluggy"),
        ] {
            let outcome = house.get(entries).await;
            if offline(way, &outcome) {
                continue;
            }
            let fault = outcome.unwrap_err();
            assert!(fault.code == code && fault.message.contains(word), "{way} {entries:?}: {fault:?}");
            assert!(!fault.message.contains("://"), "{way}: {}", fault.message);
        }
    }
}
