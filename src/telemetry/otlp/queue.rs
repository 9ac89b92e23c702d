//! Where ended spans wait to be sent.
//!
//! INVARIANT: taking a span in never waits; one that finds no place is counted and gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

/// Spans that wait at most.
pub(super) const MOST_WAITING: usize = 4_096;

/// Takes ended spans in.
#[derive(Debug)]
pub(super) struct Taking {
    spans: mpsc::Sender<SpanData>,
    lost: Arc<AtomicUsize>,
}

/// Gives them out.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) spans: mpsc::Receiver<SpanData>,
    lost: Arc<AtomicUsize>,
}

/// Both ends.
pub(super) fn queue(most: usize) -> (Taking, Queue) {
    let ((sender, receiver), lost) = (mpsc::channel(most), Arc::<AtomicUsize>::default());
    (Taking { spans: sender, lost: lost.clone() }, Queue { spans: receiver, lost })
}

impl Queue {
    /// How many found no place since this was asked last.
    pub(super) fn lost(&self) -> usize {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

impl SpanProcessor for Taking {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}
