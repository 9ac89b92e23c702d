//! Which tools may be called in a run: those that its workflow declares, for its steps, the programs they run, and whoever names the run.
//!
//! INVARIANT: a run's terms are those of its first event, so they cannot change while it runs. An operator who calls a tool by hand in a
//! run is not bound by its workflow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::call::{Origin, ParsedCall, PreparedCall};
use crate::domain::{CallId, Fault, Role, RunId, StepId};
use crate::run::Terms;

use super::Inner;

/// Runs whose terms are kept at hand.
const KEPT: usize = 256;

/// Terms of runs, and the steps of the programs that run now.
#[derive(Default)]
pub(super) struct Scopes {
    terms: Mutex<HashMap<RunId, Arc<Terms>>>,
    programs: Arc<Mutex<HashMap<CallId, StepId>>>,
}

/// A program that runs, and makes calls, for a step; forgotten when dropped.
pub(super) struct Program {
    programs: Arc<Mutex<HashMap<CallId, StepId>>>,
    call: CallId,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.call);
    }
}

impl Scopes {
    /// Remembers whose program a call runs, while it runs.
    pub(super) fn begin(&self, call: &PreparedCall) -> Option<Program> {
        let Origin::Step { step, .. } = &call.parsed().origin else { return None };
        if !call.makes_calls() {
            return None;
        }
        let call = call.parsed().id;
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).insert(call, step.clone());
        Some(Program { programs: self.programs.clone(), call })
    }

    fn step_of(&self, call: &CallId) -> Option<StepId> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner).get(call).cloned()
    }
}

impl Inner {
    /// Under which terms a run began.
    pub(super) async fn terms(&self, run: RunId) -> Result<Arc<Terms>, Fault> {
        let known = |scopes: &Scopes| scopes.terms.lock().unwrap_or_else(PoisonError::into_inner).get(&run).cloned();
        if let Some(terms) = known(&self.scopes) {
            return Ok(terms);
        }
        let events = self.store.events(&run, 0, 1).await?;
        let Some(first) = events.first() else { return Ok(Arc::default()) };
        let terms = Arc::new(Terms::of(first)?);
        let mut kept = self.scopes.terms.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(run, terms.clone());
        Ok(terms)
    }

    /// Whether the run's workflow declares the tool for whoever calls it.
    ///
    /// # Errors
    /// `TOOL_NOT_DECLARED`.
    pub(super) async fn declared(&self, call: &ParsedCall) -> Result<(), Fault> {
        let step = match &call.origin {
            Origin::Step { step, .. } => Some(step.clone()),
            Origin::Code { call, .. } => self.scopes.step_of(call),
            Origin::Cli if call.actor.role == Role::Operator => return Ok(()),
            Origin::Client | Origin::Cli => None,
        };
        self.terms(call.run).await?.allows(step.as_ref(), &call.tool.name)
    }
}
