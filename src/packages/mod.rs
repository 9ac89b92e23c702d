//! The packages a Python call asks for: pins are resolved by the machine's own `uv` or `pip`, their wheels checked, compiled to bytecode,
//! kept by the digest of their lock, and handed out as a read-only set of files under `site-packages`.
//!
//! INVARIANT: no package's code runs while it is resolved and unpacked (wheels only, none of them installed into a Python of the
//! machine), and every file of a set was listed with its hash by the wheel it came from.
//! Does not read the environment, decide whether a call may use the network, or mount anything.

mod cache;
mod directory;
#[cfg_attr(not(target_os = "linux"), path = "environment_absent.rs")]
mod environment;
mod files;
mod flight;
mod installer;
mod job;
mod lock;
mod memory;
mod native;
mod pack;
mod pip;
mod record;
mod requirement;
mod resolve;
mod room;
mod tree;
mod uv;
mod version;
mod wheel;

pub use environment::{BuildBox, BuildJob, BuildOutcome, Environment, Environments, EnvironmentsOptions, MOUNTED_AT, PythonAt};
pub use installer::InstallerOptions;
pub use job::folder_size;
pub use lock::{Lock, Locked};
pub use requirement::{MAX_REQUIREMENTS, Requirement};
pub use room::{Compile, PackageSet, Packages, PackagesOptions};
pub use version::Version;

/// The Python that packages are resolved for.
pub const PYTHON: &str = "3.14";

#[cfg(test)]
mod tests;
