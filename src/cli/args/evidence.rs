//! What `verify-bundle` takes.

use std::path::PathBuf;

use clap::Args;

use super::Json;

/// `verify-bundle`
#[derive(Debug, Args)]
pub struct VerifyBundle {
    /// The file that `runs export` wrote
    pub file: PathBuf,
    /// Only believe the public key in this file; without it the key that came with the bundle is shown
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}
