//! What the command line shows of tools, workflows and runs, made from the rooms' own types.

use std::path::PathBuf;

use serde_json::Value;

use crate::cli::ports::{BudgetLine, PlannedStep, RunView, StepState, StepView, ToolView, WaitsFor, WorkflowView};
use crate::domain::Timestamp;
use crate::manifest::{Executor, ToolDef};
use crate::run::{Event, EventKind, Phase, Repairing, RunState, RunStatus, StepStatus};
use crate::store::RunRow;
use crate::workflow::Plan;

pub(super) fn tool(def: &ToolDef) -> ToolView {
    ToolView {
        name: def.name.clone(),
        version: def.version.to_string(),
        title: def.title.clone(),
        description: def.description.clone(),
        executor: match &def.executor {
            Executor::Builtin => "builtin".into(),
            Executor::Python { .. } => "python".into(),
        },
        effects: def.effects.clone(),
        hosts: def.reach.host_words(),
        secrets: def.reach.secret_words().into_iter().map(str::to_owned).collect(),
        scopes: def.scopes.clone(),
        limits: def.limits,
        idempotent: def.idempotent,
        digest: def.digest,
        input_schema: def.input.json().clone(),
        output_schema: def.output.json().clone(),
    }
}

pub(super) fn workflow(plan: &Plan, source: &str) -> WorkflowView {
    WorkflowView {
        name: plan.name().to_owned(),
        version: plan.version().to_string(),
        description: plan.description().to_owned(),
        source: source.to_owned(),
        inputs: plan.inputs().schema().clone(),
        steps: plan
            .steps()
            .iter()
            .map(|step| PlannedStep { id: step.id.clone(), kind: step.kind.as_str().into(), depends_on: step.depends_on.clone() })
            .collect(),
    }
}

/// A workflow run: its row, its folded state, and the times its events tell.
pub(super) fn run(
    row: RunRow,
    state: &RunState,
    plan: &Plan,
    events: &[Event],
    workspace: Option<PathBuf>,
    budget: Vec<BudgetLine>,
) -> RunView {
    let steps: Vec<StepView> = plan.steps().iter().map(|planned| step(planned, state, events)).collect();
    let output = match row.status {
        RunStatus::Succeeded => {
            let outputs = steps.iter().filter_map(|step| Some((step.id.to_string(), step.output.clone()?)));
            Some(Value::Object(outputs.collect()))
        }
        RunStatus::Running | RunStatus::Waiting | RunStatus::Failed | RunStatus::Cancelled | RunStatus::Closed => None,
    };
    RunView {
        row,
        goal: (!state.goal.is_empty()).then(|| state.goal.clone()),
        steps,
        output,
        budget,
        error: state.end.as_ref().and_then(|end| end.error.clone()),
        workspace,
    }
}

/// A run that follows no workflow.
pub(super) fn adhoc(row: RunRow, workspace: Option<PathBuf>, budget: Vec<BudgetLine>) -> RunView {
    RunView { row, goal: None, steps: Vec::new(), output: None, budget, error: None, workspace }
}

fn step(planned: &crate::workflow::Step, state: &RunState, events: &[Event]) -> StepView {
    let known = state.steps.get(&planned.id);
    let phase = known.map(|step| &step.phase);
    let status = phase.map_or(StepStatus::Pending, Phase::status);
    let (started, ended) = times(planned.id.as_str(), events);
    StepView {
        id: planned.id.clone(),
        kind: planned.kind.as_str().into(),
        depends_on: planned.depends_on.clone(),
        state: match status {
            StepStatus::Pending => StepState::Pending,
            StepStatus::Running | StepStatus::Retrying => StepState::Running,
            StepStatus::Waiting => StepState::Waiting,
            StepStatus::Succeeded => StepState::Succeeded,
            StepStatus::Failed => StepState::Failed,
            StepStatus::Skipped => StepState::Skipped,
            StepStatus::Cancelled => StepState::Cancelled,
        },
        attempt: known.map_or(0, |step| step.attempt),
        repair: known.and_then(|step| step.repair.as_ref()).map(Repairing::words),
        started,
        ended: ended.filter(|_| phase.is_some_and(Phase::has_ended)),
        waits_for: phase.and_then(waits_for),
        output: known.map(|step| step.output.clone()).filter(|output| !output.is_null()),
        error: known.and_then(|step| step.error.clone()),
    }
}

fn waits_for(phase: &Phase) -> Option<WaitsFor> {
    match phase {
        Phase::WaitingForAgent(_) => Some(WaitsFor::Agent),
        Phase::WaitingForHuman(approval, _) => Some(WaitsFor::Approval { approval: *approval }),
        Phase::Held(_) => Some(WaitsFor::Limit),
        Phase::Retrying(until) => Some(WaitsFor::Time { until: *until }),
        Phase::Pending | Phase::Running | Phase::Submitted(_) | Phase::Succeeded | Phase::Failed | Phase::Skipped(_) | Phase::Cancelled => {
            None
        }
    }
}

/// When a step was first started and when it ended.
fn times(step: &str, events: &[Event]) -> (Option<Timestamp>, Option<Timestamp>) {
    let told = |words: &'static [&'static str]| {
        move |event: &&Event| {
            event.kind == EventKind::SystemEvent
                && event.step_id.as_ref().is_some_and(|id| id.as_str() == step)
                && event.payload.get("event").and_then(Value::as_str).is_some_and(|word| words.contains(&word))
        }
    };
    let started = events.iter().find(told(&["step_started", "step_waiting"])).map(|event| event.ts);
    let ended = events.iter().rev().find(told(&["step_succeeded", "step_failed", "step_skipped", "step_cancelled"]));
    (started, ended.map(|event| event.ts))
}
