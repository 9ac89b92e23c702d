//! What goes in and out.

use serde::{Deserialize, Serialize};

use crate::domain::{ApprovalId, RunId, Timestamp};
use crate::policy::StandingGrant;

/// How many questions may be put to humans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AskLimits {
    /// Waiting at the same time, of one run.
    pub pending_per_run: u32,
    /// Asked within a minute, by one principal.
    pub per_minute: u32,
}

/// By which way a human answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The operator, on the command line.
    Cli,
    /// A form in the client, where the operator trusts that client's human.
    Elicitation,
}

impl Channel {
    /// The word as it stands in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Elicitation => "elicitation",
        }
    }
}

/// An operator's leave for a while, to be stored.
#[derive(Debug, Clone)]
pub struct NewGrant {
    /// What it is.
    pub grant: StandingGrant,
    /// The question it was given with.
    pub approval: ApprovalId,
}

/// Where a standing grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantStatus {
    /// It answers questions.
    Active,
    /// The operator took it back.
    Revoked,
    /// Its time is over.
    Ended,
}

/// A standing grant as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GrantRow {
    /// What it is.
    #[serde(flatten)]
    pub grant: StandingGrant,
    /// The question it was given with.
    pub approval: ApprovalId,
    /// The run of that question; events about the grant are its.
    pub asked_in: RunId,
    /// Where it stands; an active one past its time reads `Ended`.
    pub status: GrantStatus,
    /// How many calls it let through.
    pub uses: u64,
    /// When it was given.
    pub given: Timestamp,
}

/// A run none of whose questions is put to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PausedRun {
    /// Which.
    pub run_id: RunId,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}
