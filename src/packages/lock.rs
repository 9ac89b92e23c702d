//! The lock of a set: every wheel in it, by name, version, file and hash.
//!
//! INVARIANT: equal sets of wheels and roots have equal text, and so equal digests, whichever installer found them.

use std::fmt;

use crate::domain::Digest;

use super::PYTHON;
use super::requirement::normal_name;
use super::version::Version;

const HEAD: &str = "toolgate lock 1, python ";

/// One wheel of a set, as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// The package's name, normalised.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// The file name of the wheel. For a package whose compiled part is left out this is the published wheel, not the one without that
    /// part.
    pub wheel: String,
    /// The SHA-256 of that file.
    pub sha256: Digest,
    /// Whether the call asked for it by name.
    pub root: bool,
}

/// The wheels of a set, sorted by name, and the Python they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    python: String,
    packages: Vec<Locked>,
}

impl Lock {
    /// A lock of these wheels for the sandbox's Python; `None` if a package is there twice.
    #[must_use]
    pub fn new(packages: Vec<Locked>) -> Option<Self> {
        Self::of(PYTHON, packages)
    }

    /// A lock of these wheels for another Python, which is told by its version and by whatever else wheels are chosen by; `None` if a package
    /// is there twice, or that text is not one plain line.
    #[must_use]
    pub fn of(python: &str, mut packages: Vec<Locked>) -> Option<Self> {
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        let twice = packages.iter().zip(packages.iter().skip(1)).any(|(a, b)| a.name == b.name);
        let plain = !python.is_empty() && !python.chars().any(char::is_control);
        (plain && !twice).then(|| Self { python: python.to_owned(), packages })
    }

    /// The wheels, sorted by name.
    #[must_use]
    pub fn packages(&self) -> &[Locked] {
        &self.packages
    }

    /// What the set is known by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of_parts("toolgate requirements lock", &[self.to_string().as_bytes()])
    }

    /// Reads back the text that a [`Lock`] for the sandbox's Python is written as; `None` if it is anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::parse_of(PYTHON, text)
    }

    /// Reads back the text that a [`Lock`] for `python` is written as; `None` if it is anything else.
    #[must_use]
    pub fn parse_of(python: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()?.strip_prefix(HEAD)? != python {
            return None;
        }
        let lock = Self::of(python, lines.map(Locked::parse).collect::<Option<Vec<Locked>>>()?)?;
        (lock.to_string() == text).then_some(lock)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEAD}{}", self.python)?;
        for package in &self.packages {
            let Locked { name, version, wheel, sha256, root } = package;
            writeln!(f, "{name}=={version} {wheel} sha256:{sha256}{}", if *root { " root" } else { "" })?;
        }
        Ok(())
    }
}

impl Locked {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (pin, wheel, hash, root) = (words.next()?, words.next()?, words.next()?, words.next());
        let (name, version) = pin.split_once("==")?;
        if words.next().is_some() || root.is_some_and(|word| word != "root") {
            return None;
        }
        Some(Self {
            name: normal_name(name)?,
            version: Version::parse(version)?,
            wheel: wheel.to_owned(),
            sha256: hash.strip_prefix("sha256:")?.parse().ok()?,
            root: root.is_some(),
        })
    }
}
