//! A call path that does what a script says and records it as the gateway does: intent, effect, outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::call::{CheckedOutput, Origin, RawCall, Reply};
use crate::domain::{Actor, Allowance, ApprovalId, CallId, Clock, Digest, ErrorCode, Fault, Millis, Overrun, StepId};
use crate::engine::{CallPath, Log};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, ApprovalStatus, Change, Guard, NewApproval};

use super::log::MemLog;

/// What a tool does when called the n-th time, from 0.
pub type Act = Arc<dyn Fn(&Value, usize) -> Deed + Send + Sync>;

/// What a call comes to.
pub enum Deed {
    Give(Value),
    GiveAfter(Duration, Value),
    Fail(Fault),
    /// Only ends when it is cancelled.
    Hang,
    /// Asks a human, then gives.
    Ask(Value),
}

/// The world's tools, and what they have done; outlives processes.
#[derive(Default)]
pub struct Tools {
    pub acts: Mutex<BTreeMap<String, Act>>,
    pub idempotent: Mutex<BTreeSet<String>>,
    /// Step, tool and arguments of every effect that came about.
    pub effects: Mutex<Vec<(String, String, Value)>>,
    pub running: Mutex<(usize, usize)>,
    /// Outcomes are recorded as references to artifacts.
    pub by_reference: bool,
    /// Calls use the network.
    pub go_out: Mutex<bool>,
}

impl Tools {
    pub fn count(&self, tool: &str) -> usize {
        self.effects.lock().unwrap().iter().filter(|(_, name, _)| name == tool).count()
    }
}

pub struct FakePath {
    pub tools: Arc<Tools>,
    pub log: Arc<MemLog>,
    pub clock: Arc<dyn Clock>,
}

impl FakePath {
    async fn walk(&self, call: CallId, raw: &RawCall, step: &StepId) -> Result<CheckedOutput, Fault> {
        let act = self.tools.acts.lock().unwrap().get(&raw.tool).cloned();
        let Some(act) = act else {
            return Err(Fault::new(ErrorCode::UnknownTool, format!("no tool `{}`", raw.tool)));
        };
        let nth = self.tools.count(&raw.tool);
        let deed = act(&raw.arguments, nth);
        let mut changes = Vec::new();
        if let Deed::Ask(_) = deed {
            changes.push(self.ask(raw, step).await?);
        }
        let draft = |kind| EventDraft::new(kind, raw.actor.clone()).step(Some(step.clone())).call(call).field("tool", raw.tool.as_str());
        let append = |draft, changes| Append { run: Some(raw.run), events: vec![draft], changes, ..Append::default() };
        let effects = if *self.tools.go_out.lock().unwrap() { json!(["egress"]) } else { json!(["write"]) };
        let intent = draft(EventKind::ToolCall).field("effects", effects).sealed("arguments", raw.arguments.clone());
        let guards = vec![Guard::Budget(Allowance::default())];
        if let Err(fault) = self.log.append(Append { guards, ..append(intent, changes) }).await {
            // As the gateway: the refusal is on record, and that the limit is hit.
            let refusal = draft(EventKind::ToolError).field("code", fault.code.as_str()).sealed("error", fault.to_json());
            self.log.append(append(refusal, Vec::new())).await?;
            if let Some(over) = Overrun::of_fault(&fault) {
                let _known = self.log.append(Append::telling(raw.run, over, raw.actor.clone())).await;
            }
            return Err(fault);
        }
        self.tools.effects.lock().unwrap().push((step.to_string(), raw.tool.clone(), raw.arguments.clone()));
        let outcome = match deed {
            Deed::Give(value) | Deed::Ask(value) => Ok(value),
            Deed::Fail(fault) => Err(fault),
            Deed::GiveAfter(span, value) => tokio::select! {
                () = tokio::time::sleep(span) => Ok(value),
                () = raw.cancel.cancelled() => Err(Fault::new(ErrorCode::Cancelled, "cancelled")),
            },
            Deed::Hang => {
                raw.cancel.cancelled().await;
                Err(Fault::new(ErrorCode::Cancelled, "cancelled"))
            }
        };
        let event = match &outcome {
            Ok(value) if self.tools.by_reference => {
                let bytes = serde_json::to_vec(value).unwrap();
                let stored = self.log.artifacts().put(bytes, "application/json").await?;
                draft(EventKind::ToolResult).sealed("output", json!({ "artifact": stored.artifact, "size": stored.size }))
            }
            Ok(value) => draft(EventKind::ToolResult).sealed("output", value.clone()),
            Err(fault) => draft(EventKind::ToolError).field("code", fault.code.as_str()).sealed("error", fault.to_json()),
        };
        self.log.append(append(event, Vec::new())).await?;
        outcome.map(|value| CheckedOutput { value, artifact: None })
    }

    /// As the gateway: a step does not wait for the answer.
    async fn ask(&self, raw: &RawCall, step: &StepId) -> Result<Change, Fault> {
        let digest = Digest::of(format!("{}{}", raw.tool, raw.arguments).as_bytes());
        let known = self.log.shared.lock().unwrap().approvals.values().find(|row| row.digest == digest).cloned();
        match known {
            Some(row) if row.status == ApprovalStatus::Approved => return Ok(Change::UseApproval { id: row.id, digest }),
            Some(row) if row.status == ApprovalStatus::Pending => return Err(required(row.id)),
            _ => {}
        }
        let id = ApprovalId::mint(self.clock.now());
        let expires = self.clock.now().plus(Millis(60_000));
        let tool = raw.tool.parse().unwrap();
        let asked = NewApproval {
            id,
            digest,
            tool,
            step: Some(step.clone()),
            shown: Value::Null,
            reason: String::new(),
            note: None,
            covers: None,
            limits: None,
            expires,
        };
        let append = Append { run: Some(raw.run), changes: vec![Change::RequestApproval(asked)], ..Append::default() };
        self.log.append(append).await?;
        Err(required(id))
    }
}

fn required(id: ApprovalId) -> Fault {
    Fault::new(ErrorCode::ApprovalRequired, "a human must approve").details(json!({ "approval_id": id }))
}

#[async_trait]
impl CallPath for FakePath {
    async fn call(&self, raw: RawCall) -> Reply {
        let Origin::Step { step, run } = raw.origin.clone() else { panic!("steps call as steps") };
        assert_eq!(run, raw.run);
        let call = CallId::mint(self.clock.now());
        {
            let mut running = self.tools.running.lock().unwrap();
            running.0 += 1;
            running.1 = running.1.max(running.0);
        }
        let outcome = self.walk(call, &raw, &step).await;
        self.tools.running.lock().unwrap().0 -= 1;
        Reply { call, run: raw.run, outcome }
    }

    fn is_idempotent(&self, tool: &str) -> bool {
        self.tools.idempotent.lock().unwrap().contains(tool)
    }
}

/// What a start does for calls that a dead process left open.
pub async fn recover(log: &MemLog) {
    let open: Vec<_> = {
        let shared = log.shared.lock().unwrap();
        let events = shared.events.values().flatten();
        let ended: BTreeSet<CallId> = events
            .clone()
            .filter(|event| matches!(event.kind, EventKind::ToolResult | EventKind::ToolError))
            .filter_map(|event| event.call_id)
            .collect();
        events.filter(|event| event.kind == EventKind::ToolCall && !ended.contains(&event.call_id.unwrap())).cloned().collect()
    };
    for intent in open {
        let fault = Fault::new(ErrorCode::Interrupted, "the process that ran this call ended before the call did");
        let event = EventDraft::new(EventKind::ToolError, Actor::system())
            .step(intent.step_id.clone())
            .call(intent.call_id.unwrap())
            .field("code", "INTERRUPTED")
            .sealed("error", fault.to_json());
        log.append(Append { run: Some(intent.run_id), events: vec![event], ..Append::default() }).await.unwrap();
    }
}
