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

impl Labels {
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
