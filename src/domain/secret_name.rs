//! The name of a secret.
//!
//! INVARIANT: a text that is no name is never repeated: whoever types a value in its place must not find it in a log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{ErrorCode, Fault};

/// The longest name, in bytes.
const LONGEST_NAME: usize = 64;

/// A secret's name: a letter, then letters, digits, `_`, `-` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        if plain && text.len() <= LONGEST_NAME && text.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Fault::new(ErrorCode::InvalidInput, "this is not a name for a secret")
            .hint(format!("a letter, then letters, digits, `_`, `-` or `.`, at most {LONGEST_NAME}, such as GITHUB_TOKEN")))
    }
}

impl TryFrom<String> for SecretName {
    type Error = Fault;
    fn try_from(text: String) -> Result<Self, Fault> {
        text.parse()
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
