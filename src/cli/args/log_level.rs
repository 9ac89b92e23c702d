//! `log-level`

use clap::Args;

use crate::config::LogLevel as Level;

use super::{Json, PassphraseFrom};

/// `log-level`
#[derive(Debug, Args)]
pub struct LogLevel {
    /// off, error, warn, info, debug or trace; `default` is what each process's settings say
    #[arg(value_parser = wanted)]
    pub level: Wanted,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// The level that is asked for; `None` for that of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted(pub Option<Level>);

fn wanted(text: &str) -> Result<Wanted, String> {
    if text == "default" {
        return Ok(Wanted(None));
    }
    Level::from_word(text)
        .map(|level| Wanted(Some(level)))
        .ok_or_else(|| "none of off, error, warn, info, debug, trace, default".to_owned())
}
