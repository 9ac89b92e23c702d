//! What can be typed after `vault`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Json, PassphraseFrom};

/// `vault`
#[derive(Debug, Subcommand)]
pub enum Vault {
    /// Set a secret; its value is read from standard input, or typed without echo
    Set(VaultSet),
    /// List secrets; values are never shown
    List {
        #[command(flatten)]
        json: Json,
    },
    /// Remove a secret
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Seal every secret with a new key; goes on where it was broken off
    Rotate {
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
    /// Write every secret into a file sealed with age
    Export(VaultExport),
    /// Take in the secrets of such a file
    Import(VaultImport),
}

/// `vault set`
#[derive(Debug, Args)]
pub struct VaultSet {
    /// Its name, such as GITHUB_TOKEN
    pub name: String,
    /// Hosts it may go to, separated by commas: over https; `http://HOST` allows that host without TLS
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Tools that may use it, separated by commas; without this all that take secrets
    #[arg(long, value_name = "TOOLS", value_delimiter = ',')]
    pub tools: Vec<String>,
    /// What it is for; agents read it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub describe: String,
    /// Taken only to be refused without being repeated.
    #[arg(hide = true)]
    pub stray: Vec<String>,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `vault export`
#[derive(Debug, Args)]
pub struct VaultExport {
    /// The file to write; it must not be there yet
    pub file: PathBuf,
    /// For whom: an age public key
    #[arg(long, value_name = "AGE1…", required_unless_present_any = ["passphrase", "file_passphrase_fd"])]
    pub recipient: Option<String>,
    /// Under a passphrase, asked for on the terminal
    #[arg(long, conflicts_with = "recipient")]
    pub passphrase: bool,
    /// Under a passphrase, read from this descriptor
    #[arg(long, value_name = "N", conflicts_with_all = ["recipient", "passphrase"])]
    pub file_passphrase_fd: Option<u32>,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `vault import`
#[derive(Debug, Args)]
pub struct VaultImport {
    /// The file to read
    pub file: PathBuf,
    /// A file with the age secret key it was sealed for
    #[arg(long, value_name = "FILE", required_unless_present_any = ["passphrase", "file_passphrase_fd"])]
    pub identity: Option<PathBuf>,
    /// It is sealed under a passphrase, asked for on the terminal
    #[arg(long, conflicts_with = "identity")]
    pub passphrase: bool,
    /// It is sealed under a passphrase, read from this descriptor
    #[arg(long, value_name = "N", conflicts_with_all = ["identity", "passphrase"])]
    pub file_passphrase_fd: Option<u32>,
    /// Take the file's values also for names that are here already
    #[arg(long)]
    pub replace: bool,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

impl Vault {
    /// Whether data is printed as JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Set(VaultSet { json, .. })
            | Self::List { json }
            | Self::Rm { json, .. }
            | Self::Rotate { json, .. }
            | Self::Export(VaultExport { json, .. })
            | Self::Import(VaultImport { json, .. }) => json.json,
        }
    }
}
