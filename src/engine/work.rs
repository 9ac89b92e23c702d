//! One attempt at a step, in a task of its own.
//!
//! INVARIANT: every attempt that was begun reports its end, also when its task panics or is dropped.

use std::sync::Arc;

use futures_util::FutureExt as _;
use serde_json::Value;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use crate::domain::{ErrorCode, Fault, Measured, Millis, SPANS, StepId};
use crate::run::CallRecord;
use crate::workflow::{Plan, Step};

use super::calls::{StepCalls, Stop};
use super::driver::DriverParts;
use super::steps;

/// How long work may take to end after its time is over.
const GRACE: Millis = Millis(5_000);

/// What is to be worked on.
pub(super) struct Job {
    pub(super) step: StepId,
    pub(super) attempt: u32,
    pub(super) input: Value,
    pub(super) submission: Option<Value>,
    /// Calls the log holds for this attempt.
    pub(super) recorded: Vec<CallRecord>,
}

/// How an attempt ended.
pub(super) struct Ended {
    pub(super) step: StepId,
    pub(super) attempt: u32,
    pub(super) result: Result<Value, Stop>,
}

/// Begins a job; its end arrives on `ends`.
pub(super) fn begin(parts: &DriverParts, plan: &Arc<Plan>, job: Job, mut calls: StepCalls, ends: mpsc::UnboundedSender<Ended>) {
    let (plan, meter) = (plan.clone(), parts.settings.meter.clone());
    let span = tracing::error_span!(target: SPANS, "step", run_id = %calls.run, step_id = job.step.as_str(), attempt = job.attempt);
    let report = Report { step: job.step.clone(), attempt: job.attempt, ends: Some(ends) };
    let task = async move {
        let result = match plan.step(&job.step) {
            Some(step) => timed(step, job.input, job.submission, &mut calls).await,
            None => Err(Fault::internal(format!("step `{}` is not in the plan", job.step)).into()),
        };
        meter.tell(Measured::StepEnded { result: word(&result) });
        report.send(result);
    };
    parts.spawner.spawn("step", task.instrument(span).boxed());
}

fn word(result: &Result<Value, Stop>) -> &'static str {
    match result {
        Ok(_) => "succeeded",
        Err(Stop::Asks(_)) => "waits",
        Err(Stop::Failed { .. }) => "failed",
    }
}

async fn timed(step: &Step, input: Value, submission: Option<Value>, calls: &mut StepCalls) -> Result<Value, Stop> {
    let cancel = calls.cancel.clone();
    let mut work = std::pin::pin!(steps::work(step, input, submission, calls));
    let Some(most) = step.timeout else { return work.await };
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = tokio::time::sleep(most.duration()) => cancel.cancel(),
    }
    match tokio::time::timeout(GRACE.duration(), work).await {
        // What came in spite of it is as good as in time.
        Ok(Ok(output)) => Ok(output),
        Ok(Err(Stop::Asks(approval))) => Err(Stop::Asks(approval)),
        Ok(Err(Stop::Failed { .. })) | Err(_) => {
            Err(Fault::new(ErrorCode::Timeout, format!("step `{}` took longer than its timeout of {} ms", step.id, most.0)).into())
        }
    }
}

/// Tells the end of an attempt exactly once.
struct Report {
    step: StepId,
    attempt: u32,
    ends: Option<mpsc::UnboundedSender<Ended>>,
}

impl Report {
    fn send(mut self, result: Result<Value, Stop>) {
        self.tell(result);
    }

    fn tell(&mut self, result: Result<Value, Stop>) {
        if let Some(ends) = self.ends.take() {
            // Nobody listens where the run is no longer driven here; the next driver reads the log.
            let _unheard = ends.send(Ended { step: self.step.clone(), attempt: self.attempt, result });
        }
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        let fault = Fault::internal(format!("the work on step `{}` ended without a result", self.step));
        self.tell(Err(fault.into()));
    }
}
