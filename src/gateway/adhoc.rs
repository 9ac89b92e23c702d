//! The run that a principal's direct calls belong to: one per server process and principal.

use std::collections::HashMap;

use serde_json::json;
use tokio::sync::Mutex;

use crate::domain::{Actor, Fault, Millis, Principal, RunId, Timestamp};
use crate::run::{EventDraft, EventKind, RunKind, RunStatus};
use crate::store::{Append, Change};

use super::Gateway;

/// An ad-hoc run nobody used for so long takes no more calls.
const IDLE: Millis = Millis(12 * 60 * 60 * 1000);

struct Current {
    run: RunId,
    used: Timestamp,
}

#[derive(Default)]
pub(super) struct AdhocRuns {
    current: Mutex<HashMap<Principal, Current>>,
}

impl Gateway {
    /// The current ad-hoc run of whoever asks, begun where there is none or the last one was idle for 12 hours.
    ///
    /// # Errors
    /// Where the run cannot be recorded.
    pub async fn adhoc_run(&self, actor: &Actor) -> Result<RunId, Fault> {
        let now = self.inner.clock.now();
        let mut current = self.inner.adhoc.current.lock().await;
        if let Some(known) = current.get_mut(&actor.principal) {
            if now.since(known.used) < IDLE {
                known.used = now;
                return Ok(known.run);
            }
            self.close_run(known.run, "idle").await?;
        }
        let run = RunId::mint(now);
        let created = EventDraft::new(EventKind::RunCreated, actor.clone())
            .field("kind", "adhoc")
            .field("policy", self.inner.policy.get().digest().to_string())
            .field("version", env!("CARGO_PKG_VERSION"));
        let limits = self.inner.adhoc_limits();
        let created = if limits.is_unlimited() { created } else { created.field("limits", json!(limits)) };
        self.inner
            .store
            .append(Append {
                run: Some(run),
                events: vec![created],
                changes: vec![Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: actor.principal.clone() }],
                ..Append::default()
            })
            .await?;
        current.insert(actor.principal.clone(), Current { run, used: now });
        Ok(run)
    }

    /// Closes the ad-hoc runs that nobody has used for 12 hours; those who come back get new ones.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub async fn close_idle_adhoc_runs(&self) -> Result<(), Fault> {
        let now = self.inner.clock.now();
        let mut current = self.inner.adhoc.current.lock().await;
        let idle: Vec<Principal> =
            current.iter().filter(|(_, known)| now.since(known.used) >= IDLE).map(|(principal, _)| principal.clone()).collect();
        for principal in idle {
            if let Some(known) = current.get(&principal) {
                self.close_run(known.run, "idle").await?;
            }
            current.remove(&principal);
        }
        Ok(())
    }

    /// Closes the ad-hoc runs of this process, at its end.
    ///
    /// # Errors
    /// Where that cannot be recorded; the runs then stay open, which harms nothing.
    pub async fn close_adhoc_runs(&self) -> Result<(), Fault> {
        let runs: Vec<RunId> = self.inner.adhoc.current.lock().await.drain().map(|(_, current)| current.run).collect();
        for run in runs {
            self.close_run(run, "server stopped").await?;
        }
        Ok(())
    }

    async fn close_run(&self, run: RunId, why: &str) -> Result<(), Fault> {
        let closed = EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "run_closed").field("reason", why);
        let append =
            Append { run: Some(run), events: vec![closed], changes: vec![Change::SetStatus(RunStatus::Closed)], ..Append::default() };
        self.inner.store.append(append).await.map(drop)
    }
}
