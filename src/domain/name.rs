//! A tool's canonical name and the name clients see.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A canonical dotted tool name, such as `repo.git.commit`: at least two parts of lower case letters, digits and inner
/// underscores, at most 40 characters in all, so that `mcp__<server>__<tool>` fits the 64 that model APIs allow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ToolName(String);

/// A text that is not a tool name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tool name: dotted parts of lower case letters, digits and inner `_`, at most 40 characters")]
pub struct ToolNameError(String);

impl ToolName {
    /// The canonical name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as model APIs accept it: dots become underscores.
    #[must_use]
    pub fn exposed(&self) -> String {
        self.0.replace('.', "_")
    }
}

impl FromStr for ToolName {
    type Err = ToolNameError;
    fn from_str(text: &str) -> Result<Self, ToolNameError> {
        let part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase())
                && !part.ends_with('_')
                && !part.contains("__")
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        if text.len() <= 40 && text.contains('.') && text.split('.').all(part) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ToolNameError(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ToolName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dotted_words() {
        assert_eq!("repo.git.add_all".parse::<ToolName>().unwrap().exposed(), "repo_git_add_all");
        for bad in ["", "python", "a..b", ".a.b", "a.b_", "a.b__c", "a.B", "a.b c", "a.b\n", "a.0b", &format!("a.{}", "b".repeat(40))] {
            assert!(bad.parse::<ToolName>().is_err(), "{bad:?}");
        }
    }
}
