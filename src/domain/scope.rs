//! How far a credential reaches: a few coarse words, which narrow what its bearer may ask for before policy is asked at all.
//!
//! INVARIANT: a scope allows nothing by itself; who lacks it is refused, who has it still meets policy. Approving is no scope.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Effects;

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Scope {
    /// Tools that leave nothing behind, resources, prompts and completions.
    #[serde(rename = "tools:read")]
    ToolsRead,
    /// Every tool; holds `tools:read`.
    #[serde(rename = "tools:exec")]
    ToolsExec,
    /// The server's own figures at `/metrics`.
    #[serde(rename = "metrics:read")]
    MetricsRead,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::ToolsRead, Self::ToolsExec, Self::MetricsRead];

    /// The word as it stands in tokens and challenges.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ToolsRead => "tools:read",
            Self::ToolsExec => "tools:exec",
            Self::MetricsRead => "metrics:read",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    /// What a call of a tool needs whose widest effects are these.
    #[must_use]
    pub fn to_call(widest: &Effects) -> Self {
        if widest.leave_nothing_behind() { Self::ToolsRead } else { Self::ToolsExec }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a credential reaches. Empty: nothing that needs a scope.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Self(Scope::ALL.into_iter().collect())
    }

    /// These.
    #[must_use]
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().collect())
    }

    /// Whether what needs this scope is within these.
    #[must_use]
    pub fn allow(&self, needed: Scope) -> bool {
        self.0.contains(&needed) || (needed == Scope::ToolsRead && self.0.contains(&Scope::ToolsExec))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl fmt::Display for Scopes {
    /// Separated by spaces, as OAuth writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Effect;

    #[test]
    fn exec_holds_read_and_nothing_holds_more_than_it_says() {
        let exec = Scopes::of([Scope::ToolsExec]);
        assert!(exec.allow(Scope::ToolsRead) && exec.allow(Scope::ToolsExec) && !exec.allow(Scope::MetricsRead));
        let read = Scopes::of([Scope::ToolsRead]);
        assert!(read.allow(Scope::ToolsRead) && !read.allow(Scope::ToolsExec));
        assert!(Scope::ALL.into_iter().all(|scope| !Scopes::default().allow(scope) && Scopes::all().allow(scope)));
        assert_eq!(Scopes::all().to_string(), "tools:read tools:exec metrics:read");
    }

    #[test]
    fn what_leaves_something_behind_needs_exec() {
        for effect in Effect::ALL {
            let needed = Scope::to_call(&Effects::of([Effect::Read, effect]));
            let is_harmless = matches!(effect, Effect::Pure | Effect::Read);
            assert_eq!(needed == Scope::ToolsRead, is_harmless, "{effect:?}");
        }
    }
}
