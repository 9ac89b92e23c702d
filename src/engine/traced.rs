//! In whose traces the runs that this process started belong.
//!
//! INVARIANT: a convenience that dies with the process: a run that another process goes on with begins traces of its own. Bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Span;

use crate::call::{NoTraces, Trace, Traces};
use crate::domain::RunId;

/// Runs that are remembered at most; the oldest is forgotten first.
const MOST: usize = 1_024;

/// Runs and the spans that started them.
pub struct RunTraces {
    traces: Arc<dyn Traces>,
    of: Mutex<BTreeMap<RunId, Trace>>,
}

impl Default for RunTraces {
    fn default() -> Self {
        Self::new(Arc::new(NoTraces))
    }
}

impl RunTraces {
    /// None yet.
    #[must_use]
    pub fn new(traces: Arc<dyn Traces>) -> Self {
        Self { traces, of: Mutex::default() }
    }

    /// Remembers that the run was started here and now.
    pub(super) fn starts(&self, run: RunId) {
        let here = self.traces.here();
        if here.parent().is_none() {
            return;
        }
        let mut of = self.of();
        of.insert(run, here);
        // Ids sort by their time.
        while of.len() > MOST {
            of.pop_first();
        }
    }

    /// Hangs a span of the run below what started it.
    pub(super) fn adopt(&self, span: &Span, run: &RunId) {
        let trace = self.of().get(run).cloned();
        if let Some(trace) = trace {
            self.traces.adopt(span, &trace);
        }
    }

    /// The run is over.
    pub(super) fn ends(&self, run: &RunId) {
        self.of().remove(run);
    }

    fn of(&self) -> MutexGuard<'_, BTreeMap<RunId, Trace>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
