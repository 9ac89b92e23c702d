//! From pins to a lock and files: with `uv`, or with `pip` where there is no `uv` or it reaches no index.
//!
//! INVARIANT: what both give has passed the same checks, and no text of theirs is handed on with an address in it, as addresses hold
//! tokens.

use crate::domain::{Digest, ErrorCode, Fault};

use super::files::{Files, Guard, unfit};
use super::installer::InstallerOptions;
use super::job::Job;
use super::lock::{Lock, Locked};
use super::requirement::Requirement;
use super::version::Version;
use super::wheel::Unpacked;
use super::{PYTHON, pip, uv};

/// Most characters of an installer's own words that are handed on.
const MAX_WORDS: usize = 1_200;

/// Wheels as an installer found them.
pub(super) struct Found {
    /// What they are.
    pub(super) locked: Vec<Locked>,
    /// What was in them.
    pub(super) unpacked: Vec<Unpacked>,
}

/// A wheel that was built anew without its compiled members.
pub(super) struct Rebuilt {
    /// The package.
    pub(super) name: String,
    /// The published wheel's file name.
    pub(super) published: String,
    /// The published wheel's hash.
    pub(super) published_sha256: Digest,
    /// The hash of what was built from it.
    pub(super) sha256: Digest,
}

/// Resolves, fetches and unpacks.
///
/// # Errors
/// `REQUIREMENTS_UNRESOLVED`, `REQUIREMENT_REFUSED`, `INSTALLER_UNAVAILABLE`, `LIMIT_EXCEEDED`, `TIMEOUT`, `CANCELLED`.
pub(super) fn resolve(options: &InstallerOptions, roots: &[Requirement], job: &Job, note: &dyn Fn(&str)) -> Result<(Lock, Files), Fault> {
    let pips = options.pips();
    let found = match options.uv() {
        Some(program) => {
            note("resolving packages with uv");
            match uv::resolve(options, &program, roots, job, note) {
                Err(fault) if !pips.is_empty() && is_about_uv(&fault) => {
                    note("uv cannot do it on this machine; resolving packages with pip");
                    match pip::resolve(options, &pips, roots, job, note) {
                        Err(second) if second.code == ErrorCode::InstallerUnavailable => Err(fault),
                        other => other,
                    }
                }
                other => other,
            }
        }
        None if pips.is_empty() => Err(none_found()),
        None => {
            note("resolving packages with pip");
            pip::resolve(options, &pips, roots, job, note)
        }
    }?;
    job.check()?;
    let files = merge(found.unpacked)?;
    let lock = Lock::new(found.locked).ok_or_else(|| Fault::internal("an installer gave two wheels of one package"))?;
    Ok((lock, files))
}

/// The fault of a machine without a working installer.
pub(super) fn none_found() -> Fault {
    Fault::new(ErrorCode::InstallerUnavailable, "packages need `uv` or `pip` on this machine, and neither works").hint(
        "the operator installs `uv` (a single program, as its own pages tell) or Python with `pip`, and starts toolgate with it on PATH",
    )
}

/// The fault of an index that did not answer.
pub(super) fn unreachable(words: &str) -> Fault {
    Fault::new(ErrorCode::RequirementsUnresolved, format!("the package index cannot be reached: {}", clean(words)))
        .hint("look whether this machine has a network, and which index its pip or uv is configured for")
        .details(serde_json::json!({ "unreachable": true }))
}

/// The fault of pins that do not exist or do not go together.
pub(super) fn unresolved(words: &str) -> Fault {
    Fault::new(ErrorCode::RequirementsUnresolved, format!("the requirements cannot be resolved: {}", clean(words)))
        .hint("look up which versions exist and go together, and pin those")
}

/// The fault of packages that have only wheels with machine code, or none.
pub(super) fn not_pure(packages: &[String]) -> Fault {
    let message = format!("no wheel for Python {PYTHON} without machine code: {}", packages.join(", "));
    Fault::new(ErrorCode::RequirementRefused, message)
        .hint("the sandbox runs Python only; ask for packages that are Python only, or, where it is offered, use `runtime: \"process\"`")
        .details(serde_json::json!({ "packages": packages }))
}

/// An installer's last words without addresses, on one line.
pub(super) fn clean(words: &str) -> String {
    let lines: Vec<&str> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(12)..).unwrap_or_default();
    let words = last.iter().flat_map(|line| line.split_whitespace());
    let plain: Vec<&str> = words.map(|word| if word.contains("://") { "(address)" } else { word }).collect();
    let text: String = plain.join(" ").chars().filter(|c| !c.is_control()).collect();
    match text.char_indices().nth(MAX_WORDS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// A wheel's entry in the lock: of the published one, if it was built anew.
pub(super) fn locked(roots: &[Requirement], rebuilt: &[Rebuilt], wheel: String, name: String, version: Version, sha256: Digest) -> Locked {
    let root = roots.iter().any(|root| root.name() == name);
    match rebuilt.iter().find(|known| known.name == name && known.sha256 == sha256) {
        Some(known) => Locked { root, name, version, wheel: known.published.clone(), sha256: known.published_sha256 },
        None => Locked { root, name, version, wheel, sha256 },
    }
}

fn is_about_uv(fault: &Fault) -> bool {
    let unreachable = fault.details.as_ref().is_some_and(|details| details.get("unreachable").is_some());
    unreachable || fault.code == ErrorCode::InstallerUnavailable
}

/// All files of all packages. Two may bring the same file, if it is the same.
fn merge(packages: Vec<Unpacked>) -> Result<Files, Fault> {
    let (mut guard, mut all) = (Guard::default(), Files::new());
    for package in packages {
        for (path, bytes) in package.files {
            match all.get(&path) {
                Some(earlier) if *earlier == bytes => {}
                Some(_) => return Err(unfit(&package.info, format!("`{path}` is also in another package, with other content"))),
                None => {
                    guard.file(&path).map_err(|why| unfit(&package.info, why))?;
                    all.insert(path, bytes);
                }
            }
        }
    }
    Ok(all)
}
