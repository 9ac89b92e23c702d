//! Decides, for one append inside the writer's transaction, whether its guards hold and what it changes.
//!
//! INVARIANT: pure, and all or nothing: an append that fails leaves the [`State`] as it was. Does not read or write the database.

use std::collections::BTreeMap;

use crate::audit::{Place, Prepared, Sealed};
use crate::call::ArtifactRef;
use crate::domain::{
    Actor, Amounts, ApprovalId, CallId, Digest, ErrorCode, Fault, Labels, OwnerId, Principal, RunId, StepId, Timestamp, VaultWrite,
};
use crate::run::{Budget, EventKind, Mark};

use super::budgets::{self, Day};
use super::proof::Sealing;
use super::questions::state::{QuestionShare, is_pending};
use super::questions::write::QuestionWrite;
use super::state::{ApprovalState, Head, State};
use super::tree;
use super::{ApprovalStatus, Change, Channel, Guard, NewApproval, OutboxWrite, RunRow, Taken};

/// An event ready to be given its place.
pub(super) struct Ready {
    pub(super) kind: EventKind,
    pub(super) step: Option<StepId>,
    pub(super) call: Option<CallId>,
    /// What it means for budgets.
    pub(super) mark: Option<Mark>,
    /// Whose doing it is.
    pub(super) actor: Actor,
    pub(super) prepared: Prepared,
}

/// An append ready to be decided.
pub(super) struct Task {
    pub(super) run: Option<RunId>,
    pub(super) events: Vec<Ready>,
    pub(super) guards: Vec<Guard>,
    pub(super) changes: Vec<Change>,
}

/// A row of the journal to be written.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) kind: EventKind,
    pub(super) step: Option<StepId>,
    pub(super) call: Option<CallId>,
    pub(super) sealed: Sealed,
    /// What the column `tree` holds: its leaf's hash and those of the subtrees it completes.
    pub(super) tree: Vec<u8>,
}

/// A call in flight, to be written.
pub(super) struct Opening {
    pub(super) call: CallId,
    pub(super) run: RunId,
    pub(super) step: Option<StepId>,
    pub(super) idempotent: bool,
}

/// An approval to be written: a new one, or a new state of one.
pub(super) enum ApprovalWrite {
    Ask { approval: Box<NewApproval>, run: RunId, principal: Principal, at: Timestamp },
    Move { id: ApprovalId, status: ApprovalStatus, answer: Option<String>, channel: Option<Channel> },
}

/// That a run stored an artifact, or names it.
pub(super) struct ArtifactLink {
    pub(super) run: RunId,
    pub(super) artifact: ArtifactRef,
    /// The run's principal, where the run stored it.
    pub(super) owner: Option<Principal>,
    pub(super) at: Timestamp,
}

/// All that a batch writes.
#[derive(Default)]
pub(super) struct Writes {
    pub(super) rows: Vec<Row>,
    pub(super) runs: BTreeMap<RunId, RunRow>,
    pub(super) budgets: BTreeMap<RunId, Budget>,
    pub(super) days: BTreeMap<Day, Amounts>,
    pub(super) approvals: Vec<ApprovalWrite>,
    pub(super) opened: Vec<Opening>,
    pub(super) closed: Vec<CallId>,
    pub(super) questions: Vec<QuestionWrite>,
    pub(super) artifacts: Vec<ArtifactLink>,
    /// What is taken away, and from which run.
    pub(super) taken: Vec<(RunId, Taken)>,
    /// Keys, and the call remembered under each from now on, if one is.
    pub(super) remembered: Vec<(Digest, Option<Remembered>)>,
    pub(super) sealing: Sealing,
    pub(super) vault: Vec<VaultWrite>,
    /// Messages that are to leave, each with the run that tells of it.
    pub(super) outbox: Vec<(RunId, Timestamp, OutboxWrite)>,
}

impl Writes {
    /// Whether there is anything beside records, runs and calls in flight: most batches have nothing, and need one statement less.
    pub(super) fn holds_rare(&self) -> bool {
        let Self { approvals, questions, artifacts, remembered, sealing, vault, taken, outbox, .. } = self;
        let is_empty = approvals.is_empty() && questions.is_empty() && artifacts.is_empty() && remembered.is_empty();
        !(is_empty && sealing.is_empty() && vault.is_empty() && taken.is_empty() && outbox.is_empty())
    }
}

/// A call that is found again by a key: in which run it is, and since when.
pub(super) type Remembered = (CallId, RunId, Timestamp);

/// One append's share, until it is known that all of it holds.
struct Stage<'a> {
    state: &'a State,
    now: Timestamp,
    share: Share,
}

#[derive(Default)]
struct Share {
    run: Option<RunRow>,
    run_changed: bool,
    /// Labels of other runs.
    others: Vec<(RunId, Labels)>,
    approvals: BTreeMap<ApprovalId, ApprovalState>,
    questions: QuestionShare,
    writes: Writes,
}

fn state_fault(message: String) -> Fault {
    Fault::new(ErrorCode::RunState, message)
}

/// Applies an append to the state and adds what it writes to `writes`; gives back the rows of its events.
pub(super) fn apply(task: &Task, now: Timestamp, owner: OwnerId, state: &mut State, writes: &mut Writes) -> Result<Vec<Row>, Fault> {
    let now = now.max(state.head.ts);
    let Task { run, events, guards, changes } = task;
    let run = *run;
    let begins = changes.iter().any(|change| matches!(change, Change::CreateRun { .. }));
    if begins && events.first().is_none_or(|event| event.kind != EventKind::RunCreated) {
        return Err(Fault::internal("a run must begin with its `run_created`"));
    }
    let share = Share { run: run.and_then(|run| state.runs.get(&run).cloned()), ..Share::default() };
    let mut stage = Stage { state, now, share };
    for guard in guards {
        stage.check(guard, events, owner)?;
    }
    for change in changes {
        stage.change(run, change)?;
    }
    stage.check_events(run, events)?;
    let share = stage.share;
    Ok(take_in(share, events, now, state, writes))
}

/// Gives the events their places and makes the share part of the state. Cannot fail.
fn take_in(mut share: Share, events: &[Ready], now: Timestamp, state: &mut State, writes: &mut Writes) -> Vec<Row> {
    let mut rows = Vec::with_capacity(events.len());
    if let Some(run) = &mut share.run {
        for event in events {
            run.last_seq += 1;
            run.updated = now;
            let place = Place { index: state.head.next, run: run.id, seq: run.last_seq, ts: now, prev: state.head.prev };
            if let Some(mark) = &event.mark {
                budgets::take(state, run, &event.actor, mark, now, writes);
            }
            let sealed = event.prepared.seal(&place);
            state.head = Head { next: place.index + 1, prev: sealed.hash, ts: now };
            if let (Some(call), EventKind::ToolResult | EventKind::ToolError) = (event.call, event.kind) {
                state.ended.insert(call);
            }
            let tree = tree::append(&mut state.tree, sealed.record.as_bytes());
            rows.push(Row { place, kind: event.kind, step: event.step.clone(), call: event.call, sealed, tree });
        }
        if share.run_changed {
            state.runs.insert(run.id, run.clone());
            writes.runs.insert(run.id, run.clone());
        }
    }
    for (run, labels) in share.others {
        if let Some(row) = state.runs.get_mut(&run) {
            row.labels = row.labels.union(labels);
            writes.runs.insert(run, row.clone());
        }
    }
    state.questions.take_in(&share.questions);
    writes.questions.append(&mut share.questions.writes);
    state.approvals.extend(share.approvals);
    state.open.extend(share.writes.opened.iter().map(|opening| opening.call));
    for call in &share.writes.closed {
        state.open.remove(call);
    }
    writes.rows.extend(rows.iter().cloned());
    writes.approvals.append(&mut share.writes.approvals);
    writes.opened.append(&mut share.writes.opened);
    writes.closed.append(&mut share.writes.closed);
    writes.artifacts.append(&mut share.writes.artifacts);
    writes.taken.append(&mut share.writes.taken);
    for (key, call) in &share.writes.remembered {
        if call.is_some() {
            state.remembered.insert(*key)
        } else {
            state.remembered.remove(key)
        };
    }
    writes.remembered.append(&mut share.writes.remembered);
    writes.vault.append(&mut share.writes.vault);
    writes.outbox.append(&mut share.writes.outbox);
    rows
}

impl Stage<'_> {
    fn check(&self, guard: &Guard, events: &[Ready], owner: OwnerId) -> Result<(), Fault> {
        match guard {
            Guard::Holds(lease) => {
                let row = self.state.leases.get(&lease.run);
                let mine = owner.to_string();
                let holds =
                    lease.owner == owner && row.is_some_and(|row| row.fence == lease.fence && row.owner.as_deref() == Some(mine.as_str()));
                if holds {
                    Ok(())
                } else {
                    Err(Fault::new(ErrorCode::LeaseLost, format!("run `{}` is driven by another process", lease.run)))
                }
            }
            Guard::LastSeq(expected) => {
                let found = self.share.run.as_ref().map_or(0, |run| run.last_seq);
                if found == *expected {
                    Ok(())
                } else {
                    Err(state_fault(format!("the run's log went on: its last event is {found}, not {expected}")).hint("read the run again"))
                }
            }
            Guard::RunOpen => match &self.share.run {
                Some(run) if run.status.is_final() => Err(state_fault(format!("run `{}` is over: it is {}", run.id, run.status.as_str()))),
                Some(_) => Ok(()),
                None => Err(Fault::internal("an append to an open run names none")),
            },
            Guard::Budget(daily) => match &self.share.run {
                Some(run) => budgets::check(self.state, run, events, daily, self.now),
                None => Err(Fault::internal("an append within a budget names no run")),
            },
            Guard::NotReached(over) => match self.share.run.as_ref().and_then(|run| self.state.budgets.get(&run.id)) {
                Some(budget) if budget.has_reached(over, self.now) => Err(state_fault("the limit was told as hit already".to_owned())),
                Some(_) | None => Ok(()),
            },
        }
    }

    fn the_run(&mut self, run: Option<RunId>) -> Result<&mut RunRow, Fault> {
        let run = run.ok_or_else(|| Fault::internal("an append that needs a run names none"))?;
        self.share.run_changed = true;
        self.share.run.as_mut().ok_or_else(|| Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")))
    }

    fn change(&mut self, run: Option<RunId>, change: &Change) -> Result<(), Fault> {
        match change {
            Change::CreateRun { kind, workflow, principal } => {
                let id = run.ok_or_else(|| Fault::internal("a run is created without an id"))?;
                if self.share.run.is_some() {
                    return Err(state_fault(format!("run `{id}` exists already")));
                }
                let status = crate::run::RunStatus::Running;
                let (created, updated) = (self.now, self.now);
                let (workflow, principal) = (workflow.clone(), principal.clone());
                let labels = Labels::default();
                self.share.run = Some(RunRow { id, kind: *kind, workflow, principal, status, created, updated, last_seq: 0, labels });
                self.share.run_changed = true;
            }
            Change::SetStatus(status) => self.the_run(run)?.status = *status,
            Change::AddLabels { run: of, labels } if Some(*of) == run => {
                let row = self.the_run(run)?;
                row.labels = row.labels.union(*labels);
            }
            Change::AddLabels { run: of, labels } => {
                if !self.state.runs.contains_key(of) {
                    return Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{of}`")));
                }
                self.share.others.push((*of, *labels));
            }
            Change::RequestApproval(approval) => self.ask(run, approval)?,
            Change::AskAgain(id) => {
                if self.approval(*id).is_none_or(|found| found.status != ApprovalStatus::Pending) {
                    return Err(unknown_approval(*id));
                }
                self.share.questions.writes.push(QuestionWrite::AskAgain(*id));
            }
            Change::ToldOf(id) => self.share.questions.writes.push(QuestionWrite::Told(*id)),
            Change::LiftDenial(id) => {
                if self.approval(*id).is_none_or(|found| found.status != ApprovalStatus::Denied) {
                    return Err(unknown_approval(*id));
                }
                self.move_approval(*id, ApprovalStatus::Lifted, None, None);
            }
            Change::PauseQuestions { why } => {
                let run = self.the_run(run)?.id;
                self.share.questions.pause(&self.state.questions, run, why, self.now)?;
            }
            Change::ReleaseQuestions => {
                let run = self.the_run(run)?.id;
                self.share.questions.release(&self.state.questions, run)?;
            }
            Change::GiveGrant(new) => {
                let run = self.the_run(run)?.id;
                self.share.questions.give(&self.state.questions, run, new, self.now)?;
            }
            Change::UseGrant(id) => self.share.questions.use_grant(&self.state.questions, *id, self.now)?,
            Change::EndGrant { id, revoked } => self.share.questions.end_grant(&self.state.questions, *id, *revoked, self.now)?,
            Change::DecideApproval { id, approve, reason, channel } => {
                let id = *id;
                let found = self.approval(id);
                if found.is_none_or(|found| found.status != ApprovalStatus::Pending || found.expires <= self.now) {
                    return Err(unknown_approval(id));
                }
                let status = if *approve { ApprovalStatus::Approved } else { ApprovalStatus::Denied };
                self.move_approval(id, status, reason.clone(), Some(*channel));
            }
            Change::UseApproval { id, digest } => {
                let id = *id;
                let found = self.approval(id);
                let usable = found
                    .is_some_and(|found| found.status == ApprovalStatus::Approved && found.expires > self.now && found.digest == *digest);
                if !usable {
                    return Err(Fault::new(
                        ErrorCode::ApprovalRequired,
                        format!("approval `{id}` does not stand for this call, or no longer"),
                    )
                    .hint("make the same call again to ask anew"));
                }
                self.move_approval(id, ApprovalStatus::Used, None, None);
            }
            Change::ExpireApproval(id) => {
                let id = *id;
                let found = self.approval(id);
                if found.is_none_or(|found| !matches!(found.status, ApprovalStatus::Pending | ApprovalStatus::Approved)) {
                    return Err(unknown_approval(id));
                }
                self.move_approval(id, ApprovalStatus::Expired, None, None);
            }
            Change::OpenCall { call, idempotent } => self.open_call(run, *call, *idempotent)?,
            Change::CloseCall(call) => {
                let call = *call;
                if self.state.ended.contains(&call) || self.share.writes.closed.contains(&call) {
                    return Err(ended(call));
                }
                self.share.writes.closed.push(call);
            }
            Change::Remember { key, call } => {
                let run = self.the_run(run)?.id;
                let forgotten = self.share.writes.remembered.iter().any(|(other, call)| other == key && call.is_none());
                if self.state.remembered.contains(key) && !forgotten {
                    return Err(state_fault("another call is remembered under this key".to_owned()));
                }
                self.share.writes.remembered.push((*key, Some((*call, run, self.now))));
            }
            Change::Forget(key) => {
                if !self.state.remembered.contains(key) {
                    return Err(state_fault("no call is remembered under this key".to_owned()));
                }
                self.share.writes.remembered.push((*key, None));
            }
            Change::OwnArtifact(artifact) => {
                let row = self.the_run(run)?;
                let (run, owner) = (row.id, Some(row.principal.clone()));
                self.share.writes.artifacts.push(ArtifactLink { run, artifact: artifact.clone(), owner, at: self.now });
            }
            Change::NameArtifact(artifact) => {
                let run = self.the_run(run)?.id;
                self.share.writes.artifacts.push(ArtifactLink { run, artifact: artifact.clone(), owner: None, at: self.now });
            }
            Change::Vault(write) => self.share.writes.vault.push(write.clone()),
            Change::Outbox(write) => {
                let run = self.the_run(run)?.id;
                self.share.writes.outbox.push((run, self.now, write.clone()));
            }
            Change::TakeAway(taken) => {
                let run = self.the_run(run)?.id;
                self.share.writes.taken.push((run, taken.clone()));
            }
        }
        Ok(())
    }

    fn ask(&mut self, run: Option<RunId>, approval: &NewApproval) -> Result<(), Fault> {
        let row = self.the_run(run)?;
        let (run, principal) = (row.id, row.principal.clone());
        if self.approval(approval.id).is_some() {
            return Err(Fault::internal(format!("approval `{}` exists already", approval.id)));
        }
        let (now, known) = (self.now, &self.state.questions);
        let states = (&self.share.approvals, &self.state.approvals);
        let status = |id: ApprovalId| states.0.get(&id).or_else(|| states.1.get(&id)).map(|found| found.status);
        self.share.questions.ask(known, (run, &principal, approval), now, |id| is_pending(status(id)))?;
        let state = ApprovalState { status: ApprovalStatus::Pending, digest: approval.digest, expires: approval.expires };
        self.share.approvals.insert(approval.id, state);
        self.share.writes.approvals.push(ApprovalWrite::Ask { approval: Box::new(approval.clone()), run, principal, at: self.now });
        Ok(())
    }

    fn approval(&self, id: ApprovalId) -> Option<&ApprovalState> {
        self.share.approvals.get(&id).or_else(|| self.state.approvals.get(&id))
    }

    fn move_approval(&mut self, id: ApprovalId, status: ApprovalStatus, answer: Option<String>, channel: Option<Channel>) {
        if let Some(found) = self.approval(id).cloned() {
            self.share.approvals.insert(id, ApprovalState { status, ..found });
            self.share.writes.approvals.push(ApprovalWrite::Move { id, status, answer, channel });
        }
    }

    fn open_call(&mut self, run: Option<RunId>, call: CallId, idempotent: bool) -> Result<(), Fault> {
        let run = self.the_run(run)?.id;
        let known = self.state.open.contains(&call) || self.state.ended.contains(&call);
        if known || self.share.writes.opened.iter().any(|opening| opening.call == call) {
            return Err(state_fault(format!("call `{call}` was begun already")));
        }
        // Its step is the intent's, filled in when the events are placed.
        self.share.writes.opened.push(Opening { call, run, step: None, idempotent });
        Ok(())
    }

    /// Checks the events, and tells the calls they begin which step they belong to.
    fn check_events(&mut self, run: Option<RunId>, events: &[Ready]) -> Result<(), Fault> {
        if events.is_empty() {
            return Ok(());
        }
        self.the_run(run)?;
        let mut outcomes = Vec::new();
        for event in events {
            let Some(call) = event.call else { continue };
            if matches!(event.kind, EventKind::ToolResult | EventKind::ToolError) {
                if self.state.ended.contains(&call) || outcomes.contains(&call) {
                    return Err(ended(call));
                }
                outcomes.push(call);
            }
            for opening in self.share.writes.opened.iter_mut().filter(|opening| opening.call == call) {
                opening.step.clone_from(&event.step);
            }
        }
        Ok(())
    }
}

fn unknown_approval(id: ApprovalId) -> Fault {
    Fault::new(ErrorCode::UnknownApproval, format!("no approval `{id}` is waiting")).hint("`toolgate approvals list` shows those that wait")
}

fn ended(call: CallId) -> Fault {
    state_fault(format!("call `{call}` has its outcome already"))
}
