//! In which state a run is, as lists and filters show it.

use serde::{Deserialize, Serialize};

/// What kind of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// Follows a workflow.
    Workflow,
    /// Holds a principal's direct calls.
    Adhoc,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Steps are running or can start; an ad-hoc run takes calls.
    Running,
    /// Every open step waits for an agent or a human.
    Waiting,
    /// Every step ended well.
    Succeeded,
    /// A step failed and nothing was left to do.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// An ad-hoc run that takes no more calls.
    Closed,
}

impl RunStatus {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Running | Self::Waiting => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Closed => true,
        }
    }

    /// The word as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Closed => "closed",
        }
    }
}
