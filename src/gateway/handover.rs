//! Calls that take longer than their client waits: answered with a handle, while they go on; what comes of them is read in their run.
//!
//! INVARIANT: a handle is given once the call's intent is durable, so the log tells what came of it whatever happens to this process. From
//! then on the call ends by itself, by its wall time, by the end of the process, or because its run is told to stop; not with its client.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::{CheckedOutput, ParsedCall, Reply};
use crate::domain::{Actor, CallId, ErrorCode, Fault, Millis, Principal, RunId};
use crate::registry::Entry;
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Change};

use super::path::OpenCall;
use super::{Gateway, Inner};

/// A tool whose calls may take longer than this can be answered with a handle.
const LONG: Millis = Millis(45_000);
/// Calls of one principal that go on without a client waiting.
const MOST: usize = 32;

/// How long a client waits for an answer, and where the handle goes.
pub(super) struct Patience {
    pub(super) until: Instant,
    pub(super) handle: oneshot::Sender<Reply>,
}

impl Patience {
    pub(super) fn new(within: Duration) -> (Self, oneshot::Receiver<Reply>) {
        let (handle, handed) = oneshot::channel();
        (Self { until: Instant::now() + within, handle }, handed)
    }
}

/// A call that goes on.
struct Going {
    run: RunId,
    whose: Principal,
    cancel: CancellationToken,
}

/// All calls of this process that go on.
#[derive(Default)]
pub(super) struct GoingOn(Arc<Mutex<HashMap<CallId, Going>>>);

/// The call goes on until this is gone.
pub(super) struct StillGoing {
    all: Arc<Mutex<HashMap<CallId, Going>>>,
    call: CallId,
}

impl Drop for StillGoing {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.call);
    }
}

impl GoingOn {
    fn begin(&self, call: &ParsedCall) -> Result<StillGoing, Fault> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let whose = &call.actor.principal;
        if all.values().filter(|going| going.whose == *whose).count() >= MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("{MOST} calls of yours go on already without an answer"))
                .hint("watch them with run.watch until they are over, or stop them with run.cancel"));
        }
        all.insert(call.id, Going { run: call.run, whose: whose.clone(), cancel: call.cancel.clone() });
        Ok(StillGoing { all: self.0.clone(), call: call.id })
    }

    fn stop(&self, which: impl Fn(&Going) -> bool) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped: Vec<&Going> = all.values().filter(|going| which(going)).collect();
        stopped.iter().for_each(|going| going.cancel.cancel());
        stopped.len()
    }
}

impl Gateway {
    /// What stops the calls of a run that go on without a client in this process. It does not keep the gateway.
    #[must_use]
    pub fn stop_calls(&self) -> Box<dyn Fn(&RunId) + Send + Sync> {
        let inner = Arc::downgrade(&self.inner);
        Box::new(move |run| {
            if let Some(inner) = inner.upgrade() {
                let stopped = inner.going_on.stop(|going| going.run == *run);
                tracing::debug!(run_id = %run, stopped, "calls that go on were told to stop");
            }
        })
    }

    /// Stops all calls that go on without a client, at the end of the process.
    pub fn stop_going_on(&self) -> usize {
        self.inner.going_on.stop(|_| true)
    }
}

/// Whether calls of a tool may be answered with a handle: those that can take long, but for those that are made to wait for a run.
#[must_use]
pub fn can_be_long(entry: &Entry) -> bool {
    entry.def.limits.wall > LONG && !entry.is_about_runs()
}

/// The schema of what a client may be answered: the tool's own answer, or a handle.
#[must_use]
pub fn with_handle(answer: &Value) -> Value {
    let Value::Object(mut own) = answer.clone() else { return answer.clone() };
    let mut root = Map::new();
    // References point at the root.
    for word in ["$schema", "$defs"] {
        root.extend(own.shift_remove(word).map(|value| (word.to_owned(), value)));
    }
    let text = json!({ "type": "string" });
    let handle = json!({
        "type": "object",
        "description": "The call goes on: what comes of it is told by run.watch with this run and cursor.",
        "properties": {
            "status": { "const": "running" },
            "run_id": text,
            "call_id": text,
            "cursor": { "type": "integer", "minimum": 0 },
            "next": { "const": "run.watch" },
        },
        "required": ["status", "run_id", "call_id", "cursor", "next"],
    });
    root.insert("type".to_owned(), "object".into());
    root.insert("anyOf".to_owned(), json!([own, handle]));
    Value::Object(root)
}

impl Inner {
    /// Makes the intent durable and gives the handle. Where that fails the call must not go on.
    pub(super) async fn hand_over(
        &self,
        call: &ParsedCall,
        open: &mut OpenCall,
        handle: oneshot::Sender<Reply>,
    ) -> Result<StillGoing, Fault> {
        let going = self.going_on.begin(call)?;
        let goes_on = EventDraft::new(EventKind::SystemEvent, Actor::system())
            .call(call.id)
            .field("event", "call_goes_on")
            .field("tool", call.tool.name.as_str());
        let (mut events, mut changes, mut guards) = (Vec::with_capacity(2), Vec::new(), Vec::new());
        if let Some((intent, arguments)) = open.unrecorded.clone() {
            events.push(intent);
            changes.extend(arguments);
            let idempotent = self.registry.find(call.tool.name.as_str()).is_some_and(|entry| entry.def.idempotent);
            changes.push(Change::OpenCall { call: call.id, idempotent });
            guards = self.budget_guard(call).await?;
        }
        events.push(goes_on);
        let written = self.store.append(Append { run: Some(call.run), events, changes, guards }).await;
        let written = match written {
            Ok(written) => written,
            Err(fault) => return Err(self.unaffordable(call, fault).await),
        };
        open.unrecorded = None;
        let cursor = written.last().map_or(0, |event| event.seq);
        let value = json!({ "status": "running", "run_id": call.run, "call_id": call.id, "cursor": cursor, "next": "run.watch" });
        let output = CheckedOutput { value, artifact: None };
        // Whoever went away meanwhile finds it in the log.
        let _unheard = handle.send(Reply { call: call.id, run: call.run, outcome: Ok(output) });
        Ok(going)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn both_forms_fit_and_nothing_else() {
        let own = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": { "n": { "$ref": "#/$defs/N" } },
            "required": ["n"],
            "additionalProperties": false,
            "$defs": { "N": { "type": "integer" } },
        });
        let both = with_handle(&own);
        assert_eq!(both["type"], "object");
        let schema = Schema::compile(&both).unwrap();
        let handle = json!({ "status": "running", "run_id": "run_x", "call_id": "call_x", "cursor": 3, "next": "run.watch" });
        for good in [json!({ "n": 1 }), handle.clone()] {
            assert!(schema.check(&good).is_ok(), "{good}");
        }
        let mut bad = handle;
        bad["status"] = "done".into();
        for bad in [json!({ "n": "x" }), json!({}), bad, json!(1)] {
            assert!(schema.check(&bad).is_err(), "{bad}");
        }
    }
}
