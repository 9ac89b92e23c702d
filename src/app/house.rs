//! The open home as the command line sees it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::{Along, Asking, Origin, RawCall, Reply};
use crate::cli::drive_port::DriveDesk;
use crate::cli::ports::{
    CallAsk, ExplainAsk, ExplainView, House, ReplayAsk, ReplayView, RunView, StepNotes, ToolView, WorkflowRef, WorkflowView,
};
use crate::config::LogLevel;
use crate::domain::{Actor, Amounts, ApprovalId, Clock as _, ErrorCode, Fault, GrantId, Labels, Problems, RunId, StepId, Timestamp};
use crate::engine;
use crate::gateway::Answer;
use crate::policy::TrialCount;
use crate::run::{Event, EventDraft, EventKind, RunKind, RunStatus};
use crate::secrets::operator::OperatorProof;
use crate::secrets::tokens::Tokens;
use crate::secrets::vault::Vault;
use crate::store::{Append, ApprovalFilter, ApprovalRow, GrantRow, PausedRun, RunFilter, RunRow};
use crate::tools::control::RunControl;
use crate::tools::control::types::{CancelInput, SubmitInput};
use crate::workflow::{Library, Plan};

use super::{App, SystemClock, log_level, views};

/// Events read at once.
const PAGE: u32 = 1_000;

impl App {
    fn plan(&self, which: &WorkflowRef) -> Result<(Arc<Plan>, String), Fault> {
        match which {
            WorkflowRef::Name(name) => {
                let entry = self.workflows.find(name)?;
                Ok((entry.plan.clone(), entry.origin.clone()))
            }
            WorkflowRef::File(path) => {
                let invalid = |problems: Problems| problems.into_fault(ErrorCode::WorkflowInvalid);
                let plan = Library::read_file(path).map_err(invalid)?;
                self.control.check_tools(&path.display().to_string(), &plan).map_err(invalid)?;
                Ok((plan, path.display().to_string()))
            }
        }
    }

    async fn row(&self, run: &RunId) -> Result<RunRow, Fault> {
        let unknown = || Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are");
        self.store.run(run).await?.ok_or_else(unknown)
    }

    async fn all_events(&self, run: &RunId) -> Result<Vec<Event>, Fault> {
        let mut all: Vec<Event> = Vec::new();
        loop {
            let page = self.store.events(run, all.last().map_or(0, |event| event.seq), PAGE).await?;
            let is_last = page.len() < PAGE as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

#[async_trait]
impl House for App {
    fn tools(&self) -> Vec<ToolView> {
        self.gateway.registry().iter().map(|entry| views::tool(&entry.def)).collect()
    }

    async fn call(&self, ask: CallAsk) -> Result<Reply, Fault> {
        let actor = Actor::operator();
        let run = self.gateway.adhoc_run(&actor).await?;
        let raw = RawCall {
            tool: ask.tool,
            arguments: ask.arguments,
            origin: Origin::Cli,
            actor,
            run,
            tokens: 0,
            along: Along::default(),
            cancel: ask.cancel,
            asking: Asking::default(),
            progress: ask.progress,
        };
        Ok(self.gateway.call(raw).await)
    }

    fn workflows(&self) -> Vec<WorkflowView> {
        self.workflows.iter().map(|entry| views::workflow(&entry.plan, &entry.origin)).collect()
    }

    async fn workflow(&self, which: &WorkflowRef) -> Result<WorkflowView, Fault> {
        let (plan, source) = self.plan(which)?;
        Ok(views::workflow(&plan, &source))
    }

    async fn start(&self, which: &WorkflowRef, inputs: Map<String, Value>) -> Result<RunId, Fault> {
        let (plan, _) = self.plan(which)?;
        self.control.start_plan(&Actor::operator(), &plan, Value::Object(inputs), None, Labels::default()).await
    }

    async fn drive(&self, run: &RunId, stop: CancellationToken, notes: Arc<dyn StepNotes>) -> Result<RunStatus, Fault> {
        let row = self.row(run).await?;
        if row.kind == RunKind::Adhoc || row.status.is_final() {
            return Ok(row.status);
        }
        self.watch_policies(false);
        let _watching = self.notes.watch(*run, notes);
        self.driver.drive_one(run, true, stop).await?.ok_or_else(|| {
            Fault::new(ErrorCode::LeaseLost, format!("another process drives `{run}`")).hint("`toolgate runs watch` follows it there")
        })
    }

    async fn submit(&self, run: &RunId, step: &StepId, output: Value) -> Result<(), Fault> {
        let Value::Object(fields) = output else {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("the answer to step `{step}` must be an object")));
        };
        let answer = SubmitInput { run_id: *run, step_id: step.clone(), output: fields.into_iter().collect(), note: None, tokens: None };
        self.control.submit(&Actor::operator(), &answer).await.map(drop)
    }

    async fn cancel(&self, run: &RunId, reason: Option<String>) -> Result<(), Fault> {
        self.control.cancel(&Actor::operator(), &CancelInput { run_id: *run, reason }).await.map(drop)
    }

    async fn set_log_level(&self, level: Option<LogLevel>, proof: OperatorProof) -> Result<&'static str, Fault> {
        let word = log_level::word(level);
        tracing::info!(proved_by = ?proof.by(), level = word, "the operator sets the log's level");
        let set = EventDraft::new(EventKind::SystemEvent, Actor::operator()).field("event", "log_level_set").field("level", word);
        let run = self.gateway.adhoc_run(&Actor::system()).await?;
        self.store.append(Append { run: Some(run), events: vec![set], ..Append::default() }).await?;
        log_level::write(&self.home, level).map(|()| word)
    }

    async fn raise(&self, run: &RunId, by: Amounts, proof: OperatorProof) -> Result<(), Fault> {
        tracing::info!(run_id = %run, proved_by = ?proof.by(), "the operator raises limits");
        self.control.raise(run, &by).await.map(drop)
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        self.store.runs(filter).await
    }

    async fn run(&self, run: &RunId) -> Result<RunView, Fault> {
        let row = self.row(run).await?;
        let workspace = Some(self.gateway.workspace_path(*run)).filter(|path| path.is_dir());
        let until = if row.status.is_final() { row.updated } else { SystemClock.now() };
        let budget = engine::budget_lines(&self.store.budget(run).await?, until);
        match row.kind {
            RunKind::Adhoc => Ok(views::adhoc(row, workspace, budget)),
            RunKind::Workflow => {
                let events = self.all_events(run).await?;
                // Its definition went to the archive with its other values.
                if events.iter().any(|event| event.payload.get("event").is_some_and(|word| word == "run_archived")) {
                    return Ok(views::adhoc(row, workspace, budget));
                }
                let (state, plan) = self.control.state(&Actor::operator(), run).await?;
                Ok(views::run(row, &state, &plan, &events, workspace, budget))
            }
        }
    }

    async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
        self.store.events(run, after, limit).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, Fault> {
        self.store.approvals(filter).await
    }

    async fn approval(&self, id: &ApprovalId) -> Result<ApprovalRow, Fault> {
        let unknown = || {
            Fault::new(ErrorCode::UnknownApproval, format!("no approval `{id}`")).hint("`toolgate approvals list` shows those that wait")
        };
        self.store.approval(id).await?.ok_or_else(unknown)
    }

    async fn decide(&self, id: &ApprovalId, answer: Answer, proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        self.gateway.answer(*id, answer, proof).await
    }

    async fn lift_denial(&self, id: &ApprovalId, proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        self.gateway.lift_denial(*id, proof).await
    }

    async fn grants(&self, all: bool) -> Result<Vec<GrantRow>, Fault> {
        self.store.grants(all).await
    }

    async fn revoke(&self, id: &GrantId, proof: OperatorProof) -> Result<GrantRow, Fault> {
        self.gateway.revoke(*id, proof).await
    }

    async fn paused_runs(&self) -> Result<Vec<PausedRun>, Fault> {
        self.store.paused_runs().await
    }

    async fn release(&self, run: &RunId, proof: OperatorProof) -> Result<(), Fault> {
        self.gateway.release(*run, proof).await
    }

    fn drives(&self) -> Result<Arc<dyn DriveDesk>, Fault> {
        Ok(Arc::new(self.drive_desk.clone()))
    }

    fn tokens(&self) -> Result<Tokens, Fault> {
        Ok(self.tokens.clone())
    }

    fn check_toolsets(&self, words: &[String]) -> Result<(), Fault> {
        crate::mcp::Toolset::parse(&words.join(","))
            .check(&crate::mcp::Gate::tools(&self.gateway))
            .map_err(|fault| Fault { code: crate::domain::ErrorCode::InvalidInput, ..fault })
    }

    fn vault(&self) -> Result<Vault, Fault> {
        Ok(self.vault.clone())
    }

    async fn explain(&self, ask: ExplainAsk) -> Result<ExplainView, Fault> {
        self.explain_call(ask).await
    }

    async fn replay(&self, ask: ReplayAsk) -> Result<ReplayView, Fault> {
        self.replay_calls(ask).await
    }

    async fn trials(&self, run: Option<RunId>, since: Option<Timestamp>) -> Result<Vec<TrialCount>, Fault> {
        self.count_trials(run, since).await
    }

    async fn close(&self) {
        Self::close(self).await;
    }
}
