//! What environments are told when they are made.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::Clock;
use crate::packages::InstallerOptions;

use super::build_box::{BuildBox, PythonAt};

/// What environments are made from.
pub struct EnvironmentsOptions {
    /// The folder they may use, and nothing else does. Processes may share it.
    pub cache: PathBuf,
    /// Where `uv` is, and how installers are set up.
    pub installer: InstallerOptions,
    /// The Python they are for.
    pub python: PythonAt,
    /// Where installers run.
    pub build_box: Arc<dyn BuildBox>,
    /// Tells how old a lock is.
    pub clock: Arc<dyn Clock>,
}
