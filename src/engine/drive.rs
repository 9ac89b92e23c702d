//! One run, driven under one lease: read the log, fold, ask what is next, do it, write down what came of it.
//!
//! INVARIANT: every append is guarded by the lease. At most one task works on a step. The log is the only memory: what is kept here
//! beside it (who is at work) dies with the process and is not missed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, Measured, Millis, Overrun, StepId, Timestamp};
use crate::run::{
    Action, Answer, EventDraft, Phase, RunEvent, RunState, RunStatus, View, WaitingFor, after_checks, after_failure, after_mending, fold,
    next, reached_draft,
};
use crate::store::{Append, ApprovalStatus, Change, Guard, Lease};
use crate::workflow::{Plan, read_stored};

use super::approval;
use super::calls::{StepCalls, Stop};
use super::driver::DriverParts;
use super::limits;
use super::work::{Ended, Job, begin};

/// Events read at once.
const PAGE: u32 = 1_000;

/// One run on its way.
pub(super) struct Drive {
    parts: Arc<DriverParts>,
    lease: Lease,
    state: RunState,
    plan: Arc<Plan>,
    /// The state that lists show.
    shown: RunStatus,
    live: BTreeMap<StepId, CancellationToken>,
    ends: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
}

/// What one look at the run led to.
enum Look {
    /// Something was written; there may be more to do.
    Moved,
    /// Nothing to do before then, or before something happens.
    Rest(Option<Timestamp>),
}

/// Events and changes on their way into one commit.
#[derive(Default)]
struct Batch {
    events: Vec<EventDraft>,
    changes: Vec<Change>,
    jobs: Vec<Job>,
}

impl Drive {
    /// Reads the run's log and its definition. A run whose definition this version cannot run is ended as failed.
    pub(super) async fn open(parts: Arc<DriverParts>, lease: Lease) -> Result<Self, Fault> {
        let mut state = RunState::default();
        catch_up(&parts, &lease, &mut state).await?;
        let created = state.created.as_ref().ok_or_else(|| Fault::internal(format!("run `{}` follows no workflow", lease.run)))?;
        let plan = match read_stored(&created.pinned.definition) {
            Ok(plan) => Arc::new(plan),
            Err(problems) => {
                let fault = problems.into_fault(ErrorCode::WorkflowInvalid);
                let event = RunEvent::RunFailed { step: None, error: fault.to_json() }.draft(None, Actor::system());
                let append = Append {
                    run: Some(lease.run),
                    events: vec![event],
                    guards: vec![Guard::Holds(lease), Guard::RunOpen],
                    changes: vec![Change::SetStatus(RunStatus::Failed)],
                };
                parts.log.append(append).await?;
                return Err(fault);
            }
        };
        let shown = parts.log.run(&lease.run).await?.map_or(RunStatus::Running, |row| row.status);
        Ok(Self { parts, lease, state, plan, shown, live: BTreeMap::new(), ends: mpsc::unbounded_channel() })
    }

    /// Drives until the run ends, `stop` fires, or with `until_waiting` only others can move it on.
    pub(super) async fn see_through(&mut self, until_waiting: bool, stop: CancellationToken) -> Result<RunStatus, Fault> {
        let result = self.advance(until_waiting, &stop).await;
        // Whatever ended the loop, no call of this process may outlive the lease unrecorded.
        let drained = self.drain().await;
        let status = result?;
        drained?;
        Ok(status)
    }

    async fn advance(&mut self, until_waiting: bool, stop: &CancellationToken) -> Result<RunStatus, Fault> {
        let mut changes = self.parts.log.changes();
        let mut renewed = tokio::time::Instant::now();
        loop {
            changes.mark_unchanged();
            catch_up(&self.parts, &self.lease, &mut self.state).await?;
            if let Some(end) = &self.state.end {
                self.parts.settings.meter.tell(Measured::RunEnded { status: end.status.as_str() });
                return Ok(end.status);
            }
            if stop.is_cancelled() {
                return Ok(self.state.status());
            }
            let wake = match self.look().await? {
                Look::Moved => continue,
                Look::Rest(wake) => wake,
            };
            if until_waiting && self.live.is_empty() && self.state.status() == RunStatus::Waiting {
                return Ok(RunStatus::Waiting);
            }
            let poll = self.parts.settings.poll;
            let nap = wake.map_or(poll, |at| at.since(self.parts.clock.now()).min(poll)).max(Millis(1));
            tokio::select! {
                ended = self.ends.1.recv() => self.settle(ended).await?,
                _ = changes.changed() => {}
                () = stop.cancelled() => {}
                () = tokio::time::sleep(nap.duration()) => {}
            }
            if renewed.elapsed() * 3 >= self.parts.settings.lease.duration() {
                if !self.parts.log.renew_lease(&self.lease, self.parts.settings.lease).await? {
                    return Err(Fault::new(ErrorCode::LeaseLost, format!("another process drives run `{}`", self.lease.run)));
                }
                renewed = tokio::time::Instant::now();
            }
        }
    }

    /// Asks what is next and does it.
    async fn look(&mut self) -> Result<Look, Fault> {
        let answers = self.answers().await?;
        let live: BTreeSet<StepId> = self.live.keys().cloned().collect();
        let now = self.parts.clock.now();
        let view = View { now, live: &live, answers: &answers, cap: self.parts.settings.parallel_steps };
        let mut batch = Batch::default();
        let mut wake: Option<Timestamp> = None;
        for action in next(&self.state, &self.plan, view) {
            match action {
                Action::WakeAt(at) => wake = Some(wake.map_or(at, |known| known.min(at))),
                Action::Stop { step } => {
                    if let Some(cancel) = self.live.get(&step) {
                        cancel.cancel();
                    }
                }
                Action::UseApproval { step, approval } => {
                    // Alone in its commit: it may turn out that the yes is no longer good.
                    return self.use_approval(&step, approval).await.map(|()| Look::Moved);
                }
                other @ (Action::Start { .. }
                | Action::Resume { .. }
                | Action::ParkForAgent { .. }
                | Action::ParkForApproval { .. }
                | Action::Skip { .. }
                | Action::Fail { .. }
                | Action::TellLimit(_)
                | Action::Hold { .. }
                | Action::Cancel { .. }
                | Action::Finish { .. }) => self.plan_action(other, now, &mut batch)?,
            }
        }
        if batch.events.is_empty() {
            self.show_status().await?;
            return Ok(Look::Rest(wake));
        }
        if !self.append_within_budget(batch.events, batch.changes).await? {
            return Ok(Look::Moved);
        }
        for job in batch.jobs {
            let cancel = CancellationToken::new();
            self.live.insert(job.step.clone(), cancel.clone());
            let calls = self.step_calls(&job, cancel);
            begin(&self.parts, &self.plan, job, calls, self.ends.0.clone());
        }
        Ok(Look::Moved)
    }

    fn plan_action(&self, action: Action, now: Timestamp, batch: &mut Batch) -> Result<(), Fault> {
        let mut record = |step: Option<&StepId>, event: RunEvent| batch.events.push(event.draft(step, Actor::system()));
        let begins = |step: &StepId, event: RunEvent| limits::begins(&self.state, step, event.draft(Some(step), Actor::system()));
        match action {
            Action::Start { step, attempt, input } => {
                batch.events.push(begins(&step, RunEvent::StepStarted { attempt }));
                batch.jobs.push(Job { step, attempt, input, submission: None, recorded: Vec::new() });
            }
            Action::Resume { step, input, submission } => {
                record(Some(&step), RunEvent::StepResumed);
                let seen = self.state.steps.get(&step).cloned().unwrap_or_default();
                batch.jobs.push(Job { step, attempt: seen.attempt, input, submission, recorded: seen.calls });
            }
            Action::ParkForAgent { step, prompt, input, output_schema, until } => {
                let waiting_for = WaitingFor::Agent;
                let event = RunEvent::StepWaiting { waiting_for, prompt, input, output_schema, approval_id: None, until };
                batch.events.push(begins(&step, event));
            }
            Action::ParkForApproval { step, input, span } => {
                let expires = now.plus(span.unwrap_or(self.parts.settings.approval));
                let (events, change) = approval::request(&self.state, &self.plan, &step, input, now, expires)?;
                // The first of them is the step's.
                let mut events = events.into_iter();
                batch.events.extend(events.next().map(|first| limits::begins(&self.state, &step, first)));
                batch.events.extend(events);
                batch.changes.push(change);
            }
            Action::TellLimit(over) => batch.events.push(reached_draft(&over, Actor::system())),
            Action::Hold { step } => record(Some(&step), limits::held(&step)),
            Action::Skip { step, reason } => record(Some(&step), RunEvent::StepSkipped { reason }),
            Action::Fail { step, fault } => record(Some(&step), RunEvent::StepFailed { error: fault.to_json(), output: Value::Null }),
            Action::Cancel { step } => record(Some(&step), RunEvent::StepCancelled),
            Action::Finish { status, cause } => {
                record(None, ending(status, cause));
                batch.changes.push(Change::SetStatus(status));
            }
            Action::UseApproval { .. } | Action::Stop { .. } | Action::WakeAt(_) => {}
        }
        Ok(())
    }

    /// The human's yes and the step's end in one commit; a yes that is no longer good fails the step.
    async fn use_approval(&mut self, step: &StepId, approval: ApprovalId) -> Result<(), Fault> {
        let Some(row) = self.parts.log.approval(&approval).await? else {
            return Err(Fault::internal(format!("approval `{approval}` vanished")));
        };
        let output = serde_json::json!({ "approved": true, "approval_id": approval, "answer": row.answer });
        let done = RunEvent::StepSucceeded { output }.draft(Some(step), Actor::system());
        match self.append(vec![done], vec![Change::UseApproval { id: approval, digest: row.digest }]).await {
            Err(fault) if fault.code == ErrorCode::ApprovalRequired => {
                let fault = Fault::new(ErrorCode::ApprovalDenied, format!("the approval of step `{step}` ran out before it was used"));
                let failed = RunEvent::StepFailed { error: fault.to_json(), output: Value::Null };
                self.append(vec![failed.draft(Some(step), Actor::system())], Vec::new()).await
            }
            result => result,
        }
    }

    /// Writes down how steps ended: this one and all that ended meanwhile.
    async fn settle(&mut self, first: Option<Ended>) -> Result<(), Fault> {
        let mut events = Vec::new();
        let mut next = first;
        while let Some(ended) = next {
            self.live.remove(&ended.step);
            events.extend(self.end_of(ended));
            next = self.ends.1.try_recv().ok();
        }
        if events.is_empty() { Ok(()) } else { self.append(events, Vec::new()).await }
    }

    /// What is written about an end. All of it belongs into one commit.
    fn end_of(&self, ended: Ended) -> Vec<EventDraft> {
        let Ended { step, attempt, result } = ended;
        let draft = |step: &StepId, event: &RunEvent| event.draft(Some(step), Actor::system());
        let event = match result {
            Ok(output) => {
                let stopped = after_mending(&self.state, &self.plan, &step, &output);
                let mut drafts = vec![draft(&step, &RunEvent::StepSucceeded { output })];
                if let Some((checks, events)) = stopped {
                    drafts.extend(events.iter().map(|event| draft(&checks, event)));
                }
                return drafts;
            }
            Err(Stop::Asks(approval_id)) => RunEvent::StepWaiting {
                waiting_for: WaitingFor::Human,
                prompt: format!("step `{step}` makes a call that a human must approve").into(),
                input: Value::Null,
                output_schema: Value::Null,
                approval_id: Some(approval_id),
                until: None,
            },
            Err(Stop::Failed { fault, .. }) if self.state.cancel_requested && fault.code == ErrorCode::Cancelled => RunEvent::StepCancelled,
            Err(Stop::Failed { fault, .. }) if limits::is_held_by(&self.plan, &fault) => limits::held(&step),
            Err(Stop::Failed { fault, output }) => {
                let Some(planned) = self.plan.step(&step) else { return Vec::new() };
                if let Some(follows) = after_checks(&self.state, &self.plan, planned, &fault, &output) {
                    return follows.iter().map(|event| draft(&step, event)).collect();
                }
                after_failure(planned, attempt, &fault, output, self.parts.clock.now(), rand::random::<f64>())
            }
        };
        vec![draft(&step, &event)]
    }

    /// Cancels what is at work and waits for it. What ended by itself is still written down; what was cut off is left to the next driver.
    async fn drain(&mut self) -> Result<(), Fault> {
        for cancel in self.live.values() {
            cancel.cancel();
        }
        let mut events = Vec::new();
        while !self.live.is_empty() {
            let Some(ended) = self.ends.1.recv().await else { break };
            self.live.remove(&ended.step);
            let was_cut_off = matches!(&ended.result, Err(Stop::Failed { fault, .. }) if fault.code == ErrorCode::Cancelled);
            if !was_cut_off {
                events.extend(self.end_of(ended));
            }
        }
        if events.is_empty() { Ok(()) } else { self.append(events, Vec::new()).await }
    }

    /// Makes lists show where the run stands.
    async fn show_status(&mut self) -> Result<(), Fault> {
        let status = self.state.status();
        if status != self.shown {
            self.append(Vec::new(), vec![Change::SetStatus(status)]).await?;
            self.shown = status;
        }
        Ok(())
    }

    /// Where the questions stand that steps wait for.
    async fn answers(&self) -> Result<BTreeMap<ApprovalId, Answer>, Fault> {
        let mut answers = BTreeMap::new();
        for step in self.state.steps.values() {
            let Phase::WaitingForHuman(id, _) = &step.phase else { continue };
            let Some(row) = self.parts.log.approval(id).await? else { continue };
            let answer = match row.status {
                ApprovalStatus::Pending => Answer::Pending,
                ApprovalStatus::Approved => Answer::Approved,
                ApprovalStatus::Used => Answer::Used,
                ApprovalStatus::Denied | ApprovalStatus::Lifted => Answer::Denied(row.answer),
                ApprovalStatus::Expired => Answer::Expired,
            };
            answers.insert(*id, answer);
        }
        Ok(answers)
    }

    fn step_calls(&self, job: &Job, cancel: CancellationToken) -> StepCalls {
        StepCalls {
            path: self.parts.calls.clone(),
            artifacts: self.parts.log.artifacts(),
            run: self.lease.run,
            step: job.step.clone(),
            actor: self.state.created.as_ref().map_or_else(Actor::system, |created| created.actor.clone()),
            cancel,
            progress: (self.parts.settings.progress)(&self.lease.run, &job.step),
            recorded: job.recorded.iter().cloned().collect(),
        }
    }

    async fn append(&self, events: Vec<EventDraft>, changes: Vec<Change>) -> Result<(), Fault> {
        let guards = vec![Guard::Holds(self.lease.clone()), Guard::RunOpen];
        self.parts.log.append(Append { run: Some(self.lease.run), events, guards, changes }).await.map(drop)
    }
}

impl Drive {
    /// Appends what begins steps, within the principal's budget too. `false` where that did not allow it: the hit limit is recorded instead.
    async fn append_within_budget(&self, events: Vec<EventDraft>, changes: Vec<Change>) -> Result<bool, Fault> {
        let Some(created) = &self.state.created else { return Ok(false) };
        let daily = self.parts.settings.budgets.daily(&created.actor.principal);
        let begins = |event: &EventDraft| event.payload.contains_key("begins");
        if daily.is_unlimited() || !events.iter().any(begins) {
            return self.append(events, changes).await.map(|()| true);
        }
        let guards = vec![Guard::Holds(self.lease.clone()), Guard::RunOpen, Guard::Budget(daily)];
        match self.parts.log.append(Append { run: Some(self.lease.run), events, guards, changes }).await {
            Ok(_) => Ok(true),
            Err(fault) => {
                let over = Overrun::of_fault(&fault).ok_or(fault)?;
                self.append(vec![reached_draft(&over, Actor::system())], Vec::new()).await.map(|()| false)
            }
        }
    }
}

/// The event of a run's end.
fn ending(status: RunStatus, cause: Option<(Option<StepId>, Fault)>) -> RunEvent {
    match (status, cause) {
        (RunStatus::Succeeded, _) => RunEvent::RunSucceeded,
        (RunStatus::Cancelled, _) => RunEvent::RunCancelled,
        (_, Some((step, fault))) => RunEvent::RunFailed { step, error: fault.to_json() },
        (_, None) => RunEvent::RunFailed { step: None, error: Fault::internal("the run failed without a reason").to_json() },
    }
}

/// Takes into account what the log holds beyond what was read.
async fn catch_up(parts: &DriverParts, lease: &Lease, state: &mut RunState) -> Result<(), Fault> {
    loop {
        let events = parts.log.events(&lease.run, state.last_seq, PAGE).await?;
        for event in &events {
            fold(state, event)?;
        }
        if events.len() < PAGE as usize {
            return Ok(());
        }
    }
}
