//! Where policies come from: those that are part of the program, and a folder of the home.

use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::domain::{Problem, Problems, Profile};

static POLICIES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/policies");

/// Bytes of one file.
const LARGEST: u64 = 1 << 20;
const RULES: &str = ".cedar";
const TESTS: &str = ".test.yaml";

/// A policy file or a file of tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// The file, as the user would name it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The policies of a profile that are part of the program; none for the profile `none`.
#[must_use]
pub fn shipped(profile: Profile) -> Vec<PolicySource> {
    embedded(profile, RULES)
}

/// Their tests.
#[must_use]
pub fn shipped_tests(profile: Profile) -> Vec<PolicySource> {
    embedded(profile, TESTS)
}

/// The rule for the fixtures of a conformance suite, which no release has.
#[cfg(debug_assertions)]
#[must_use]
pub fn fixtures() -> PolicySource {
    let text = include_str!("../../fixtures/conformance/policy.cedar").to_owned();
    PolicySource { name: "fixtures/conformance/policy.cedar".to_owned(), text }
}

/// The `*.cedar` files in a folder; none where the folder is not there.
///
/// # Errors
/// Every file that cannot be read, is larger than 1 MiB or is not UTF-8. A link is such a file: a policy must be what it seems.
pub fn read_folder(folder: &Path) -> Result<Vec<PolicySource>, Problems> {
    read(folder, RULES)
}

/// The same of a folder that must be there.
///
/// # Errors
/// As [`read_folder`]; where there is no such folder.
pub fn read_present_folder(folder: &Path) -> Result<Vec<PolicySource>, Problems> {
    read_present(folder, RULES)
}

/// The `*.test.yaml` files in a folder.
///
/// # Errors
/// As [`read_folder`].
pub fn read_test_folder(folder: &Path) -> Result<Vec<PolicySource>, Problems> {
    read(folder, TESTS)
}

/// One file that somebody named.
///
/// # Errors
/// As [`read_folder`].
pub fn read_file(path: &Path) -> Result<PolicySource, Problems> {
    let file = path.display().to_string();
    let about = path.symlink_metadata().map_err(|error| Problem::new(&file, format!("cannot be read: {error}")))?;
    if !about.is_file() {
        return Err(Problem::new(file, "is not a plain file").hint("put the file itself here").into());
    }
    if about.len() > LARGEST {
        return Err(Problem::new(file, format!("the file has more than {LARGEST} bytes")).into());
    }
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(PolicySource { name: file, text }),
        Ok(Err(_)) => Err(Problem::new(file, "the file is not UTF-8").into()),
        Err(error) => Err(Problem::new(&file, format!("cannot be read: {error}")).into()),
    }
}

fn embedded(profile: Profile, ending: &str) -> Vec<PolicySource> {
    let wanted = format!("{}{ending}", profile.as_str());
    POLICIES
        .files()
        .filter_map(|file| {
            let name = file.path().file_name()?.to_str().filter(|name| *name == wanted)?;
            Some(PolicySource { name: format!("policies/{name}"), text: file.contents_utf8()?.to_owned() })
        })
        .collect()
}

fn read(folder: &Path, ending: &str) -> Result<Vec<PolicySource>, Problems> {
    // Only what is surely not there has no files; a folder that cannot be looked at is a problem.
    match folder.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        _ => read_present(folder, ending),
    }
}

fn read_present(folder: &Path, ending: &str) -> Result<Vec<PolicySource>, Problems> {
    let shown = folder.display().to_string();
    let unreadable = |file: &str, error: &std::io::Error| Problem::new(file, format!("cannot be read: {error}"));
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(&shown, &error))? {
        let entry = entry.map_err(|error| unreadable(&shown, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(ending) || name.starts_with('.') {
            continue;
        }
        let file = format!("{shown}/{name}");
        // `DirEntry::metadata` does not follow links.
        match entry.metadata() {
            Ok(about) if !about.is_file() => problems.push(Problem::new(file, "is not a plain file").hint("put the file itself here")),
            Ok(about) if about.len() > LARGEST => problems.push(Problem::new(file, format!("the file has more than {LARGEST} bytes"))),
            _ => match std::fs::read(entry.path()).map(String::from_utf8) {
                Ok(Ok(text)) => found.push(PolicySource { name: file, text }),
                Ok(Err(_)) => problems.push(Problem::new(file, "the file is not UTF-8")),
                Err(error) => problems.push(unreadable(&file, &error)),
            },
        }
    }
    Problems::check(problems)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}
