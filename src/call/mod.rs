//! The stages a call passes, as types: `RawCall → ParsedCall → PreparedCall → (Grant) → RawOutput → CheckedOutput → Reply`.
//!
//! INVARIANT: each stage is made from the one before it, so a stage cannot be left out without a compile error.
//! Does not decide, execute or record: those are `policy`, `tools` and `store`, put in order by `gateway`.

mod along;
mod asks;
mod block;
mod digest;
mod output;
mod ports;
mod recorded;
mod redact;
mod stages;
mod through;
mod wall;

pub use along::{Along, Trace, TraceParent};
pub use asks::{Answers, Inquiry, Question};
pub use block::{BLOCKS, Block, Embedded};
pub use digest::call_digest;
pub use output::{CheckedOutput, RawOutput, Reply};
pub use ports::{ArtifactRef, Artifacts, LogLevel, NoProgress, OutStream, Progress, Spawner};
pub use recorded::{is_reference, reference, whole};
pub use redact::{NoRedaction, Redact, RedactStream};
pub use stages::{Asking, Origin, ParsedArgs, ParsedCall, Preparation, PreparedCall, RawCall, ToolRef};
pub use through::{TOOL_CALL, is_tool_call, meant};
pub use wall::{Paused, WallTime};
