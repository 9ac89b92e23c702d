//! What can be typed after `tokens`.

use clap::{Args, Subcommand};

use crate::domain::{Millis, Scope, Timestamp};

use super::keep::span;
use super::{Json, PassphraseFrom};

/// `tokens`
#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// Make a token for a client; its value is printed once and kept nowhere
    Create(TokensCreate),
    /// List tokens; values are never shown
    List {
        /// Also those that were revoked
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        json: Json,
    },
    /// Take a token back; running servers end what its bearer has open
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        from: PassphraseFrom,
        #[command(flatten)]
        json: Json,
    },
}

/// `tokens create`
#[derive(Debug, Args)]
pub struct TokensCreate {
    /// Its name, such as ci or alice-laptop
    pub name: String,
    /// Whose calls its bearer's are; the name where nothing is said
    #[arg(long, value_name = "NAME")]
    pub principal: Option<String>,
    /// How far it reaches, separated by commas: tools:read, tools:exec, metrics:read
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', value_parser = scope, default_value = "tools:exec")]
    pub scopes: Vec<Scope>,
    /// Which toolsets its bearer sees listed, separated by commas; those of the server where nothing is said
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub toolsets: Option<Vec<String>>,
    /// When it is over: a span (30d, 12h), a time (2027-01-31T00:00:00Z), or never
    #[arg(long, value_name = "WHEN", value_parser = end, default_value = "90d")]
    pub expires: End,
    #[command(flatten)]
    pub from: PassphraseFrom,
    #[command(flatten)]
    pub json: Json,
}

/// When something is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// After so long.
    After(Millis),
    /// At this time.
    At(Timestamp),
    /// Never.
    Never,
}

fn scope(word: &str) -> Result<Scope, String> {
    Scope::from_word(word.trim()).ok_or_else(|| {
        let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        format!("none of {}", all.join(", "))
    })
}

fn end(text: &str) -> Result<End, String> {
    if text == "never" {
        return Ok(End::Never);
    }
    let wrong = || "neither a span such as 30d, nor a time such as 2027-01-31T00:00:00Z, nor never".to_owned();
    match text.parse() {
        Ok(time) => Ok(End::At(time)),
        Err(_) => span(text).map(End::After).map_err(|_| wrong()),
    }
}

impl Tokens {
    /// Whether data is printed as JSON.
    pub(super) fn json(&self) -> bool {
        match self {
            Self::Create(TokensCreate { json, .. }) | Self::List { json, .. } | Self::Revoke { json, .. } => json.json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_span_a_time_or_never() {
        assert_eq!(end("30d"), Ok(End::After(Millis(30 * 86_400_000))));
        assert_eq!(end("never"), Ok(End::Never));
        assert_eq!(end("2027-01-31T00:00:00Z").unwrap(), End::At("2027-01-31T00:00:00.000Z".parse().unwrap()));
        for bad in ["", "soon", "30", "2027-01-31", "-1d"] {
            assert!(end(bad).is_err(), "{bad}");
        }
        assert!(scope("tools:read").is_ok() && scope("approve").is_err() && scope("*").is_err());
    }
}
