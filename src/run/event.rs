//! One record of a run's log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::{Actor, CallId, Digest, RunId, StepId, Timestamp};

/// What an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The first of every run: what it follows and what it pins by digest.
    RunCreated,
    /// The run's goal, in the words of the one who asked.
    UserMessage,
    /// An agent's note on its progress.
    AssistantMessageDelta,
    /// An agent's submission for a step.
    AssistantMessage,
    /// The intent of a call, durable before its effect.
    ToolCall,
    /// The outcome of a call that ended well.
    ToolResult,
    /// The outcome of a call that did not.
    ToolError,
    /// Bytes that came to be.
    ArtifactRef,
    /// Everything else; `payload.event` says what.
    SystemEvent,
}

impl EventKind {
    /// The word as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunCreated => "run_created",
            Self::UserMessage => "user_message",
            Self::AssistantMessageDelta => "assistant_message_delta",
            Self::AssistantMessage => "assistant_message",
            Self::ToolCall => "tool_call",
            Self::ToolResult => "tool_result",
            Self::ToolError => "tool_error",
            Self::ArtifactRef => "artifact_ref",
            Self::SystemEvent => "system_event",
        }
    }
}

/// An event before the log has given it its place. `sealed` holds the fields that may have to be redacted later: the record holds
/// only a salted commitment to each, so that taking the value away leaves every proof valid.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDraft {
    /// What it tells.
    pub kind: EventKind,
    /// The step it is about.
    pub step: Option<StepId>,
    /// The call it is about.
    pub call: Option<CallId>,
    /// Who did it.
    pub actor: Actor,
    /// What is written into the record as it is.
    pub payload: Map<String, Value>,
    /// What the record only commits to, by name.
    pub sealed: BTreeMap<String, Value>,
}

impl EventDraft {
    /// A draft with an empty payload.
    #[must_use]
    pub fn new(kind: EventKind, actor: Actor) -> Self {
        Self { kind, step: None, call: None, actor, payload: Map::new(), sealed: BTreeMap::new() }
    }

    /// About this step.
    #[must_use]
    pub fn step(mut self, step: Option<StepId>) -> Self {
        self.step = step;
        self
    }

    /// About this call.
    #[must_use]
    pub fn call(mut self, call: CallId) -> Self {
        self.call = Some(call);
        self
    }

    /// With a plain field.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.payload.insert(name.to_owned(), value.into());
        self
    }

    /// With a field that may be redacted later.
    #[must_use]
    pub fn sealed(mut self, name: &str, value: Value) -> Self {
        self.sealed.insert(name.to_owned(), value);
        self
    }
}

/// An event as the log gives it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Version of the envelope.
    pub v: u32,
    /// Place in the whole journal, from 0, without gaps.
    pub index: u64,
    /// The run.
    pub run_id: RunId,
    /// Place in the run's log, from 1, without gaps.
    pub seq: u64,
    /// When it was recorded.
    pub ts: Timestamp,
    /// What it tells.
    pub kind: EventKind,
    /// The step it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_id: Option<StepId>,
    /// The call it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<CallId>,
    /// Who did it.
    pub actor: Actor,
    /// Plain and sealed fields together; a sealed field whose value was taken away reads `{"redacted": "<commitment>"}`.
    pub payload: Map<String, Value>,
    /// Hash of the record before it in the journal.
    pub prev_hash: Digest,
    /// Hash of this record.
    pub hash: Digest,
}
