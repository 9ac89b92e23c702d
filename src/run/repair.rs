//! Repairs: checks that did not pass give what they found back to the step that wrote the files, so often as the plan allows.
//!
//! INVARIANT: pure, and bounded: a step's checks lead to at most `max` repairs, however often its run is resumed, as the log alone counts.
//! A repair touches only steps that have ended, and the checks that asked for it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::domain::{ErrorCode, Fault, StepId};
use crate::workflow::{Plan, Repair, Step};

use super::record::RunEvent;
use super::state::{Phase, RunState, StepState, fault_of};

/// Findings that are handed on.
const MOST_DIAGNOSTICS: usize = 50;
/// Commands that are handed on.
const MOST_COMMANDS: usize = 10;
/// Words of a command.
const MOST_WORDS: usize = 50;
/// Paths of files.
const MOST_FILES: usize = 1_000;
/// Characters of one text in a finding or a command's words.
const MOST_TEXT: usize = 400;
/// Characters of the end of what a command wrote, each of stdout and stderr.
const MOST_SAID: usize = 2_000;

/// A repair, as a step that runs again for it sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Repairing {
    /// The step whose checks did not pass.
    pub checks: StepId,
    /// Which repair, from 1.
    pub attempt: u32,
    /// How many there may be.
    pub max: u32,
    /// For the step that mends: what it is given beside its input.
    pub ask: Option<Value>,
    /// Where the step stood before.
    pub before: Phase,
}

impl Repairing {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        format!("repair {} of {}", self.attempt, self.max)
    }
}

/// What follows checks that did not pass: a repair, or the step's failure with why there is none. `None` where the step asks for no
/// repairs or failed for another reason: then it is tried again or fails as any other.
#[must_use]
pub fn after_checks(state: &RunState, plan: &Plan, step: &Step, fault: &Fault, output: &Value) -> Option<Vec<RunEvent>> {
    let repair = step.repair.as_ref().filter(|repair| repair.max > 0 && fault.code == ErrorCode::EvalFailed)?;
    let made = state.steps.get(&step.id).map_or(0, |seen| seen.repairs);
    let fail =
        |why: Option<&str>| RunEvent::StepFailed { error: after_repairs(fault, repair, made, why).to_json(), output: output.clone() };
    let has_ended = |id: &StepId| *id == step.id || state.phase(id).has_ended();
    if made >= repair.max || state.cancel_requested {
        return Some(vec![fail(None)]);
    }
    if *state.phase(&repair.step) != Phase::Succeeded || !repair.again.iter().all(has_ended) {
        return Some(vec![fail(Some(&format!("step `{}` did not end well", repair.step)))]);
    }
    let steps = plan.steps().len().saturating_add(count(state.repeated)).saturating_add(repair.again.len());
    let most = state.budget.allowed().steps.unwrap_or_else(|| plan.limits().max_steps.into());
    if u64::try_from(steps).unwrap_or(u64::MAX) > most {
        let why = format!("with another one the run would take {steps} steps, more than `limits.max_steps` = {most}");
        return Some(vec![stopped(step.id.clone(), repair, made, &why), fail(Some(&why))]);
    }
    Some(vec![RunEvent::RepairRequested {
        step: step.id.clone(),
        repairs: repair.step.clone(),
        attempt: made + 1,
        max: repair.max,
        again: repair.again.clone(),
        error: fault.to_json(),
        output: output.clone(),
        diagnostics: diagnostics(output),
        failed_commands: failed_commands(output),
        previous_files: previous_files(state.steps.get(&repair.step)),
    }])
}

/// What follows the end of a step that mends, beside that end. Where it gave no other files than before, the same checks would say the
/// same again: they fail at once. The events are about the step of the checks, which is given with them.
#[must_use]
pub fn after_mending(state: &RunState, plan: &Plan, step: &StepId, output: &Value) -> Option<(StepId, Vec<RunEvent>)> {
    let seen = state.steps.get(step)?;
    let repairing = seen.repair.as_ref()?;
    let checks = plan.step(&repairing.checks)?;
    let repair = checks.repair.as_ref().filter(|repair| repair.step == *step)?;
    let failed = state.steps.get(&checks.id).filter(|failed| failed.phase == Phase::Pending)?;
    if !gives_nothing_new(&seen.output, output) {
        return None;
    }
    let why = format!("step `{step}` gave the same files again");
    let fault = failed.error.clone().unwrap_or_else(|| Fault::new(ErrorCode::EvalFailed, "the checks did not pass"));
    let error = after_repairs(&fault, repair, repairing.attempt, Some(&why)).to_json();
    let failure = RunEvent::StepFailed { error, output: failed.output.clone() };
    Some((checks.id.clone(), vec![stopped(checks.id.clone(), repair, repairing.attempt, &why), failure]))
}

/// Takes an event of a repair into account; one that does not fit the state changes nothing.
pub(super) fn apply(state: &mut RunState, record: RunEvent) {
    match record {
        RunEvent::RepairRequested { step, repairs, attempt, max, again, error, output, diagnostics, failed_commands, previous_files } => {
            let made = state.steps.get(&step).map_or(0, |seen| seen.repairs);
            let has_ended = |id: &StepId| *id == step || state.phase(id).has_ended();
            if attempt != made.saturating_add(1) || state.phase(&step).has_ended() || !again.iter().all(has_ended) {
                return;
            }
            let mut ask = Some(json!({
                "attempt": attempt,
                "max": max,
                "diagnostics": diagnostics,
                "failed_commands": failed_commands,
                "previous_files": previous_files,
            }));
            state.repeated = state.repeated.saturating_add(u32::try_from(again.len()).unwrap_or(u32::MAX));
            for id in again {
                let ask = if id == repairs { ask.take() } else { None };
                begin_anew(state.steps.entry(id).or_default(), |before| Repairing { checks: step.clone(), attempt, max, ask, before });
            }
            let checks = state.steps.entry(step).or_default();
            checks.repairs = attempt;
            checks.output = output;
            checks.error = Some(fault_of(Some(&error)));
        }
        RunEvent::RepairStopped { step, .. } => {
            // What lies between the two steps was made from the same files: it stands.
            for (id, between) in state.steps.iter_mut().filter(|(_, seen)| seen.phase == Phase::Pending) {
                if let Some(repairing) = between.repair.as_ref().filter(|repairing| *id != step && repairing.checks == step) {
                    between.phase = repairing.before.clone();
                }
            }
        }
        RunEvent::StepStarted { .. }
        | RunEvent::StepResumed
        | RunEvent::StepWaiting { .. }
        | RunEvent::StepSucceeded { .. }
        | RunEvent::StepFailed { .. }
        | RunEvent::StepSkipped { .. }
        | RunEvent::StepRetry { .. }
        | RunEvent::StepCancelled
        | RunEvent::ApprovalRequested { .. }
        | RunEvent::ApprovalGranted { .. }
        | RunEvent::ApprovalDenied { .. }
        | RunEvent::ApprovalExpired { .. }
        | RunEvent::ApprovalLifted { .. }
        | RunEvent::RunCancelRequested { .. }
        | RunEvent::RunSucceeded
        | RunEvent::RunFailed { .. }
        | RunEvent::RunCancelled => {}
    }
}

/// A step's input with what it is to mend, where it is to mend something.
pub(super) fn extended(input: Value, repairing: Option<&Repairing>) -> Value {
    let Some(ask) = repairing.and_then(|repairing| repairing.ask.clone()) else { return input };
    let mut fields = match input {
        Value::Object(fields) => fields,
        Value::Null => Map::new(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => Map::from_iter([("input".to_owned(), other)]),
    };
    fields.insert("repair".to_owned(), ask);
    Value::Object(fields)
}

fn begin_anew(step: &mut StepState, repairing: impl FnOnce(Phase) -> Repairing) {
    step.forget_calls();
    step.attempt = 0;
    step.since = None;
    let before = std::mem::take(&mut step.phase);
    step.repair = Some(repairing(before));
}

fn stopped(step: StepId, repair: &Repair, made: u32, why: &str) -> RunEvent {
    RunEvent::RepairStopped { step, repairs: repair.step.clone(), attempt: made, max: repair.max, why: why.to_owned() }
}

fn after_repairs(fault: &Fault, repair: &Repair, made: u32, why: Option<&str>) -> Fault {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    let message = format!("{}, after {made} of {} repairs by step `{}`{why}", fault.message, repair.max, repair.step);
    Fault { message, ..fault.clone() }
}

/// Whether every file was given before, with the same content.
fn gives_nothing_new(before: &Value, now: &Value) -> bool {
    let files = |output: &Value| -> Option<BTreeMap<String, Value>> {
        let list = output.get("files")?.as_array()?.iter();
        list.map(|file| Some((file.get("path")?.as_str()?.to_owned(), file.get("content")?.clone()))).collect()
    };
    let (Some(before), Some(now)) = (files(before), files(now)) else { return false };
    now.iter().all(|(path, content)| before.get(path) == Some(content))
}

fn commands(output: &Value) -> impl Iterator<Item = &Value> {
    output.get("commands").and_then(Value::as_array).into_iter().flatten()
}

fn diagnostics(output: &Value) -> Value {
    let all = || commands(output).filter_map(|command| command.get("diagnostics")?.as_array()).flatten();
    let mut list: Vec<Value> = all().take(MOST_DIAGNOSTICS).map(|found| cut_texts(found.clone())).collect();
    if let Some(more) = all().count().checked_sub(MOST_DIAGNOSTICS).filter(|more| *more > 0) {
        list.push(json!({ "code": "MORE", "message": format!("{more} more are left out") }));
    }
    Value::Array(list)
}

fn failed_commands(output: &Value) -> Value {
    let has_failed = |command: &&Value| command.get("return_code").and_then(Value::as_i64) != Some(0);
    let told = |command: &Value| {
        let words = command.get("argv").and_then(Value::as_array).into_iter().flatten().take(MOST_WORDS);
        let mut fields = Map::new();
        fields.insert("argv".into(), words.map(|word| cut_texts(word.clone())).collect());
        fields.insert("return_code".into(), command.get("return_code").cloned().unwrap_or_default());
        if let Some(limit) = command.get("limit") {
            fields.insert("limit".into(), cut_texts(limit.clone()));
        }
        for name in ["stdout", "stderr"] {
            fields.insert(name.into(), end_of(command.get(name).and_then(Value::as_str).unwrap_or_default()).into());
        }
        Value::Object(fields)
    };
    commands(output).filter(has_failed).take(MOST_COMMANDS).map(told).collect()
}

/// Paths of every file the step gave, in earlier repairs too: those it did not give again are still there.
fn previous_files(mended: Option<&StepState>) -> Value {
    let Some(mended) = mended else { return json!([]) };
    let ask = mended.repair.as_ref().and_then(|repairing| repairing.ask.as_ref());
    let earlier = ask.and_then(|ask| ask.get("previous_files")?.as_array()).into_iter().flatten().filter_map(Value::as_str);
    let files = mended.output.get("files").and_then(Value::as_array).into_iter().flatten();
    let paths: BTreeSet<&str> = earlier.chain(files.filter_map(|file| file.get("path")?.as_str())).collect();
    paths.into_iter().take(MOST_FILES).collect()
}

/// The value with every text in it cut short.
fn cut_texts(value: Value) -> Value {
    match value {
        Value::String(text) => match text.char_indices().nth(MOST_TEXT) {
            Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()).into(),
            None => Value::String(text),
        },
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, cut_texts(value))).collect()),
        Value::Array(_) => Value::Null,
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

fn end_of(text: &str) -> String {
    match text.char_indices().rev().nth(MOST_SAID) {
        Some((at, dropped)) => format!("…{}", text.get(at + dropped.len_utf8()..).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
