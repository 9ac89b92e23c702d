//! Environments of the machine's own Python for programs that run on it: made once for each lock by the machine's `uv` or `pip`, in a
//! confined place, and mounted read-only.
//!
//! INVARIANT: no package's code runs while an environment is made (wheels only, installed by hash, compiled by a Python that does not look
//! into them), and none is used before it is whole.
//! Does not confine anything itself, does not mount, and does not decide whether a call may use the network.

mod address;
mod build_box;
mod front;
mod held;
mod hosts;
mod inspect;
mod make;
mod options;
mod resolve;
mod settings;
mod shelf;
mod uv_settings;
mod workshop;

pub use build_box::{BuildBox, BuildJob, BuildOutcome, PythonAt};
pub use front::{Environment, Environments};
pub use options::EnvironmentsOptions;

/// Where an environment is mounted, in each job: scripts name their Python by this path.
pub const MOUNTED_AT: &str = "/env";

#[cfg(test)]
mod tests;
