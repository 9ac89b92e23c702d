//! Which hosts a request may go to.
//!
//! INVARIANT: an empty list allows nothing; an entry that cannot be read is an error, never ignored.

use crate::domain::host::{HostPattern, PATTERN_HINT};
use crate::domain::{ErrorCode, Fault};

use super::Origin;
use super::record::shown;

/// Most entries of one list.
const MAX_ENTRIES: usize = 1024;

/// The hosts a request may go to; empty, as by default, it allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    rules: Vec<HostPattern>,
}

impl HostRules {
    /// Reads entries like `example.com`, `*.example.com`, `example.com:8443` and `[::1]:8080`.
    pub fn parse<I>(entries: I) -> Result<Self, Fault>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut rules = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            if rules.len() == MAX_ENTRIES {
                return Err(Fault::new(ErrorCode::LimitExceeded, format!("more than {MAX_ENTRIES} allowed hosts"))
                    .hint("name fewer hosts, or a `*.` wildcard for many of one domain"));
            }
            rules.push(entry.parse().map_err(|why: &str| {
                Fault::new(ErrorCode::InvalidInput, format!("allowed host `{}` cannot be used: {why}", shown(entry, 80))).hint(PATTERN_HINT)
            })?);
        }
        Ok(Self { rules })
    }

    /// Those that were read before.
    #[must_use]
    pub fn of(rules: Vec<HostPattern>) -> Self {
        Self { rules }
    }

    /// Whether a request to this origin is allowed.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        self.rules.iter().any(|rule| rule.matches(&origin.host, origin.port, origin.scheme.port()))
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The entries in canonical form, for texts and records.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.rules.iter().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests;
