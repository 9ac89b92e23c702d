//! Calls that sandboxed programs make: each walks the one path. And what an interrupted program had done, so that the same call made again
//! brings it back to where it was instead of doing it twice.
//!
//! INVARIANT: a call of a program has the program's call as its origin, and a program cannot start a program that makes calls.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::call::{Along, Asking, Origin, RawCall, TOOL_CALL, whole};
use crate::domain::{CallId, Digest, Effects, ErrorCode, Fault, Labels, RunId, ToolName};
use crate::run::{Event, EventDraft, EventKind};
use crate::store::{Append, Change};
use crate::tools::CallContext;
use crate::tools::python::{CodeCall, CodeCalls, CodeTool, ProgramAnswer, Recorded, Recording, Resumed, Seen};
use crate::tools::workers::ToolCalls;

use super::{Gateway, Inner};

/// How often one program may be brought back, each time from a record of its own.
const MOST_RESUMED: usize = 100;

/// The way from programs back to the path. Made before the gateway, as the tools that need it are.
#[derive(Default)]
pub struct CodeGate {
    gateway: OnceLock<Weak<Inner>>,
}

/// What stands in an intent beside its arguments (`seen`).
#[derive(Deserialize)]
struct SeenRecord {
    operation: Digest,
    seen: Seen,
}

/// The key under which an interrupted call with this digest is remembered.
pub(super) fn interrupted(digest: &Digest) -> Digest {
    Digest::of_parts("toolgate/interrupted/v1", &[digest.as_bytes()])
}

impl CodeGate {
    /// Leads to this gateway from now on; the first one stays.
    pub fn lead_to(&self, gateway: &Gateway) {
        let _first = self.gateway.set(Arc::downgrade(&gateway.inner));
    }

    fn gateway(&self) -> Result<Gateway, Fault> {
        let inner = self.gateway.get().and_then(Weak::upgrade);
        Ok(Gateway { inner: inner.ok_or_else(|| Fault::internal("a program makes a call while nothing is open"))? })
    }
}

#[async_trait]
impl CodeCalls for CodeGate {
    fn describe(&self, names: &[String]) -> Result<Vec<CodeTool>, Fault> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let gateway = self.gateway()?;
        names.iter().map(|name| describe(&gateway, name)).collect()
    }

    async fn resume(&self, context: &CallContext) -> Result<Option<Resumed>, Fault> {
        let gateway = self.gateway()?;
        let key = interrupted(&context.digest);
        let Some((call, run)) = gateway.inner.store.remembered(&key).await? else { return Ok(None) };
        let resumed_program = gateway.interrupted_program(call, run).await?;
        let resumed = EventDraft::new(EventKind::SystemEvent, context.actor.clone())
            .call(context.call)
            .field("event", "code_resumed")
            .field("resumes", call.to_string())
            .field("resumes_run", run.to_string());
        let append = Append { run: Some(context.run), events: vec![resumed], changes: vec![Change::Forget(key)], ..Append::default() };
        match gateway.inner.store.record(append).await {
            Ok(()) => Ok(Some(resumed_program)),
            // Another call of the same digest was quicker and goes on with it; this one begins anew.
            Err(fault) if fault.code == ErrorCode::RunState => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn labels_of(&self, run: RunId) -> Result<Labels, Fault> {
        Ok(self.gateway()?.inner.store.run(&run).await?.map(|row| row.labels).unwrap_or_default())
    }

    async fn call(&self, context: &CallContext, call: CodeCall) -> Result<Value, Fault> {
        self.gateway()?.call_of(context, call).await
    }
}

/// A worker's calls are those of a program that is ours.
#[async_trait]
impl ToolCalls for CodeGate {
    fn effects_of(&self, tools: &[&str]) -> Result<Effects, Fault> {
        let gateway = self.gateway()?;
        let described = tools.iter().map(|name| describe(&gateway, name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Effects::of(described.iter().flat_map(|tool| tool.effects.iter())))
    }

    async fn call(&self, context: &CallContext, number: u32, tool: &str, arguments: Value) -> Result<Value, Fault> {
        let tool: ToolName = tool.parse().map_err(|error| Fault::internal(format!("{error}")))?;
        let (cancel, progress) = (context.cancel.child_token(), context.progress.clone());
        self.gateway()?.call_of(context, CodeCall { tool, arguments, number, seen: json!({}), cancel, progress }).await
    }
}

fn describe(gateway: &Gateway, name: &str) -> Result<CodeTool, Fault> {
    let registry = gateway.registry();
    let entry = registry.find(name).ok_or_else(|| {
        let near = registry.suggest(name);
        let fault = Fault::new(ErrorCode::UnknownTool, format!("`tools` names `{name}`, which is no tool"));
        if near.is_empty() {
            fault.hint("tool.search lists the tools there are")
        } else {
            fault.hint(format!("did you mean {}?", near.join(", ")))
        }
    })?;
    let def = &entry.def;
    if def.name.as_str() == TOOL_CALL {
        return Err(Fault::new(ErrorCode::InvalidInput, "`tools` names `tool.call`, which a program cannot use")
            .hint("name each tool that the program is to call"));
    }
    Ok(CodeTool {
        name: def.name.clone(),
        exposed: entry.exposed.clone(),
        effects: def.effects.clone(),
        shown: json!({
            "name": def.name,
            "title": def.title,
            "description": def.description,
            "input_schema": def.input.json(),
            "output_schema": def.output.json(),
            "effects": def.effects,
        }),
    })
}

impl Gateway {
    /// A call that the program of this call makes.
    async fn call_of(&self, context: &CallContext, call: CodeCall) -> Result<Value, Fault> {
        self.inner.mark_so_far(context).await?;
        let reply = self
            .call(RawCall {
                tool: call.tool.to_string(),
                arguments: call.arguments,
                origin: Origin::Code { call: context.call, number: call.number, seen: call.seen },
                actor: context.actor.clone(),
                run: context.run,
                tokens: 0,
                along: Along::default(),
                cancel: call.cancel,
                asking: Asking::default(),
                progress: call.progress,
            })
            .await;
        reply.outcome.map(|output| output.value).map_err(|fault| fault.for_agent(&reply.call.to_string()))
    }

    /// What an interrupted call had done and seen, and where.
    async fn interrupted_program(&self, call: CallId, run: RunId) -> Result<Resumed, Fault> {
        let (calls, run) = self.lineage(call, run).await?;
        let events = self.inner.store.events(&run, 0, 0).await?;
        let mut recording = Recording::default();
        for call in calls {
            for asked in events.iter().filter(|event| is_of(event, call)) {
                self.inner.add_to(&mut recording, asked, &events).await?;
            }
        }
        if recording.seen.overflow {
            return Err(Fault::new(
                ErrorCode::ReplayDiverged,
                "the program was interrupted before, and saw more (clock readings, answers) than is kept to bring it back",
            )
            .hint("what it had done by then stands in the log of its run; to start anew, change the program, if only by a comment"));
        }
        Ok(Resumed { recording, run })
    }

    /// The calls that led to this one, each the continuation of the one before it, the first first; and the first one's run, which the calls
    /// of all of them belong to.
    async fn lineage(&self, mut call: CallId, mut run: RunId) -> Result<(Vec<CallId>, RunId), Fault> {
        let mut line = vec![call];
        while line.len() < MOST_RESUMED {
            let events = self.inner.store.events(&run, 0, 0).await?;
            let resumed = events.iter().find(|event| event.call_id == Some(call) && text(event, "event") == Some("code_resumed"));
            let Some(resumed) = resumed else { break };
            let of = |field| text(resumed, field).map(str::to_owned);
            let before = of("resumes").and_then(|id| id.parse().ok()).zip(of("resumes_run").and_then(|id| id.parse().ok()));
            (call, run) = before.ok_or_else(|| Fault::internal("a resumed call does not say what it resumes"))?;
            line.push(call);
        }
        line.reverse();
        Ok((line, run))
    }
}

impl Inner {
    /// Adds one call of the program, by its number.
    async fn add_to(&self, recording: &mut Recording, event: &Event, events: &[Event]) -> Result<(), Fault> {
        let seen = whole(event.payload.get("seen").cloned().unwrap_or_default(), &*self.artifacts).await?;
        let Ok(seen) = SeenRecord::deserialize(seen) else { return Ok(()) };
        let number = event.payload.get("origin").and_then(|origin| origin.get("number")).and_then(Value::as_u64);
        let number = number.and_then(|number| usize::try_from(number).ok()).filter(|number| *number < 100_000);
        let Some(number) = number else { return Ok(()) };
        let is_refusal = event.kind == EventKind::ToolError;
        let outcome = events
            .iter()
            .find(|other| other.call_id == event.call_id && matches!(other.kind, EventKind::ToolResult | EventKind::ToolError));
        let answer = match outcome {
            _ if is_refusal => error_of(event).map(ProgramAnswer::Refused),
            Some(outcome) => self.answer_of(event, outcome).await?,
            None => None,
        };
        for http in &seen.seen.http {
            let http_number = usize::try_from(http.number).unwrap_or(0);
            put(recording, http_number, Recorded { digest: Some(http.digest), answer: Some(ProgramAnswer::Http(http.answer.clone())) });
        }
        put(recording, number, Recorded { digest: Some(seen.operation), answer });
        recording.seen.extend(seen.seen);
        Ok(())
    }

    /// What the program was, or would have been, told; `None` where the call must be made anew.
    async fn answer_of(&self, intent: &Event, outcome: &Event) -> Result<Option<ProgramAnswer>, Fault> {
        if outcome.kind == EventKind::ToolResult {
            let output = outcome.payload.get("output").cloned().unwrap_or_default();
            return Ok(Some(ProgramAnswer::Output(whole(output, &*self.artifacts).await?)));
        }
        let tool: Option<ToolName> = text(intent, "tool").and_then(|name| name.parse().ok());
        let idempotent = tool.is_some_and(|tool| self.registry.find(tool.as_str()).is_some_and(|entry| entry.def.idempotent));
        if outcome.payload.contains_key("interrupted") && idempotent {
            return Ok(None);
        }
        Ok(error_of(outcome).map(ProgramAnswer::Refused))
    }
}

fn put(recording: &mut Recording, number: usize, recorded: Recorded) {
    if recording.operations.len() <= number {
        recording.operations.resize(number + 1, Recorded { digest: None, answer: None });
    }
    if let Some(place) = recording.operations.get_mut(number) {
        *place = recorded;
    }
}

/// Whether an event is a call, or a refused one, of the program that `call` ran.
fn is_of(event: &Event, call: CallId) -> bool {
    let asks = matches!(event.kind, EventKind::ToolCall) || event.payload.contains_key("refused_at");
    asks && event.payload.get("origin").and_then(|origin| origin.get("code")).and_then(Value::as_str) == Some(&call.to_string())
}

fn text<'e>(event: &'e Event, field: &str) -> Option<&'e str> {
    event.payload.get(field).and_then(Value::as_str)
}

fn error_of(event: &Event) -> Option<Fault> {
    let fault = Fault::from_json(event.payload.get("error")?)?;
    Some(fault.for_agent(&event.call_id.map(|call| call.to_string()).unwrap_or_default()))
}
