//! What is to be done next in a run. Pure: time, answers and who is at work are passed in.
//!
//! INVARIANT: a step that has ended is never started, unless a repair made it pending again; at most `cap` steps are at work; no step's
//! output chooses which step comes next: that is the plan's alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::{Amounts, ApprovalId, ErrorCode, Fault, Millis, Overrun, Quantity, StepId, Timestamp};
use crate::workflow::{By, OnFailure, Plan, Scope, Step, StepKind, StepView};

use super::limits;
use super::record::{SkipReason, StartedBy};
use super::repair;
use super::state::{Created, Phase, RunState};
use super::status::RunStatus;

/// What [`next`] needs to know beside state and plan.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Now.
    pub now: Timestamp,
    /// Steps that are being worked on by whoever asks.
    pub live: &'a BTreeSet<StepId>,
    /// Where the questions stand that steps wait for.
    pub answers: &'a BTreeMap<ApprovalId, Answer>,
    /// How many steps may be at work at once.
    pub cap: usize,
}

/// Where a question to a human stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nobody answered yet.
    Pending,
    /// Yes, not used up.
    Approved,
    /// Yes, and used up.
    Used,
    /// No, and why.
    Denied(Option<String>),
    /// Nobody answered in time.
    Expired,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin an attempt at a step and do its work.
    Start {
        /// The step.
        step: StepId,
        /// From 1.
        attempt: u32,
        /// What it works on.
        input: Value,
    },
    /// Go on with a step: after an answer, or after the process that was at it ended.
    Resume {
        /// The step.
        step: StepId,
        /// What it works on.
        input: Value,
        /// What an agent gave for it.
        submission: Option<Value>,
    },
    /// Ask an agent and wait.
    ParkForAgent {
        /// The step.
        step: StepId,
        /// What it is told.
        prompt: Value,
        /// What it works on.
        input: Value,
        /// What its answer must be.
        output_schema: Value,
        /// When waiting ends.
        until: Option<Timestamp>,
    },
    /// Ask a human and wait.
    ParkForApproval {
        /// The step.
        step: StepId,
        /// What the human decides on.
        input: Value,
        /// How long the question stands, where the step says.
        span: Option<Millis>,
    },
    /// Use a human's yes up; the step has then ended well.
    UseApproval {
        /// The step.
        step: StepId,
        /// The question.
        approval: ApprovalId,
    },
    /// The step does not run.
    Skip {
        /// The step.
        step: StepId,
        /// Why not.
        reason: SkipReason,
    },
    /// The step failed without any work.
    Fail {
        /// The step.
        step: StepId,
        /// Why.
        fault: Fault,
    },
    /// Stop the work on a step and wait until it is over.
    Stop {
        /// The step.
        step: StepId,
    },
    /// A limit of the run was hit, and that is not told yet.
    TellLimit(Overrun),
    /// A step that nobody works on waits until a limit is raised.
    Hold {
        /// The step.
        step: StepId,
    },
    /// Mark a step as stopped.
    Cancel {
        /// The step.
        step: StepId,
    },
    /// Nothing before then, unless something happens.
    WakeAt(Timestamp),
    /// The run is over.
    Finish {
        /// A final state.
        status: RunStatus,
        /// The step whose failure it was, and why.
        cause: Option<(Option<StepId>, Fault)>,
    },
}

/// What is to be done, in the order of the plan. Empty where the run is over or only waits.
#[must_use]
pub fn next(state: &RunState, plan: &Plan, view: View<'_>) -> Vec<Action> {
    let (None, Some(created)) = (&state.end, &state.created) else { return Vec::new() };
    if state.cancel_requested {
        return wind_up(state, plan, view, RunStatus::Cancelled, None);
    }
    if let Some(over) = state.budget.stopped_by(view.now) {
        return limits::stopped(state, plan, view, over);
    }
    let mut walk = Walk { state, created, plan, view, busy: view.live.len(), begun: 0, settled: BTreeMap::new(), actions: Vec::new() };
    for step in plan.steps() {
        walk.visit(step);
    }
    let mut actions = walk.actions;
    if plan.steps().iter().all(|step| state.phase(&step.id).has_ended()) {
        actions.push(finish(state, plan));
    } else {
        actions.extend(state.budget.ends_at(view.now).or_else(|| state.budget.waits_until(view.now)).map(Action::WakeAt));
    }
    actions
}

struct Walk<'a> {
    state: &'a RunState,
    created: &'a Created,
    plan: &'a Plan,
    view: View<'a>,
    busy: usize,
    /// Steps that this list begins.
    begun: u64,
    /// Steps that this very list skips or fails, so that what depends on them is settled in the same go.
    settled: BTreeMap<&'a StepId, Phase>,
    actions: Vec<Action>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, step: &'a Step) {
        let id = &step.id;
        if self.view.live.contains(id) {
            return;
        }
        match self.state.phase(id) {
            Phase::Succeeded | Phase::Failed | Phase::Skipped(_) | Phase::Cancelled => {}
            Phase::Pending => self.visit_pending(step),
            Phase::Running => self.resume(step, None),
            Phase::Submitted(output) => self.resume(step, Some(output.clone())),
            Phase::Held(output) => self.resume(step, output.clone()),
            Phase::Retrying(at) if *at > self.view.now => self.actions.push(Action::WakeAt(*at)),
            Phase::Retrying(_) => self.begin(step),
            Phase::WaitingForAgent(asked) => match asked.until {
                Some(until) if until <= self.view.now => self.fail(step, waited_too_long(step)),
                Some(until) => self.actions.push(Action::WakeAt(until)),
                None => {}
            },
            Phase::WaitingForHuman(approval, _) => self.visit_answer(step, *approval),
        }
    }

    fn visit_pending(&mut self, step: &'a Step) {
        let mut is_ready = true;
        for earlier in &step.depends_on {
            let phase = self.settled.get(earlier).unwrap_or_else(|| self.state.phase(earlier));
            match phase {
                Phase::Succeeded | Phase::Skipped(SkipReason::Condition) => {}
                Phase::Failed if self.plan.step(earlier).is_some_and(|step| step.on_failure == OnFailure::Continue) => {}
                Phase::Failed | Phase::Skipped(SkipReason::Dependency) | Phase::Cancelled => {
                    return self.skip(step, SkipReason::Dependency);
                }
                Phase::Pending
                | Phase::Running
                | Phase::WaitingForAgent(_)
                | Phase::Submitted(_)
                | Phase::WaitingForHuman(..)
                | Phase::Held(_)
                | Phase::Retrying(_) => is_ready = false,
            }
        }
        // What this list itself settles is not recorded yet; expressions wait until it is.
        let reads_unrecorded = step.depends_on.iter().any(|earlier| self.settled.contains_key(earlier));
        if !is_ready || reads_unrecorded {
            return;
        }
        if let Some(when) = &step.when {
            match when.holds(&self.scope(step)) {
                Ok(true) => {}
                Ok(false) => return self.skip(step, SkipReason::Condition),
                Err(fault) => return self.fail(step, fault),
            }
        }
        self.begin(step);
    }

    fn begin(&mut self, step: &'a Step) {
        let is_new = self.state.steps.get(&step.id).is_none_or(|seen| seen.attempt == 0);
        if is_new && let Some(over) = self.state.budget.over(self.view.now, &Amounts::of(Quantity::Steps, self.begun + 1)) {
            // What this list begins goes first; the limit is told once that is recorded.
            if self.begun == 0 && !self.actions.iter().any(|action| matches!(action, Action::TellLimit(_))) {
                self.actions.push(Action::TellLimit(over));
            }
            return;
        }
        let scope = self.scope(step);
        let input = match step.input.render(&scope) {
            Ok(input) => self.extended(step, input),
            Err(fault) => return self.fail(step, fault),
        };
        let id = step.id.clone();
        let new = u64::from(is_new);
        if step.kind == StepKind::Approval {
            self.begun += new;
            return self.actions.push(Action::ParkForApproval { step: id, input, span: step.timeout });
        }
        if step.kind.is_agents_work() && self.is_for_agent(step) {
            let prompt = match step.prompt.render(&scope) {
                Ok(prompt) => prompt,
                Err(fault) => return self.fail(step, fault),
            };
            let output_schema = step.output_schema.as_ref().map_or(Value::Bool(true), |schema| schema.json().clone());
            let until = step.timeout.map(|span| self.view.now.plus(span));
            self.begun += new;
            return self.actions.push(Action::ParkForAgent { step: id, prompt, input, output_schema, until });
        }
        if self.busy < self.view.cap {
            self.busy += 1;
            self.begun += new;
            let attempt = self.state.steps.get(&step.id).map_or(0, |state| state.attempt).saturating_add(1);
            self.actions.push(Action::Start { step: id, attempt, input });
        }
    }

    fn resume(&mut self, step: &'a Step, submission: Option<Value>) {
        if self.busy >= self.view.cap {
            return;
        }
        match step.input.render(&self.scope(step)) {
            Ok(input) => {
                self.busy += 1;
                let input = self.extended(step, input);
                self.actions.push(Action::Resume { step: step.id.clone(), input, submission });
            }
            Err(fault) => self.fail(step, fault),
        }
    }

    fn extended(&self, step: &Step, input: Value) -> Value {
        repair::extended(input, self.state.steps.get(&step.id).and_then(|seen| seen.repair.as_ref()))
    }

    fn visit_answer(&mut self, step: &'a Step, approval: ApprovalId) {
        let is_approval_step = step.kind == StepKind::Approval;
        match self.view.answers.get(&approval) {
            None | Some(Answer::Pending) => {}
            Some(Answer::Approved) if is_approval_step => self.actions.push(Action::UseApproval { step: step.id.clone(), approval }),
            Some(Answer::Approved | Answer::Used) if !is_approval_step => self.resume(step, None),
            Some(Answer::Approved | Answer::Used) => {
                self.fail(step, Fault::new(ErrorCode::ApprovalDenied, format!("approval `{approval}` was used up elsewhere")));
            }
            Some(Answer::Denied(said)) => {
                let said = said.as_deref().filter(|said| !said.is_empty()).map(|said| format!(": {said}")).unwrap_or_default();
                self.fail(step, Fault::new(ErrorCode::ApprovalDenied, format!("the operator refused step `{}`{said}", step.id)));
            }
            Some(Answer::Expired) => {
                let fault = Fault::new(ErrorCode::ApprovalDenied, format!("nobody approved step `{}` in time", step.id));
                self.fail(step, fault.hint("start the run again and answer before the question expires"));
            }
        }
    }

    fn is_for_agent(&self, step: &Step) -> bool {
        match step.by {
            By::Agent => true,
            By::Builtin => false,
            By::Auto => self.created.pinned.started_by == StartedBy::Agent,
        }
    }

    fn skip(&mut self, step: &'a Step, reason: SkipReason) {
        self.settled.insert(&step.id, Phase::Skipped(reason));
        self.actions.push(Action::Skip { step: step.id.clone(), reason });
    }

    fn fail(&mut self, step: &'a Step, fault: Fault) {
        self.settled.insert(&step.id, Phase::Failed);
        self.actions.push(Action::Fail { step: step.id.clone(), fault });
    }

    /// What the expressions of a step see: only the steps they name, so that a step late in a long run costs no more than an early one.
    fn scope(&self, step: &Step) -> Scope {
        let read = step.reads().filter_map(|name| {
            let id: StepId = name.parse().ok()?;
            self.state.steps.get_key_value(&id)
        });
        let views = read.map(|(id, seen)| StepView { id, status: seen.phase.status().as_str(), output: &seen.output });
        Scope::new(&self.created.pinned.inputs, &self.state.goal, &self.created.run, views)
    }
}

/// Stops what is at work, then marks what was begun, then ends the run.
pub(super) fn wind_up(
    state: &RunState,
    plan: &Plan,
    view: View<'_>,
    status: RunStatus,
    cause: Option<(Option<StepId>, Fault)>,
) -> Vec<Action> {
    if !view.live.is_empty() {
        return view.live.iter().map(|step| Action::Stop { step: step.clone() }).collect();
    }
    let begun =
        plan.steps().iter().filter(|step| state.steps.get(&step.id).is_some_and(|s| !s.phase.has_ended() && s.phase != Phase::Pending));
    let mut actions: Vec<Action> = begun.map(|step| Action::Cancel { step: step.id.clone() }).collect();
    actions.push(Action::Finish { status, cause });
    actions
}

fn finish(state: &RunState, plan: &Plan) -> Action {
    let failed = plan.steps().iter().find(|step| *state.phase(&step.id) == Phase::Failed && step.on_failure == OnFailure::Fail);
    match failed {
        None => Action::Finish { status: RunStatus::Succeeded, cause: None },
        Some(step) => {
            let fault = state.steps.get(&step.id).and_then(|seen| seen.error.clone());
            let fault = fault.unwrap_or_else(|| Fault::internal(format!("step `{}` failed without a reason", step.id)));
            Action::Finish { status: RunStatus::Failed, cause: Some((Some(step.id.clone()), fault)) }
        }
    }
}

fn waited_too_long(step: &Step) -> Fault {
    Fault::new(ErrorCode::Timeout, format!("nobody answered step `{}` in time", step.id))
        .hint("run.watch shows what waits; answer it by run.submit")
}
