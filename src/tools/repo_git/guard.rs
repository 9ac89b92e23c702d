//! Looks at a repository's git folder before libgit2 does.
//!
//! INVARIANT: reads through [`Folder`] only. Passing means: a real folder of plain files, with no pointer to another place and no
//! setting that is not harmless.

use crate::confine::{Folder, Kind, RelPath};
use crate::domain::{Bytes, ErrorCode, Fault};

use super::config::{check, untrusted};

/// Entries a git folder may have.
const MOST_ENTRIES: usize = 400_000;
/// Bytes of its configuration.
const MOST_CONFIG: Bytes = Bytes(64 << 10);

/// Files by which a git folder takes objects, references or settings from elsewhere.
const POINTERS: &[&str] = &[
    ".git/commondir",
    ".git/config.worktree",
    ".git/gitdir",
    ".git/info/grafts",
    ".git/objects/info/alternates",
    ".git/objects/info/http-alternates",
    ".git/shallow",
];

/// Whether there is a repository in `folder`.
///
/// # Errors
/// `GIT_CONFIG_UNTRUSTED` where `.git` is a file or link.
pub(super) fn present(folder: &Folder) -> Result<bool, Fault> {
    match folder.kind(&git()?)? {
        None => Ok(false),
        Some(Kind::Folder) => Ok(true),
        Some(kind @ (Kind::File | Kind::Link | Kind::HardLink | Kind::Special)) => {
            Err(untrusted(&format!("`.git` is {}, not a folder", kind.as_str())))
        }
    }
}

/// Checks the whole git folder.
///
/// # Errors
/// `GIT_REPOSITORY` where there is none; `GIT_CONFIG_UNTRUSTED`, naming what was found.
pub(super) fn check_repository(folder: &Folder) -> Result<(), Fault> {
    if !present(folder)? {
        return Err(Fault::new(ErrorCode::GitRepository, "the folder is not a git repository").hint("call `repo.git.init` first"));
    }
    let survey = folder.survey(Some(&git()?), MOST_ENTRIES, |_| false)?;
    if let Some(other) = survey.others.first() {
        return Err(untrusted(&format!("`{}` is {}", other.shown, other.what)));
    }
    if let Some(file) = survey.files.iter().find(|file| POINTERS.iter().any(|pointer| file.path.as_str().eq_ignore_ascii_case(pointer))) {
        return Err(untrusted(&format!("`{}` points to another place", file.path)));
    }
    let config = RelPath::parse(".git/config")?;
    if survey.files.iter().any(|file| file.path == config) {
        let bytes = folder.read(&config, MOST_CONFIG)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| untrusted("its configuration is not text"))?;
        check(text)?;
    }
    Ok(())
}

/// The git folder's own path.
pub(super) fn git() -> Result<RelPath, Fault> {
    RelPath::parse(".git")
}
