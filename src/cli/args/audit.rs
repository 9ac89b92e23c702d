//! Arguments of `audit`.

use clap::Subcommand;

use crate::domain::RunId;

use super::{Json, PassphraseFrom};

/// `audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Read the whole log again and check every record and every checkpoint
    Verify {
        #[command(flatten)]
        json: Json,
    },
    /// Print the newest record's place and hash, and the newest signed checkpoint
    Head {
        #[command(flatten)]
        json: Json,
    },
    /// Print, as JSON, what proves that a record is in the log
    Proof {
        /// The record's place in the log, from 0; with --run its number in that run, from 1
        seq: u64,
        /// The run that SEQ counts in
        #[arg(long, value_name = "RUN")]
        run: Option<RunId>,
    },
    /// Print records as they are stored, one line of JSON each
    Export {
        /// From this place on
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        from: u64,
        /// At most so many; 0 is all
        #[arg(long, value_name = "N", default_value_t = 0)]
        limit: u64,
        /// Leave out the sealed values; the records only commit to them
        #[arg(long)]
        without_values: bool,
    },
    /// Accept the log as it is, where it is not the one that was signed: after an older copy was put back, or the key was lost
    Accept {
        /// Why; it stands in the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Draw a new key for checkpoints; the old one signs for it
    RotateKey {
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
}

impl Audit {
    /// Whether data is printed as JSON, and errors with it.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Verify { json } | Self::Head { json } | Self::Accept { json, .. } | Self::RotateKey { json, .. } => json.json,
            Self::Proof { .. } | Self::Export { .. } => true,
        }
    }
}
