//! What the process keeps others from taking out of its memory: no core file, and no reading of it by programs of the same user.
//!
//! Not its job: the superuser, and whoever can replace this program, can read it all the same.

/// Closes the process's memory. What the system does not know or allow is left as it is, and said in the log.
#[cfg(target_os = "linux")]
pub(super) fn close_memory() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core files cannot be switched off");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process's memory cannot be closed to other programs of the same user");
    }
}

/// Elsewhere only core files are switched off.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) fn close_memory() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }) {
        tracing::warn!(%error, "core files cannot be switched off");
    }
}

/// Nothing that this system offers.
#[cfg(not(unix))]
pub(super) fn close_memory() {}
