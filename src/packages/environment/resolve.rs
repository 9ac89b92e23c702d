//! From pins to a lock for the machine's Python: the wheel that is chosen of each package, with its hash.
//!
//! INVARIANT: wheels only, so nothing is built; a lock has every pin that was asked for; no words of an installer are handed on with an
//! address or a login in them.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::domain::{Digest, ErrorCode, Fault};
use crate::packages::job::failed;
use crate::packages::lock::{Lock, Locked};
use crate::packages::requirement::{Requirement, normal_name};
use crate::packages::resolve::{locked, unreachable, unresolved};
use crate::packages::room::on_the_side;
use crate::packages::uv::read_lock;
use crate::packages::version::Version;
use crate::packages::wheel::WheelName;
use crate::packages::{files, pip, uv};

use super::hosts::published;
use super::settings::{Settings, Tool};
use super::workshop::{Reach, Step, Workshop};

/// How long a resolution may take, in seconds; `pip` fetches the wheels in it.
const SECONDS: u64 = 300;
/// Most wheels of a lock.
const MAX_WHEELS: usize = 500;

/// What the driver says of a step that an installer did.
#[derive(Deserialize)]
pub(super) struct Said {
    /// Whether it is done.
    pub(super) ok: bool,
    /// Whether the installer, or a part of Python that it needs, is not there.
    #[serde(default)]
    pub(super) missing: bool,
    /// The installer's words.
    #[serde(default)]
    pub(super) words: String,
    /// The lock that `uv` wrote.
    #[serde(default)]
    lock: Option<String>,
}

/// Resolves `roots` with one installer. `wheels` is an empty folder, in which `pip` leaves what it chose.
///
/// # Errors
/// `REQUIREMENTS_UNRESOLVED`, `REQUIREMENT_REFUSED`, `INSTALLER_UNAVAILABLE`; those of [`Workshop::run`].
pub(super) async fn resolve(
    workshop: &Workshop,
    settings: &Settings,
    roots: &[Requirement],
    reach: &Reach,
    wheels: PathBuf,
    cancel: &CancellationToken,
) -> Result<Lock, Fault> {
    let wanted: String = roots.iter().map(|root| format!("{root}\n")).collect();
    let with_uv = matches!(settings.tool, Tool::Uv(_));
    let step = Step {
        task: json!({ "do": "resolve", "uv": with_uv.then_some("/installer/uv"), "arguments": settings.arguments }),
        files: vec![("roots.txt".into(), wanted.into_bytes())],
        writable: (!with_uv).then(|| (wheels.clone(), "/wheels")),
        read_only: Vec::new(),
        reach: reach.clone(),
        seconds: SECONDS,
    };
    let said: Said = workshop.run(step, settings, cancel).await?;
    if said.missing {
        return Err(no_installer());
    }
    if !said.ok {
        return Err(refusal(workshop, settings, &said.words, reach, cancel).await?);
    }
    let packages = if with_uv {
        of_uv(roots, &said.lock.unwrap_or_default(), workshop)?
    } else {
        let (folder, roots) = (wheels, roots.to_vec());
        on_the_side(move || of_folder(&folder, &roots)).await?
    };
    let lost = roots.iter().find(|root| !packages.iter().any(|got| got.name == root.name() && got.version == *root.version()));
    match lost {
        Some(root) => Err(unresolved(&format!("{root} was not chosen"))),
        None if packages.len() > MAX_WHEELS => {
            let message = format!("{} packages are too many, {MAX_WHEELS} may be needed", packages.len());
            Err(Fault::new(ErrorCode::LimitExceeded, message).hint("ask for fewer packages"))
        }
        None => Lock::of(&python(workshop), packages).ok_or_else(|| Fault::internal("an installer chose two wheels of one package")),
    }
}

/// What locks say of the Python they are for.
pub(super) fn python(workshop: &Workshop) -> String {
    let text = format!("{} {}", workshop.python.version, workshop.python.tag);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The fault of a machine on which nothing can fetch packages or make environments.
pub(super) fn no_installer() -> Fault {
    Fault::new(ErrorCode::InstallerUnavailable, "packages for the machine's Python need `uv`, or that Python with `venv` and `pip`").hint(
        "the operator installs `uv` and starts toolgate with it on PATH, or completes Python: on Debian and Ubuntu the packages \
         `python3-venv` and `python3-pip`",
    )
}

fn of_uv(roots: &[Requirement], text: &str, workshop: &Workshop) -> Result<Vec<Locked>, Fault> {
    let mut all = Vec::new();
    for package in read_lock(text)? {
        let Some(wheel) = package.wheels.first() else {
            return Err(no_wheel(workshop, &[format!("{} {}", package.name, package.version)]));
        };
        all.push(locked(roots, &[], wheel.file.clone(), package.name, package.version, wheel.sha256));
    }
    Ok(all)
}

fn of_folder(folder: &Path, roots: &[Requirement]) -> Result<Vec<Locked>, Fault> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)?.take(MAX_WHEELS + 1) {
        let entry = entry.map_err(failed)?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let named = WheelName::parse(&file).filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file()));
        let named = named.ok_or_else(|| files::unfit(&file, "it is not a wheel"))?;
        let sha256 = hash(&entry.path()).map_err(failed)?;
        all.push(locked(roots, &[], file, named.name, named.version, sha256));
    }
    Ok(all)
}

fn hash(path: &Path) -> std::io::Result<Digest> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Sha256::new(), vec![0_u8; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest::from_bytes(hasher.finalize().into())),
            count => hasher.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Why an installer found nothing: nobody answers, a package has no wheel for this machine, or the pins do not go together.
async fn refusal(workshop: &Workshop, settings: &Settings, words: &str, reach: &Reach, cancel: &CancellationToken) -> Result<Fault, Fault> {
    let plain = settings.scrubbed(words);
    let uses_uv = matches!(settings.tool, Tool::Uv(_));
    if if uses_uv { uv::is_unreachable(words) } else { pip::is_unreachable(words) } {
        return Ok(unreachable(&plain));
    }
    let without = if uses_uv {
        without_wheels(words)
    } else {
        let missing = pip::missing(words);
        let pins = missing.iter().filter_map(|wanted| {
            let version = Version::parse(wanted.range.strip_prefix("==")?)?;
            Some((wanted.name.clone(), version.to_string()))
        });
        published(workshop, settings, &pins.collect::<Vec<_>>(), reach, cancel).await?
    };
    Ok(if without.is_empty() { unresolved(&plain) } else { no_wheel(workshop, &without) })
}

/// The packages that `uv` says have no wheel it can take.
pub(super) fn without_wheels(words: &str) -> Vec<String> {
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut found = Vec::new();
    for (at, _) in words.iter().enumerate() {
        let after: Vec<&str> = words.iter().skip(at + 1).take(3).copied().collect();
        let says = matches!(after.as_slice(), ["has", "no", "wheels"] | ["has", "no", "usable"]);
        let pin = words.get(at).and_then(|word| word.split_once("==")).filter(|_| says);
        if let Some((name, version)) = pin.and_then(|(name, version)| Some((normal_name(name)?, Version::parse(version)?))) {
            found.push(format!("{name} {version}"));
        }
    }
    found.dedup();
    found
}

fn no_wheel(workshop: &Workshop, packages: &[String]) -> Fault {
    let message = format!("no wheel for Python {} of this machine: {}", workshop.python.version, packages.join(", "));
    Fault::new(ErrorCode::RequirementRefused, message)
        .hint("packages are never built from source; pin a version that has a wheel for this Python and machine, or another package")
        .details(json!({ "packages": packages }))
}
