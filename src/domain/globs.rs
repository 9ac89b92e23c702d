//! Patterns for paths inside a workspace or drive: `*` and `?` within one part, `**` over any number of parts.
//!
//! INVARIANT: matching takes bounded time. Letter case does not count, as a file system may not tell it apart either. Does not look at files.

use std::fmt;

/// Longest pattern.
const LONGEST: usize = 256;

/// A list of patterns; empty, as by default, it matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globs(Vec<String>);

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadGlob(&'static str);

impl fmt::Display for BadGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Globs {
    /// Reads patterns like `secrets/**`, `*.key` (in any folder) and `notes/2026-??.md`.
    ///
    /// # Errors
    /// Where one is empty, longer than 256 bytes, absolute, or has a part `.`, `..` or nothing.
    pub fn parse<I>(patterns: I) -> Result<Self, BadGlob>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let read = |pattern: I::Item| {
            let pattern = pattern.as_ref();
            if pattern.is_empty() || pattern.len() > LONGEST {
                return Err(BadGlob("must have 1 to 256 characters"));
            }
            if pattern.split('/').any(|part| matches!(part, "" | "." | "..")) {
                return Err(BadGlob("must be a relative path without `.`, `..` and empty parts"));
            }
            // One part alone is meant wherever it stands, as people write `*.key`.
            let pattern = pattern.to_lowercase();
            Ok(if pattern.contains('/') { pattern } else { format!("**/{pattern}") })
        };
        patterns.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The patterns, as they are used.
    #[must_use]
    pub fn patterns(&self) -> &[String] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a relative path, its parts parted by `/`, matches one. A pattern that matches a folder matches all that is in it.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let path = path.to_lowercase();
        let parts: Vec<&str> = path.split('/').collect();
        self.0.iter().any(|pattern| {
            let pattern: Vec<&str> = pattern.split('/').collect();
            (1..=parts.len())
                .any(|upto| parts.get(..upto).is_some_and(|parts| wild(&pattern, parts, |part| *part == "**", |p, t| within(p, t))))
        })
    }
}

/// Whether one part matches.
fn within(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    wild(&pattern, &text, |c| *c == '*', |p, t| *p == '?' || p == t)
}

/// Matches with wildcards that stand for any number of items: on a mismatch the last one takes one more.
fn wild<T>(pattern: &[T], text: &[T], any: impl Fn(&T) -> bool, one: impl Fn(&T, &T) -> bool) -> bool {
    let (mut p, mut t, mut back) = (0, 0, None);
    while let Some(item) = text.get(t) {
        match pattern.get(p) {
            Some(wanted) if any(wanted) => {
                back = Some((p, t));
                p += 1;
            }
            Some(wanted) if one(wanted, item) => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_people_mean_them() {
        let matches = |pattern: &str, path: &str| Globs::parse([pattern]).unwrap().matches(path);
        for (pattern, path) in [
            ("secrets/**", "secrets/a/b.txt"),
            ("secrets", "secrets/a/b.txt"),
            ("secrets", "deep/secrets/a"),
            ("*.key", "a.key"),
            ("*.key", "deep/er/a.key"),
            ("a/*/c", "a/b/c"),
            ("a/**/c", "a/c"),
            ("a/**/c", "a/x/y/c"),
            ("notes/2026-??.md", "notes/2026-11.md"),
            ("a/b", "a/b/c/d"),
            ("**", "x"),
            ("*a*b*", "xaxbx"),
            ("Secrets/**", "SECRETS/a"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("secrets/**", "secret/a"), ("*.key", "a.keys"), ("a/*/c", "a/b/d/c"), ("a/b", "x/a/b"), ("a/?", "a/bc"), ("a/b/c", "a/b")]
        {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
        assert!(!Globs::default().matches("a"));
    }

    #[test]
    fn what_is_no_relative_pattern_is_refused() {
        for bad in ["", "/etc", "../a", "a/../b", "a//b", "./a", "a/", &"x".repeat(300)] {
            assert!(Globs::parse([bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn many_stars_come_to_an_end() {
        let pattern = format!("{}b", "*a".repeat(100));
        assert!(!Globs::parse([&pattern]).unwrap().matches(&"a".repeat(4000)));
        assert!(Globs::parse([&pattern]).unwrap().matches(&format!("{}b", "a".repeat(4000))));
    }
}
