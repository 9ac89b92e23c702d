//! What is told of the house: sandboxes that are counted, and figures as the HTTP face hands them out.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::{Fault, Measured, Meter, Principal};
use crate::mcp::Metrics;
use crate::run::RunKind;
use crate::sandbox::{Sandbox, SandboxOutcome, SandboxSpec};
use crate::store::{ApprovalFilter, ApprovalStatus, RunFilter, Store};
use crate::telemetry::Figures;

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
        let outcome = self.sandbox.run(spec, cancel, progress).await;
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

/// The figures at `/metrics`.
pub(super) struct HouseMetrics {
    pub(super) figures: Arc<Figures>,
    pub(super) store: Store,
}

#[async_trait]
impl Metrics for HouseMetrics {
    async fn text(&self, whom: &Principal) -> String {
        // The home's own user may read all that is in it anyway. Whoever else has a token may not learn that others call, what, and when.
        let whole = *whom == Principal::local();
        if whole {
            count_waiting(&self.store, &*self.figures).await;
        }
        self.figures.text(whole)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let figures = Arc::new(Figures::new(clock.now()));
        let tool = "python.run".parse().unwrap();
        figures.tell(Measured::Call { tool: Some(&tool), code: None, took: Duration::from_millis(3) });
        let metrics = HouseMetrics { figures, store };
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
