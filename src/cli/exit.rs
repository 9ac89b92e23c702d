//! What the process says when it ends, and how a verb ends early.

use std::io;

use crate::domain::{ErrorCode, Fault};

/// The exit codes of every verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The work failed.
    Failed = 1,
    /// Wrong use: what was asked cannot be understood or does not exist.
    Usage = 2,
    /// Policy or the operator refused.
    Refused = 3,
    /// A human must act first.
    Waiting = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a verb ended early.
#[derive(Debug)]
pub enum Stop {
    /// Something failed.
    Fault(Fault),
    /// Nobody reads the output any more, or it cannot be written.
    Output(io::Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// How a verb ends.
pub type Ending = Result<Exit, Stop>;

impl Exit {
    /// The exit code of a fault. Exhaustive, so that a new code is thought about here.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::ApprovalRequired | ErrorCode::InputRequired => Self::Waiting,
            ErrorCode::PolicyDenied
            | ErrorCode::ApprovalDenied
            | ErrorCode::ApprovalsPaused
            | ErrorCode::OperatorLocked
            | ErrorCode::SecretRefused
            | ErrorCode::Unauthenticated
            | ErrorCode::InsufficientScope
            | ErrorCode::RequestRefused
            | ErrorCode::BudgetExceeded
            | ErrorCode::ToolNotDeclared => Self::Refused,
            ErrorCode::UnknownTool
            | ErrorCode::InvalidInput
            | ErrorCode::PolicyInvalid
            | ErrorCode::UnknownApproval
            | ErrorCode::UnknownRun
            | ErrorCode::StepNotWaiting
            | ErrorCode::RunState
            | ErrorCode::UnknownWorkflow
            | ErrorCode::WorkflowInvalid
            | ErrorCode::ManifestInvalid
            | ErrorCode::SchemaInvalid
            | ErrorCode::PathRefused
            | ErrorCode::NotFound
            | ErrorCode::UnknownArtifact
            | ErrorCode::UnknownSecret
            | ErrorCode::ClientCapability
            | ErrorCode::ConfigInvalid => Self::Usage,
            ErrorCode::InvalidOutput
            | ErrorCode::ExpressionInvalid
            | ErrorCode::LimitExceeded
            | ErrorCode::Timeout
            | ErrorCode::Cancelled
            | ErrorCode::Interrupted
            | ErrorCode::SandboxUnavailable
            | ErrorCode::SandboxFailed
            | ErrorCode::GitRepository
            | ErrorCode::GitConfigUntrusted
            | ErrorCode::GitNothingToCommit
            | ErrorCode::ProgramNotFound
            | ErrorCode::EgressDenied
            | ErrorCode::EgressFailed
            | ErrorCode::NotifyFailed
            | ErrorCode::RequirementsUnresolved
            | ErrorCode::RequirementRefused
            | ErrorCode::InstallerUnavailable
            | ErrorCode::ReplayDiverged
            | ErrorCode::FilterFailed
            | ErrorCode::DriveUnavailable
            | ErrorCode::DriveLoginRequired
            | ErrorCode::DriveLimited
            | ErrorCode::DriveRefused
            | ErrorCode::EvalFailed
            | ErrorCode::OutcomeUnknown
            | ErrorCode::StoreFailed
            | ErrorCode::StorageFull
            | ErrorCode::StoreTooNew
            | ErrorCode::AuditBroken
            | ErrorCode::AuditKeyRefused
            | ErrorCode::WitnessUnreachable
            | ErrorCode::LeaseLost
            | ErrorCode::VaultLocked
            | ErrorCode::VaultBroken
            | ErrorCode::Internal => Self::Failed,
        }
    }

    /// The exit code of a run that failed with this: a refusal is told apart, all else is failed work.
    #[must_use]
    pub fn of_failed_run(code: Option<ErrorCode>) -> Self {
        match code.map(Self::of) {
            Some(Self::Refused) => Self::Refused,
            Some(Self::Ok | Self::Failed | Self::Usage | Self::Waiting) | None => Self::Failed,
        }
    }
}
