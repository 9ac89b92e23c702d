//! The spans of a call and of its stages, and what is counted of it.
//!
//! INVARIANT: a span holds ids, names of registered tools, times and codes, nothing that a caller wrote. Where nobody traces, stages have none.

use std::time::Duration;

use tracing::{Instrument as _, Span, field};

use crate::call::{PreparedCall, RawCall};
use crate::domain::{CallId, Fault, Measured, SPANS, StepId};
use crate::policy::{Decision, Facts, PolicySet};

use super::Inner;
use super::journal::Identity;

/// The span of a stage.
macro_rules! stage {
    ($name:literal) => {
        tracing::trace_span!(target: crate::domain::SPANS, $name, code = tracing::field::Empty, otel.status_code = tracing::field::Empty)
    };
}
pub(super) use stage;

/// Notes on a span how its work ended.
fn note(span: &Span, fault: Option<&Fault>) {
    if let Some(fault) = fault {
        span.record("code", fault.code.as_str()).record("otel.status_code", "ERROR");
    }
}

/// Work that is a stage.
pub(super) trait Staged<T>: Future<Output = Result<T, Fault>> + Send + Sized {
    /// Does it within its span.
    fn staged(self, span: Span) -> impl Future<Output = Result<T, Fault>> + Send {
        async move {
            let result = self.instrument(span.clone()).await;
            note(&span, result.as_ref().err());
            result
        }
    }
}

impl<T, F: Future<Output = Result<T, Fault>> + Send> Staged<T> for F {}

/// The same for what does not wait.
pub(super) fn in_stage<T>(span: &Span, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    let result = span.in_scope(work);
    note(span, result.as_ref().err());
    result
}

impl Inner {
    /// The span of a call: every line that belongs to it gets its ids from here, and in a trace it hangs below the caller's.
    pub(super) fn span(&self, call: CallId, raw: &RawCall, step: Option<&StepId>) -> Span {
        let span = tracing::error_span!(
            target: SPANS,
            "call",
            run_id = %raw.run,
            call_id = %call,
            step_id = step.map(StepId::as_str),
            tool = field::Empty,
            code = field::Empty,
            otel.status_code = field::Empty,
        );
        if let Some(traces) = self.traces.get() {
            traces.adopt(&span, &raw.along.trace);
        }
        span
    }

    /// Notes on the call's span, and tells, how it ended.
    pub(super) fn tell_outcome(&self, who: &Identity, fault: Option<&Fault>, took: Duration) {
        // What was asked for may be anything; only the name of a tool that exists is told.
        let tool = self.registry.find(&who.tool).map(|entry| &entry.def.name);
        let span = Span::current();
        if let Some(tool) = tool {
            span.record("tool", tool.as_str());
        }
        note(&span, fault);
        self.tell(Measured::Call { tool, code: fault.map(|fault| fault.code), took });
    }

    /// What policy says.
    pub(super) fn decide(&self, policy: &PolicySet, call: &PreparedCall, facts: &Facts) -> Decision {
        let span = tracing::trace_span!(target: SPANS, "decide", verdict = field::Empty);
        let decision = span.in_scope(|| policy.decide(call, facts));
        span.record("verdict", decision.verdict.as_str());
        self.tell(Measured::Decision { verdict: decision.verdict.as_str() });
        decision
    }
}
