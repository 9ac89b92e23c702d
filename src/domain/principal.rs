//! Who asks.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of the one who asks: `local` over stdio, the token's subject over HTTP, `operator` for the command line.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(String);

impl Principal {
    /// A principal of this name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The agent on the other end of standard input.
    #[must_use]
    pub fn local() -> Self {
        Self::new("local")
    }

    /// The human in charge.
    #[must_use]
    pub fn operator() -> Self {
        Self::new("operator")
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// In which capacity something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// An agent, by any client.
    Agent,
    /// The human in charge.
    Operator,
    /// toolgate itself: the engine, recovery, expiry.
    System,
}

impl Role {
    /// The word as it stands in events and policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// Who did something, and in which capacity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The name.
    pub principal: Principal,
    /// The capacity.
    pub role: Role,
}

impl Actor {
    /// An agent of this name.
    #[must_use]
    pub fn agent(principal: Principal) -> Self {
        Self { principal, role: Role::Agent }
    }

    /// The human in charge.
    #[must_use]
    pub fn operator() -> Self {
        Self { principal: Principal::operator(), role: Role::Operator }
    }

    /// toolgate itself.
    #[must_use]
    pub fn system() -> Self {
        Self { principal: Principal::new("toolgate"), role: Role::System }
    }
}
