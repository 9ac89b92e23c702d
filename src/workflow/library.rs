//! The workflows that can be started by name: those in the binary and those in the home.
//!
//! INVARIANT: a name has one meaning; a file that is wrong is told with all its problems and never half loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::domain::{ErrorCode, Fault, Problem, Problems, ToolName};

use super::definition::read_yaml;
use super::plan::Plan;

static SHIPPED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/workflows");

/// Workflows by name.
#[derive(Debug, Clone)]
pub struct Library {
    entries: BTreeMap<String, Entry>,
}

/// One workflow and where it comes from.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The workflow.
    pub plan: Arc<Plan>,
    /// `shipped`, or the file.
    pub origin: String,
    /// The file as it was written.
    pub text: String,
}

impl Library {
    /// The shipped workflows and those of a folder; a folder that does not exist adds none.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn open(folder: Option<&Path>) -> Result<Self, Problems> {
        let mut files: Vec<(String, String)> = Vec::new();
        let mut problems = Vec::new();
        for file in SHIPPED.files().filter(|file| is_yaml(file.path())) {
            let name = format!("shipped/{}", file.path().display());
            match file.contents_utf8() {
                Some(text) => files.push((name, text.to_owned())),
                None => problems.push(Problem::new(name, "not UTF-8")),
            }
        }
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            read_folder(folder, &mut files, &mut problems);
        }
        let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
        for (file, text) in files {
            match read_yaml(&file, &text) {
                Err(found) => problems.extend(found.list().iter().cloned()),
                Ok(plan) => match entries.get(plan.name()) {
                    Some(taken) => problems.push(
                        Problem::new(file, format!("the name `{}` is taken by {}", plan.name(), taken.origin))
                            .hint("give it another `name`"),
                    ),
                    None => {
                        entries.insert(plan.name().to_owned(), Entry { plan: Arc::new(plan), origin: file, text });
                    }
                },
            }
        }
        Problems::check(problems)?;
        Ok(Self { entries })
    }

    /// Reads one file that the user named.
    ///
    /// # Errors
    /// Every problem of the file, or that it cannot be read.
    pub fn read_file(path: &Path) -> Result<Arc<Plan>, Problems> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Problem::new(name.clone(), format!("cannot be read: {error}")))?;
        read_yaml(&name, &text).map(Arc::new)
    }

    /// The workflow of that name.
    ///
    /// # Errors
    /// `UNKNOWN_WORKFLOW`, naming those there are.
    pub fn find(&self, name: &str) -> Result<&Entry, Fault> {
        self.entries.get(name).ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            let known: Vec<&str> = self.entries.keys().map(String::as_str).collect();
            Fault::new(ErrorCode::UnknownWorkflow, format!("no workflow `{shown}`")).hint(format!("there are: {}", known.join(", ")))
        })
    }

    /// Whether every tool that they name is among `known`.
    ///
    /// # Errors
    /// A problem for each that is not, with file and line.
    pub fn check_tools(&self, known: &BTreeSet<ToolName>) -> Result<(), Problems> {
        let wrong = self.entries.values().filter_map(|entry| entry.plan.unknown_tools(&entry.origin, known).err());
        Problems::check(wrong.flat_map(|problems| problems.list().to_vec()).collect())
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn read_folder(folder: &Path, files: &mut Vec<(String, String)>, problems: &mut Vec<Problem>) {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) => return problems.push(Problem::new(folder.display().to_string(), format!("cannot be listed: {error}"))),
    };
    let mut paths: Vec<_> = listing.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    paths.sort();
    for path in paths {
        let name = path.display().to_string();
        match std::fs::read_to_string(&path) {
            Ok(text) => files.push((name, text)),
            Err(error) => problems.push(Problem::new(name, format!("cannot be read: {error}"))),
        }
    }
}
