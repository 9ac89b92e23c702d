//! Sends spans in batches, one at a time, and waits longer after each failure.
//!
//! INVARIANT: holds one batch at most besides the queue; when it is told to end, it tries what is left once and then is over.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::domain::{Measured, Meter};

use super::client::LONGEST;
use super::queue::Queue;

/// Spans of one batch at most, and how long it is waited for more.
const BATCH: usize = 512;
const LINGER: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// At the end a sending may take as long as this.
const LAST: Duration = Duration::from_millis(400);

/// The sending task.
pub(super) struct Sender {
    pub(super) queue: Queue,
    pub(super) exporter: opentelemetry_otlp::SpanExporter,
    pub(super) meter: Arc<dyn Meter>,
    pub(super) ending: CancellationToken,
}

impl Sender {
    /// Sends until the end.
    pub(super) async fn run(mut self) {
        let mut pause = Duration::ZERO;
        while let Some(batch) = self.batch().await {
            let is_failing = !pause.is_zero();
            match (self.send(batch).await, is_failing) {
                (Ok(()), false) => {}
                (Ok(()), true) => {
                    pause = Duration::ZERO;
                    tracing::info!(name: "collector_is_back", "the collector takes traces again");
                }
                (Err(why), _) => {
                    if !is_failing {
                        tracing::warn!(name: "collector_unreachable", "traces do not reach the collector: {why}");
                    }
                    pause = (pause * 2).clamp(Duration::from_secs(1), LONGEST_PAUSE);
                    tokio::select! {
                        () = self.ending.cancelled() => {}
                        () = sleep(pause) => {}
                    }
                }
            }
            self.tell_lost(0);
        }
        let mut rest = Vec::new();
        while let Ok(span) = self.queue.spans.try_recv() {
            rest.push(span);
        }
        // It fits one message: the queue is that short.
        if !rest.is_empty() {
            let _counted = self.send(rest).await;
        }
        self.tell_lost(0);
    }

    /// The next spans; `None` at the end.
    async fn batch(&mut self) -> Option<Vec<SpanData>> {
        let mut batch = Vec::new();
        tokio::select! {
            biased;
            () = self.ending.cancelled() => return None,
            count = self.queue.spans.recv_many(&mut batch, BATCH) => if count == 0 { return None },
        }
        let until = Instant::now() + LINGER;
        while batch.len() < BATCH {
            tokio::select! {
                biased;
                () = self.ending.cancelled() => break,
                () = sleep_until(until) => break,
                span = self.queue.spans.recv() => match span {
                    Some(span) => batch.push(span),
                    None => break,
                },
            }
        }
        Some(batch)
    }

    async fn send(&self, batch: Vec<SpanData>) -> Result<(), String> {
        let count = batch.len();
        let ending = async {
            self.ending.cancelled().await;
            sleep(LAST).await;
        };
        let sent = tokio::select! {
            sent = timeout(LONGEST * 2, self.exporter.export(batch)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("it took too long".to_owned()),
            },
            () = ending => Err("the process ended first".to_owned()),
        };
        if sent.is_err() {
            self.tell_lost(count);
        }
        sent
    }

    fn tell_lost(&self, more: usize) {
        let count = self.queue.lost() + more;
        if count > 0 {
            self.meter.tell(Measured::Dropped { signal: "traces", count });
        }
    }
}
