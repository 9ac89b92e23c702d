//! What can be typed after `drive`.

use clap::Subcommand;

use super::{Json, PassphraseFrom};

/// `drive`
#[derive(Debug, Subcommand)]
pub enum Drive {
    /// Log in at Google Drive, in a browser of this machine
    Login {
        /// With a code that is typed in a browser anywhere, for a machine without one
        #[arg(long)]
        device: bool,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// How each drive stands
    Status {
        /// Ask no service
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Take the login at Google Drive back
    Logout {
        /// Remove it here even where Google cannot be told
        #[arg(long)]
        forget: bool,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
}

impl Drive {
    /// Whether data is printed as JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Login { json, .. } | Self::Status { json, .. } | Self::Logout { json, .. } => json.json,
        }
    }
}
