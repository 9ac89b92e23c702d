//! What a call may ask for: exact pins, and nothing else that an installer would understand.
//!
//! INVARIANT: a [`Requirement`] begins with a letter or a digit and holds only letters, digits and `-.![],+=`, so it cannot be taken for an
//! option, an address, a path or a range by whatever program reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::domain::{ErrorCode, Fault};

use super::version::Version;

/// How many requirements one call may have.
pub const MAX_REQUIREMENTS: usize = 50;
const MAX_NAME: usize = 100;
const MAX_EXTRAS: usize = 10;

/// One pin: `name==version` or `name[extra]==version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    name: String,
    extras: BTreeSet<String>,
    version: Version,
}

impl Requirement {
    /// Reads one entry.
    ///
    /// # Errors
    /// `INVALID_INPUT`, naming the entry.
    pub fn parse(entry: &str) -> Result<Self, Fault> {
        let (head, version) = entry.split_once("==").ok_or_else(|| refused(entry, "it is not `name==version`"))?;
        let (name, extras) = match head.split_once('[') {
            None => (head, BTreeSet::new()),
            Some((name, list)) => (name, read_extras(entry, list)?),
        };
        let name = normal_name(name).ok_or_else(|| refused(entry, "its name is not one a package can have"))?;
        let version = Version::parse(version).ok_or_else(|| refused(entry, "its version is not an exact version"))?;
        Ok(Self { name, extras, version })
    }

    /// Reads the entries of a call: sorted by name, each package once.
    ///
    /// # Errors
    /// `INVALID_INPUT`, naming the entry that is wrong or asks for another version than an earlier one; `LIMIT_EXCEEDED` where there are
    /// too many.
    pub fn parse_all<S: AsRef<str>>(entries: &[S]) -> Result<Vec<Self>, Fault> {
        if entries.len() > MAX_REQUIREMENTS {
            let message = format!("{} requirements are too many, {MAX_REQUIREMENTS} may be given", entries.len());
            return Err(
                Fault::new(ErrorCode::LimitExceeded, message).hint("name only what is imported; what those need is found by itself")
            );
        }
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for entry in entries {
            let found = Self::parse(entry.as_ref())?;
            match all.get_mut(&found.name) {
                None => {
                    all.insert(found.name.clone(), found);
                }
                Some(earlier) if earlier.version == found.version => earlier.extras.extend(found.extras),
                Some(earlier) => {
                    let reason = format!("`{}` is also asked for as {}", earlier.name, earlier.version);
                    return Err(refused(entry.as_ref(), &reason));
                }
            }
        }
        Ok(all.into_values().collect())
    }

    /// The package's name: lower case, words joined by single hyphens.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The version that is pinned.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if !self.extras.is_empty() {
            let extras: Vec<&str> = self.extras.iter().map(String::as_str).collect();
            write!(f, "[{}]", extras.join(","))?;
        }
        write!(f, "=={}", self.version)
    }
}

/// A name as packages are compared by: lower case, each run of `-`, `_` and `.` one hyphen. `None` if no package can be called so.
pub(super) fn normal_name(name: &str) -> Option<String> {
    let plain = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    let whole = bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if name.len() > MAX_NAME || !whole || !plain(bytes.first()) || !plain(bytes.last()) {
        return None;
    }
    let words: Vec<String> = name.split(['-', '_', '.']).filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
    Some(words.join("-"))
}

fn read_extras(entry: &str, list: &str) -> Result<BTreeSet<String>, Fault> {
    let list = list.strip_suffix(']').ok_or_else(|| refused(entry, "its list of extras is not closed"))?;
    let extras: Option<BTreeSet<String>> = list.split(',').map(normal_name).collect();
    let extras = extras.ok_or_else(|| refused(entry, "its extras are not names"))?;
    if extras.len() > MAX_EXTRAS {
        return Err(refused(entry, "it has too many extras"));
    }
    Ok(extras)
}

fn refused(entry: &str, why: &str) -> Fault {
    let shown: String = entry.chars().take(80).flat_map(char::escape_debug).collect();
    Fault::new(ErrorCode::InvalidInput, format!("requirement `{shown}` cannot be used: {why}")).hint(
        "write each requirement as `name==version` or `name[extra]==version`, without spaces, ranges, addresses, paths, options or markers",
    )
}
