//! The one path every call walks, and what belongs to it: approvals, ad-hoc runs, recovery.
//!
//! INVARIANT: no effect without a durable intent, no reply without a durable outcome. `path.rs` reads top to bottom.
//! Does not know who calls (faces and engine do) nor what tools do.

mod adhoc;
mod answer;
mod approval;
mod budget;
mod code;
mod explain;
mod form;
mod handover;
mod idempotency;
mod journal;
mod path;
mod question;
mod recovery;
mod replay;
mod room;
mod scope;
mod shelf;
mod surroundings;
mod tasks;
mod ticket;
mod workspaces;

pub use answer::{AllowFor, Answer};
pub use approval::ApprovalSettings;
pub use code::CodeGate;
pub use explain::{Explained, GrantBeside};
pub use form::{Filled, Form};
pub use handover::{can_be_long, with_handle};
pub use question::{Amount, describe};
pub use tasks::{Glance, KeptTask, Standing, TASK_TTL, TaskOpening};
pub use ticket::{Retry, Ticket};

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::call::{Artifacts, Spawner};
use crate::domain::{Budgets, Bytes, Clock, Globs, Measured, Meter};
use crate::policy::{Current, PolicySet};
use crate::registry::Registry;
use crate::store::Store;

/// What the path is made of.
pub struct Parts {
    /// The tools.
    pub registry: Registry,
    /// The rules in force; whoever holds it too may replace them.
    pub policy: Arc<Current>,
    /// The log.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where calls run, so that a caller who goes away leaves no call half recorded.
    pub spawner: Arc<dyn Spawner>,
    /// The folder that holds a folder for each run.
    pub runs_folder: PathBuf,
    /// How humans are asked.
    pub approvals: ApprovalSettings,
    /// Files that mark a run as private when they are read.
    pub private_paths: Globs,
    /// Arguments and outputs larger than this are stored as artifacts and only named in the journal.
    pub inline: Bytes,
    /// What runs and principals may use up.
    pub budgets: Budgets,
}

/// The call path. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    policy: Arc<Current>,
    store: Store,
    artifacts: Arc<dyn Artifacts>,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
    approvals: ApprovalSettings,
    inline: Bytes,
    private_paths: Globs,
    workspaces: workspaces::Workspaces,
    adhoc: adhoc::AdhocRuns,
    tickets: ticket::Tickets,
    budgets: Budgets,
    scopes: scope::Scopes,
    going_on: handover::GoingOn,
    /// Set when an outcome could not be recorded: from then on nothing new runs in this process.
    halted: AtomicBool,
    /// Set where calls are counted.
    meter: OnceLock<Arc<dyn Meter>>,
}

impl Inner {
    fn tell(&self, what: Measured<'_>) {
        if let Some(meter) = self.meter.get() {
            meter.tell(what);
        }
    }
}

impl Gateway {
    /// Joins the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self {
            inner: Arc::new(Inner {
                artifacts: parts.store.artifacts(),
                workspaces: workspaces::Workspaces::new(parts.runs_folder),
                adhoc: adhoc::AdhocRuns::default(),
                tickets: ticket::Tickets::default(),
                halted: AtomicBool::new(false),
                meter: OnceLock::new(),
                registry: parts.registry,
                policy: parts.policy,
                store: parts.store,
                clock: parts.clock,
                spawner: parts.spawner,
                approvals: parts.approvals,
                inline: parts.inline,
                private_paths: parts.private_paths,
                budgets: parts.budgets,
                scopes: scope::Scopes::default(),
                going_on: handover::GoingOn::default(),
            }),
        }
    }

    /// Tells of every call from now on; the first meter stays.
    pub fn measured_by(&self, meter: Arc<dyn Meter>) {
        let _first = self.inner.meter.set(meter);
    }

    /// The tools.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The rules in force now.
    #[must_use]
    pub fn policy(&self) -> Arc<PolicySet> {
        self.inner.policy.get()
    }

    /// Where a run's workspace is, whether it exists or not.
    #[must_use]
    pub fn workspace_path(&self, run: crate::domain::RunId) -> PathBuf {
        self.inner.workspaces.path(run)
    }
}
