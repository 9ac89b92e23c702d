//! Where policies come from: those that are part of the program, and a folder of the home.

use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::domain::{Problem, Problems};

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

/// The policies that are part of the program.
#[must_use]
pub fn shipped() -> Vec<PolicySource> {
    embedded(RULES)
}

/// Their tests.
#[must_use]
pub fn shipped_tests() -> Vec<PolicySource> {
    embedded(TESTS)
}

/// The `*.cedar` files in a folder; none where the folder is not there.
///
/// # Errors
/// Every file that cannot be read, is larger than 1 MiB or is not UTF-8. A link is such a file: a policy must be what it seems.
pub fn read_folder(folder: &Path) -> Result<Vec<PolicySource>, Problems> {
    read(folder, RULES)
}

/// The `*.test.yaml` files in a folder.
///
/// # Errors
/// As [`read_folder`].
pub fn read_test_folder(folder: &Path) -> Result<Vec<PolicySource>, Problems> {
    read(folder, TESTS)
}

fn embedded(ending: &str) -> Vec<PolicySource> {
    let mut found: Vec<PolicySource> = POLICIES
        .files()
        .filter_map(|file| {
            let name = file.path().file_name()?.to_str()?;
            Some(PolicySource { name: format!("policies/{name}"), text: file.contents_utf8()?.to_owned() })
        })
        .filter(|source| source.name.ends_with(ending))
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

fn read(folder: &Path, ending: &str) -> Result<Vec<PolicySource>, Problems> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
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
