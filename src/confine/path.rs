//! Paths that somebody wrote, made safe to walk.
//!
//! INVARIANT: a [`RelPath`] names something beneath a folder on every platform: each of its parts is a plain name, so no part can
//! climb, start elsewhere, name a stream or a short name, or look like another path on the screen. Touches no file system.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::domain::{ErrorCode, Fault};

/// What a JSON Schema can say of the rules; the rest is refused when the path is parsed.
const PATTERN: &str = r"^[^/\\:]*[^/\\:. ](/[^/\\:]*[^/\\:. ])*$";

/// Bytes in a whole path.
const MOST_BYTES: usize = 1024;
/// Bytes in one part, as file systems have it.
const MOST_PART_BYTES: usize = 255;
/// Parts in a path.
const MOST_PARTS: usize = 48;

/// A path beneath a folder: relative, `/`-separated, valid UTF-8, at most 1024 bytes in 48 parts; no part is empty, `.` or `..`, ends
/// with a dot or space, or holds a backslash, colon, control, bidirectional or invisible character.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(String);

impl RelPath {
    /// Checks a path that somebody wrote.
    ///
    /// # Errors
    /// `PATH_REFUSED`, saying which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(Fault::new(ErrorCode::PathRefused, format!("the path `{}` {rule}", shown(text)))
                .hint("give a path relative to the folder, with `/` between plain names, such as `src/app.py`")),
        }
    }

    /// The path with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts, the outermost first. Never empty.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last part.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }

    /// The path without its last part, unless that is all there is.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// The path with one more part.
    ///
    /// # Errors
    /// `PATH_REFUSED` where the part, or the path it makes, breaks a rule.
    pub fn join(&self, part: &str) -> Result<Self, Fault> {
        Self::parse(&format!("{}/{part}", self.0))
    }

    /// Whether this is `under` or lies beneath it.
    #[must_use]
    pub fn is_within(&self, under: &Self) -> bool {
        self.0.strip_prefix(&under.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path as seen from `under`; `None` where it does not lie beneath it.
    #[must_use]
    pub fn beneath(&self, under: &Self) -> Option<Self> {
        self.0.strip_prefix(&under.0)?.strip_prefix('/').map(|rest| Self(rest.to_owned()))
    }

    /// Whether some file system would take a part for `.git`, which git trusts: in any case, or by its short name. Invisible
    /// characters and trailing dots, the other disguises, are in no `RelPath` at all.
    #[must_use]
    pub fn touches_git(&self) -> bool {
        self.parts().any(|part| {
            let upper = part.to_uppercase();
            let short = upper.strip_prefix("GIT~").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
            short || upper == ".GIT"
        })
    }

    /// The path as a file system that ignores case would compare it.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_uppercase().to_lowercase()
    }
}

/// The first two of `paths` that differ, yet are one file where case does not count.
#[must_use]
pub fn twins<'a>(paths: impl IntoIterator<Item = &'a RelPath>) -> Option<(&'a RelPath, &'a RelPath)> {
    let mut seen = std::collections::HashMap::new();
    for path in paths {
        match seen.insert(path.folded(), path) {
            Some(earlier) if earlier != path => return Some((earlier, path)),
            _ => {}
        }
    }
    None
}

/// Text from outside, fit to be shown: what is not printable is escaped, and it is cut at 120 characters.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == 120 {
            out.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// Characters that draw nothing or turn the text around: they make two paths look like one.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn broken_rule(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty");
    }
    if text.len() > MOST_BYTES {
        return Some("is longer than 1024 bytes");
    }
    if text.starts_with('/') {
        return Some("is absolute");
    }
    if text.contains('\\') {
        return Some("holds a backslash");
    }
    if text.contains(':') {
        return Some("holds a colon");
    }
    if text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Some("holds a control, bidirectional or invisible character");
    }
    if text.split('/').count() > MOST_PARTS {
        return Some("has more than 48 parts");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("has an empty part"),
        "." => Some("has a part `.`"),
        ".." => Some("has a part `..`"),
        _ if part.len() > MOST_PART_BYTES => Some("has a part longer than 255 bytes"),
        _ if part.ends_with(['.', ' ']) => Some("has a part that ends with a dot or a space"),
        _ => None,
    })
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for RelPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FromStr for RelPath {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::parse(text)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for RelPath {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "RelPath".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": MOST_BYTES })
    }
}
