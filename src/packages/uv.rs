//! The way with `uv`: resolve without downloading, then install just those wheels, by hash, into a folder of the job.
//!
//! `uv` has no command that hands out wheel files, so what it unpacked is read and checked instead; the lock still holds the wheels' own
//! hashes, which `uv` was made to verify.

use std::ffi::OsString;
use std::path::Path;

use serde::Deserialize;

use crate::domain::{Digest, ErrorCode, Fault};

use super::PYTHON;
use super::files::Budget;
use super::installer::{Finished, InstallerOptions, Program};
use super::job::{Job, failed};
use super::native;
use super::requirement::{Requirement, normal_name};
use super::resolve::{Found, Rebuilt, clean, locked, none_found, not_pure, unreachable, unresolved};
use super::tree::{self, Expected};
use super::version::Version;
use super::wheel::{Natives, WheelName};

/// Nearest to the sandbox of the platforms `uv` knows: conditions such as `sys_platform` come out as they do without threads and processes.
const SANDBOX: &str = "wasm32-pyodide2024";
/// The platform whose compiled wheels are looked at. Which one does not matter, as their compiled members are left out.
const NATIVE: &str = "x86_64-manylinux_2_28";
/// Most bytes of a lock file that are read.
const MAX_LOCK: u64 = 8 << 20;

/// Resolves, fetches and unpacks.
///
/// # Errors
/// See `resolve::resolve`.
pub(super) fn resolve(
    options: &InstallerOptions,
    program: &Program,
    roots: &[Requirement],
    job: &Job,
    note: &dyn Fn(&str),
) -> Result<Found, Fault> {
    let uv = Uv { options, program, job };
    let wanted: String = roots.iter().map(|root| format!("{root}\n")).collect();
    job.write("roots.txt", wanted.as_bytes())?;
    job.subfolder("links")?;

    // First with compiled wheels allowed: it tells which optional compiled parts to leave out, before a resolver that may only take pure
    // wheels turns to years-old versions that had some.
    let native = match uv.compile(NATIVE, "pylock.native.toml")? {
        Ok(packages) => packages,
        Err(finished) if is_unreachable(&finished.err) => return Err(unreachable(&finished.err)),
        Err(finished) if finished.err.contains("No interpreter found") => return Err(no_python()),
        Err(_) => Vec::new(),
    };
    let mut rebuilt = Vec::new();
    for package in native.iter().filter(|package| package.pure().is_none() && native::is_optional(&package.name)) {
        note(&format!("leaving out the compiled part of {}", package.name));
        rebuilt.extend(uv.rebuild(package)?);
    }
    let packages = match uv.compile(SANDBOX, "pylock.sandbox.toml")? {
        Ok(packages) => packages,
        Err(finished) => return Err(refusal(&native, &finished.err)),
    };
    if packages.iter().any(|package| package.pure().is_none()) {
        return Err(refusal(&packages, ""));
    }
    note(&format!("fetching {} packages", packages.len()));
    uv.fetch(roots, &packages, &rebuilt)
}

struct Uv<'a> {
    options: &'a InstallerOptions,
    program: &'a Program,
    job: &'a Job,
}

impl Uv<'_> {
    /// A resolution for a platform; the inner error is `uv`'s refusal.
    fn compile(&self, platform: &str, file: &str) -> Result<Result<Vec<Package>, Finished>, Fault> {
        let mut arguments =
            words(&["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--format", "pylock.toml", "--output-file"]);
        arguments.push(self.job.path().join(file).into());
        arguments.extend(self.common(platform));
        arguments.push(self.job.path().join("roots.txt").into());
        let finished = self.options.run(self.program, &arguments, self.job)?;
        if !finished.ok {
            return Ok(Err(finished));
        }
        let path = self.job.path().join(file);
        if std::fs::metadata(&path).map_err(failed)?.len() > MAX_LOCK {
            return Err(Fault::new(ErrorCode::LimitExceeded, "the resolution is too large").hint("ask for fewer packages"));
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        read_lock(&text).map(Ok)
    }

    /// Installs wheels by hash into a folder of the job.
    fn install(&self, lines: &str, platform: &str, folder: &Path) -> Result<(), Fault> {
        self.job.write("wheels.txt", lines.as_bytes())?;
        let mut arguments = words(&["pip", "install", "--quiet", "--no-deps", "--require-hashes", "--link-mode", "hardlink", "--target"]);
        arguments.push(folder.into());
        arguments.extend(self.common(platform));
        arguments.push("--requirements".into());
        arguments.push(self.job.path().join("wheels.txt").into());
        let finished = self.options.run(self.program, &arguments, self.job)?;
        match finished.ok {
            true => Ok(()),
            false if is_unreachable(&finished.err) => Err(unreachable(&finished.err)),
            false => {
                let message = format!("wheels that were resolved cannot be fetched: {}", clean(&finished.err));
                Err(Fault::new(ErrorCode::RequirementsUnresolved, message).hint("try again; if it stays so, pin another version"))
            }
        }
    }

    /// Makes a pure wheel of one with an optional compiled part, and puts it where the next resolution looks.
    fn rebuild(&self, package: &Package) -> Result<Option<Rebuilt>, Fault> {
        let Some(wheel) = package.wheels.first() else { return Ok(None) };
        let Package { name, version, .. } = package;
        let folder = self.job.path().join(format!("native-{name}"));
        self.install(&format!("{name}=={version} --hash=sha256:{}\n", wheel.sha256), NATIVE, &folder)?;
        let expected = [Expected { name, version, natives: Natives::LeaveOut }];
        let Some(unpacked) = tree::read(&folder, &expected, &mut Budget::default())?.pop() else { return Ok(None) };
        let (file, bytes) = native::rebuild(name, version, unpacked.files, &unpacked.info)?;
        self.job.write(&format!("links/{file}"), &bytes)?;
        Ok(Some(Rebuilt { name: name.clone(), published: wheel.file.clone(), published_sha256: wheel.sha256, sha256: Digest::of(&bytes) }))
    }

    fn fetch(&self, roots: &[Requirement], packages: &[Package], rebuilt: &[Rebuilt]) -> Result<Found, Fault> {
        let (mut lines, mut locks, mut expected) = (String::new(), Vec::new(), Vec::new());
        for package in packages {
            let Some(wheel) = package.pure() else { return Err(not_pure(&[package.to_string()])) };
            let Package { name, version, .. } = package;
            lines.push_str(&format!("{name}=={version} --hash=sha256:{}\n", wheel.sha256));
            locks.push(locked(roots, rebuilt, wheel.file.clone(), name.clone(), version.clone(), wheel.sha256));
            expected.push(Expected { name, version, natives: Natives::Refuse });
        }
        let folder = self.job.path().join("tree");
        self.install(&lines, SANDBOX, &folder)?;
        self.job.check()?;
        let unpacked = tree::read(&folder, &expected, &mut Budget::default())?;
        Ok(Found { locked: locks, unpacked })
    }

    fn common(&self, platform: &str) -> Vec<OsString> {
        let mut arguments =
            words(&["--only-binary", ":all:", "--no-python-downloads", "--python-version", PYTHON, "--python-platform", platform]);
        arguments.push("--cache-dir".into());
        arguments.push(self.job.path().join("uv-cache").into());
        // Given as an argument, our folder would take the place of those in the variable.
        let others = self.options.variable("UV_FIND_LINKS").and_then(|value| value.to_str()).unwrap_or_default();
        let links = others.split(',').filter(|link| !link.is_empty()).map(OsString::from);
        for link in links.chain([self.job.path().join("links").into_os_string()]) {
            arguments.push("--find-links".into());
            arguments.push(link);
        }
        arguments
    }
}

#[derive(Deserialize)]
struct LockFile {
    #[serde(default)]
    packages: Vec<PackageEntry>,
}

#[derive(Deserialize)]
struct PackageEntry {
    name: String,
    version: Option<String>,
    #[serde(default)]
    wheels: Vec<WheelEntry>,
}

#[derive(Deserialize)]
struct WheelEntry {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    hashes: Hashes,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

/// A package of a lock file.
pub(super) struct Package {
    /// Its normalised name.
    pub(super) name: String,
    /// Its version.
    pub(super) version: Version,
    /// The wheels that `uv` would take, best first.
    pub(super) wheels: Vec<Wheel>,
}

/// A wheel as it is published.
pub(super) struct Wheel {
    /// Its file name.
    pub(super) file: String,
    /// Its hash.
    pub(super) sha256: Digest,
    pure: bool,
}

/// The packages of a lock file that `uv` wrote.
///
/// # Errors
/// `INSTALLER_UNAVAILABLE` where it is not what a known `uv` writes.
pub(super) fn read_lock(text: &str) -> Result<Vec<Package>, Fault> {
    let strange = |why: &dyn std::fmt::Display| Fault::new(ErrorCode::InstallerUnavailable, format!("`uv` wrote an unknown lock: {why}"));
    let lock: LockFile = toml::from_str(text).map_err(|error| strange(&error.message()))?;
    let packages: Option<Vec<Package>> = lock.packages.into_iter().map(Package::read).collect();
    packages.ok_or_else(|| strange(&"a package without name or version"))
}

impl Package {
    fn read(entry: PackageEntry) -> Option<Self> {
        let (name, version) = (normal_name(&entry.name)?, Version::parse(&entry.version?)?);
        let wheels = entry.wheels.into_iter().filter_map(Wheel::read).collect();
        Some(Self { name, version, wheels })
    }

    fn pure(&self) -> Option<&Wheel> {
        self.wheels.iter().find(|wheel| wheel.pure)
    }
}

impl std::fmt::Display for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

impl Wheel {
    fn read(entry: WheelEntry) -> Option<Self> {
        let place = entry.name.or(entry.url).or(entry.path)?;
        let file = place.split(['#', '?']).next()?.rsplit('/').next()?.replace("%2B", "+").replace("%2b", "+");
        let pure = WheelName::parse(&file)?.pure;
        Some(Self { file, sha256: entry.hashes.sha256?.parse().ok()?, pure })
    }
}

fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

/// Whether `uv` complains that nobody answers.
pub(super) fn is_unreachable(err: &str) -> bool {
    ["error sending request", "Failed to fetch", "Request failed", "Could not connect", "dns error", "Network connectivity is disabled"]
        .iter()
        .any(|sign| err.contains(sign))
}

fn no_python() -> Fault {
    none_found().hint("`uv` is there but has no Python to look at; the operator runs `uv python install 3.14`")
}

/// Why nothing pure was found: packages that only have compiled wheels, if that is known, else `uv`'s own words.
fn refusal(packages: &[Package], err: &str) -> Fault {
    let natives = packages.iter().filter(|package| package.pure().is_none() && !native::is_optional(&package.name));
    let natives: Vec<String> = natives.map(ToString::to_string).collect();
    if is_unreachable(err) {
        unreachable(err)
    } else if !natives.is_empty() {
        not_pure(&natives)
    } else if ["usable wheels", "building from source is disabled", "no wheels with"].iter().any(|sign| err.contains(sign)) {
        let named = err.split("Wheels are required for `").skip(1).filter_map(|rest| rest.split('`').next());
        let names: Vec<String> = named.filter_map(normal_name).collect();
        if names.is_empty() { not_pure(&[clean(err)]) } else { not_pure(&names) }
    } else {
        unresolved(err)
    }
}
