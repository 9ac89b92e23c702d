//! The events of a call: intent, outcome, refusal. What is large goes to an artifact and is only named here.

use serde_json::{Map, Value, json};

use crate::call::{ArtifactRef, Origin, ParsedCall, PreparedCall, TOOL_CALL, is_reference, reference};
use crate::domain::{Actor, CallId, Fault, RunId, StepId};
use crate::policy::Decision;
use crate::run::{EventDraft, EventKind};
use crate::tools::CallContext;

use super::{Inner, budget};

/// A value as the journal holds it.
pub(super) struct Recorded {
    pub(super) value: Value,
    pub(super) artifact: Option<ArtifactRef>,
}

impl Inner {
    /// An origin as the journal holds it: what a program saw may be large.
    pub(super) async fn record_origin(&self, origin: Origin) -> Result<Origin, Fault> {
        Ok(match origin {
            Origin::Code { call, number, seen } => Origin::Code { call, number, seen: self.record_value(&seen).await?.value },
            Origin::Client | Origin::Cli | Origin::Step { .. } => origin,
        })
    }

    /// The value itself where it is small, else a reference to its stored JSON. What only looks like a reference is stored too, so that
    /// nobody's words are read back as another one's bytes.
    pub(super) async fn record_value(&self, value: &Value) -> Result<Recorded, Fault> {
        if !larger_than(value, self.inline.as_usize()) && !is_reference(value) {
            return Ok(Recorded { value: value.clone(), artifact: None });
        }
        // What stays inline is scrubbed when it is recorded; an artifact is not looked at again.
        let mut value = value.clone();
        self.store.redact().value(&mut value);
        let bytes = serde_json::to_vec(&value).map_err(|error| Fault::internal(format!("a value has no JSON form: {error}")))?;
        let artifact = self.artifacts.put(bytes, "application/json").await?;
        Ok(Recorded { value: reference(&artifact), artifact: Some(artifact) })
    }

    /// An outcome with what the client answered while the call ran. That it cannot be kept is no reason to lose the outcome.
    pub(super) async fn with_answers(&self, draft: EventDraft, context: &CallContext) -> EventDraft {
        let answers = context.brought.answers();
        if answers.is_empty() {
            return draft;
        }
        match self.record_value(&json!(answers)).await {
            Ok(recorded) => draft.sealed("answers", recorded.value),
            Err(fault) => draft.field("answers_lost", fault.code.as_str()),
        }
    }
}

/// Whether the JSON text of `value` is longer than `most` bytes; stops counting once it is.
pub(super) fn larger_than(value: &Value, most: usize) -> bool {
    struct Counter(usize);
    impl std::io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Counter(most), value).is_err()
}

/// The step a call belongs to, if it is one's.
pub(super) fn step_of(origin: &Origin) -> Option<StepId> {
    match origin {
        Origin::Step { step, .. } => Some(step.clone()),
        Origin::Client | Origin::Cli | Origin::Code { .. } => None,
    }
}

fn origin_word(origin: &Origin) -> Value {
    match origin {
        Origin::Client => "client".into(),
        Origin::Cli => "cli".into(),
        Origin::Step { .. } => "step".into(),
        Origin::Code { call, number, .. } => json!({ "code": call, "number": number }),
    }
}

/// The intent: what will be done, under which rules, by whose leave. Durable before the effect.
pub(super) fn intent(call: &PreparedCall, decision: &Decision, arguments: Value) -> EventDraft {
    let parsed = call.parsed();
    let draft = EventDraft::new(EventKind::ToolCall, parsed.actor.clone())
        .step(step_of(&parsed.origin))
        .call(parsed.id)
        .field("tool", parsed.tool.name.as_str())
        .field("version", parsed.tool.version.to_string())
        .field("manifest", parsed.tool.manifest.to_string())
        .field("origin", origin_word(&parsed.origin))
        .field("effects", json!(call.effects()))
        .field("target", call.target().clone())
        .field("digest", call.digest().to_string())
        .field("verdict", decision.verdict.as_str())
        .field("rules", json!(decision.reasons.iter().map(|reason| &reason.rule).collect::<Vec<_>>()))
        .sealed("arguments", arguments);
    let draft = budget::counted(draft, call);
    let draft = if call.makes_calls() { draft.field("makes_calls", true) } else { draft };
    with_seen(with_way(draft, parsed.along.through), &parsed.origin)
}

/// With the tool by which the call came, where it was named as that one's argument.
fn with_way(draft: EventDraft, through: bool) -> EventDraft {
    if through { draft.field("through", TOOL_CALL) } else { draft }
}

/// With what a program had seen before it made the call.
fn with_seen(draft: EventDraft, origin: &Origin) -> EventDraft {
    match origin {
        Origin::Code { seen, .. } => draft.sealed("seen", seen.clone()),
        Origin::Client | Origin::Cli | Origin::Step { .. } => draft,
    }
}

/// The outcome of a call that ran.
pub(super) fn outcome(call: &ParsedCall, result: Result<Value, &Fault>, millis: u64) -> EventDraft {
    let kind = if result.is_ok() { EventKind::ToolResult } else { EventKind::ToolError };
    let draft = EventDraft::new(kind, call.actor.clone())
        .step(step_of(&call.origin))
        .call(call.id)
        .field("tool", call.tool.name.as_str())
        .field("duration_ms", millis);
    match result {
        Ok(value) => draft.sealed("output", value),
        Err(fault) => draft.field("code", fault.code.as_str()).sealed("error", fault.to_json()),
    }
}

/// What the record of a refusal needs, kept aside because the stages consume the call.
pub(super) struct Identity {
    pub(super) call: CallId,
    pub(super) run: RunId,
    pub(super) actor: Actor,
    pub(super) step: Option<StepId>,
    pub(super) tool: String,
    pub(super) origin: Origin,
    /// Whether it came by `tool.call`.
    pub(super) through: bool,
    /// What policy saw, once it was asked.
    pub(super) decided: Option<Map<String, Value>>,
}

/// A call that was turned away before anything ran. It has no intent; this is its only record.
pub(super) fn refusal(who: &Identity, stage: &'static str, fault: &Fault, arguments: Value) -> EventDraft {
    let draft = EventDraft::new(EventKind::ToolError, who.actor.clone())
        .step(who.step.clone())
        .call(who.call)
        .field("tool", who.tool.chars().take(80).collect::<String>())
        .field("refused_at", stage)
        .field("code", fault.code.as_str())
        .field("origin", origin_word(&who.origin))
        .sealed("error", fault.to_json())
        .sealed("arguments", arguments);
    let decided = who.decided.iter().flatten();
    let draft = decided.fold(draft, |draft, (name, value)| draft.field(name, value.clone()));
    with_seen(with_way(draft, who.through), &who.origin)
}
