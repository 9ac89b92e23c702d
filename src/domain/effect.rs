//! What a call does to the world.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// One kind of effect, from the least to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing outside the call.
    Pure,
    /// Reads something outside the call.
    Read,
    /// Writes inside its run's workspace, or adds to its run.
    Write,
    /// Uses the network.
    Egress,
    /// Changes something outside the workspace.
    ExternalWrite,
}

impl Effect {
    /// All there are, the least first.
    pub const ALL: [Self; 5] = [Self::Pure, Self::Read, Self::Write, Self::Egress, Self::ExternalWrite];

    /// The word as it stands in manifests and policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Read => "read",
            Self::Write => "write",
            Self::Egress => "egress",
            Self::ExternalWrite => "external_write",
        }
    }
}

/// The effects of one call. Never empty: a call without effects is `pure`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Effects(BTreeSet<Effect>);

impl Effects {
    /// Just this effect.
    #[must_use]
    pub fn only(effect: Effect) -> Self {
        Self(BTreeSet::from([effect]))
    }

    /// These effects; `pure` where there are none.
    #[must_use]
    pub fn of(effects: impl IntoIterator<Item = Effect>) -> Self {
        let set: BTreeSet<Effect> = effects.into_iter().collect();
        if set.is_empty() { Self::only(Effect::Pure) } else { Self(set) }
    }

    /// Whether nothing outside can be left half done, so that intent and outcome may share one commit.
    #[must_use]
    pub fn leave_nothing_behind(&self) -> bool {
        self.0.iter().all(|effect| *effect <= Effect::Read)
    }

    /// Whether every effect is among `widest`, where `pure` is always allowed.
    #[must_use]
    pub fn within(&self, widest: &Self) -> bool {
        self.0.iter().all(|effect| *effect == Effect::Pure || widest.0.contains(effect))
    }

    /// Whether `effect` is among them.
    #[must_use]
    pub fn contains(&self, effect: Effect) -> bool {
        self.0.contains(&effect)
    }

    /// In order, the least first.
    pub fn iter(&self) -> impl Iterator<Item = Effect> + '_ {
        self.0.iter().copied()
    }

    /// Those of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }
}

impl<'de> Deserialize<'de> for Effects {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set = BTreeSet::<Effect>::deserialize(deserializer)?;
        if set.is_empty() {
            return Err(serde::de::Error::custom("at least one effect is needed; a tool without any is `pure`"));
        }
        Ok(Self(set))
    }
}
