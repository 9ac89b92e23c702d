//! The names of the sets of rules that are part of the program.

use serde::Serialize;

/// A shipped set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Agents work inside and ask before they go out.
    #[default]
    Default,
    /// Agents only look.
    ReadOnly,
    /// A human looks at whatever agents do, and nothing leaves.
    LockedDown,
    /// By the roles of those who ask.
    Team,
    /// None: only the home's own rules hold.
    None,
}

impl Profile {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Default, Self::ReadOnly, Self::LockedDown, Self::Team, Self::None];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::ReadOnly => "read-only",
            Self::LockedDown => "locked-down",
            Self::Team => "team",
            Self::None => "none",
        }
    }

    /// The profile of this name.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.as_str() == word)
    }

    /// The roles that its rules speak of, whether or not anybody has them.
    #[must_use]
    pub fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Team => &["builder", "maintainer", "reviewer"],
            Self::Default | Self::ReadOnly | Self::LockedDown | Self::None => &[],
        }
    }
}
