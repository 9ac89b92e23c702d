//! Starts, shows, answers and stops runs, for every face. Writes to the log only; moving a run on is the driver's.
//!
//! INVARIANT: a run that is not the asker's is the same `UNKNOWN_RUN` as one that does not exist; the operator sees all. An answer that
//! does not fit its step's schema leaves no trace as an output.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use crate::domain::{Actor, Budgets, Clock, Digest, ErrorCode, Fault, Labels, Role, RunId, ToolName};
use crate::run::{Event, Phase, RunCreated, RunEvent, RunKind, RunState, RunStatus, StartedBy, fold, goal_draft, submission_draft};
use crate::schema::Schema;
use crate::store::{Append, Change, Guard, RunFilter, RunRow};
use crate::tools::control::RunControl;
use crate::tools::control::types::{
    Accepted, ArtifactList, CancelInput, ListInput, ListOutput, ProblemLine, RunLine, RunView, StartInput, StartOutput, SubmitInput,
    ValidateOutput, WatchInput, WatchOutput, WorkflowLine, WorkflowList, WorkflowView,
};
use crate::workflow::{Library, Plan, Scope, read_stored, read_yaml};

use super::direct::Direct;
use super::log::Log;
use super::view;

/// Events read at once.
pub(super) const PAGE: u32 = 1_000;
/// Events told in one answer.
const MOST_TOLD: usize = 50;
/// Longest wait of one watch.
const MOST_WAIT: u32 = 45;
/// How often the log is read for what other processes wrote.
const POLL: Duration = Duration::from_millis(200);
/// Steps run beside each other, so the log may move between reading and answering; so often is tried anew.
const TRIES: usize = 20;

/// What starting, showing and answering needs.
#[derive(Clone)]
pub struct Control {
    pub(super) log: Arc<dyn Log>,
    workflows: Arc<Library>,
    clock: Arc<dyn Clock>,
    policy: Arc<dyn Fn() -> Digest + Send + Sync>,
    budgets: Budgets,
    pub(super) tools: Option<Arc<BTreeSet<ToolName>>>,
    stops: Arc<OnceLock<StopCalls>>,
}

/// Stops the calls of a run that go on without a client.
pub type StopCalls = Box<dyn Fn(&RunId) + Send + Sync>;

/// A watch that waits for news.
pub(super) struct Waiting {
    until: tokio::time::Instant,
    changes: watch::Receiver<u64>,
}

impl Waiting {
    /// What happens from now on is news.
    pub(super) fn look(&mut self) {
        self.changes.mark_unchanged();
    }

    pub(super) fn is_over(&self) -> bool {
        tokio::time::Instant::now() >= self.until
    }

    /// Until something was recorded, or may have been by another process.
    pub(super) async fn more(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => {}
            () = tokio::time::sleep(POLL) => {}
            () = tokio::time::sleep_until(self.until) => {}
        }
    }
}

impl Control {
    /// `policy` gives the digest of the rules in force, which a run pins.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, workflows: Arc<Library>, clock: Arc<dyn Clock>, policy: Arc<dyn Fn() -> Digest + Send + Sync>) -> Self {
        Self { log, workflows, clock, policy, budgets: Budgets::default(), tools: None, stops: Arc::default() }
    }

    /// With what the operator allows.
    #[must_use]
    pub fn within(self, budgets: Budgets) -> Self {
        Self { budgets, ..self }
    }

    /// With the tools there are: a definition that names another is wrong.
    #[must_use]
    pub fn knowing(self, tools: BTreeSet<ToolName>) -> Self {
        Self { tools: Some(Arc::new(tools)), ..self }
    }

    /// Direct calls are stopped in this way from now on; the first one stays. Said once there is a gateway, which is made later.
    pub fn stopping(&self, stop: StopCalls) {
        let _first = self.stops.set(stop);
    }

    pub(super) fn stop_calls(&self, run: &RunId) {
        if let Some(stop) = self.stops.get() {
            stop(run);
        }
    }

    pub(super) fn waiting(&self, wait_sec: Option<u32>) -> Waiting {
        let wait = Duration::from_secs(u64::from(wait_sec.unwrap_or(20).min(MOST_WAIT)));
        Waiting { until: tokio::time::Instant::now() + wait, changes: self.log.changes() }
    }

    /// The workflows there are.
    #[must_use]
    pub fn library(&self) -> &Library {
        &self.workflows
    }

    /// Starts a run of this plan with these labels: from here on it goes on by itself, wherever a driver is.
    ///
    /// # Errors
    /// `INVALID_INPUT` where the inputs do not fit, `EXPRESSION_INVALID` where the goal cannot be worded.
    pub async fn start_plan(&self, who: &Actor, plan: &Plan, inputs: Value, goal: Option<String>, labels: Labels) -> Result<RunId, Fault> {
        let inputs = plan.inputs().accept(inputs)?;
        let run = RunId::mint(self.clock.now());
        let goal = match goal {
            Some(goal) => goal,
            None => plan.goal(&Scope::new(&inputs, "", &run, std::iter::empty()))?.unwrap_or_else(|| plan.description().to_owned()),
        };
        let created = RunCreated {
            workflow: plan.name().to_owned(),
            workflow_version: plan.version().to_string(),
            workflow_digest: *plan.digest(),
            policy: (self.policy)(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_by: match who.role {
                Role::Agent => StartedBy::Agent,
                Role::Operator | Role::System => StartedBy::Operator,
            },
            definition: plan.source().clone(),
            inputs,
            limits: plan.limits().allowance(&self.budgets.run),
        };
        let workflow = Some(plan.name().to_owned());
        let mut changes = vec![Change::CreateRun { kind: RunKind::Workflow, workflow, principal: who.principal.clone() }];
        let mut first = created.draft(who.clone());
        if !labels.is_empty() {
            first = first.field("labels", serde_json::json!(labels.words()));
            changes.push(Change::AddLabels { run, labels });
        }
        let append = Append { run: Some(run), events: vec![first, goal_draft(&goal, who.clone())], guards: Vec::new(), changes };
        self.log.append(append).await?;
        Ok(run)
    }

    /// A run's events with `seq` beyond `after`, as they stand in the log; at most 1000.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`.
    pub async fn events(&self, who: &Actor, run: &RunId, after: u64) -> Result<Vec<Event>, Fault> {
        self.row(who, run).await?;
        self.log.events(run, after, PAGE).await
    }

    /// A workflow run's state and plan.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`; `RUN_STATE` where it follows no workflow.
    pub async fn state(&self, who: &Actor, run: &RunId) -> Result<(RunState, Plan), Fault> {
        self.row(who, run).await?;
        let mut state = RunState::default();
        self.catch_up(run, &mut state).await?;
        let plan = plan_of(&state, run)?;
        Ok((state, plan))
    }

    /// The row of a run that whoever asks may see.
    pub(super) async fn row(&self, who: &Actor, run: &RunId) -> Result<RunRow, Fault> {
        let row = self.log.run(run).await?;
        row.filter(|row| row.principal == who.principal || who.role == Role::Operator)
            .ok_or_else(|| Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("run.list shows the runs there are"))
    }

    async fn catch_up(&self, run: &RunId, state: &mut RunState) -> Result<Vec<Event>, Fault> {
        let mut seen = Vec::new();
        loop {
            let events = self.log.events(run, state.last_seq, PAGE).await?;
            for event in &events {
                fold(state, event)?;
            }
            let is_last = events.len() < PAGE as usize;
            seen.extend(events);
            if is_last {
                return Ok(seen);
            }
        }
    }

    /// Appends what `decide` makes of the newest state, anew where the log moved in between.
    pub(super) async fn append_to(
        &self,
        run: &RunId,
        more: &[Guard],
        decide: impl Fn(&RunState) -> Result<crate::run::EventDraft, Fault>,
    ) -> Result<Accepted, Fault> {
        let mut state = RunState::default();
        let mut last = Fault::new(ErrorCode::RunState, format!("run `{run}` moves too fast to be answered"));
        for _ in 0..TRIES {
            self.catch_up(run, &mut state).await?;
            let draft = decide(&state)?;
            let guards = [Guard::LastSeq(state.last_seq), Guard::RunOpen].into_iter().chain(more.iter().cloned()).collect();
            let append = Append { run: Some(*run), events: vec![draft], guards, changes: Vec::new() };
            match self.log.append(append).await {
                Ok(events) => {
                    for event in &events {
                        fold(&mut state, event)?;
                    }
                    return Ok(Accepted { status: state.status().as_str().to_owned(), cursor: state.last_seq });
                }
                Err(fault) if fault.code == ErrorCode::RunState => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }
}

#[async_trait]
impl RunControl for Control {
    async fn start(&self, who: &Actor, request: &StartInput, labels: Labels) -> Result<StartOutput, Fault> {
        let entry = self.workflows.find(&request.workflow)?;
        let inputs = Value::Object(request.inputs.clone().into_iter().collect());
        let run_id = self.start_plan(who, &entry.plan, inputs, request.goal.clone(), labels).await?;
        Ok(StartOutput { run_id, status: RunStatus::Running.as_str().to_owned() })
    }

    async fn list(&self, who: &Actor, request: &ListInput) -> Result<ListOutput, Fault> {
        let filter = RunFilter {
            principal: (who.role != Role::Operator).then(|| who.principal.clone()),
            kind: Some(RunKind::Workflow),
            open: request.open,
            limit: request.limit.unwrap_or(20),
            ..RunFilter::default()
        };
        let line = |row: RunRow| RunLine {
            run_id: row.id,
            workflow: row.workflow.unwrap_or_default(),
            status: row.status.as_str().to_owned(),
            created: row.created.to_string(),
            updated: row.updated.to_string(),
        };
        Ok(ListOutput { runs: self.log.runs(filter).await?.into_iter().map(line).collect() })
    }

    async fn show(&self, who: &Actor, run: &RunId) -> Result<RunView, Fault> {
        let row = self.row(who, run).await?;
        if row.kind == RunKind::Adhoc {
            return self.show_direct(&row).await;
        }
        let (state, plan) = self.state(who, run).await?;
        Ok(view::run(run, &state, &plan, self.clock.now()))
    }

    async fn watch(&self, who: &Actor, request: &WatchInput) -> Result<WatchOutput, Fault> {
        let row = self.row(who, &request.run_id).await?;
        if row.kind == RunKind::Adhoc {
            return self.watch_direct(&row, request).await;
        }
        let mut waiting = self.waiting(request.wait_sec);
        // Calls that a client made in this run go on here too.
        let mut direct = Direct::default();
        let mut state = RunState::default();
        let mut unseen: Vec<Event> = Vec::new();
        loop {
            waiting.look();
            let events = self.catch_up(&request.run_id, &mut state).await?;
            events.iter().for_each(|event| direct.take(event));
            unseen.extend(events.into_iter().filter(|event| event.seq > request.cursor));
            let plan_is_due = unseen.iter().any(view::is_told) || state.end.is_some() || view::agent_is_waited_for(&state);
            if plan_is_due || direct.has_news(request.cursor) || waiting.is_over() {
                break;
            }
            waiting.more().await;
        }
        // Nobody is waited for where a run has ended, and an archived one has no plan any more.
        let plan = if state.end.is_some() { None } else { Some(plan_of(&state, &request.run_id)?) };
        let told = view::watch(&state, plan.as_ref(), &unseen, request.cursor, MOST_TOLD);
        Ok(WatchOutput { calls: direct.lines(request.cursor), ..told })
    }

    async fn submit(&self, who: &Actor, request: &SubmitInput) -> Result<Accepted, Fault> {
        self.row(who, &request.run_id).await?;
        let output = Value::Object(request.output.clone().into_iter().collect());
        let step = &request.step_id;
        let within = [Guard::Budget(self.budgets.daily(&who.principal))];
        let accepted = self.append_to(&request.run_id, &within, |state| {
            let Phase::WaitingForAgent(asked) = state.phase(step) else { return Err(not_waiting(state, request)) };
            Schema::compile(&asked.output_schema)?.check(&output).map_err(|fault| Fault {
                message: format!("the output does not fit step `{step}`: {}", fault.message),
                hint: Some("run.watch shows the step's output_schema; nothing was recorded, so submit again".into()),
                ..fault
            })?;
            Ok(submission_draft(step, output.clone(), request.note.as_deref(), request.tokens, who.clone()))
        });
        match accepted.await {
            Err(fault) => Err(self.tell_limit(&request.run_id, who, fault).await),
            accepted => accepted,
        }
    }

    async fn cancel(&self, who: &Actor, request: &CancelInput) -> Result<Accepted, Fault> {
        let row = self.row(who, &request.run_id).await?;
        if row.kind == RunKind::Adhoc {
            return self.cancel_direct(&row, who, request).await;
        }
        self.append_to(&request.run_id, &[], |state| {
            if let Some(end) = &state.end {
                return Err(Fault::new(ErrorCode::RunState, format!("run `{}` is over: {}", request.run_id, end.status.as_str())));
            }
            let reason = request.reason.clone().map_or(Value::Null, Value::String);
            Ok(RunEvent::RunCancelRequested { reason }.draft(None, who.clone()))
        })
        .await
    }

    async fn artifacts(&self, who: &Actor, run: &RunId) -> Result<ArtifactList, Fault> {
        self.row(who, run).await?;
        let (mut after, mut found, mut places) = (0, Vec::new(), BTreeMap::new());
        loop {
            let events = self.log.events(run, after, PAGE).await?;
            let Some(last) = events.last() else { return Ok(ArtifactList { artifacts: found }) };
            after = last.seq;
            for event in &events {
                view::artifacts(event, &mut found, &mut places);
            }
        }
    }

    fn workflows(&self, detail: bool) -> WorkflowList {
        let line = |plan: &Plan, text: &str| WorkflowLine {
            name: plan.name().to_owned(),
            version: plan.version().to_string(),
            description: plan.description().to_owned(),
            inputs: plan
                .inputs()
                .declared()
                .iter()
                .map(|input| format!("{}{}", input.name, if input.required { "" } else { "?" }))
                .collect(),
            schema: detail.then(|| plan.inputs().schema().clone()),
            definition: detail.then(|| text.to_owned()),
        };
        WorkflowList { workflows: self.workflows.iter().map(|entry| line(&entry.plan, &entry.text)).collect() }
    }

    fn workflow(&self, name: &str) -> Result<WorkflowView, Fault> {
        let entry = self.workflows.find(name)?;
        Ok(WorkflowView {
            name: entry.plan.name().to_owned(),
            version: entry.plan.version().to_string(),
            description: entry.plan.description().to_owned(),
            digest: entry.plan.digest().to_string(),
            inputs: entry.plan.inputs().schema().clone(),
            definition: entry.text.clone(),
        })
    }

    fn validate(&self, definition: &str) -> ValidateOutput {
        let problems = match read_yaml("definition", definition) {
            Ok(plan) => self.check_tools("definition", &plan).err().map(|problems| problems.list().to_vec()).unwrap_or_default(),
            Err(problems) => problems.list().to_vec(),
        };
        let line = |problem: crate::domain::Problem| ProblemLine { line: problem.line, message: problem.message, hint: problem.hint };
        ValidateOutput { valid: problems.is_empty(), problems: problems.into_iter().map(line).collect() }
    }
}

fn plan_of(state: &RunState, run: &RunId) -> Result<Plan, Fault> {
    let created = state.created.as_ref().ok_or_else(|| {
        Fault::new(ErrorCode::RunState, format!("run `{run}` holds direct calls and follows no workflow"))
            .hint("run.list shows workflow runs")
    })?;
    // A value that was taken away leaves its commitment: the definition goes to the archive with everything else.
    if created.pinned.definition.get("redacted").is_some() {
        return Err(Fault::new(ErrorCode::RunState, format!("run `{run}` was put aside: what it held lies in the home's archive"))
            .hint(format!("run://{run}/events tells what happened, without the values; the operator has the rest in archive/{run}")));
    }
    read_stored(&created.pinned.definition).map_err(|problems| problems.into_fault(ErrorCode::WorkflowInvalid))
}

fn not_waiting(state: &RunState, request: &SubmitInput) -> Fault {
    let waiting: Vec<&str> =
        state.steps.iter().filter(|(_, step)| matches!(step.phase, Phase::WaitingForAgent(_))).map(|(id, _)| id.as_str()).collect();
    let stands = state.steps.get(&request.step_id).map_or("not begun or not there", |step| step.phase.status().as_str());
    let hint = if waiting.is_empty() {
        "no step waits for an agent now; run.watch tells when one does".to_owned()
    } else {
        format!("waiting: {}", waiting.join(", "))
    };
    Fault::new(ErrorCode::StepNotWaiting, format!("step `{}` does not wait for an answer: {stands}", request.step_id)).hint(hint)
}
