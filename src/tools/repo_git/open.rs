//! Opens a repository that has passed the guard.
//!
//! INVARIANT: opened bare and without search, so libgit2 knows no work tree; its settings are then replaced by none at all, so that
//! neither the repository's nor the machine's configuration is obeyed by any later act.

use git2::{Config, ErrorCode as GitCode, Repository, RepositoryOpenFlags};

use crate::confine::{Folder, RelPath, shown};
use crate::domain::{ErrorCode, Fault};

use super::guard;

/// A repository and the folder of its files.
pub(super) struct Opened {
    pub(super) folder: Folder,
    pub(super) repository: Repository,
}

/// The folder that a call's `path` argument means.
pub(super) fn folder(workspace: &Folder, path: Option<&RelPath>) -> Result<Folder, Fault> {
    match path {
        None => workspace.itself(),
        Some(path) if path.touches_git() => {
            Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies in a git folder")).hint("name the folder of the files"))
        }
        Some(path) => workspace.sub(path),
    }
}

/// Opens the repository in the folder that `path` means.
///
/// # Errors
/// `GIT_REPOSITORY`, `GIT_CONFIG_UNTRUSTED`, and those of the path.
pub(super) fn open(workspace: &Folder, path: Option<&RelPath>) -> Result<Opened, Fault> {
    let folder = folder(workspace, path)?;
    guard::check_repository(&folder)?;
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT | RepositoryOpenFlags::BARE;
    let repository = Repository::open_ext(folder.path().join(".git"), flags, std::iter::empty::<&str>()).map_err(failed("opened"))?;
    let none = Config::new().map_err(failed("opened"))?;
    repository.set_config(&none).map_err(failed("opened"))?;
    Ok(Opened { folder, repository })
}

/// What libgit2 says, as a fault.
pub(super) fn failed(what: &'static str) -> impl Fn(git2::Error) -> Fault {
    move |error| Fault::new(ErrorCode::GitRepository, format!("the repository cannot be {what}: {}", shown(error.message())))
}

/// `None` where the thing asked for is not there.
pub(super) fn optional<T>(answer: Result<T, git2::Error>) -> Result<Option<T>, git2::Error> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.code(), GitCode::NotFound | GitCode::UnbornBranch) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Branches that are looked at.
const MOST_READ: usize = 10_000;

impl Opened {
    /// The commit that HEAD names, where there is one yet.
    pub(super) fn head(&self) -> Result<Option<git2::Commit<'_>>, Fault> {
        let head = optional(self.repository.head()).map_err(failed("read"))?;
        head.map(|head| head.peel_to_commit()).transpose().map_err(failed("read"))
    }

    /// The branch that HEAD names; `None` where it names a commit itself.
    pub(super) fn branch(&self) -> Result<Option<String>, Fault> {
        let head = self.repository.find_reference("HEAD").map_err(failed("read"))?;
        let target = head.symbolic_target_bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(target.map(|target| shown(target.strip_prefix("refs/heads/").unwrap_or(&target))))
    }

    /// The local branches, at most `most` of them, in order.
    pub(super) fn branches(&self, most: usize) -> Result<Vec<String>, Fault> {
        let found = self.repository.branches(Some(git2::BranchType::Local)).map_err(failed("read"))?;
        let mut names = Vec::new();
        // A repository may hold any number of them.
        for branch in found.take(MOST_READ) {
            let (branch, _) = branch.map_err(failed("read"))?;
            // A name that is no text cannot be typed either.
            names.extend(branch.name().ok().flatten().map(shown));
        }
        names.sort_unstable();
        names.truncate(most);
        Ok(names)
    }
}
