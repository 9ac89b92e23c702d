//! What a run has seen: marks that follow its data and are never taken away.

use serde::{Deserialize, Serialize};

/// The labels of a run. Policy sees both; a run that holds both can leak what it read to whoever wrote what it fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Labels {
    /// It took in content from outside: the web, a drive, a remote tool.
    pub untrusted: bool,
    /// It took in data that is not for everybody: a drive, a response that a secret opened, a configured path.
    pub private: bool,
}

/// One label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// See [`Labels::untrusted`].
    Untrusted,
    /// See [`Labels::private`].
    Private,
}

impl Label {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Untrusted, Self::Private];

    /// The word as it stands in manifests, events and test files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Private => "private",
        }
    }
}

impl Labels {
    /// Both.
    pub const BOTH: Self = Self { untrusted: true, private: true };

    /// These.
    #[must_use]
    pub fn of(labels: impl IntoIterator<Item = Label>) -> Self {
        labels.into_iter().fold(Self::default(), |all, label| match label {
            Label::Untrusted => Self { untrusted: true, ..all },
            Label::Private => Self { private: true, ..all },
        })
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn has(self, label: Label) -> bool {
        match label {
            Label::Untrusted => self.untrusted,
            Label::Private => self.private,
        }
    }

    /// Their words, in order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        Label::ALL.into_iter().filter(|label| self.has(*label)).map(Label::as_str).collect()
    }

    /// Those of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { untrusted: self.untrusted || other.untrusted, private: self.private || other.private }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }
}
