//! `workspace.write`, `workspace.read`, `workspace.list` and `workspace.remove`: the files of a run's workspace.
//!
//! INVARIANT: nothing git trusts can be written or removed here (`.git` in any disguise is refused), and nothing is written before
//! everything has been checked. Which workspace it is has been settled by the gateway; `run_id` is only read there.

mod list;
mod read;
mod remove;
mod write;

#[cfg(test)]
mod tests;

pub use list::WorkspaceList;
pub use read::WorkspaceRead;
pub use remove::WorkspaceRemove;
pub use write::WorkspaceWrite;

use crate::confine::RelPath;
use crate::domain::{ErrorCode, Fault};

/// Paths or files in one call.
const MOST_FILES: usize = 512;

fn refuse_git(path: &RelPath) -> Result<(), Fault> {
    if path.touches_git() {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies in a git folder"))
            .hint("use the `repo.git` tools; files that git trusts cannot be reached as files"));
    }
    Ok(())
}

fn refuse_many(count: usize) -> Result<(), Fault> {
    if count > MOST_FILES {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("{count} paths in one call, at most {MOST_FILES} are allowed"))
            .hint("split the call"));
    }
    Ok(())
}
