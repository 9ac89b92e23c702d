//! The one port through which rooms tell what is counted, and the word that marks the spans of a call.
//!
//! INVARIANT: what is told is bounded: names of registered tools, codes and fixed words, numbers and times; never a text of a caller's.
//! Telling returns at once and cannot fail. Who counts, and who may read it, is not known here.

use std::time::Duration;

use super::{ErrorCode, LimitOf, ToolName};

/// The target of spans that say what a line of the log, or a trace, belongs to. Only these give lines their ids, and only these are traced.
pub const SPANS: &str = "toolgate::span";

/// Something that happened and is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measured<'a> {
    /// A call came to its outcome.
    Call {
        /// The tool; `None` where none has the name that was asked for.
        tool: Option<&'a ToolName>,
        /// How it failed, if it did.
        code: Option<ErrorCode>,
        /// From its arrival to the recorded outcome, with whatever it waited for.
        took: Duration,
    },
    /// Policy decided on a call.
    Decision {
        /// `allow`, `ask` or `deny`.
        verdict: &'static str,
    },
    /// A limit turned something away.
    OverBudget {
        /// Whose limit.
        of: LimitOf,
    },
    /// An append to the journal was answered.
    Append {
        /// With the wait for others' commits.
        took: Duration,
        /// Why nothing was recorded.
        code: Option<ErrorCode>,
    },
    /// A sandbox ran a program.
    Sandbox {
        /// `wasm` or `process`.
        kind: &'static str,
        /// How long.
        took: Duration,
    },
    /// A request went out, or would have.
    Hop {
        /// What was answered.
        status: Option<u16>,
        /// Why there was no answer, or why it was given up.
        code: Option<ErrorCode>,
    },
    /// A workflow run ended, in this state.
    RunEnded {
        /// The state's word.
        status: &'static str,
    },
    /// An attempt at a step of a workflow ended.
    StepEnded {
        /// `succeeded`, `failed` or `waits`.
        result: &'static str,
    },
    /// A request that came in over HTTP was answered.
    Request {
        /// With this status.
        status: u16,
    },
    /// A connection was opened (`true`) or is over (`false`).
    Connection(bool),
    /// So many sessions are open now.
    Sessions(usize),
    /// So many runs of workflows are open now, and so many questions wait for a human.
    Waiting {
        /// Runs.
        runs: usize,
        /// Questions.
        approvals: usize,
    },
    /// Something of this kind (`traces`, `metrics`) was thrown away untold.
    Dropped {
        /// `traces` or `metrics`.
        signal: &'static str,
        /// How many.
        count: usize,
    },
}

/// Counts what happens.
pub trait Meter: Send + Sync {
    /// Takes note; never waits.
    fn tell(&self, what: Measured<'_>);
}

/// Nobody counts.
pub struct NoMeter;

impl Meter for NoMeter {
    fn tell(&self, _what: Measured<'_>) {}
}
