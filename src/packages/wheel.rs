//! A wheel as bytes becomes files below `site-packages`, or is refused with the reason.
//!
//! INVARIANT: limits are counted while inflating, never taken from a header; every file was listed in the wheel's RECORD with its hash;
//! no file is machine code, unless the caller says that the package does without, and then it is left out.

use std::collections::BTreeSet;
use std::io::{Cursor, Read as _};

use crate::domain::Fault;

use super::directory;
use super::files::{Budget, Files, Guard, MAX_TOTAL, is_native, printable, too_large, unfit};
use super::record;
use super::requirement::normal_name;
use super::version::Version;

/// Files that say how a package came to a machine; none came to this one.
const OF_INSTALLERS: [&str; 8] =
    ["RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json", "uv_build.json", "uv_cache.json"];

/// What a wheel's file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WheelName {
    /// The package, normalised.
    pub(super) name: String,
    /// Its version.
    pub(super) version: Version,
    /// Whether it is for any platform and needs no binary interface.
    pub(super) pure: bool,
}

impl WheelName {
    /// Reads `name-version(-build)-python-abi-platform.whl`.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        let (name, version, tags) = match parts.as_slice() {
            [name, version, tags @ ..] if tags.len() == 3 || tags.len() == 4 => (name, version, tags),
            _ => return None,
        };
        let [.., python, abi, platform] = tags else { return None };
        let python = python.split('.').any(|tag| tag.starts_with("py3") || tag.starts_with("cp3"));
        Some(Self { name: normal_name(name)?, version: Version::parse(version)?, pure: python && *abi == "none" && *platform == "any" })
    }
}

/// What is done about machine code in a wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Natives {
    /// The wheel is refused.
    Refuse,
    /// It is left out: the package is known to do without (see `native`).
    LeaveOut,
}

/// A package's files and the `.dist-info` folder among them.
#[derive(Debug)]
pub(super) struct Unpacked {
    /// The files, with a RECORD of just these.
    pub(super) files: Files,
    /// The `.dist-info` folder.
    pub(super) info: String,
}

/// Unpacks a wheel, and checks it against its file name.
///
/// # Errors
/// `REQUIREMENT_REFUSED` with the reason; `LIMIT_EXCEEDED` where the set would be over `budget`.
pub(super) fn unpack(file: &str, bytes: &[u8], natives: Natives, budget: &mut Budget) -> Result<Unpacked, Fault> {
    let named = WheelName::parse(file).ok_or_else(|| unfit(file, "its file name is not one a wheel has"))?;
    if natives == Natives::Refuse && !named.pure {
        return Err(unfit(file, "it is for one platform only"));
    }
    let files = inflate(file, bytes, budget)?;
    let no = |why: String| unfit(file, why);
    let info = only_info(&files).map_err(no)?;
    let listed = record::check(&files, &info).map_err(no)?;
    record::none_unlisted(&files, &listed).map_err(no)?;
    check_info(&files, &info, &named.name, &named.version).map_err(no)?;
    if natives == Natives::Refuse && !is_pure(&files, &info) {
        return Err(unfit(file, "its WHEEL file does not say `Root-Is-Purelib: true`"));
    }
    let mut files = move_data(files, &info).map_err(no)?;
    drop_natives(file, &mut files, natives)?;
    tidy(&mut files, &info);
    let paths: BTreeSet<String> = files.keys().cloned().collect();
    record::write(&mut files, &info, &paths);
    Ok(Unpacked { files, info })
}

/// Leaves out what installers write about themselves.
pub(super) fn tidy(files: &mut Files, info: &str) {
    for name in OF_INSTALLERS {
        files.remove(&format!("{info}/{name}"));
    }
}

/// Removes machine code, or refuses the wheel for it.
pub(super) fn drop_natives(wheel: &str, files: &mut Files, natives: Natives) -> Result<(), Fault> {
    if natives == Natives::LeaveOut {
        files.retain(|path, _| !is_native(path));
    }
    match files.keys().find(|path| is_native(path)) {
        Some(path) => Err(unfit(wheel, format!("it holds machine code: `{}`", printable(path)))),
        None => Ok(()),
    }
}

/// Checks that METADATA names the package and version that are expected.
pub(super) fn check_info(files: &Files, info: &str, name: &str, version: &Version) -> Result<(), String> {
    let found_name = header(files, &format!("{info}/METADATA"), "Name").and_then(|text| normal_name(&text));
    let found_version = header(files, &format!("{info}/METADATA"), "Version").and_then(|text| Version::parse(&text));
    if found_name.as_deref() != Some(name) || found_version.as_ref() != Some(version) {
        return Err(format!("its METADATA is not of {name} {version}"));
    }
    Ok(())
}

/// Whether WHEEL says that all of it belongs to `site-packages` and fits any platform.
pub(super) fn is_pure(files: &Files, info: &str) -> bool {
    let path = format!("{info}/WHEEL");
    header(files, &path, "Root-Is-Purelib").is_some_and(|text| text.eq_ignore_ascii_case("true"))
        && header(files, &path, "Wheel-Version").is_some_and(|text| text.starts_with("1."))
}

/// The first header of that name in a file of `Name: value` lines.
pub(super) fn header(files: &Files, path: &str, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(files.get(path)?);
    let lines = text.lines().take_while(|line| !line.is_empty());
    let mut pairs = lines.filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

fn only_info(files: &Files) -> Result<String, String> {
    let tops: BTreeSet<&str> = files.keys().filter_map(|path| path.split_once('/')).map(|(top, _)| top).collect();
    let mut infos = tops.into_iter().filter(|top| top.ends_with(".dist-info"));
    match (infos.next(), infos.next()) {
        (Some(info), None) => Ok(info.to_owned()),
        _ => Err("it does not have exactly one `.dist-info` folder".into()),
    }
}

fn inflate(file: &str, bytes: &[u8], budget: &mut Budget) -> Result<Files, Fault> {
    let no = |why: String| unfit(file, why);
    if bytes.len() > MAX_TOTAL {
        return Err(too_large(file));
    }
    let entries = directory::entries(bytes).map_err(no)?;
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| unfit(file, format!("it is not an archive: {error}")))?;
    if archive.len() != entries.len() {
        return Err(unfit(file, "two of its entries have the same path"));
    }
    let (mut guard, mut files) = (Guard::default(), Files::new());
    for (index, entry) in entries.into_iter().enumerate() {
        let admitted = if entry.folder { guard.folder(&entry.path) } else { guard.file(&entry.path) };
        admitted.map_err(no)?;
        let shown = printable(&entry.path);
        let broken = |error: &dyn std::fmt::Display| unfit(file, format!("`{shown}` cannot be unpacked: {error}"));
        let mut packed = archive.by_index(index).map_err(|error| broken(&error))?;
        if packed.name_raw() != entry.path.as_bytes() {
            return Err(unfit(file, format!("`{shown}` has two names")));
        }
        let limit = budget.next_file();
        let mut content = Vec::with_capacity(entry.size.min(limit));
        let mut limited = packed.by_ref().take(limit as u64 + 1);
        limited.read_to_end(&mut content).map_err(|error| broken(&error))?;
        if content.len() > limit {
            return Err(too_large(&entry.path));
        }
        if content.len() != entry.size || (entry.folder && !content.is_empty()) {
            return Err(unfit(file, format!("`{shown}` does not have the size it claims")));
        }
        budget.take(&entry.path, content.len())?;
        if !entry.folder {
            files.insert(entry.path, content);
        }
    }
    Ok(files)
}

/// Moves what `NAME.data/purelib` and `platlib` hold to the root, and leaves out the rest of `NAME.data`: scripts, headers, data for a
/// prefix.
fn move_data(files: Files, info: &str) -> Result<Files, String> {
    let data = format!("{}.data/", info.strip_suffix(".dist-info").unwrap_or(info));
    let (mut guard, mut moved) = (Guard::default(), Files::new());
    for (path, bytes) in files {
        let place = match path.strip_prefix(&data) {
            None => path.as_str(),
            Some(inner) => match inner.strip_prefix("purelib/").or_else(|| inner.strip_prefix("platlib/")) {
                Some(rest) => rest,
                None => continue,
            },
        };
        guard.file(place)?;
        moved.insert(place.to_owned(), bytes);
    }
    Ok(moved)
}
