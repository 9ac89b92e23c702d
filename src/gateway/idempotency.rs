//! The same key and arguments again give the recorded outcome: a caller that does not know whether its call arrived can make it again.
//!
//! INVARIANT: a key names one call of one principal and tool for good; with other arguments it is refused, never reused. Whoever is given
//! a recorded outcome takes on the labels it was made under, and those it brought.

use serde_json::{Value, json};

use crate::call::{CheckedOutput, ParsedCall, whole};
use crate::domain::{Digest, ErrorCode, Fault, Label, Labels, RunId};
use crate::run::{Event, EventDraft, EventKind};
use crate::store::{Append, Change};

use super::Inner;

/// The argument that holds the key.
const FIELD: &str = "idempotency_key";

/// What a keyed call is remembered by.
pub(super) struct CallKey {
    /// Principal, tool and key.
    pub(super) key: Digest,
    /// The arguments it stands for.
    pub(super) arguments: Digest,
}

impl CallKey {
    /// Of a call that brings a key.
    pub(super) fn of(call: &ParsedCall) -> Option<Self> {
        let arguments = call.args.value();
        let key = arguments.get(FIELD).and_then(Value::as_str)?;
        let parts = [call.actor.principal.as_str().as_bytes(), call.tool.name.as_str().as_bytes(), key.as_bytes()];
        // Arguments without a canonical form are refused later, by the call's digest.
        let canonical = serde_json_canonicalizer::to_vec(arguments).unwrap_or_default();
        Some(Self {
            key: Digest::of_parts("toolgate/idempotency/v1", &parts),
            arguments: Digest::of_parts("toolgate/arguments/v1", &[&canonical]),
        })
    }
}

impl Inner {
    /// What came of the call that used this key before, if one did; whoever asks does so in `here`.
    ///
    /// # Errors
    /// `INVALID_INPUT` where the key stands for other arguments; `RUN_STATE` where that call has not ended.
    pub(super) async fn recorded_outcome(
        &self,
        call: &ParsedCall,
        key: &CallKey,
        here: RunId,
    ) -> Result<Option<Result<CheckedOutput, Fault>>, Fault> {
        let Some((before, _)) = self.store.remembered(&key.key).await? else { return Ok(None) };
        let Some((intent, outcome)) = self.store.event_by_call(&before).await? else {
            return Err(Fault::internal(format!("call `{before}` is remembered and not in the log")));
        };
        if intent.payload.get("arguments_digest").and_then(Value::as_str) != Some(key.arguments.to_string().as_str()) {
            return Err(Fault::new(ErrorCode::InvalidInput, "the `idempotency_key` was used before, with other arguments")
                .hint("use a new key for a new deed"));
        }
        let Some(outcome) = outcome else {
            return Err(Fault::new(ErrorCode::RunState, "a call with this `idempotency_key` is under way")
                .hint("make the call again when it has ended"));
        };
        let event = EventDraft::new(EventKind::SystemEvent, call.actor.clone())
            .call(call.id)
            .field("event", "call_repeated")
            .field("tool", call.tool.name.as_str())
            .field("repeats", before.to_string());
        let labels = labels_in(&intent, "labels").union(labels_in(&outcome, "marks"));
        let (event, changes) = if labels.is_empty() {
            (event, Vec::new())
        } else {
            let change = |run| Change::AddLabels { run, labels };
            let others = (here != call.run).then(|| change(call.run));
            (event.field("marks", json!(labels.words())), [change(here)].into_iter().chain(others).collect())
        };
        self.store.record(Append { run: Some(call.run), events: vec![event], changes, ..Append::default() }).await?;
        if outcome.kind == EventKind::ToolResult {
            let value = whole(outcome.payload.get("output").cloned().unwrap_or_default(), &*self.artifacts).await?;
            return Ok(Some(Ok(CheckedOutput { value, artifact: None })));
        }
        let fault = outcome.payload.get("error").and_then(Fault::from_json);
        Ok(Some(Err(fault.unwrap_or_else(|| Fault::internal("the recorded error cannot be read")))))
    }
}

/// The labels that a field of an event lists.
fn labels_in(event: &Event, field: &str) -> Labels {
    let words: Vec<&str> = event.payload.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    Labels::of(Label::ALL.into_iter().filter(|label| words.contains(&label.as_str())))
}
