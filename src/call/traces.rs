//! How the house's spans and those of other processes hang together; implemented where spans are recorded.

use tracing::Span;

use super::Trace;

/// Joins spans across processes.
pub trait Traces: Send + Sync {
    /// Hangs a span that was just made below its caller's, where there is one.
    fn adopt(&self, span: &Span, trace: &Trace);

    /// What stands for the span that we are in, for whoever goes on elsewhere; empty where nobody records.
    fn here(&self) -> Trace;
}

/// Nobody records.
pub struct NoTraces;

impl Traces for NoTraces {
    fn adopt(&self, _span: &Span, _trace: &Trace) {}

    fn here(&self) -> Trace {
        Trace::default()
    }
}
