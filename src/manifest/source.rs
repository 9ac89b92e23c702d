//! Where manifests come from: those that are part of the program, and a folder of the home.
//!
//! INVARIANT: only plain files directly in the folder are read; links and folders are passed over.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use super::{ToolDef, load};
use crate::domain::{Problem, Problems};

static MANIFESTS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/tool-manifests");
static SCHEMAS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/schemas");

/// Tools that a conformance suite asks for; no release has them.
#[cfg(debug_assertions)]
static FIXTURES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/conformance");

/// Bytes of one file.
const LARGEST: u64 = 1 << 20;

/// A manifest's text and the files it may refer to by name.
#[derive(Debug, Clone)]
pub struct ManifestFile {
    /// The file, as the user would name it.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Schemas and scripts by file name: for a shipped manifest those of `schemas/` and beside it, for others those beside it.
    pub siblings: Arc<BTreeMap<String, Vec<u8>>>,
    /// Whether it is part of the program: the program's tests tried its examples, and no start tries them again.
    pub is_shipped: bool,
}

/// The tools whose manifests are part of the program.
///
/// # Errors
/// All problems of all files.
pub fn shipped() -> Result<Vec<ToolDef>, Problems> {
    load(&shipped_files()?)
}

/// The manifests that are part of the program, not yet looked at.
///
/// # Errors
/// Where one is not UTF-8.
pub fn shipped_files() -> Result<Vec<ManifestFile>, Problems> {
    let files = gather("tool-manifests", embedded(&MANIFESTS), embedded(&SCHEMAS))?;
    Ok(files.into_iter().map(|file| ManifestFile { is_shipped: true, ..file }).collect())
}

/// The manifests of the fixtures, with the schemas beside them.
///
/// # Errors
/// Where one is not UTF-8.
#[cfg(debug_assertions)]
pub fn fixture_files() -> Result<Vec<ManifestFile>, Problems> {
    gather("fixtures/conformance", embedded(&FIXTURES), BTreeMap::new())
}

fn embedded(folder: &'static Dir<'static>) -> BTreeMap<String, Vec<u8>> {
    let files = folder.files();
    files.filter_map(|file| Some((file.path().file_name()?.to_str()?.to_owned(), file.contents().to_vec()))).collect()
}

/// The manifests in a folder, with the schemas and scripts beside them; none where the folder is not there.
///
/// # Errors
/// Every file that cannot be read, is larger than 1 MiB or is not UTF-8.
pub fn read_folder(folder: &Path) -> Result<Vec<ManifestFile>, Problems> {
    let shown = folder.display().to_string();
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |what: String, error: &std::io::Error| Problem::new(what, format!("cannot be read: {error}"));
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(shown.clone(), &error))?;
    let mut files = BTreeMap::new();
    let mut problems = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(shown.clone(), &error))?;
        let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        let Some(name) = entry.file_name().to_str().map(str::to_owned).filter(|name| plain && is_ours(name)) else { continue };
        let file = format!("{shown}/{name}");
        match entry.metadata() {
            Ok(about) if about.len() > LARGEST => problems.push(Problem::new(file, format!("the file has more than {LARGEST} bytes"))),
            _ => match std::fs::read(entry.path()) {
                Ok(bytes) => {
                    files.insert(name, bytes);
                }
                Err(error) => problems.push(unreadable(file, &error)),
            },
        }
    }
    Problems::check(problems)?;
    gather(&shown, files, BTreeMap::new())
}

fn is_manifest(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml"))
}

fn is_ours(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    is_manifest(name) || (!name.starts_with('.') && matches!(extension, Some("json" | "py")))
}

fn gather(folder: &str, files: BTreeMap<String, Vec<u8>>, mut siblings: BTreeMap<String, Vec<u8>>) -> Result<Vec<ManifestFile>, Problems> {
    let (manifests, beside): (BTreeMap<_, _>, BTreeMap<_, _>) = files.into_iter().partition(|(name, _)| is_manifest(name));
    siblings.extend(beside);
    let siblings = Arc::new(siblings);
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (name, bytes) in manifests {
        let path = format!("{folder}/{name}");
        match String::from_utf8(bytes) {
            Ok(text) => found.push(ManifestFile { path, text, siblings: Arc::clone(&siblings), is_shipped: false }),
            Err(_) => problems.push(Problem::new(path, "the file is not UTF-8")),
        }
    }
    Problems::check(problems)?;
    Ok(found)
}
