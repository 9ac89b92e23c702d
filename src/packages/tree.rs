//! Reads a folder that an installer has filled: plain files only, within limits, each listed by the RECORD of one of its packages.
//!
//! INVARIANT: links are not followed but refused, and nothing outside the folder is read.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use crate::domain::Fault;

use super::files::{Budget, Files, Guard, MAX_FILE, too_large, unfit};
use super::record;
use super::version::Version;
use super::wheel::{Natives, Unpacked, check_info, drop_natives, is_pure, tidy};

/// How deep folders may lie in each other.
const MAX_DEPTH: usize = 32;

/// A package that is expected in the folder.
pub(super) struct Expected<'a> {
    /// Its normalised name.
    pub(super) name: &'a str,
    /// Its version.
    pub(super) version: &'a Version,
    /// What to do about its machine code.
    pub(super) natives: Natives,
}

/// The packages of a folder, which are exactly the expected ones.
///
/// # Errors
/// `REQUIREMENT_REFUSED` with the reason; `LIMIT_EXCEEDED`.
pub(super) fn read(folder: &Path, expected: &[Expected<'_>], budget: &mut Budget) -> Result<Vec<Unpacked>, Fault> {
    let mut walk = Walk { guard: Guard::default(), files: Files::new(), budget };
    walk.folder(folder, "", 0)?;
    let mut files = walk.files;
    let infos: BTreeSet<String> = files
        .keys()
        .filter_map(|path| path.split_once('/'))
        .filter(|(top, _)| top.ends_with(".dist-info"))
        .map(|(top, _)| top.to_owned())
        .collect();
    if infos.len() != expected.len() {
        return Err(unfit("installed", format!("{} packages were installed, {} were meant", infos.len(), expected.len())));
    }
    let (mut all, mut owned) = (BTreeSet::new(), Vec::new());
    for info in infos {
        let what = expected.iter().find(|what| check_info(&files, &info, what.name, what.version).is_ok());
        let what = what.ok_or_else(|| unfit(&info, "nobody asked for it"))?;
        let no = |why: String| unfit(&info, why);
        let listed = record::check(&files, &info).map_err(no)?;
        if what.natives == Natives::Refuse && !is_pure(&files, &info) {
            return Err(unfit(&info, "its WHEEL file does not say `Root-Is-Purelib: true`"));
        }
        all.extend(listed.iter().cloned());
        owned.push((info, listed, what.natives));
    }
    record::none_unlisted(&files, &all).map_err(|why| unfit("installed", why))?;
    owned.into_iter().map(|(info, listed, natives)| package(&mut files, info, listed, natives)).collect()
}

fn package(files: &mut Files, info: String, listed: BTreeSet<String>, natives: Natives) -> Result<Unpacked, Fault> {
    // Two packages may list the same file; both listed it with its right hash, so the first may have it.
    let own = listed.into_iter().filter(|path| !path.starts_with("bin/"));
    let mut own: Files = own.filter_map(|path| files.remove(&path).map(|bytes| (path, bytes))).collect();
    drop_natives(&info, &mut own, natives)?;
    tidy(&mut own, &info);
    let paths = own.keys().cloned().collect();
    record::write(&mut own, &info, &paths);
    Ok(Unpacked { files: own, info })
}

struct Walk<'a> {
    guard: Guard,
    files: Files,
    budget: &'a mut Budget,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, prefix: &str, depth: usize) -> Result<(), Fault> {
        let failed = |error: std::io::Error| unfit(prefix, format!("what was installed cannot be read: {error}"));
        if depth > MAX_DEPTH {
            return Err(unfit(prefix, "its folders lie too deep"));
        }
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| unfit(prefix, "a file's name is not UTF-8"))?;
            if depth == 0 && name == ".lock" {
                continue;
            }
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                self.guard.folder(&path).map_err(|why| unfit(&path, why))?;
                self.folder(&entry.path(), &path, depth + 1)?;
            } else if kind.is_file() {
                self.guard.file(&path).map_err(|why| unfit(&path, why))?;
                self.file(&entry.path(), path)?;
            } else {
                return Err(unfit(&path, "it is a link or a device"));
            }
        }
        Ok(())
    }

    fn file(&mut self, place: &Path, path: String) -> Result<(), Fault> {
        let failed = |error: std::io::Error| unfit(&path, format!("it cannot be read: {error}"));
        let limit = self.budget.next_file().min(MAX_FILE);
        let mut bytes = Vec::new();
        let file = fs::File::open(place).map_err(failed)?;
        file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > limit {
            return Err(too_large(&path));
        }
        self.budget.take(&path, bytes.len())?;
        self.files.insert(path, bytes);
        Ok(())
    }
}
