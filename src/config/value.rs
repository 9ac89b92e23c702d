//! The types of settings, and where a value comes from.
//!
//! INVARIANT: a [`Sourced`] value always knows its place. Does not read anything.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// An option of the command line.
    Option(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// A line of the settings file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(f, "option {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value with the place it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub source: Source,
}

impl<T> Sourced<T> {
    /// A value nobody set.
    #[must_use]
    pub fn default(value: T) -> Self {
        Self { value, source: Source::Default }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed.
    Error,
    /// What may have to be looked at.
    Warn,
    /// What is being done.
    Info,
    /// How.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Every level, the quietest first.
    pub const ALL: [Self; 6] = [Self::Off, Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// The level of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == word)
    }
}

/// Where the vault's master key lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VaultKeyPlace {
    /// The key file where one is named or there already, else the keyring where there is one, else the file.
    Auto,
    /// The operating system's keyring.
    Keyring,
    /// A file that belongs to its owner alone.
    File,
}

impl VaultKeyPlace {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Keyring, Self::File];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Keyring => "keyring",
            Self::File => "file",
        }
    }

    /// The place of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.as_str() == word)
    }
}

/// How tools are named to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolNames {
    /// `repo_git_commit`: every client and model API takes it.
    Underscore,
    /// `repo.git.commit`: the canonical name.
    Dotted,
}

impl ToolNames {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Underscore, Self::Dotted];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Underscore => "underscore",
            Self::Dotted => "dotted",
        }
    }

    /// The form of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|names| names.as_str() == word)
    }
}

/// What is taken out of what is recorded and shown, by its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Patterns {
    /// Nothing: only values of known secrets are.
    Off,
    /// Credentials of the shapes that vendors document.
    Tokens,
    /// Also values of high entropy that are assigned to names such as `password`.
    All,
}

impl Patterns {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Tokens, Self::All];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Tokens => "tokens",
            Self::All => "all",
        }
    }

    /// Of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|patterns| patterns.as_str() == word)
    }
}

/// Kinds of personal data that can be taken out.
pub const PII: [&str; 4] = ["email", "phone", "card", "iban"];
