//! The state of a workflow run: what its events, read from the first on, come to.
//!
//! INVARIANT: [`fold`] depends on nothing but the state and the event; folding the same events gives the same state. An event that does
//! not fit the state (a step that ended twice) changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::domain::{Actor, ApprovalId, CallId, ErrorCode, Fault, RunId, StepId, Timestamp};

use super::budget::{Budget, Mark};
use super::event::{Event, EventKind};
use super::record::{RunCreated, RunEvent, SkipReason, WaitingFor};
use super::repair::{self, Repairing};
use super::status::RunStatus;

/// A run, as far as its events tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunState {
    /// How it began.
    pub created: Option<Created>,
    /// What it is for.
    pub goal: String,
    /// Its steps, as far as anything happened to them.
    pub steps: BTreeMap<StepId, StepState>,
    /// What it may use up and has used.
    pub budget: Budget,
    /// Steps that repairs made run again, each as often as it was.
    pub repeated: u32,
    /// Somebody wants it to stop.
    pub cancel_requested: bool,
    /// How it ended.
    pub end: Option<End>,
    /// `seq` of the last event.
    pub last_seq: u64,
    /// When the last event was recorded.
    pub updated: Option<Timestamp>,
}

/// How a run began.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The run.
    pub run: RunId,
    /// When.
    pub at: Timestamp,
    /// Who asked for it, in whose name its steps call.
    pub actor: Actor,
    /// What it follows and pins.
    pub pinned: RunCreated,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// A final state.
    pub status: RunStatus,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// One step, as far as its events tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepState {
    /// Where it stands.
    pub phase: Phase,
    /// The attempt that runs or ran last, from 1; 0 before the first. A repair begins to count anew.
    pub attempt: u32,
    /// What it gave; `null` before it ended and where it gave nothing. In a repair what it gave before, until it has ended again.
    pub output: Value,
    /// Why it failed last.
    pub error: Option<Fault>,
    /// The calls of this attempt, in order.
    pub calls: Vec<CallRecord>,
    /// Calls of earlier attempts that had not ended with them: what becomes of those is nothing to this attempt.
    pub left_open: BTreeSet<CallId>,
    /// When this attempt or this waiting began.
    pub since: Option<Timestamp>,
    /// The repair it runs in, or ran in last.
    pub repair: Option<Repairing>,
    /// Repairs that its checks led to.
    pub repairs: u32,
}

/// Where a step stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Phase {
    /// Nothing happened yet.
    #[default]
    Pending,
    /// An attempt runs, or ran in a process that is gone.
    Running,
    /// Waits for an agent.
    WaitingForAgent(Asked),
    /// An agent answered; the rest of the step is still to be done.
    Submitted(Value),
    /// Waits for a human's answer to this question.
    WaitingForHuman(ApprovalId, Asked),
    /// A limit of the run keeps it from going on; what an agent gave for it, if one did.
    Held(Option<Value>),
    /// Failed, and begins again then.
    Retrying(Timestamp),
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Did not run.
    Skipped(SkipReason),
    /// Stopped with its run.
    Cancelled,
}

/// What somebody was asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// In words.
    pub prompt: Value,
    /// What to work on.
    pub input: Value,
    /// What the answer must be.
    pub output_schema: Value,
    /// When waiting ends.
    pub until: Option<Timestamp>,
}

/// A call that a step made.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// The call.
    pub call: CallId,
    /// Its tool.
    pub tool: String,
    /// Whether it may have changed something outside, or told something to somebody: then it is not made again unasked. What a program's own
    /// calls do stands in their own records.
    pub reached_out: bool,
    /// What came of it; `None` while that is not known.
    pub outcome: Option<Result<Value, Fault>>,
}

/// A step's state in one word, for lists and expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Nothing happened yet.
    Pending,
    /// Being done.
    Running,
    /// Waits for an agent or a human.
    Waiting,
    /// Waits for its next attempt.
    Retrying,
    /// Ended well.
    Succeeded,
    /// Failed for good.
    Failed,
    /// Did not run.
    Skipped,
    /// Stopped with its run.
    Cancelled,
}

impl StepStatus {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Retrying => "retrying",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Phase {
    /// In one word.
    #[must_use]
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Pending => StepStatus::Pending,
            Self::Running | Self::Submitted(_) => StepStatus::Running,
            Self::WaitingForAgent(_) | Self::WaitingForHuman(..) | Self::Held(_) => StepStatus::Waiting,
            Self::Retrying(_) => StepStatus::Retrying,
            Self::Succeeded => StepStatus::Succeeded,
            Self::Failed => StepStatus::Failed,
            Self::Skipped(_) => StepStatus::Skipped,
            Self::Cancelled => StepStatus::Cancelled,
        }
    }

    /// Whether nothing more happens to the step.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Skipped(_) | Self::Cancelled => true,
            Self::Pending
            | Self::Running
            | Self::WaitingForAgent(_)
            | Self::Submitted(_)
            | Self::WaitingForHuman(..)
            | Self::Held(_)
            | Self::Retrying(_) => false,
        }
    }
}

impl RunState {
    /// Where a step stands.
    #[must_use]
    pub fn phase(&self, step: &StepId) -> &Phase {
        self.steps.get(step).map_or(&Phase::Pending, |state| &state.phase)
    }

    /// Where the run stands, as lists show it.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        if let Some(end) = &self.end {
            return end.status;
        }
        let has = |status: StepStatus| self.steps.values().any(|step| step.phase.status() == status);
        let is_busy = has(StepStatus::Running) || has(StepStatus::Retrying) || self.cancel_requested;
        let is_stopped = self.updated.is_some_and(|at| self.budget.stopped_by(at).is_some());
        if !is_busy && (is_stopped || has(StepStatus::Waiting)) { RunStatus::Waiting } else { RunStatus::Running }
    }
}

impl StepState {
    /// What an attempt called is nothing to the next one, nor is what comes of it later.
    pub(super) fn forget_calls(&mut self) {
        let calls = std::mem::take(&mut self.calls);
        self.left_open.extend(calls.into_iter().filter(|record| record.outcome.is_none()).map(|record| record.call));
    }
}

/// Takes one more event into account. Events come in the order of `seq`; one that was seen before is passed over.
///
/// # Errors
/// Where an event of a known kind cannot be read; the state is then unchanged.
pub fn fold(state: &mut RunState, event: &Event) -> Result<(), Fault> {
    if event.seq <= state.last_seq {
        return Ok(());
    }
    match event.kind {
        EventKind::RunCreated => {
            if let Some(pinned) = RunCreated::read(event).transpose()? {
                state.created = Some(Created { run: event.run_id, at: event.ts, actor: event.actor.clone(), pinned });
            }
        }
        EventKind::UserMessage => state.goal = event.payload.get("text").and_then(Value::as_str).unwrap_or_default().to_owned(),
        EventKind::AssistantMessage => {
            if let Some(step) = open_step(state, event)
                && matches!(step.phase, Phase::WaitingForAgent(_))
            {
                step.phase = Phase::Submitted(event.payload.get("output").cloned().unwrap_or_default());
                step.forget_calls();
            }
        }
        EventKind::ToolCall => {
            if let (Some(call), Some(step)) = (event.call_id, open_step(state, event)) {
                step.calls.push(CallRecord { call, tool: tool_of(event), reached_out: reached_out(event), outcome: None });
            }
        }
        EventKind::ToolResult => {
            let output = event.payload.get("output").cloned().unwrap_or_default();
            note_outcome(state, event, Ok(output));
        }
        EventKind::ToolError => note_outcome(state, event, Err(fault_of(event.payload.get("error")))),
        EventKind::SystemEvent => {
            if let Some(record) = RunEvent::read(event).transpose()? {
                apply(state, event, record);
            }
        }
        EventKind::AssistantMessageDelta | EventKind::ArtifactRef => {}
    }
    if let Some(mark) = Mark::of(event.kind, &event.payload) {
        state.budget.take(event.ts, &mark);
    }
    state.last_seq = event.seq;
    state.updated = Some(event.ts);
    Ok(())
}

fn apply(state: &mut RunState, event: &Event, record: RunEvent) {
    match record {
        RunEvent::RunCancelRequested { .. } => state.cancel_requested = true,
        RunEvent::RunSucceeded => end(state, RunStatus::Succeeded, None),
        RunEvent::RunFailed { error, .. } => end(state, RunStatus::Failed, Some(fault_of(Some(&error)))),
        RunEvent::RunCancelled => end(state, RunStatus::Cancelled, None),
        // Answers are read from the approvals themselves; these tell the timeline.
        RunEvent::ApprovalRequested { .. }
        | RunEvent::ApprovalGranted { .. }
        | RunEvent::ApprovalDenied { .. }
        | RunEvent::ApprovalExpired { .. }
        | RunEvent::ApprovalLifted { .. } => {}
        RunEvent::RepairRequested { .. } | RunEvent::RepairStopped { .. } => repair::apply(state, record),
        RunEvent::StepStarted { .. }
        | RunEvent::StepResumed
        | RunEvent::StepWaiting { .. }
        | RunEvent::StepSucceeded { .. }
        | RunEvent::StepFailed { .. }
        | RunEvent::StepSkipped { .. }
        | RunEvent::StepRetry { .. }
        | RunEvent::StepCancelled => {
            if let Some(step) = open_step(state, event) {
                apply_to_step(step, event.ts, record);
            }
        }
    }
}

fn apply_to_step(step: &mut StepState, now: Timestamp, record: RunEvent) {
    match record {
        RunEvent::StepStarted { attempt } => {
            step.phase = Phase::Running;
            step.attempt = attempt;
            step.forget_calls();
            step.since = Some(now);
        }
        RunEvent::StepResumed => match std::mem::take(&mut step.phase) {
            Phase::WaitingForHuman(..) | Phase::Held(None) => step.phase = Phase::Running,
            Phase::Held(Some(output)) => step.phase = Phase::Submitted(output),
            other @ (Phase::Pending
            | Phase::Running
            | Phase::WaitingForAgent(..)
            | Phase::Submitted(..)
            | Phase::Retrying(..)
            | Phase::Succeeded
            | Phase::Failed
            | Phase::Skipped(..)
            | Phase::Cancelled) => step.phase = other,
        },
        RunEvent::StepWaiting { waiting_for: WaitingFor::Limit, .. } => {
            let given = if let Phase::Submitted(output) = &step.phase { Some(output.clone()) } else { None };
            step.phase = Phase::Held(given);
        }
        RunEvent::StepWaiting { waiting_for, prompt, input, output_schema, approval_id, until } => {
            let asked = Asked { prompt, input, output_schema, until };
            step.attempt = step.attempt.max(1);
            step.since = Some(now);
            step.phase = match (waiting_for, approval_id) {
                (WaitingFor::Human, Some(approval)) => Phase::WaitingForHuman(approval, asked),
                (WaitingFor::Human | WaitingFor::Agent | WaitingFor::Limit, _) => Phase::WaitingForAgent(asked),
            };
        }
        RunEvent::StepSucceeded { output } => finish(step, Phase::Succeeded, output, None),
        RunEvent::StepFailed { error, output } => finish(step, Phase::Failed, output, Some(fault_of(Some(&error)))),
        RunEvent::StepSkipped { reason } => finish(step, Phase::Skipped(reason), Value::Null, None),
        RunEvent::StepCancelled => finish(step, Phase::Cancelled, Value::Null, None),
        RunEvent::StepRetry { at, error, .. } => {
            step.phase = Phase::Retrying(at);
            step.error = Some(fault_of(Some(&error)));
            step.forget_calls();
        }
        RunEvent::RepairRequested { .. }
        | RunEvent::RepairStopped { .. }
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

fn finish(step: &mut StepState, phase: Phase, output: Value, error: Option<Fault>) {
    step.phase = phase;
    step.output = output;
    step.error = error;
    step.forget_calls();
}

fn end(state: &mut RunState, status: RunStatus, error: Option<Fault>) {
    if state.end.is_none() {
        state.end = Some(End { status, error });
    }
}

/// The step an event is about, unless that has ended: nothing changes an end.
fn open_step<'a>(state: &'a mut RunState, event: &Event) -> Option<&'a mut StepState> {
    let step = state.steps.entry(event.step_id.clone()?).or_default();
    (!step.phase.has_ended()).then_some(step)
}

/// Whether an intent goes beyond its run.
fn reached_out(intent: &Event) -> bool {
    let effects = intent.payload.get("effects").and_then(Value::as_array);
    let goes_out = effects.is_some_and(|effects| effects.iter().any(|effect| effect == "egress" || effect == "external_write"));
    goes_out && !intent.payload.contains_key("makes_calls")
}

fn note_outcome(state: &mut RunState, event: &Event, outcome: Result<Value, Fault>) {
    let (Some(call), Some(step)) = (event.call_id, open_step(state, event)) else { return };
    match step.calls.iter_mut().find(|record| record.call == call) {
        Some(record) => record.outcome = Some(outcome),
        None if step.left_open.remove(&call) => {}
        // A call that was turned away has no intent.
        None => step.calls.push(CallRecord { call, tool: tool_of(event), reached_out: false, outcome: Some(outcome) }),
    }
}

fn tool_of(event: &Event) -> String {
    event.payload.get("tool").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// A fault as it was recorded; where its text was taken away, that it was.
pub(super) fn fault_of(json: Option<&Value>) -> Fault {
    json.and_then(Fault::from_json).unwrap_or_else(|| Fault::new(ErrorCode::Internal, "the reason is no longer recorded"))
}
