//! What leaves the vault: secrets as they are shown, values on loan, what a rotation did.
//!
//! INVARIANT: nothing here that can be printed or written holds a value.

use secrecy::SecretString;
use serde::Serialize;

use crate::domain::Timestamp;

use super::place::Lies;
use super::terms::{SecretName, Terms};

/// A secret as it is shown: everything but the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretView {
    /// Its name.
    pub name: SecretName,
    /// From 1, one more with each write.
    pub version: u64,
    /// Where it may be used.
    #[serde(flatten)]
    pub terms: Terms,
    /// The id of the master key it is sealed with.
    pub key: String,
    /// When it was first set.
    pub created: Timestamp,
    /// When its value was last set.
    pub updated: Timestamp,
}

/// A value on loan, with the terms it is lent on.
#[derive(Clone)]
pub struct Lent {
    /// Its name.
    pub name: SecretName,
    /// The value.
    pub value: SecretString,
    /// Where it may go.
    pub terms: Terms,
}

/// How the vault is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How many secrets there are; every one of them opens.
    pub secrets: usize,
    /// Where the key lies; `None` where there is none yet.
    pub lies: Option<Lies>,
    /// When that key was made.
    pub keyed: Option<Timestamp>,
    /// Whether a rotation was broken off.
    pub unfinished: bool,
}

/// What a rotation did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The key that seals now.
    pub key: String,
    /// How many secrets were sealed anew.
    pub rewrapped: usize,
    /// Whether an earlier rotation was finished instead of a new one begun.
    pub resumed: bool,
}
