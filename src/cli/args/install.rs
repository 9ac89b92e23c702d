//! `install`

use clap::{Args, ValueEnum};

use super::Json;

/// `install`
#[derive(Debug, Args)]
pub struct Install {
    /// The client
    pub client: Client,
    /// The server's name in the client
    #[arg(long, default_value = "toolgate")]
    pub name: String,
    /// Print what belongs into the client's settings, and write nothing
    #[arg(long, conflicts_with = "undo")]
    pub print: bool,
    /// Take it away again
    #[arg(long)]
    pub undo: bool,
    #[command(flatten)]
    pub json: Json,
}

/// The clients whose settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    ClaudeDesktop,
    ClaudeCode,
    Codex,
    Vscode,
    Cursor,
    Gemini,
}
