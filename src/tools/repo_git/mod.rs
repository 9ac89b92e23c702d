//! `repo.git.init`, `add_all`, `commit`, `status` and `log`: a repository inside the run's workspace.
//!
//! INVARIANT: libgit2 never reads or writes the work tree and never obeys the repository's configuration: files are read by our own
//! walk, and a repository is opened as a bare one after `guard` has looked at its git folder. Talks to no remote.

mod add;
mod commit;
mod config;
mod guard;
mod ignore;
mod init;
mod log;
mod open;
mod status;
mod tree;

#[cfg(test)]
mod tests;

pub use add::GitAddAll;
pub use commit::{Author, GitCommit};
pub use init::GitInit;
pub use log::GitLog;
pub use status::GitStatus;
