//! Which roles principals have: settled by configuration, seen by rules as `principal in toolgate::Role::"…"`.
//!
//! INVARIANT: a role is a word that configuration or a shipped profile knows; rules that name another do not load.

use std::collections::{BTreeMap, BTreeSet};

/// Principals by name, with their roles; whoever is not named has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Principals {
    roles: BTreeMap<String, BTreeSet<String>>,
    known: BTreeSet<String>,
}

impl Principals {
    /// These principals; `known` are roles that rules may name though nobody has them.
    pub fn new(roles: impl IntoIterator<Item = (String, BTreeSet<String>)>, known: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let roles: BTreeMap<String, BTreeSet<String>> = roles.into_iter().collect();
        let known = known.into_iter().map(Into::into).chain(roles.values().flatten().cloned()).collect();
        Self { roles, known }
    }

    /// The roles of a principal, in order.
    pub fn roles_of(&self, principal: &str) -> impl Iterator<Item = &str> {
        self.roles.get(principal).into_iter().flatten().map(String::as_str)
    }

    /// Every principal that has roles, with them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<String>)> {
        self.roles.iter().map(|(name, roles)| (name.as_str(), roles))
    }

    /// The roles that rules may name.
    #[must_use]
    pub fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    /// What a policy's digest covers of them.
    pub(super) fn covered(&self) -> Vec<u8> {
        serde_json::to_vec(&(&self.roles, &self.known)).unwrap_or_default()
    }
}
