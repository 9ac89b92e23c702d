//! What workflow runs write into their logs, as types.
//!
//! INVARIANT: a record that was ever written can be read for ever: fields are added with a default, never renamed or taken away.
//! Calls' own events (`tool_call` and its outcome) are written by `gateway`; here they are only read.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{Actor, Allowance, ApprovalId, Digest, Fault, StepId, Timestamp};

use super::event::{Event, EventDraft, EventKind};

/// A `system_event` of a workflow run; the word is in `payload.event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum RunEvent {
    /// An attempt at a step begins.
    StepStarted {
        /// From 1.
        attempt: u32,
    },
    /// Work on a step goes on: after a human's yes, or in another process than began it.
    StepResumed,
    /// A step waits for somebody.
    StepWaiting {
        /// For whom.
        waiting_for: WaitingFor,
        /// What they are told.
        #[serde(default)]
        prompt: Value,
        /// What they work on.
        #[serde(default)]
        input: Value,
        /// What an agent's answer must be.
        #[serde(default)]
        output_schema: Value,
        /// The question, where a human is waited for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval_id: Option<ApprovalId>,
        /// When waiting ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// A step ended well.
    StepSucceeded {
        /// What it gave.
        output: Value,
    },
    /// A step failed for good.
    StepFailed {
        /// Why, as [`Fault::to_json`] writes it.
        #[serde(default)]
        error: Value,
        /// What it gave all the same, as a check's diagnostics.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        output: Value,
    },
    /// A step did not run.
    StepSkipped {
        /// Why not.
        reason: SkipReason,
    },
    /// A step failed and will be tried again.
    StepRetry {
        /// The attempt that failed.
        attempt: u32,
        /// When the next begins.
        at: Timestamp,
        /// Why it failed.
        #[serde(default)]
        error: Value,
    },
    /// A step was stopped with its run.
    StepCancelled,
    /// Checks did not pass: another step is to mend what they found, and runs again with all that leads from it to them.
    RepairRequested {
        /// The step of the checks.
        step: StepId,
        /// The step that is to mend.
        repairs: StepId,
        /// Which repair this is, from 1.
        attempt: u32,
        /// How many there may be.
        max: u32,
        /// The steps that run again.
        again: Vec<StepId>,
        /// Why the checks failed, as [`Fault::to_json`] writes it.
        #[serde(default)]
        error: Value,
        /// What the checks gave.
        #[serde(default)]
        output: Value,
        /// What they found.
        #[serde(default)]
        diagnostics: Value,
        /// The commands that did not pass, with the end of what each said.
        #[serde(default)]
        failed_commands: Value,
        /// Paths of the files that are to be mended.
        #[serde(default)]
        previous_files: Value,
    },
    /// No more repairs, though there might have been.
    RepairStopped {
        /// The step of the checks.
        step: StepId,
        /// The step that was to mend.
        repairs: StepId,
        /// Repairs made.
        attempt: u32,
        /// How many there might have been.
        max: u32,
        /// Why no more.
        why: String,
    },
    /// A human is asked.
    ApprovalRequested {
        /// The question.
        approval_id: ApprovalId,
        /// For what.
        tool: String,
        /// What exactly.
        digest: Digest,
        /// Until when.
        expires_at: Timestamp,
        /// Why.
        #[serde(default)]
        reason: Value,
    },
    /// A human said yes.
    ApprovalGranted {
        /// To which question.
        approval_id: ApprovalId,
    },
    /// A human said no.
    ApprovalDenied {
        /// To which question.
        approval_id: ApprovalId,
    },
    /// Nobody answered in time, or nobody used the answer; nothing may come of it any more.
    ApprovalExpired {
        /// Which question.
        approval_id: ApprovalId,
    },
    /// The operator took a refusal back.
    ApprovalLifted {
        /// Of which question.
        approval_id: ApprovalId,
    },
    /// Somebody wants the run to stop.
    RunCancelRequested {
        /// Why.
        #[serde(default)]
        reason: Value,
    },
    /// Every step ended well or was rightly skipped.
    RunSucceeded,
    /// A step failed and nothing is left to do.
    RunFailed {
        /// The step that failed first, if it was one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepId>,
        /// Why.
        #[serde(default)]
        error: Value,
    },
    /// The run was stopped.
    RunCancelled,
}

/// For whom a step waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// The agent that drives the run.
    Agent,
    /// A human's yes.
    Human,
    /// A limit of the run that the operator raises.
    Limit,
}

/// Why a step did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Its condition does not hold. Those that depend on it run.
    Condition,
    /// Something it depends on failed. Those that depend on it do not run either.
    Dependency,
}

/// Who started a run, which settles `by: auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartedBy {
    /// An agent: it does the agents' steps.
    Agent,
    /// The operator: the built-in workers do.
    Operator,
}

/// The payload of a workflow run's `run_created`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCreated {
    /// The workflow's name.
    pub workflow: String,
    /// Its version.
    pub workflow_version: String,
    /// Its digest: what exactly runs.
    pub workflow_digest: Digest,
    /// The rules in force at the start.
    pub policy: Digest,
    /// toolgate's own version.
    pub version: String,
    /// Who started it.
    pub started_by: StartedBy,
    /// The whole definition, so that the run does not depend on a file.
    pub definition: Value,
    /// The accepted inputs.
    pub inputs: Value,
    /// What it may use up.
    #[serde(default, skip_serializing_if = "Allowance::is_unlimited")]
    pub limits: Allowance,
}

/// Fields that may have to be redacted later: the record only commits to them.
const SEALED: &[&str] =
    &["output", "error", "prompt", "input", "inputs", "definition", "reason", "diagnostics", "failed_commands", "previous_files"];

impl RunEvent {
    /// As an event of this step, or of the run as a whole.
    #[must_use]
    pub fn draft(&self, step: Option<&StepId>, actor: Actor) -> EventDraft {
        draft_of(EventKind::SystemEvent, self, actor).step(step.cloned())
    }

    /// Reads one back. `None` where the event is of another kind or of another room's making.
    ///
    /// # Errors
    /// Where a known word comes with fields that do not fit: the log is broken or newer than this version.
    pub fn read(event: &Event) -> Option<Result<Self, Fault>> {
        let word = event.payload.get("event").and_then(Value::as_str)?;
        let is_ours = event.kind == EventKind::SystemEvent
            && (word.starts_with("step_") || word.starts_with("approval_") || word.starts_with("repair_") || OURS.contains(&word));
        is_ours.then(|| read_payload(event))
    }
}

const OURS: &[&str] = &["run_cancel_requested", "run_succeeded", "run_failed", "run_cancelled"];

impl RunCreated {
    /// As the first event of a run.
    #[must_use]
    pub fn draft(&self, actor: Actor) -> EventDraft {
        draft_of(EventKind::RunCreated, self, actor).field("kind", "workflow")
    }

    /// Reads it back; `None` where the run follows no workflow.
    ///
    /// # Errors
    /// As [`RunEvent::read`].
    pub fn read(event: &Event) -> Option<Result<Self, Fault>> {
        let is_workflow = event.kind == EventKind::RunCreated && event.payload.contains_key("workflow");
        is_workflow.then(|| read_payload(event))
    }
}

/// A run's goal, as its event.
#[must_use]
pub fn goal_draft(goal: &str, actor: Actor) -> EventDraft {
    EventDraft::new(EventKind::UserMessage, actor).sealed("text", goal.into())
}

/// An agent's answer to a step, as its event.
#[must_use]
pub fn submission_draft(step: &StepId, output: Value, note: Option<&str>, tokens: Option<u64>, actor: Actor) -> EventDraft {
    let draft = EventDraft::new(EventKind::AssistantMessage, actor).step(Some(step.clone())).sealed("output", output);
    let draft = match tokens {
        Some(tokens) => draft.field("tokens", tokens),
        None => draft,
    };
    match note {
        Some(note) => draft.sealed("note", note.into()),
        None => draft,
    }
}

fn draft_of(kind: EventKind, payload: &impl Serialize, actor: Actor) -> EventDraft {
    let mut draft = EventDraft::new(kind, actor);
    let Ok(Value::Object(fields)) = serde_json::to_value(payload) else { return draft };
    for (name, value) in fields {
        if value.is_null() {
            continue;
        }
        if SEALED.contains(&name.as_str()) {
            draft.sealed.insert(name, value);
        } else {
            draft.payload.insert(name, value);
        }
    }
    draft
}

fn read_payload<T: serde::de::DeserializeOwned>(event: &Event) -> Result<T, Fault> {
    let mut payload: Map<String, Value> = event.payload.clone();
    // A step may well give null; the draft leaves nulls out.
    payload.entry("output").or_insert(Value::Null);
    serde_json::from_value(Value::Object(payload)).map_err(|error| {
        Fault::internal(format!("event {} of run {} cannot be read: {error}", event.seq, event.run_id))
            .hint("it may have been written by a newer version of toolgate")
    })
}
