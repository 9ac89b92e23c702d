//! What a run is: the events of its log, the state they fold to, and what is to be done next.
//!
//! INVARIANT: pure. The same events give the same state and the same next actions, always. Does not act: that is `engine`'s.

mod budget;
mod event;
mod limits;
mod next;
mod record;
mod repair;
mod retry;
mod state;
mod status;
mod terms;
#[cfg(test)]
mod tests;

pub use budget::{Budget, Mark, raised_draft, reached_draft};
pub use event::{Event, EventDraft, EventKind};
pub use next::{Action, Answer, View, next};
pub use record::{RunCreated, RunEvent, SkipReason, StartedBy, WaitingFor, goal_draft, submission_draft};
pub use repair::{Repairing, after_checks, after_mending};
pub use retry::after_failure;
pub use state::{Asked, CallRecord, Created, End, Phase, RunState, StepState, StepStatus, fold};
pub use status::{RunKind, RunStatus};
pub use terms::Terms;
