//! What is told of the house: to whom, sandboxes that are counted, and figures as the HTTP face hands them out.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::call::Progress;
use crate::config::Config;
use crate::domain::{ErrorCode, Fault, Measured, Meter, Principal, SPANS};
use crate::mcp::Metrics;
use crate::run::RunKind;
use crate::sandbox::{Sandbox, SandboxOutcome, SandboxSpec};
use crate::store::{ApprovalFilter, ApprovalStatus, RunFilter, Store};
use crate::telemetry::Figures;
use crate::telemetry::otlp::{Collector, Sending, Traced};

use super::{Tasks, network};

/// How often a collector is told what is open.
const COUNT_EVERY: Duration = Duration::from_secs(15);
/// How long the end of the process waits for a collector.
const LAST_SENDING: Duration = Duration::from_millis(300);
/// Nobody looks closer at how many more there are.
const MOST_COUNTED: u32 = 10_000;

/// A sandbox whose programs are counted.
pub(super) struct CountedSandbox {
    pub(super) sandbox: Arc<dyn Sandbox>,
    /// `wasm` or `process`.
    pub(super) kind: &'static str,
    pub(super) meter: Arc<dyn Meter>,
}

#[async_trait]
impl Sandbox for CountedSandbox {
    async fn run(&self, spec: SandboxSpec, cancel: CancellationToken, progress: Arc<dyn Progress>) -> Result<SandboxOutcome, Fault> {
        let begun = Instant::now();
        let span =
            tracing::trace_span!(target: SPANS, "sandbox", sandbox = self.kind, return_code = Empty, peak_memory = Empty, code = Empty);
        let outcome = self.sandbox.run(spec, cancel, progress).instrument(span.clone()).await;
        match &outcome {
            Ok(outcome) => {
                _ = span
                    .record("return_code", i64::from(outcome.return_code))
                    .record("peak_memory", i64::try_from(outcome.metrics.peak_memory).unwrap_or(i64::MAX))
            }
            Err(fault) => _ = span.record("code", fault.code.as_str()),
        }
        self.meter.tell(Measured::Sandbox { kind: self.kind, took: begun.elapsed() });
        outcome
    }
}

/// Tells how many runs and questions of the home are open now. What cannot be read now is left as it was.
pub(super) async fn count_waiting(store: &Store, meter: &dyn Meter) {
    let open = RunFilter { kind: Some(RunKind::Workflow), open: true, limit: MOST_COUNTED, ..RunFilter::default() };
    let waiting = ApprovalFilter { status: Some(ApprovalStatus::Pending), limit: MOST_COUNTED, ..ApprovalFilter::default() };
    match (store.runs(open).await, store.approvals(waiting).await) {
        (Ok(runs), Ok(approvals)) => meter.tell(Measured::Waiting { runs: runs.len(), approvals: approvals.len() }),
        (Err(fault), _) | (_, Err(fault)) => tracing::warn!(code = %fault.code, "open runs and questions cannot be counted: {fault}"),
    }
}

/// Does that again and again, for a collector.
pub(super) async fn keep_counting(store: Store, meter: Arc<dyn Meter>, stop: CancellationToken) {
    loop {
        count_waiting(&store, &*meter).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(COUNT_EVERY) => {}
        }
    }
}

/// All who are told what is counted.
pub(super) struct Told {
    figures: Figures,
    sending: OnceLock<Sending>,
}

impl Told {
    pub(super) fn new(figures: Figures) -> Self {
        Self { figures, sending: OnceLock::new() }
    }

    /// Tells the collector of these settings too, from now on.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for an address or a file that cannot be used.
    pub(super) fn begin_sending(self: &Arc<Self>, config: &Config, traced: &Traced, store: &Store) -> Result<(), Fault> {
        let Some(endpoint) = &config.otlp_endpoint.value else { return Ok(()) };
        let authorization = config.otlp_authorization_file.value.as_ref().map(|path| {
            let wrong = |why: &str| {
                Fault::new(ErrorCode::ConfigInvalid, format!("`telemetry.otlp.authorization_file`: {}: {why}", path.display()))
                    .hint("the file holds one line: the value of the header, such as `Bearer …`")
            };
            let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
            let value = text.trim().to_owned();
            let is_plain = !value.is_empty() && value.len() <= 4096 && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            if is_plain { Ok(value) } else { Err(wrong("it is no header's value")) }
        });
        // It sends while everything else ends, so its tasks are its own.
        let spawner = Arc::new(Tasks::default());
        let collector = Collector::new(endpoint, authorization.transpose()?, network::egress(config)?, spawner)?;
        let sending = Sending::begin(traced, collector, &store.owner().to_string(), self.clone())?;
        let _first = self.sending.set(sending);
        Ok(())
    }

    /// Whether a collector is told.
    pub(super) fn sends(&self) -> bool {
        self.sending.get().is_some()
    }

    /// Sends what is left.
    pub(super) async fn end_sending(&self) {
        if let Some(sending) = self.sending.get() {
            sending.end(LAST_SENDING).await;
        }
    }
}

impl Meter for Told {
    fn tell(&self, what: Measured<'_>) {
        self.figures.tell(what);
        if let Some(sending) = self.sending.get() {
            sending.tell(what);
        }
    }
}

/// The figures at `/metrics`.
pub(super) struct HouseMetrics {
    pub(super) told: Arc<Told>,
    pub(super) store: Store,
}

#[async_trait]
impl Metrics for HouseMetrics {
    async fn text(&self, whom: &Principal) -> String {
        // The home's own user may read all that is in it anyway. Whoever else has a token may not learn that others call, what, and when.
        let whole = *whom == Principal::local();
        if whole {
            count_waiting(&self.store, &*self.told).await;
        }
        self.told.figures.text(whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SystemClock;
    use crate::call::NoRedaction;
    use crate::domain::{Clock as _, OwnerId};
    use crate::store::{Durability, OpenOptions};

    #[tokio::test]
    async fn only_the_homes_own_user_sees_what_the_house_does() {
        let clock = Arc::new(SystemClock);
        let owner = OwnerId::mint(clock.now());
        let (durability, redact) = (Durability::Relaxed, Arc::new(NoRedaction));
        let store = Store::open(OpenOptions { home: None, owner, clock: clock.clone(), durability, redact }).await.unwrap();
        let told = Arc::new(Told::new(Figures::new(clock.now())));
        let tool = "python.run".parse().unwrap();
        told.tell(Measured::Call { tool: Some(&tool), code: None, took: Duration::from_millis(3) });
        let metrics = HouseMetrics { told, store };
        let whole = metrics.text(&Principal::local()).await;
        assert!(
            whole.contains("toolgate_calls_total{tool=\"python.run\",code=\"ok\"} 1") && whole.contains("toolgate_runs_active 0"),
            "{whole}"
        );
        for other in ["alice", "locals", "Local", "", "operator"] {
            let part = metrics.text(&Principal::new(other)).await;
            assert!(!part.contains("python.run") && !part.contains("calls") && part.contains("toolgate_build_info"), "{other}: {part}");
        }
    }
}
