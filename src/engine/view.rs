//! What faces show of a run: projections of its state and events.
//!
//! INVARIANT: pure, and bounded: whatever may be large is cut and its size told.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::{ArtifactId, Fault, Quantity, RunId, StepId, Timestamp};
use crate::run::{Asked, Budget, Event, EventKind, Phase, Repairing, RunState, StepState};
use crate::tools::control::types::{ArtifactLine, BudgetLine, EventLine, RunView, StepLine, WaitingStep, WatchOutput};
use crate::workflow::Plan;

/// An output longer than this is not shown in a run's view.
const MOST_OUTPUT: usize = 4 * 1024;
/// Characters of an event's text.
const MOST_TEXT: usize = 300;
/// Nesting of a payload that is searched for artifacts.
const MOST_DEPTH: u32 = 12;
/// Artifacts listed of one run.
const MOST_ARTIFACTS: usize = 1_000;

/// A run with its steps in the order of the plan.
pub(super) fn run(id: &RunId, state: &RunState, plan: &Plan, now: Timestamp) -> RunView {
    let nothing = StepState::default();
    let line = |step: &crate::workflow::Step| step_line(&step.id, step.kind.as_str(), state.steps.get(&step.id).unwrap_or(&nothing));
    RunView {
        run_id: *id,
        workflow: plan.name().to_owned(),
        goal: state.goal.clone(),
        status: state.status().as_str().to_owned(),
        inputs: state.created.as_ref().map(|created| created.pinned.inputs.clone()).unwrap_or_default(),
        steps: plan.steps().iter().map(line).collect(),
        calls: Vec::new(),
        budget: budget(&state.budget, state.end.as_ref().and(state.updated).unwrap_or(now)),
        error: state.end.as_ref().and_then(|end| end.error.as_ref()).map(Fault::to_json),
        created: state.created.as_ref().map(|created| created.at.to_string()).unwrap_or_default(),
        updated: state.updated.map(|at| at.to_string()).unwrap_or_default(),
    }
}

/// What a run may use up and has used by `now`.
pub fn budget(budget: &Budget, now: Timestamp) -> Vec<BudgetLine> {
    let used = budget.used(now);
    let line = |what: Quantity| {
        let (used, limit) = (used.get(what), budget.allowed().get(what));
        BudgetLine { what: what.as_str().to_owned(), used, limit, left: limit.map(|limit| limit.saturating_sub(used)) }
    };
    Quantity::ALL.into_iter().map(line).collect()
}

fn step_line(id: &StepId, kind: &str, step: &StepState) -> StepLine {
    let size = serde_json::to_vec(&step.output).map_or(0, |bytes| bytes.len());
    let is_shown = size <= MOST_OUTPUT;
    StepLine {
        step_id: id.clone(),
        kind: kind.to_owned(),
        status: step.phase.status().as_str().to_owned(),
        attempt: step.attempt,
        repair: step.repair.as_ref().map(Repairing::words),
        output: if is_shown { step.output.clone() } else { Value::Null },
        output_bytes: (!is_shown).then_some(size as u64),
        error: step.error.as_ref().map(Fault::to_json),
    }
}

/// What happened beyond a cursor, and who is waited for. The cursor passes over what is not told.
pub(super) fn watch(state: &RunState, plan: Option<&Plan>, unseen: &[Event], cursor: u64, most: usize) -> WatchOutput {
    let told: Vec<&Event> = unseen.iter().filter(|event| is_told(event)).collect();
    let is_cut = told.len() > most;
    let events: Vec<EventLine> = told.into_iter().take(most).map(event_line).collect();
    let cursor = match events.last() {
        Some(last) if is_cut => last.seq,
        _ => unseen.last().map_or(cursor, |event| event.seq),
    };
    WatchOutput {
        status: state.status().as_str().to_owned(),
        cursor,
        events,
        waiting: plan.map(|plan| waiting(state, plan)).unwrap_or_default(),
        calls: Vec::new(),
        done: state.end.is_some() && !is_cut,
        error: state.end.as_ref().and_then(|end| end.error.as_ref()).map(Fault::to_json),
    }
}

/// Whether an event is told to who watches: what concerns the run or a step, not the questions of clients about it.
pub(super) fn is_told(event: &Event) -> bool {
    match event.kind {
        EventKind::ToolCall | EventKind::ToolResult | EventKind::ToolError | EventKind::ArtifactRef => event.step_id.is_some(),
        EventKind::RunCreated
        | EventKind::UserMessage
        | EventKind::AssistantMessageDelta
        | EventKind::AssistantMessage
        | EventKind::SystemEvent => true,
    }
}

/// Whether some step waits for an agent, so that a watch has something to say at once.
pub(super) fn agent_is_waited_for(state: &RunState) -> bool {
    state.end.is_none() && state.steps.values().any(|step| matches!(step.phase, Phase::WaitingForAgent(_)))
}

fn waiting(state: &RunState, plan: &Plan) -> Vec<WaitingStep> {
    if state.end.is_some() || state.cancel_requested {
        return Vec::new();
    }
    let held = Asked::default();
    let of_step = |step: &crate::workflow::Step| {
        let (waiting_for, asked, approval_id) = match state.phase(&step.id) {
            Phase::WaitingForAgent(asked) => ("agent", asked, None),
            Phase::WaitingForHuman(approval, asked) => ("human", asked, Some(approval.to_string())),
            Phase::Held(_) => ("limit", &held, None),
            Phase::Pending
            | Phase::Running
            | Phase::Submitted(_)
            | Phase::Retrying(_)
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Skipped(_)
            | Phase::Cancelled => return None,
        };
        Some(WaitingStep {
            step_id: step.id.clone(),
            kind: step.kind.as_str().to_owned(),
            waiting_for: waiting_for.to_owned(),
            prompt: asked.prompt.clone(),
            input: asked.input.clone(),
            output_schema: asked.output_schema.clone(),
            approval_id,
        })
    };
    plan.steps().iter().filter_map(of_step).collect()
}

pub(super) fn event_line(event: &Event) -> EventLine {
    let word = |name: &str| event.payload.get(name).and_then(Value::as_str);
    let name = word("event").unwrap_or_else(|| event.kind.as_str()).to_owned();
    let error = event.payload.get("error").and_then(|error| error.get("message")).and_then(Value::as_str);
    let text = match (word("tool"), error) {
        (Some(tool), Some(error)) => format!("{tool}: {error}"),
        (Some(tool), None) => tool.to_owned(),
        (None, Some(error)) => error.to_owned(),
        (None, None) => word("text")
            .or_else(|| word("why"))
            .or_else(|| word("note"))
            .or_else(|| word("prompt"))
            .or_else(|| word("workflow"))
            .unwrap_or_default()
            .to_owned(),
    };
    let text = match repair_of(event) {
        Some(repair) => format!("{repair}: {text}"),
        None => text,
    };
    EventLine { seq: event.seq, ts: event.ts.to_string(), step_id: event.step_id.clone(), event: name, text: cut(&text) }
}

/// Which repair by which step an event is about, in words.
fn repair_of(event: &Event) -> Option<String> {
    let number = |name: &str| event.payload.get(name).and_then(Value::as_u64);
    let by = event.payload.get("repairs").and_then(Value::as_str)?;
    Some(format!("repair {} of {} by step `{by}`", number("attempt")?, number("max")?))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MOST_TEXT) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Adds the artifacts that an event names, each where it is named first.
pub(super) fn artifacts(event: &Event, found: &mut Vec<ArtifactLine>, places: &mut BTreeMap<String, usize>) {
    for value in event.payload.values() {
        search(value, event, MOST_DEPTH, found, places);
    }
}

fn search(value: &Value, event: &Event, depth: u32, found: &mut Vec<ArtifactLine>, places: &mut BTreeMap<String, usize>) {
    if depth == 0 || found.len() >= MOST_ARTIFACTS {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| search(item, event, depth - 1, found, places)),
        Value::Object(fields) => {
            let id = fields.get("artifact").and_then(Value::as_str).filter(|text| text.parse::<ArtifactId>().is_ok());
            if let Some(id) = id.filter(|id| !places.contains_key(*id)) {
                places.insert(id.to_owned(), found.len());
                found.push(ArtifactLine {
                    artifact: id.to_owned(),
                    size: fields.get("size").and_then(Value::as_u64),
                    path: fields.get("path").and_then(Value::as_str).map(cut),
                    step_id: event.step_id.clone(),
                    seq: event.seq,
                });
            }
            fields.values().for_each(|field| search(field, event, depth - 1, found, places));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
