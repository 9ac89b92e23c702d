//! Versions of packages as PEP 440 writes them, brought to their one canonical form.
//!
//! Does not order versions: a pin only needs to know whether two texts name the same one.

use std::fmt;

/// The longest text taken for a version, in bytes.
const MAX_LENGTH: usize = 64;

/// A version in canonical form: `1.0.0-RC1` is held as `1.0.0rc1`. Two versions are equal if they name the same release, so `1.0` equals
/// `1.0.0`.
#[derive(Debug, Clone)]
pub struct Version {
    text: String,
    key: String,
}

impl Version {
    /// Reads a version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_LENGTH || !text.is_ascii() {
            return None;
        }
        let lower = text.to_ascii_lowercase();
        let mut rest = Rest(lower.strip_prefix('v').unwrap_or(&lower));
        let epoch = rest.epoch();
        let mut release = vec![rest.number()?];
        while let Some(number) = rest.after_dot() {
            release.push(number);
        }
        let (pre, post, dev) = (rest.pre(), rest.post()?, rest.labelled(&["dev"]));
        let local = rest.local()?;
        if !rest.0.is_empty() {
            return None;
        }
        let mut tail = String::new();
        if let Some((label, number)) = pre {
            tail.push_str(label);
            tail.push_str(&number);
        }
        if let Some(number) = post {
            tail.push_str(".post");
            tail.push_str(&number);
        }
        if let Some((_, number)) = dev {
            tail.push_str(".dev");
            tail.push_str(&number);
        }
        if let Some(local) = local {
            tail.push('+');
            tail.push_str(&local);
        }
        let head = epoch.filter(|epoch| epoch != "0").map_or_else(String::new, |epoch| format!("{epoch}!"));
        let whole = release.join(".");
        while release.len() > 1 && release.last().is_some_and(|number| number == "0") {
            release.pop();
        }
        Some(Self { text: format!("{head}{whole}{tail}"), key: format!("{head}{}{tail}", release.join(".")) })
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Version {}

/// What of a version is not read yet.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    /// Digits, without leading zeroes.
    fn number(&mut self) -> Option<String> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at_checked(end)?;
        if digits.is_empty() {
            return None;
        }
        self.0 = rest;
        let short = digits.trim_start_matches('0');
        Some(if short.is_empty() { "0" } else { short }.to_owned())
    }

    fn epoch(&mut self) -> Option<String> {
        let before = self.0;
        let number = self.number();
        if let (Some(number), Some(rest)) = (number, self.0.strip_prefix('!')) {
            self.0 = rest;
            return Some(number);
        }
        self.0 = before;
        None
    }

    fn after_dot(&mut self) -> Option<String> {
        let before = self.0;
        self.0 = self.0.strip_prefix('.')?;
        let number = self.number();
        if number.is_none() {
            self.0 = before;
        }
        number
    }

    /// One of `labels`, perhaps after a separator, and its number (0 if there is none).
    fn labelled<'l>(&mut self, labels: &[&'l str]) -> Option<(&'l str, String)> {
        let separators = ['.', '-', '_'];
        let start = self.0.strip_prefix(separators).unwrap_or(self.0);
        let (label, rest) = labels.iter().find_map(|label| Some((*label, start.strip_prefix(*label)?)))?;
        self.0 = rest;
        let before = self.0;
        self.0 = self.0.strip_prefix(separators).unwrap_or(self.0);
        let number = self.number().unwrap_or_else(|| {
            self.0 = before;
            "0".to_owned()
        });
        Some((label, number))
    }

    fn pre(&mut self) -> Option<(&'static str, String)> {
        let (label, number) = self.labelled(&["alpha", "beta", "preview", "pre", "rc", "a", "b", "c"])?;
        let short = match label {
            "alpha" | "a" => "a",
            "beta" | "b" => "b",
            _ => "rc",
        };
        Some((short, number))
    }

    /// A post-release, which may be a mere `-1`. The outer `None` means that the text is no version.
    #[expect(clippy::option_option, reason = "wrong, absent and present are three things")]
    fn post(&mut self) -> Option<Option<String>> {
        if let Some((_, number)) = self.labelled(&["post", "rev", "r"]) {
            return Some(Some(number));
        }
        match self.0.strip_prefix('-') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => {
                self.0 = rest;
                Some(Some(self.number()?))
            }
            _ => Some(None),
        }
    }

    #[expect(clippy::option_option, reason = "wrong, absent and present are three things")]
    fn local(&mut self) -> Option<Option<String>> {
        let Some(rest) = self.0.strip_prefix('+') else { return Some(None) };
        let parts: Vec<&str> = rest.split(['.', '-', '_']).collect();
        if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric())) {
            return None;
        }
        self.0 = "";
        Some(Some(parts.join(".")))
    }
}
