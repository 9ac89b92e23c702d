//! Drives runs: takes each open one that nobody drives, under a lease, and sees it to its end.
//!
//! INVARIANT: nothing is written for a run without holding its lease; whatever the process dies in, the next driver goes on from the log.
//! What is done next is `run::next`'s decision; how one run is driven is `drive.rs`'s.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::call::{NoProgress, Progress, Spawner};
use crate::domain::{Budgets, Clock, Fault, Meter, Millis, NoMeter, RunId, StepId};
use crate::run::{RunKind, RunStatus};
use crate::store::{Lease, RunFilter};

use super::calls::CallPath;
use super::drive::Drive;
use super::log::Log;

/// Where a step's progress is shown.
pub type ProgressOf = Arc<dyn Fn(&RunId, &StepId) -> Arc<dyn Progress> + Send + Sync>;

/// How a driver works.
#[derive(Clone)]
pub struct DriverSettings {
    /// Steps of one run that may be at work at once.
    pub parallel_steps: usize,
    /// How often the log is read for what other processes wrote.
    pub poll: Millis,
    /// How long a lease stands; it is renewed at a third of that.
    pub lease: Millis,
    /// How long a question of an approval step stands, where the step does not say.
    pub approval: Millis,
    /// Where progress is shown.
    pub progress: ProgressOf,
    /// What runs and principals may use up.
    pub budgets: Budgets,
    /// Who counts.
    pub meter: Arc<dyn Meter>,
}

impl Default for DriverSettings {
    fn default() -> Self {
        Self {
            parallel_steps: 8,
            poll: Millis(200),
            lease: Millis(15_000),
            approval: Millis(24 * 60 * 60 * 1_000),
            progress: Arc::new(|_, _| Arc::new(NoProgress)),
            budgets: Budgets::default(),
            meter: Arc::new(NoMeter),
        }
    }
}

/// What a driver is made of.
#[derive(Clone)]
pub struct DriverParts {
    /// The log.
    pub log: Arc<dyn Log>,
    /// The way of every call.
    pub calls: Arc<dyn CallPath>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where runs and steps are worked on.
    pub spawner: Arc<dyn Spawner>,
    /// How it works.
    pub settings: DriverSettings,
}

/// Drives workflow runs. Cheap to clone.
#[derive(Clone)]
pub struct Driver {
    parts: Arc<DriverParts>,
    driven: Arc<Mutex<BTreeSet<RunId>>>,
}

impl Driver {
    /// A driver that does nothing yet.
    #[must_use]
    pub fn new(parts: DriverParts) -> Self {
        Self { parts: Arc::new(parts), driven: Arc::default() }
    }

    /// Drives every open workflow run that no other process drives, old and new, until `stop` fires; then cancels the calls in flight,
    /// waits for their outcomes and gives the leases back. Steps that were cut off so go on at the next start.
    pub async fn drive(&self, stop: CancellationToken) {
        let mut changes = self.parts.log.changes();
        let mut is_failing = false;
        while !stop.is_cancelled() {
            match self.take_up(&stop).await {
                Ok(()) => is_failing = false,
                Err(fault) if !is_failing => {
                    is_failing = true;
                    tracing::error!(code = %fault.code, "runs cannot be taken up: {fault}");
                }
                Err(_) => {}
            }
            // Every commit of this process fires, so a burst of them is looked at once.
            tokio::select! {
                () = stop.cancelled() => break,
                _ = changes.changed() => tokio::time::sleep(Millis(self.parts.settings.poll.0.min(20)).duration()).await,
                () = tokio::time::sleep(self.parts.settings.poll.duration()) => {}
            }
            changes.mark_unchanged();
        }
        while !self.driven().is_empty() {
            tokio::time::sleep(Millis(5).duration()).await;
        }
    }

    /// Drives this one run until it ends, `stop` fires, or with `until_waiting` it waits for somebody. `None` where another process
    /// drives it, or this one does already.
    ///
    /// # Errors
    /// Where the log cannot be read or written, or the lease is lost.
    pub async fn drive_one(&self, run: &RunId, until_waiting: bool, stop: CancellationToken) -> Result<Option<RunStatus>, Fault> {
        if !self.driven().insert(*run) {
            return Ok(None);
        }
        let _entry = Entry { driven: self.driven.clone(), run: *run };
        match self.parts.log.take_lease(run, self.parts.settings.lease).await? {
            Some(lease) => self.drive_leased(lease, until_waiting, stop).await.map(Some),
            None => Ok(None),
        }
    }

    async fn take_up(&self, stop: &CancellationToken) -> Result<(), Fault> {
        let open = RunFilter { kind: Some(RunKind::Workflow), open: true, ..RunFilter::default() };
        for row in self.parts.log.runs(open).await? {
            if self.driven().contains(&row.id) {
                continue;
            }
            let Some(lease) = self.parts.log.take_lease(&row.id, self.parts.settings.lease).await? else { continue };
            self.driven().insert(row.id);
            let (driver, stop, entry) = (self.clone(), stop.clone(), Entry { driven: self.driven.clone(), run: row.id });
            let task = async move {
                let run = entry.run;
                if let Err(fault) = driver.drive_leased(lease, false, stop.clone()).await {
                    tracing::error!(run_id = %run, code = %fault.code, "the run is left for now: {fault}");
                    // What failed may fail again at once; others' runs should not wait for that.
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(Millis(1_000).duration()) => {}
                    }
                }
                drop(entry);
            };
            self.parts.spawner.spawn("run", task.boxed());
        }
        Ok(())
    }

    async fn drive_leased(&self, lease: Lease, until_waiting: bool, stop: CancellationToken) -> Result<RunStatus, Fault> {
        let driven = Drive::open(self.parts.clone(), lease.clone()).await;
        let result = match driven {
            Ok(mut drive) => drive.see_through(until_waiting, stop).await,
            Err(fault) => Err(fault),
        };
        let given_back = self.parts.log.release_lease(lease).await;
        let status = result?;
        given_back?;
        Ok(status)
    }

    fn driven(&self) -> std::sync::MutexGuard<'_, BTreeSet<RunId>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run's place among those this process drives; leaves it when dropped, whichever way its driving ends.
struct Entry {
    driven: Arc<Mutex<BTreeSet<RunId>>>,
    run: RunId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}
