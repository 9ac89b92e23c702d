//! The way with `pip`: download pure wheels. Where it finds none of a package that does without its compiled part, the compiled wheel is
//! fetched, built anew without that part, and offered to the next attempt.
//!
//! `pip` evaluates conditions of requirements for the Python it runs on, not for the one asked for; nothing can be told it about that.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use crate::domain::{Digest, ErrorCode, Fault};

use super::PYTHON;
use super::files::{Budget, MAX_FILES, MAX_TOTAL, too_large, unfit};
use super::installer::{InstallerOptions, Program};
use super::job::{Job, failed};
use super::native;
use super::requirement::{Requirement, normal_name};
use super::resolve::{Found, Rebuilt, locked, none_found, not_pure, unreachable, unresolved};
use super::version::Version;
use super::wheel::{Natives, WheelName, unpack};

/// Most attempts: each brings one more package without its compiled part.
const MAX_ATTEMPTS: usize = 8;
/// The oldest `pip` whose resolver looks at all requirements together.
const OLDEST: (u32, u32) = (20, 3);
const PURE: [&str; 8] =
    ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none", "--python-version", PYTHON, "--no-input", "--quiet"];
/// Which machine a compiled wheel is for does not matter, as its compiled members are left out; most packages have one for these.
const NATIVE: [&str; 16] = [
    "--only-binary=:all:",
    "--no-deps",
    "--platform=manylinux1_x86_64",
    "--platform=manylinux2010_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_34_x86_64",
    "--platform=linux_x86_64",
    "--implementation=cp",
    "--abi=cp314",
    "--abi=abi3",
    "--python-version",
    PYTHON,
    "--no-input",
    "--quiet",
];

/// Resolves, fetches and unpacks with the first of `programs` that works.
///
/// # Errors
/// See `resolve::resolve`.
pub(super) fn resolve(
    options: &InstallerOptions,
    programs: &[Program],
    roots: &[Requirement],
    job: &Job,
    note: &dyn Fn(&str),
) -> Result<Found, Fault> {
    let program = working(options, programs, job)?;
    let pip = Pip { options, program, job };
    let mut rebuilt: Vec<Rebuilt> = Vec::new();
    for attempt in 0..MAX_ATTEMPTS {
        let folder = job.subfolder(&format!("wheels-{attempt}"))?;
        let finished = pip.download(&PURE, &folder, roots.iter().map(ToString::to_string))?;
        let Err(err) = finished else {
            return collect(&folder, roots, &rebuilt);
        };
        if is_unreachable(&err) {
            return Err(unreachable(&err));
        }
        let missing = missing(&err);
        let optional =
            missing.iter().find(|wanted| native::is_optional(&wanted.name) && !rebuilt.iter().any(|known| known.name == wanted.name));
        let Some(optional) = optional else { return Err(pip.refusal(&missing, &err)?) };
        note(&format!("leaving out the compiled part of {}", optional.name));
        rebuilt.push(pip.rebuild(optional)?);
    }
    Err(unresolved("too many packages need their compiled part left out"))
}

struct Pip<'a> {
    options: &'a InstallerOptions,
    program: &'a Program,
    job: &'a Job,
}

/// A requirement that `pip` has found nothing for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// The package.
    pub(super) name: String,
    /// What it asks of the version, perhaps nothing.
    pub(super) range: String,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.name, self.range)
    }
}

impl Pip<'_> {
    /// The inner error is what `pip` complains of.
    fn download(&self, how: &[&str], folder: &Path, what: impl Iterator<Item = String>) -> Result<Result<(), String>, Fault> {
        let mut arguments: Vec<OsString> = ["download"].iter().chain(how).map(OsString::from).collect();
        arguments.push("--find-links".into());
        arguments.push(self.job.subfolder("links")?.into());
        arguments.push("--dest".into());
        arguments.push(folder.into());
        arguments.extend(what.map(OsString::from));
        let finished = self.options.run(self.program, &arguments, self.job)?;
        Ok(if finished.ok { Ok(()) } else { Err(finished.err) })
    }

    /// Makes a pure wheel of one with an optional compiled part, and puts it where the next attempt looks.
    fn rebuild(&self, wanted: &Missing) -> Result<Rebuilt, Fault> {
        let folder = self.job.subfolder(&format!("native-{}", wanted.name))?;
        if let Err(err) = self.download(&NATIVE, &folder, std::iter::once(wanted.to_string()))? {
            return Err(self.refusal(std::slice::from_ref(wanted), &err)?);
        }
        let (published, bytes) = wheels_in(&folder)?.pop().ok_or_else(|| not_pure(&[wanted.to_string()]))?;
        let named = WheelName::parse(&published).filter(|named| named.name == wanted.name);
        let named = named.ok_or_else(|| unfit(&published, format!("it is not of {}", wanted.name)))?;
        let unpacked = unpack(&published, &bytes, Natives::LeaveOut, &mut Budget::default())?;
        let (file, built) = native::rebuild(&named.name, &named.version, unpacked.files, &unpacked.info)?;
        self.job.write(&format!("links/{file}"), &built)?;
        Ok(Rebuilt { name: named.name, published, published_sha256: Digest::of(&bytes), sha256: Digest::of(&built) })
    }

    /// Why `pip` found nothing: the package does not exist, the version does not, or it has no pure wheel.
    fn refusal(&self, missing: &[Missing], err: &str) -> Result<Fault, Fault> {
        let mut without = Vec::new();
        for wanted in missing {
            let arguments: [OsString; 4] =
                ["index".into(), "versions".into(), format!("--python-version={PYTHON}").into(), wanted.name.clone().into()];
            let finished = self.options.run(self.program, &arguments, self.job)?;
            let Some(list) = finished.out.lines().find_map(|line| line.strip_prefix("Available versions:")) else { continue };
            let pinned = wanted.range.strip_prefix("==").and_then(Version::parse);
            let exists = |pinned: &Version| list.split(',').any(|text| Version::parse(text.trim()).as_ref() == Some(pinned));
            if pinned.as_ref().is_none_or(exists) {
                without.push(pinned.map_or_else(|| wanted.to_string(), |version| format!("{} {version}", wanted.name)));
            }
        }
        Ok(if without.is_empty() { unresolved(err) } else { not_pure(&without) })
    }
}

fn working<'a>(options: &InstallerOptions, programs: &'a [Program], job: &Job) -> Result<&'a Program, Fault> {
    for program in programs {
        match options.run(program, &["--version".into()], job) {
            Ok(finished) if finished.ok && version_of(&finished.out).is_some_and(|found| found >= OLDEST) => return Ok(program),
            Err(fault) if fault.code != ErrorCode::InstallerUnavailable => return Err(fault),
            Ok(_) | Err(_) => {}
        }
    }
    Err(none_found())
}

/// From `pip 25.1 from …`.
fn version_of(out: &str) -> Option<(u32, u32)> {
    let mut parts = out.strip_prefix("pip ")?.split_whitespace().next()?.split('.');
    let first = parts.next()?.parse().ok()?;
    Some((first, parts.next().and_then(|part| part.parse().ok()).unwrap_or(0)))
}

/// The wheels of a folder, sorted; anything else in it is refused.
fn wheels_in(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Fault> {
    let mut wheels = Vec::new();
    let mut total = 0_u64;
    for entry in fs::read_dir(folder).map_err(failed)?.take(MAX_FILES) {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type().map_err(failed)?.is_file() || !name.ends_with(".whl") {
            return Err(unfit(&name, "it is not a wheel"));
        }
        total = total.saturating_add(entry.metadata().map_err(failed)?.len());
        if total > MAX_TOTAL as u64 {
            return Err(too_large(&name));
        }
        wheels.push((name, fs::read(entry.path()).map_err(failed)?));
    }
    wheels.sort();
    Ok(wheels)
}

fn collect(folder: &Path, roots: &[Requirement], rebuilt: &[Rebuilt]) -> Result<Found, Fault> {
    let (mut found, mut budget) = (Found { locked: Vec::new(), unpacked: Vec::new() }, Budget::default());
    for (file, bytes) in wheels_in(folder)? {
        let named = WheelName::parse(&file).ok_or_else(|| unfit(&file, "its file name is not one a wheel has"))?;
        found.unpacked.push(unpack(&file, &bytes, Natives::Refuse, &mut budget)?);
        found.locked.push(locked(roots, rebuilt, file, named.name, named.version, Digest::of(&bytes)));
    }
    let lost = roots.iter().find(|root| !found.locked.iter().any(|got| got.name == root.name() && got.version == *root.version()));
    match lost {
        Some(root) => Err(unresolved(&format!("{root} was not downloaded"))),
        None => Ok(found),
    }
}

/// Whether `pip` complains that nobody answers.
pub(super) fn is_unreachable(err: &str) -> bool {
    ["Retrying (Retry(", "ConnectionError", "NewConnectionError", "Could not fetch URL", "connection broken"]
        .iter()
        .any(|sign| err.contains(sign))
}

/// What `pip` says that it has found nothing for.
pub(super) fn missing(err: &str) -> Vec<Missing> {
    let mut found = Vec::new();
    let mut lines = err.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some((_, rest)) = line.split_once("No matching distribution found for ") {
            found.extend(read_missing(rest));
        } else if line.contains("no matching distributions available for your environment") {
            found.extend(lines.by_ref().take_while(|line| !line.is_empty()).filter_map(read_missing));
        }
    }
    found.dedup();
    found
}

fn read_missing(text: &str) -> Option<Missing> {
    let text = text.split([' ', ';']).next()?;
    let end = text.find(['=', '<', '>', '!', '~', '[']).unwrap_or(text.len());
    let (name, range) = text.split_at_checked(end)?;
    let range = range.split_once(']').map_or(range, |(_, range)| range);
    let plain = range.chars().all(|c| c.is_ascii_alphanumeric() || ".,<>=!~+*".contains(c));
    Some(Missing { name: normal_name(name)?, range: if plain { range.to_owned() } else { String::new() } })
}

#[cfg(test)]
pub(super) fn missing_in(err: &str) -> Vec<String> {
    missing(err).iter().map(ToString::to_string).collect()
}
