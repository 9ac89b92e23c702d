//! What keeping house takes: `runs export|redact|archive`, `storage`, `backup` and `restore`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::{Millis, RunId};

use super::{Json, PassphraseFrom};

/// `runs export`
#[derive(Debug, Args)]
pub struct Export {
    /// The run
    pub run: RunId,
    /// Write to this file, which must not exist; without it to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Leave out arguments, outputs and whatever else the records only commit to
    #[arg(long)]
    pub without_values: bool,
}

/// `runs redact`
#[derive(Debug, Args)]
pub struct Redact {
    /// The run
    pub run: RunId,
    /// The event's number in the run
    #[arg(long, value_name = "SEQ")]
    pub event: u64,
    /// The field: `arguments`, `output`, …
    #[arg(long, value_name = "NAME")]
    pub field: String,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `runs archive`
#[derive(Debug, Args)]
pub struct Archive {
    /// Only runs that ended so long ago: a number and s, m, h or d
    #[arg(long, value_name = "AGE", value_parser = span)]
    pub older_than: Millis,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `storage`
#[derive(Debug, Subcommand)]
pub enum Storage {
    /// Remove stored artifacts that nothing refers to and that are older than a day
    Collect {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        json: Json,
    },
}

/// `backup`
#[derive(Debug, Args)]
pub struct Backup {
    /// A folder that is new or empty
    pub dir: PathBuf,
    /// Copy the audit key, the vault key and the operator's passphrase file too: whoever has the copy can then sign as this home
    #[arg(long)]
    pub with_keys: bool,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// `restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// A folder that `backup` wrote
    pub dir: PathBuf,
    /// Why, for the log
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// A span of time: `90d`, `12h`, `30m`, `10s`.
pub(super) fn span(text: &str) -> Result<Millis, String> {
    let wrong = || "not a number with s, m, h or d, such as 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        'd' => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds * 1000).map(Millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_a_number_and_a_unit() {
        assert_eq!(span("90d"), Ok(Millis(90 * 86_400_000)));
        assert_eq!(span("0s"), Ok(Millis(0)));
        for bad in ["", "d", "90", "-1d", "1w", "1.5d", "99999999999999999999d", "18446744073709551615d", "3é"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }
}
