//! What follows a failed attempt. Pure: the jitter is passed in.

use crate::domain::{ErrorCode, Fault, Millis, Timestamp};
use crate::workflow::Step;

use super::record::RunEvent;

/// No wait between attempts is longer.
const LONGEST: Millis = Millis(15 * 60 * 1000);

/// The event that follows the failure of this attempt: another try, later, or the end. `jitter` from 0 to 1 spreads the wait between its
/// half and its whole, so that many runs do not come back at once.
#[must_use]
pub fn after_failure(step: &Step, attempt: u32, fault: &Fault, output: serde_json::Value, now: Timestamp, jitter: f64) -> RunEvent {
    let error = fault.to_json();
    if attempt <= step.retry.max && is_worth_another_try(step, fault.code) {
        return RunEvent::StepRetry { attempt, at: now.plus(wait(step.retry.backoff, attempt, jitter)), error };
    }
    RunEvent::StepFailed { error, output }
}

fn is_worth_another_try(step: &Step, code: ErrorCode) -> bool {
    if !step.retry.on.is_empty() {
        return step.retry.on.contains(&code);
    }
    // The same call would be refused, or mean the same, again.
    !matches!(
        code,
        ErrorCode::PolicyDenied
            | ErrorCode::ApprovalDenied
            | ErrorCode::UnknownTool
            | ErrorCode::InvalidInput
            | ErrorCode::ExpressionInvalid
            | ErrorCode::PathRefused
            | ErrorCode::LimitExceeded
            | ErrorCode::BudgetExceeded
            | ErrorCode::ToolNotDeclared
            | ErrorCode::Cancelled
            | ErrorCode::Interrupted
            | ErrorCode::OutcomeUnknown
    )
}

fn wait(backoff: Millis, attempt: u32, jitter: f64) -> Millis {
    let doubled = backoff.0.saturating_mul(1_u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX)).min(LONGEST.0);
    let half = doubled / 2;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most fifteen minutes, not negative"
    )]
    let spread = ((doubled - half) as f64 * jitter.clamp(0.0, 1.0)) as u64;
    Millis(half + spread)
}
