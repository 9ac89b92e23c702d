//! Reads calls back from the log as policy saw them.
//!
//! INVARIANT: what a record does not hold is not made up: such a call is told apart. Reads only.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::call::{Artifacts, whole};
use crate::domain::{Effect, Effects, Fault};
use crate::policy::{Facts, RecordedCall, Unasked, Verdict};
use crate::run::{Event, EventKind};

use super::Gateway;

/// How the log marks a text that was taken out of a value.
const MARK: &str = "[REDACTED:";

impl Gateway {
    /// The call that an event records, as policy saw it; `None` where it records none: of a call, only its intent or its refusal does.
    ///
    /// # Errors
    /// Where arguments that were stored apart cannot be read.
    pub async fn recorded_call(&self, event: &Event) -> Result<Option<Result<RecordedCall, Unasked>>, Fault> {
        let is_refusal = event.kind == EventKind::ToolError && event.payload.contains_key("refused_at");
        if event.kind != EventKind::ToolCall && !is_refusal {
            return Ok(None);
        }
        recorded(event, &*self.inner.artifacts).await.map(Some)
    }
}

async fn recorded(event: &Event, artifacts: &dyn Artifacts) -> Result<Result<RecordedCall, Unasked>, Fault> {
    let stage = event.payload.get("refused_at").and_then(Value::as_str);
    if stage.is_some_and(|stage| !matches!(stage, "policy" | "approval")) {
        return Ok(Err(Unasked::NotDecided));
    }
    let Some(arguments) = event.payload.get("arguments") else { return Ok(Err(Unasked::Incomplete)) };
    if arguments.get("redacted").is_some_and(|_| arguments.as_object().is_some_and(|fields| fields.len() == 1)) {
        return Ok(Err(Unasked::Redacted));
    }
    let arguments = whole(arguments.clone(), artifacts).await?;
    if is_marked(&arguments) {
        return Ok(Err(Unasked::Redacted));
    }
    Ok(with_arguments(event, arguments).ok_or(Unasked::Incomplete))
}

fn with_arguments(event: &Event, arguments: Value) -> Option<RecordedCall> {
    let origin = event.payload.get("origin")?;
    let word = origin.as_str().or_else(|| origin.get("code").map(|_| "code"));
    let origin = word?.to_owned();
    let effects = field::<Effects>(event, "effects")?;
    let hosts = field::<BTreeSet<String>>(event, "hosts").unwrap_or_default();
    // A call that uses the network names hosts; one that does not is from before they were recorded.
    if effects.contains(Effect::Egress) && hosts.is_empty() {
        return None;
    }
    Some(RecordedCall {
        call: event.call_id?,
        run: event.run_id,
        at: event.ts,
        tool: event.payload.get("tool")?.as_str()?.to_owned(),
        actor: event.actor.clone(),
        step: event.step_id.clone().filter(|_| origin == "step"),
        origin,
        effects,
        hosts,
        facts: facts(event),
        arguments,
        verdict: field::<Verdict>(event, "verdict")?,
    })
}

/// What was known of the surroundings; what was not the case is not recorded.
fn facts(event: &Event) -> Facts {
    let mut facts = Facts::default();
    for label in field::<Vec<String>>(event, "labels").unwrap_or_default() {
        match label.as_str() {
            "untrusted" => facts.labels.untrusted = true,
            "private" => facts.labels.private = true,
            _ => {}
        }
    }
    facts.workflow = field::<String>(event, "workflow");
    facts
}

fn field<T: DeserializeOwned>(event: &Event, name: &str) -> Option<T> {
    T::deserialize(event.payload.get(name)?).ok()
}

fn is_marked(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(MARK),
        Value::Array(items) => items.iter().any(is_marked),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains(MARK) || is_marked(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Actor, CallId, Digest, Principal, RunId, Timestamp};

    fn event(kind: EventKind, payload: Value) -> Event {
        let now = Timestamp::from_unix_millis(1_700_000_000_000);
        let Value::Object(payload) = payload else { panic!("not an object") };
        Event {
            v: 1,
            index: 0,
            run_id: RunId::mint(now),
            seq: 1,
            ts: now,
            kind,
            step_id: None,
            call_id: Some(CallId::mint(now)),
            actor: Actor::agent(Principal::local()),
            payload,
            prev_hash: Digest::ZERO,
            hash: Digest::ZERO,
        }
    }

    fn intent(with: Value) -> Event {
        let mut payload = json!({"tool": "web.fetch", "origin": "client", "effects": ["egress"], "hosts": ["a.example"], "verdict": "allow",
            "rules": [], "arguments": {"url": "x"}});
        for (name, value) in with.as_object().unwrap() {
            payload[name] = value.clone();
        }
        event(EventKind::ToolCall, payload)
    }

    /// Arguments here are never stored apart.
    struct NoArtifacts;

    #[async_trait::async_trait]
    impl Artifacts for NoArtifacts {
        async fn put(&self, _: Vec<u8>, _: &str) -> Result<crate::call::ArtifactRef, Fault> {
            Err(Fault::internal("not here"))
        }
        async fn read(&self, _: &crate::domain::ArtifactId, _: u64, _: u64) -> Result<(Vec<u8>, u64), Fault> {
            Err(Fault::internal("not here"))
        }
    }

    async fn read(event: &Event) -> Result<RecordedCall, Unasked> {
        recorded(event, &NoArtifacts).await.unwrap()
    }

    #[tokio::test]
    async fn a_call_is_read_back_as_policy_saw_it() {
        let call =
            read(&intent(json!({"labels": ["private"], "workflow": "build", "origin": {"code": "call_x", "number": 3}}))).await.unwrap();
        assert_eq!((call.tool.as_str(), call.origin.as_str(), call.verdict), ("web.fetch", "code", Verdict::Allow));
        assert_eq!((call.facts.labels.private, call.facts.labels.untrusted), (true, false));
        assert_eq!(call.facts.workflow.as_deref(), Some("build"));
        assert_eq!(call.hosts.iter().map(String::as_str).collect::<Vec<_>>(), ["a.example"]);
    }

    #[tokio::test]
    async fn what_is_missing_or_was_taken_out_is_told() {
        for arguments in [json!({"redacted": "abc"}), json!({"headers": {"x": "Bearer [REDACTED:token]"}}), json!({"[REDACTED:k]": 1})] {
            assert_eq!(read(&intent(json!({ "arguments": arguments }))).await, Err(Unasked::Redacted), "{arguments}");
        }
        // An argument that only has that name is no redaction.
        assert!(read(&intent(json!({"arguments": {"redacted": true, "url": "x"}}))).await.is_ok());
        for missing in ["effects", "verdict", "origin", "arguments", "hosts"] {
            let mut event = intent(json!({}));
            event.payload.remove(missing);
            assert_eq!(read(&event).await, Err(Unasked::Incomplete), "{missing}");
        }
        let mut early = intent(json!({"refused_at": "parse"}));
        early.kind = EventKind::ToolError;
        assert_eq!(read(&early).await, Err(Unasked::NotDecided));
        early.payload.insert("refused_at".into(), "policy".into());
        assert!(read(&early).await.is_ok());
    }
}
