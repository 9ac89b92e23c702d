//! From the program's spans to those of a trace: which are taken, and how they hang together across processes.
//!
//! INVARIANT: only spans of [`SPANS`] are taken, and of no event more than nothing: a line of the log may hold a caller's words. Whether a
//! client's trace is recorded is what its `traceparent` says; of those that begin here a share is.

use std::sync::{Mutex, PoisonError};

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState, TracerProvider as _};
use opentelemetry_sdk::trace::{RandomIdGenerator, Sampler, SdkTracerProvider, SpanLimits};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use crate::call::{Trace, Traces};
use crate::domain::SPANS;

use super::queue::{MOST_WAITING, Queue, queue};

/// Takes spans in; they wait until something sends them.
pub struct Traced {
    provider: SdkTracerProvider,
    queue: Mutex<Option<Queue>>,
}

impl Traced {
    /// Records this share (0 to 1) of the traces that begin here.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let (taking, queue) = queue(MOST_WAITING);
        // Everything is said here, so that nothing is taken from the environment.
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share))))
            .with_id_generator(RandomIdGenerator::default())
            .with_span_limits(SpanLimits::default())
            .with_span_processor(taking)
            .build();
        Self { provider, queue: Mutex::new(Some(queue)) }
    }

    /// The part of the log's subscriber that takes the spans.
    #[must_use]
    pub fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        let layer = tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("toolgate"))
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == SPANS)).boxed()
    }

    /// What waits to be sent; to the first who asks.
    pub(super) fn take_queue(&self) -> Option<Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Joins spans to clients' traces.
pub struct TracedSpans;

impl Traces for TracedSpans {
    fn adopt(&self, span: &Span, trace: &Trace) {
        let Some(parent) = trace.parent() else { return };
        let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        // A state that the library does not take is left out: the parent is what counts.
        let state = trace.state().and_then(|state| state.parse::<TraceState>().ok()).unwrap_or_default();
        let trace_id = TraceId::from_bytes(parent.trace_id.to_be_bytes());
        let span_id = SpanId::from_bytes(parent.span_id.to_be_bytes());
        let remote = SpanContext::new(trace_id, span_id, flags, true, state);
        // Where nobody traces there is nothing to join.
        let _ = span.set_parent(Context::new().with_remote_span_context(remote));
    }

    fn here(&self) -> Trace {
        let context = Span::current().context();
        let span = context.span();
        let known = span.span_context();
        if !known.is_valid() {
            return Trace::default();
        }
        let parent = format!("00-{}-{}-{:02x}", known.trace_id(), known.span_id(), known.trace_flags().to_u8() & 1);
        let state = known.trace_state().header();
        Trace::read(Some(&parent), Some(&state).filter(|state| !state.is_empty()).map(String::as_str), None)
    }
}
