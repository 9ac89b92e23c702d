//! The one path, top to bottom: parse, prepare, decide, ask, intent, execute, check, outcome, reply.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::call::{CheckedOutput, Origin, ParsedCall, PreparedCall, RawCall, RawOutput, Reply, WallTime};
use crate::domain::{CallId, Digest, ErrorCode, Fault, GrantId, Labels, Role, RunId};
use crate::policy::{Decision, Grant, PolicySet, Verdict};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Change};
use crate::tools::{Brought, CallContext};

use super::approval::{Approved, Yes};
use super::handover::Patience;
use super::idempotency::CallKey;
use super::journal::{self, Identity, Recorded};
use super::shelf::Shelf;
use super::stage::{Staged as _, in_stage, stage};
use super::surroundings::{Surroundings, seen};
use super::{Gateway, Inner};

/// How long a cancelled or overdue tool may take to end by itself before it is dropped.
const GRACE: Duration = Duration::from_secs(2);

/// By whose leave a call runs.
enum Leave {
    Policy(Grant),
    Human(Approved),
    Standing(Grant, GrantId),
}

/// A call with all that it needs to run.
struct Ready {
    call: PreparedCall,
    decision: Decision,
    leave: Leave,
    context: CallContext,
    around: Surroundings,
    shelf: Arc<Shelf>,
}

/// A call that may go on.
enum Admitted {
    /// To be run.
    New(Box<Ready>),
    /// It ran before, under the same key: what came of it.
    Done(Outcome),
}

/// What came of a call.
type Outcome = Result<CheckedOutput, Fault>;

/// A call that is to be decided.
struct Readied {
    prepared: PreparedCall,
    context: CallContext,
    /// One set for the digest and the decision: rules may be replaced at any time.
    policy: Arc<PolicySet>,
    shelf: Arc<Shelf>,
}

/// An intent that is recorded or will share its outcome's commit. Only `finish` ends it.
#[must_use = "an intent needs its outcome"]
pub(super) struct OpenCall {
    /// With what must be said beside it.
    pub(super) unrecorded: Option<(EventDraft, Option<Change>)>,
}

impl Gateway {
    /// Walks the path. Whoever awaits this may go away: the call is then cancelled and its outcome still recorded.
    pub async fn call(&self, raw: RawCall) -> Reply {
        self.begin(raw, None).await
    }

    /// The same for a client that waits so long and no longer: where the tool can take long and runs by then, it is answered with a handle
    /// (see [`super::with_handle`]) and the call goes on.
    pub async fn call_within(&self, raw: RawCall, within: Duration) -> Reply {
        let is_long = self.inner.registry.find(&raw.tool).is_some_and(super::can_be_long);
        self.begin(raw, is_long.then_some(within)).await
    }

    async fn begin(&self, raw: RawCall, within: Option<Duration>) -> Reply {
        let call = raw.along.call.unwrap_or_else(|| CallId::mint(self.inner.clock.now()));
        let (run, unwanted) = (raw.run, raw.cancel);
        // Of its own: a call that goes on does not end with its client's request.
        let cancel = CancellationToken::new();
        let raw = RawCall { cancel: cancel.clone(), ..raw };
        let (answer, mut answered) = oneshot::channel();
        let (patience, handed) = within.map(Patience::new).unzip();
        let gateway = self.clone();
        let step = journal::step_of(&raw.origin);
        // Every line that belongs to the call gets its ids from here.
        let span = self.inner.span(call, &raw, step.as_ref());
        let walk = async move {
            // Nobody listens any more where this fails; the journal has the outcome.
            let _unheard = answer.send(gateway.walk(call, raw, patience).await);
        };
        self.inner.spawner.spawn("call", walk.instrument(span).boxed());
        let guard = cancel.clone().drop_guard();
        let handle = async {
            match handed {
                Some(handed) => handed.await,
                None => std::future::pending().await,
            }
        };
        let mut handle = std::pin::pin!(handle.fuse());
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut answered => break reply.ok(),
                // Without a handle the answer itself is on its way.
                Ok(reply) = &mut handle => break Some(reply),
                () = unwanted.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
            }
        };
        drop(guard.disarm());
        reply.unwrap_or_else(|| Reply { call, run, outcome: Err(Fault::internal("the call's task ended without an answer")) })
    }

    /// Records that a face turned a call away, because whoever makes it shows a credential that does not reach so far, and gives the
    /// refusal back. Nothing is decided here, and nothing runs.
    pub async fn turn_away(&self, raw: RawCall, fault: Fault) -> Reply {
        let call = CallId::mint(self.inner.clock.now());
        let who = Identity {
            call,
            run: raw.run,
            actor: raw.actor,
            step: journal::step_of(&raw.origin),
            tool: raw.tool,
            origin: raw.origin,
            through: false,
            decided: None,
        };
        let fault = self.inner.refuse(&who, "token", fault, raw.arguments).await;
        tracing::info!(call_id = %call, run_id = %who.run, tool = %who.tool, code = %fault.code, "{}", fault.message);
        Reply { call, run: who.run, outcome: Err(fault) }
    }

    async fn walk(&self, id: CallId, raw: RawCall, patience: Option<Patience>) -> Reply {
        let house = &*self.inner;
        let (run, begun) = (raw.run, Instant::now());
        let raw = match house.record_origin(raw.origin.clone()).await {
            Ok(origin) => RawCall { origin, ..raw },
            Err(fault) => return Reply { call: id, run, outcome: Err(fault) },
        };
        let mut who = Identity {
            call: id,
            run: raw.run,
            actor: raw.actor.clone(),
            step: journal::step_of(&raw.origin),
            tool: raw.tool.clone(),
            origin: raw.origin.clone(),
            through: false,
            decided: None,
        };
        let outcome = match house.admit(&mut who, raw).await {
            Ok(Admitted::New(ready)) => house.carry_out(*ready, patience).await,
            Ok(Admitted::Done(outcome)) => outcome,
            Err(fault) => Err(fault),
        };
        house.tell_outcome(&who, outcome.as_ref().err(), begun.elapsed());
        match &outcome {
            Ok(_) => tracing::debug!(name: "call_ended", run_id = %who.run, tool = %who.tool, "`{}` is done", who.tool),
            Err(fault) => tracing::info!(name: "call_failed", run_id = %who.run, tool = %who.tool, code = %fault.code, "{}", fault.message),
        }
        Reply { call: id, run: who.run, outcome }
    }
}

impl Inner {
    /// From the wire to a leave to run; whatever is turned away on the way is recorded.
    async fn admit(&self, who: &mut Identity, raw: RawCall) -> Result<Admitted, Fault> {
        if self.halted.load(Ordering::Acquire) {
            return Err(Fault::new(ErrorCode::StoreFailed, "an outcome could not be recorded, so nothing new runs in this process")
                .hint("mend the disk or database, then start toolgate again"));
        }
        self.store.witnessed()?;
        if let Err(none) = self.store.room(&raw.run).await {
            return Err(self.refuse_for_room(who, none).await);
        }
        let raw = match self.registry.put_through(&raw) {
            Ok(None) => raw,
            Ok(Some(meant)) => {
                who.tool.clone_from(&meant.tool);
                who.through = true;
                meant
            }
            Err(fault) => return Err(self.refuse(who, "parse", fault, raw.arguments).await),
        };
        let written = raw.arguments.clone();
        let here = raw.run;
        // Read meanwhile: a passage to the database's thread and back takes as long as the stages before the decision.
        let (row, readied) = join(self.store.run(&here), self.readied(who, raw, &written)).await;
        let Readied { prepared, context, policy, shelf } = match readied? {
            Ok(readied) => *readied,
            Err(outcome) => return Ok(Admitted::Done(outcome)),
        };
        let around = self.surroundings(&prepared, here, Some(row?)).await?;
        let decision = self.decide(&policy, &prepared, &around.facts);
        who.decided = Some(seen(EventDraft::new(EventKind::ToolError, who.actor.clone()), &decision, &prepared, &around.facts).payload);
        let leave = match decision.verdict {
            Verdict::Deny => return Err(self.refuse(who, "policy", decision.refusal(), written).await),
            Verdict::Ask => match self.ask(&prepared, &decision, (&policy, &context)).staged(stage!("ask")).await {
                Ok(Yes::Once(approved)) => Leave::Human(approved),
                Ok(Yes::Standing(grant, id)) => Leave::Standing(grant, id),
                Err(fault) => return Err(self.refuse(who, "approval", fault, written).await),
            },
            Verdict::Allow => match decision.grant(&prepared) {
                Some(grant) => Leave::Policy(grant),
                None => return Err(Fault::internal("policy allowed a call without a grant")),
            },
        };
        let context = CallContext { digest: *prepared.digest(), labels: around.facts.labels, ..context };
        Ok(Admitted::New(Box::new(Ready { call: prepared, decision, leave, context, around, shelf })))
    }

    /// The stages before the decision; or what came of the call before, under the same key.
    async fn readied(&self, who: &mut Identity, raw: RawCall, written: &Value) -> Result<Result<Box<Readied>, Outcome>, Fault> {
        let parsed = match in_stage(&stage!("parse"), || self.registry.parse(raw, who.call)) {
            Ok(parsed) => parsed,
            Err(fault) => return Err(self.refuse(who, "parse", fault, written.clone()).await),
        };
        if let Err(fault) = self.owns_run(&parsed, who.run).await {
            return Err(self.refuse(who, "run", fault, written.clone()).await);
        }
        let here = std::mem::replace(&mut who.run, parsed.run);
        if here != parsed.run {
            tracing::Span::current().record("run_id", tracing::field::display(parsed.run));
        }
        if let Err(fault) = self.declared(&parsed).await {
            return Err(self.refuse(who, "scope", fault, written.clone()).await);
        }
        if let Some(key) = CallKey::of(&parsed) {
            match self.recorded_outcome(&parsed, &key, here).await {
                Ok(Some(outcome)) => return Ok(Err(outcome)),
                Ok(None) => {}
                Err(fault) => return Err(self.refuse(who, "idempotency", fault, written.clone()).await),
            }
        }
        let shelf = self.shelf(&parsed.actor);
        let context = self.context(&parsed, &shelf)?;
        let preparation = match self.registry.prepare(&parsed, &context).staged(stage!("prepare")).await {
            Ok(preparation) => preparation,
            Err(fault) => return Err(self.refuse(who, "prepare", fault, written.clone()).await),
        };
        // One set for the digest and the decision: rules may be replaced at any time.
        let policy = self.policy.get();
        let prepared = PreparedCall::new(parsed, preparation, policy.digest())?;
        if let Err(fault) = self.affordable(&prepared).await {
            return Err(self.refuse(who, "budget", fault, written.clone()).await);
        }
        Ok(Ok(Box::new(Readied { prepared, context, policy, shelf })))
    }

    /// From the leave to a recorded outcome.
    async fn carry_out(&self, ready: Ready, patience: Option<Patience>) -> Result<CheckedOutput, Fault> {
        let Ready { call, decision, leave, context, around, shelf } = ready;
        let (mut open, grant) = self.record_intent(&call, &decision, leave, &around).staged(stage!("intent")).await?;
        let _program = self.scopes.begin(&call);
        let started = self.clock.now();
        let (output, _going) = {
            let mut running = std::pin::pin!(self.execute(&call, grant, &context).staged(stage!("execute")));
            let in_time = match &patience {
                Some(Patience { until, .. }) => tokio::time::timeout_at(*until, &mut running).await.ok(),
                None => Some((&mut running).await),
            };
            match (in_time, patience) {
                (Some(output), _) => (output, None),
                (None, Some(Patience { handle, .. })) => match self.hand_over(call.parsed(), &mut open, handle).await {
                    Ok(going) => (running.await, Some(going)),
                    Err(fault) => {
                        call.parsed().cancel.cancel();
                        let _stopped = running.await;
                        (Err(fault), None)
                    }
                },
                (None, None) => (Err(Fault::internal("a call without patience ran out of it")), None),
            }
        };
        let checked = output.and_then(|output| self.registry.check(&call, output));
        let millis = self.clock.now().since(started).0;
        self.record_outcome(call.parsed(), open, checked, millis, (&context, &around, &shelf)).staged(stage!("outcome")).await
    }

    /// Writes the intent and takes the Grant that it allows. A call that leaves nothing behind and that nobody was asked about
    /// keeps its intent for the outcome's commit: one fsync instead of two.
    async fn record_intent(
        &self,
        call: &PreparedCall,
        decision: &Decision,
        leave: Leave,
        around: &Surroundings,
    ) -> Result<(OpenCall, Grant), Fault> {
        let Recorded { value: arguments, artifact } = self.record_value(call.parsed().args.value()).await?;
        let parsed = call.parsed();
        let mut intent = seen(journal::intent(call, decision, arguments), decision, call, &around.facts);
        let mut changes = around.before();
        let arguments: Option<Change> = artifact.map(Change::OwnArtifact);
        let key = CallKey::of(parsed);
        if let Some(key) = &key {
            intent = intent.field("arguments_digest", key.arguments.to_string());
            changes.push(Change::Remember { key: key.key, call: parsed.id });
        }
        match &leave {
            Leave::Policy(_) if call.may_share_commit() && key.is_none() => {
                let Leave::Policy(grant) = leave else { return Err(Fault::internal("a leave changed its kind")) };
                return Ok((OpenCall { unrecorded: Some((intent, arguments)) }, grant));
            }
            Leave::Policy(_) => {}
            Leave::Human(approved) => {
                intent = intent.field("approval_used", approved.id.to_string());
                changes.push(Change::UseApproval { id: approved.id, digest: *call.digest() });
            }
            Leave::Standing(_, id) => {
                intent = intent.field("grant_used", id.to_string());
                changes.push(Change::UseGrant(*id));
            }
        }
        changes.extend(arguments);
        let idempotent = self.registry.find(parsed.tool.name.as_str()).is_some_and(|entry| entry.def.idempotent);
        changes.push(Change::OpenCall { call: parsed.id, idempotent });
        let guards = self.budget_guard(parsed).await?;
        let append = Append { run: Some(parsed.run), events: vec![intent], changes, guards };
        if let Err(fault) = self.store.record(append).await {
            return Err(self.unaffordable(parsed, fault).await);
        }
        let grant = match leave {
            Leave::Policy(grant) | Leave::Standing(grant, _) => grant,
            Leave::Human(approved) => approved.grant(*call.digest()),
        };
        Ok((OpenCall { unrecorded: None }, grant))
    }

    /// Runs the tool within its wall time, until it is cancelled, and through its panics.
    async fn execute(&self, call: &PreparedCall, grant: Grant, context: &CallContext) -> Result<RawOutput, Fault> {
        let parsed = call.parsed();
        let mut running = std::pin::pin!(AssertUnwindSafe(self.registry.execute(call, grant, context)).catch_unwind());
        let stopped = tokio::select! {
            biased;
            done = &mut running => return settled(done),
            () = parsed.cancel.cancelled() => Fault::new(ErrorCode::Cancelled, format!("`{}` was cancelled", parsed.tool.name)),
            () = context.wall.elapsed(parsed.limits.wall.duration()) => Fault::new(
                ErrorCode::Timeout,
                format!("`{}` took longer than {} ms", parsed.tool.name, parsed.limits.wall.0),
            )
            .hint("ask for less at once, or raise the limit where the tool takes one"),
        };
        context.cancel.cancel();
        match tokio::time::timeout(GRACE, running).await {
            // What came in time is worth more than saying that it was late; after a cancel nobody wants it.
            Ok(Ok(Ok(output))) if stopped.code == ErrorCode::Timeout => Ok(output),
            _ => Err(stopped),
        }
    }

    /// Writes the outcome. Where that fails nobody can say what happened: this process stops taking calls.
    async fn record_outcome(
        &self,
        call: &ParsedCall,
        open: OpenCall,
        result: Result<Value, Fault>,
        millis: u64,
        (context, around, shelf): (&CallContext, &Surroundings, &Shelf),
    ) -> Result<CheckedOutput, Fault> {
        let (draft, reply, artifact) = match result {
            Ok(value) => match self.record_value(&value).await {
                Ok(Recorded { value: recorded, artifact }) => {
                    let draft = journal::outcome(call, Ok(recorded), millis);
                    (draft, Ok(CheckedOutput { value, artifact: artifact.clone() }), artifact)
                }
                Err(fault) => (journal::outcome(call, Err(&fault), millis), Err(fault), None),
            },
            Err(fault) => (journal::outcome(call, Err(&fault), millis), Err(fault), None),
        };
        let draft = self.with_answers(draft, context).await;
        let (draft, mut changes) = around.after(draft, context, reply.as_ref().ok().map(|output| &output.value));
        changes.extend(artifact.map(Change::OwnArtifact));
        changes.extend(shelf.stored());
        let mut events = Vec::with_capacity(2);
        let was_recorded = open.unrecorded.is_none();
        if let Some((intent, arguments)) = open.unrecorded {
            events.push(intent);
            changes.extend(arguments);
        }
        events.push(draft);
        if was_recorded {
            changes.push(Change::CloseCall(call.id));
        }
        let guards = if was_recorded { Vec::new() } else { self.budget_guard(call).await? };
        match self.store.record(Append { run: Some(call.run), events, changes, guards }).await {
            Ok(()) => reply,
            // With nothing done and nothing recorded the call simply did not happen.
            Err(fault) if !was_recorded => Err(self.unaffordable(call, fault).await),
            Err(fault) => {
                self.halted.store(true, Ordering::Release);
                tracing::error!(name: "outcome_not_recorded", "outcome not recorded: {fault}");
                Err(Fault::new(ErrorCode::OutcomeUnknown, format!("`{}` ran, but its outcome could not be recorded", call.tool.name))
                    .hint("do not repeat it unseen; after the next start the log shows the call as interrupted"))
            }
        }
    }

    /// Records that a call was turned away, and gives the reason back.
    pub(super) async fn refuse(&self, who: &Identity, stage: &'static str, fault: Fault, arguments: Value) -> Fault {
        let Recorded { value, artifact } = match self.record_value(&arguments).await {
            Ok(recorded) => recorded,
            Err(broken) => return broken,
        };
        let draft = journal::refusal(who, stage, &fault, value);
        let changes = artifact.map(Change::OwnArtifact).into_iter().collect();
        let append = Append { run: Some(who.run), events: vec![draft], changes, ..Append::default() };
        match self.store.record(append).await {
            Ok(()) => self.tell_limit(who.run, &who.actor, fault).await,
            Err(broken) => broken,
        }
    }

    /// A run that the arguments name, to work in it or to look at it, must be the caller's; another's is as unknown as none. This is said
    /// here for every tool, so that none can forget it.
    pub(super) async fn owns_run(&self, call: &ParsedCall, given: RunId) -> Result<(), Fault> {
        let named = call.args.value().get("run_id").and_then(Value::as_str).and_then(|text| text.parse().ok());
        for run in BTreeSet::from_iter([Some(call.run).filter(|run| *run != given), named].into_iter().flatten()) {
            let row = self.store.run(&run).await?;
            if row.is_none_or(|row| row.principal != call.actor.principal && call.actor.role != Role::Operator) {
                return Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("run.list shows the runs there are"));
            }
        }
        Ok(())
    }

    pub(super) fn context(&self, call: &ParsedCall, shelf: &Arc<Shelf>) -> Result<CallContext, Fault> {
        Ok(CallContext {
            call: call.id,
            run: call.run,
            actor: call.actor.clone(),
            from_code: matches!(call.origin, Origin::Code { .. }),
            digest: Digest::ZERO,
            wall: Arc::new(WallTime::default()),
            labels: Labels::default(),
            brought: Arc::new(Brought::new(self.private_paths.clone())),
            artifacts: shelf.clone(),
            workspace: self.workspaces.of(call.run)?,
            limits: call.limits,
            cancel: CancellationToken::child_token(&call.cancel),
            progress: call.progress.clone(),
        })
    }
}

fn settled(done: std::thread::Result<Result<RawOutput, Fault>>) -> Result<RawOutput, Fault> {
    done.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Fault::internal(format!("the tool panicked: {}", said.unwrap_or_default())))
    })
}
