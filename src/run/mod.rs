//! What a run is: the events of its log, the state they fold to, and what is to be done next.
//!
//! INVARIANT: pure. The same events give the same state and the same next actions, always.

mod event;
mod status;

pub use event::{Event, EventDraft, EventKind};
pub use status::{RunKind, RunStatus};
