//! Direct calls that go on without their client: what `run.watch` and `run.show` tell of them, and how they are stopped.
//!
//! INVARIANT: told from the run's events alone, so a later process tells the same. A call that was answered at once is not among them.

use serde_json::Value;

use crate::call::is_reference;
use crate::domain::{Actor, CallId, Fault, RunId};
use crate::run::{Event, EventKind};
use crate::store::RunRow;
use crate::tools::control::types::{Accepted, CallLine, CancelInput, RunView, WatchInput, WatchOutput};

use super::control::{Control, PAGE};
use super::view;

/// Calls told at once.
const MOST: usize = 20;

/// One call that went on.
struct Went {
    call: CallId,
    tool: String,
    /// What came of it, and where that stands.
    ended: Option<(u64, Result<Value, Value>)>,
}

/// What is known of a run's calls that go on or went on.
#[derive(Default)]
pub(super) struct Direct {
    last_seq: u64,
    calls: Vec<Went>,
}

impl Direct {
    pub(super) fn take(&mut self, event: &Event) {
        self.last_seq = event.seq;
        let word = event.payload.get("event").and_then(Value::as_str);
        if let (Some("call_goes_on"), Some(call)) = (word, event.call_id) {
            let tool = event.payload.get("tool").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.calls.push(Went { call, tool, ended: None });
        }
        let outcome = match event.kind {
            EventKind::ToolResult => Some(Ok(event.payload.get("output").cloned().unwrap_or_default())),
            EventKind::ToolError => Some(Err(event.payload.get("error").cloned().unwrap_or_default())),
            EventKind::RunCreated
            | EventKind::UserMessage
            | EventKind::AssistantMessageDelta
            | EventKind::AssistantMessage
            | EventKind::ToolCall
            | EventKind::ArtifactRef
            | EventKind::SystemEvent => None,
        };
        if let Some(outcome) = outcome
            && let Some(went) = self.calls.iter_mut().rev().find(|went| Some(went.call) == event.call_id)
        {
            went.ended = Some((event.seq, outcome));
        }
    }

    /// Whether a call has ended beyond the cursor.
    pub(super) fn has_news(&self, cursor: u64) -> bool {
        self.calls.iter().any(|went| went.ended.as_ref().is_some_and(|(seq, _)| *seq > cursor))
    }

    fn goes_on(&self) -> bool {
        self.calls.iter().any(|went| went.ended.is_none())
    }

    /// Calls that go on, and those that ended beyond the cursor, the oldest first.
    pub(super) fn lines(&self, cursor: u64) -> Vec<CallLine> {
        let is_news = |went: &&Went| went.ended.as_ref().is_none_or(|(seq, _)| *seq > cursor);
        let mut lines: Vec<CallLine> = self.calls.iter().rev().filter(is_news).take(MOST).map(line).collect();
        lines.reverse();
        lines
    }
}

fn line(went: &Went) -> CallLine {
    let mut line = CallLine {
        call_id: went.call.to_string(),
        tool: went.tool.clone(),
        status: "running".to_owned(),
        output: Value::Null,
        artifact: None,
        error: None,
    };
    match &went.ended {
        None => {}
        Some((_, Ok(output))) => {
            line.status = "succeeded".to_owned();
            match output.get("artifact").and_then(Value::as_str).filter(|_| is_reference(output)) {
                Some(artifact) => line.artifact = Some(artifact.to_owned()),
                None => line.output = output.clone(),
            }
        }
        Some((_, Err(error))) => {
            line.status = "failed".to_owned();
            line.error = Some(Fault::from_json(error).map_or_else(|| error.clone(), |fault| fault.for_agent(&line.call_id).to_json()));
        }
    }
    line
}

impl Control {
    /// Takes in what the log holds by now; gives what is told of it beyond the cursor.
    async fn catch_up_direct(&self, run: &RunId, direct: &mut Direct, cursor: u64) -> Result<Vec<Event>, Fault> {
        let mut unseen = Vec::new();
        loop {
            let events = self.log.events(run, direct.last_seq, PAGE).await?;
            let is_last = events.len() < PAGE as usize;
            events.iter().for_each(|event| direct.take(event));
            unseen.extend(events.into_iter().filter(|event| event.seq > cursor && view::is_told(event)));
            if is_last {
                return Ok(unseen);
            }
        }
    }

    /// Waits until a call that goes on has ended since the cursor, none goes on, or the time is over.
    pub(super) async fn watch_direct(&self, row: &RunRow, request: &WatchInput) -> Result<WatchOutput, Fault> {
        let mut waiting = self.waiting(request.wait_sec);
        let (mut direct, mut unseen) = (Direct::default(), Vec::new());
        loop {
            waiting.look();
            unseen.extend(self.catch_up_direct(&row.id, &mut direct, request.cursor).await?);
            if direct.has_news(request.cursor) || !direct.goes_on() || waiting.is_over() {
                break;
            }
            waiting.more().await;
        }
        let row = self.log.run(&row.id).await?.unwrap_or_else(|| row.clone());
        Ok(WatchOutput {
            status: row.status.as_str().to_owned(),
            cursor: direct.last_seq.max(request.cursor),
            events: unseen.iter().skip(unseen.len().saturating_sub(MOST)).map(view::event_line).collect(),
            waiting: Vec::new(),
            calls: direct.lines(request.cursor),
            done: !direct.goes_on(),
            error: None,
        })
    }

    /// A run of direct calls, with those that go on or went on.
    pub(super) async fn show_direct(&self, row: &RunRow) -> Result<RunView, Fault> {
        let mut direct = Direct::default();
        self.catch_up_direct(&row.id, &mut direct, 0).await?;
        Ok(RunView {
            run_id: row.id,
            workflow: String::new(),
            goal: "direct calls".to_owned(),
            status: row.status.as_str().to_owned(),
            inputs: Value::Null,
            steps: Vec::new(),
            calls: direct.lines(0),
            budget: Vec::new(),
            error: None,
            created: row.created.to_string(),
            updated: row.updated.to_string(),
        })
    }

    /// Stops what goes on of a run of direct calls. The run itself goes on: it is where the next call belongs.
    pub(super) async fn cancel_direct(&self, row: &RunRow, who: &Actor, request: &CancelInput) -> Result<Accepted, Fault> {
        let reason = request.reason.clone().map_or(Value::Null, Value::String);
        let event =
            crate::run::EventDraft::new(EventKind::SystemEvent, who.clone()).field("event", "calls_stopped").sealed("reason", reason);
        let append = crate::store::Append { run: Some(row.id), events: vec![event], ..Default::default() };
        let written = self.log.append(append).await?;
        self.stop_calls(&row.id);
        Ok(Accepted { status: row.status.as_str().to_owned(), cursor: written.last().map_or(row.last_seq, |event| event.seq) })
    }
}
