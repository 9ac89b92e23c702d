//! When a long call is answered with a task instead of its result, for clients that take one.

use serde::Serialize;

/// What a manifest says in `task`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskUse {
    /// Never: the tool is itself a way to wait.
    Never,
    /// After seconds: no call of it is meant to be long, but any may be.
    #[default]
    Late,
    /// After a moment: its calls can be long.
    Soon,
    /// Always; a client that takes no task cannot call it.
    Must,
}

impl TaskUse {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Never, Self::Late, Self::Soon, Self::Must];

    /// The word as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Late => "late",
            Self::Soon => "soon",
            Self::Must => "must",
        }
    }

    /// The use of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == word)
    }
}
