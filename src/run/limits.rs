//! What is to be done with a run that a limit keeps from going on: it fails, or it waits for the operator, as its definition says.
//!
//! INVARIANT: pure; nothing is begun while a limit stands, and what is at work is let end by itself.

use crate::domain::Overrun;
use crate::workflow::{OnLimit, Plan};

use super::next::{Action, View, wind_up};
use super::state::{Phase, RunState};
use super::status::RunStatus;

/// The actions for a run that `over` stops.
pub(super) fn stopped(state: &RunState, plan: &Plan, view: View<'_>, over: Overrun) -> Vec<Action> {
    let mut actions = Vec::new();
    if !state.budget.has_reached(&over, view.now) {
        actions.push(Action::TellLimit(over));
    }
    if plan.limits().on_limit == OnLimit::Fail {
        actions.extend(wind_up(state, plan, view, RunStatus::Failed, Some((None, over.fault()))));
        return actions;
    }
    for step in plan.steps().iter().filter(|step| !view.live.contains(&step.id)) {
        if matches!(state.phase(&step.id), Phase::Running | Phase::Submitted(_)) {
            actions.push(Action::Hold { step: step.id.clone() });
        }
    }
    actions.extend(state.budget.goes_on_at(view.now).map(Action::WakeAt));
    actions
}
