//! Asking a human: the question is bound to one digest, waited for a while, and used up once.
//!
//! INVARIANT: without an answer the call does not run; a no stands until the operator takes it back; the same question is asked once.
//! Who may answer is `answer`'s concern, what is shown `question`'s.

use std::sync::Arc;

use serde_json::json;

use crate::call::{Origin, PreparedCall, Progress};
use crate::domain::{Actor, ApprovalId, Bytes, Digest, ErrorCode, Fault, GrantId, Millis, Principal};
use crate::policy::{Coverage, Decision, Grant, PolicySet, UsedApproval};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, ApprovalRow, ApprovalStatus, AskLimits, Change, NewApproval};
use crate::tools::CallContext;

use super::{Inner, journal, question};

/// Other processes' answers are not announced here, so the row is read this often while a call waits.
const POLL: Millis = Millis(200);

/// No question is larger: what nobody can read, nobody can agree to.
const LARGEST: Bytes = Bytes(4 << 20);

/// How humans are asked.
#[derive(Debug, Clone)]
pub struct ApprovalSettings {
    /// How long a client's call waits for the answer before it is told to come back.
    pub wait: Millis,
    /// How long a question, and then the yes, stands.
    pub expires: Millis,
    /// How much may be asked.
    pub limits: AskLimits,
    /// The longest an operator may allow something for.
    pub longest_grant: Millis,
    /// Principals whose client may show the question to its human: nobody, unless the operator says so.
    pub trusted: Vec<Principal>,
}

impl Default for ApprovalSettings {
    fn default() -> Self {
        Self {
            wait: Millis(45_000),
            expires: Millis(900_000),
            limits: AskLimits { pending_per_run: 10, per_minute: 20 },
            longest_grant: Millis(8 * 60 * 60 * 1_000),
            trusted: Vec::new(),
        }
    }
}

/// A human's leave for one call.
pub(super) enum Yes {
    /// To this exact call, still unused.
    Once(Approved),
    /// By what the operator allowed for a while.
    Standing(Grant, GrantId),
}

/// A human's yes that is still unused.
pub(super) struct Approved {
    pub(super) id: ApprovalId,
}

impl Approved {
    /// The Grant of a yes that the intent's transaction has just used up.
    pub(super) fn grant(self, digest: Digest) -> Grant {
        Grant::by_approval(UsedApproval::after_commit(self.id, digest))
    }
}

/// What a call was decided by, and what its handler reads.
pub(super) type Around<'a> = (&'a PolicySet, &'a CallContext);

/// Tells the call's progress that a human is waited for.
struct Waiting(Arc<dyn Progress>);

impl Waiting {
    fn begin(progress: &Arc<dyn Progress>) -> Self {
        progress.waits_for_human(true);
        Self(progress.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waits_for_human(false);
    }
}

impl Inner {
    /// The human's yes to this call: found, given for a while, or asked for and waited for. A step does not wait: its run parks.
    pub(super) async fn ask(&self, call: &PreparedCall, decision: &Decision, around: Around<'_>) -> Result<Yes, Fault> {
        let known = self.store.approval_of(call.digest()).await?;
        match &known {
            Some(row) if row.status == ApprovalStatus::Denied => return Err(denied(row)),
            Some(row) if row.status == ApprovalStatus::Approved && asked_by_the_same(row, decision) => {
                return Ok(Yes::Once(Approved { id: row.id }));
            }
            _ => {}
        }
        if let Some(yes) = self.standing(call, decision).await? {
            return Ok(yes);
        }
        let row = match known {
            // A yes to a question that is another one now: the rules ask for another reason.
            Some(row) if !asked_by_the_same(&row, decision) => {
                self.note_expired(&row, "the rules ask for another reason now").await?;
                self.request(call, decision).await?
            }
            Some(row) => self.again(row).await?,
            None => self.request(call, decision).await?,
        };
        let yes = self.wait(call, row).await?;
        self.is_unchanged(call, around).await?;
        Ok(yes)
    }

    /// Whether, after a wait, the call is still the one that was shown: rules may have been replaced, and what it acts on have moved.
    async fn is_unchanged(&self, call: &PreparedCall, (policy, context): Around<'_>) -> Result<(), Fault> {
        let again = self.registry.prepare(call.parsed(), context).await?;
        let same_rules = self.policy.get().digest() == policy.digest();
        if same_rules && call.is_still(again) {
            return Ok(());
        }
        let what = if same_rules { "what the call acts on" } else { "the rules" };
        Err(Fault::new(ErrorCode::ApprovalRequired, format!("{what} changed while a human was asked, so the yes is not for this call"))
            .hint("make the same call again to ask anew"))
    }

    /// A standing grant that answers the question.
    async fn standing(&self, call: &PreparedCall, decision: &Decision) -> Result<Option<Yes>, Fault> {
        let parsed = call.parsed();
        let rows = self.store.standing_grants(&parsed.actor.principal, &parsed.tool.name).await?;
        Ok(rows.iter().find_map(|row| Some(Yes::Standing(row.grant.leave(call, decision)?, row.grant.id))))
    }

    /// Waits until the question is answered, its time is over, or the caller is to come back.
    async fn wait(&self, call: &PreparedCall, mut row: ApprovalRow) -> Result<Yes, Fault> {
        let wait = match call.parsed().origin {
            _ if call.parsed().asking.elsewhere => Millis(0),
            Origin::Client | Origin::Cli => self.approvals.wait,
            // A program cannot come back later: it waits for as long as the question stands.
            Origin::Code { .. } => self.approvals.expires,
            Origin::Step { .. } => Millis(0),
        };
        let until = self.clock.now().plus(wait);
        let _waiting = Waiting::begin(&call.parsed().progress);
        let mut changes = self.store.changes();
        loop {
            match row.status {
                ApprovalStatus::Approved => return Ok(Yes::Once(Approved { id: row.id })),
                ApprovalStatus::Denied => return Err(denied(&row)),
                ApprovalStatus::Expired => {
                    self.note_expired(&row, "nobody answered in time").await?;
                    return Err(unanswered(&row));
                }
                ApprovalStatus::Used | ApprovalStatus::Lifted => return Err(gone(&row)),
                ApprovalStatus::Pending if self.clock.now() >= until => return Err(required(&row)),
                ApprovalStatus::Pending => {}
            }
            tokio::select! {
                () = call.parsed().cancel.cancelled() => return Err(required(&row)),
                _ = changes.changed() => {}
                () = tokio::time::sleep(POLL.duration()) => {}
            }
            row = self.store.approval(&row.id).await?.ok_or_else(|| Fault::internal("an approval vanished"))?;
        }
    }

    /// Counts that the same was asked once more.
    async fn again(&self, row: ApprovalRow) -> Result<ApprovalRow, Fault> {
        if row.status == ApprovalStatus::Pending {
            let append = Append { changes: vec![Change::AskAgain(row.id)], ..Append::default() };
            match self.store.append(append).await {
                // Answered this very moment: that is seen by whoever waits.
                Err(fault) if fault.code != ErrorCode::UnknownApproval => return Err(fault),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(row)
    }

    /// Asks. What the human is shown is rendered from the very arguments that would be executed.
    async fn request(&self, call: &PreparedCall, decision: &Decision) -> Result<ApprovalRow, Fault> {
        let parsed = call.parsed();
        let now = self.clock.now();
        let id = ApprovalId::mint(now);
        let (step, reason, shown) = (journal::step_of(&parsed.origin), question::reason(decision), question::of_call(call));
        if journal::larger_than(&shown, LARGEST.as_usize()) {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("the call is larger than the {} bytes a human is asked about", LARGEST.0),
            )
            .hint("put large contents into the workspace first, and name them"));
        }
        let event = EventDraft::new(EventKind::SystemEvent, parsed.actor.clone())
            .step(step.clone())
            .call(parsed.id)
            .field("event", "approval_requested")
            .field("approval_id", id.to_string())
            .field("tool", parsed.tool.name.as_str())
            .field("digest", call.digest().to_string())
            .field("expires_at", now.plus(self.approvals.expires).to_string())
            .sealed("reason", reason.clone().into());
        let asked = NewApproval {
            id,
            digest: *call.digest(),
            tool: parsed.tool.name.clone(),
            step,
            shown,
            reason,
            note: question::note(call),
            covers: Some(Coverage::of(call, &decision.reasons)),
            limits: Some(self.approvals.limits),
            expires: now.plus(self.approvals.expires),
        };
        let append =
            Append { run: Some(parsed.run), events: vec![event], changes: vec![Change::RequestApproval(asked)], ..Append::default() };
        match self.store.append(append).await {
            Ok(_) => self.store.approval(&id).await?.ok_or_else(|| Fault::internal("an approval vanished")),
            // Somebody else asked the same at the same moment.
            Err(fault) if fault.code == ErrorCode::RunState => match self.store.approval_of(call.digest()).await? {
                Some(row) => self.again(row).await,
                None => Err(fault),
            },
            Err(fault) if fault.code == ErrorCode::ApprovalsPaused => Err(self.pause(call, fault).await),
            Err(fault) => Err(fault),
        }
    }

    /// No further question of this run, until the operator releases it.
    async fn pause(&self, call: &PreparedCall, fault: Fault) -> Fault {
        let event = EventDraft::new(EventKind::SystemEvent, Actor::system())
            .call(call.parsed().id)
            .field("event", "questions_paused")
            .field("reason", fault.message.clone());
        let append = Append {
            run: Some(call.parsed().run),
            events: vec![event],
            changes: vec![Change::PauseQuestions { why: fault.message.clone() }],
            ..Append::default()
        };
        match self.store.append(append).await {
            Err(broken) if broken.code != ErrorCode::RunState => broken,
            Ok(_) | Err(_) => fault,
        }
    }

    /// Records that nothing can come of a question any more; once, whoever sees it first.
    pub(super) async fn note_expired(&self, row: &ApprovalRow, why: &str) -> Result<(), Fault> {
        let event = EventDraft::new(EventKind::SystemEvent, Actor::system())
            .step(row.step_id.clone())
            .field("event", "approval_expired")
            .field("approval_id", row.id.to_string())
            .field("digest", row.digest.to_string())
            .sealed("reason", why.into());
        let append =
            Append { run: Some(row.run_id), events: vec![event], changes: vec![Change::ExpireApproval(row.id)], ..Append::default() };
        match self.store.append(append).await {
            Err(fault) if fault.code != ErrorCode::UnknownApproval => Err(fault),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// Whether the rules that ask now are those that asked then.
fn asked_by_the_same(row: &ApprovalRow, decision: &Decision) -> bool {
    let now = || decision.reasons.iter().map(|reason| &reason.rule);
    row.covers.as_ref().is_none_or(|covers| now().count() == covers.rules.len() && now().all(|rule| covers.rules.contains(rule)))
}

fn required(row: &ApprovalRow) -> Fault {
    let how = format!("toolgate approvals approve {}", row.id);
    Fault::new(ErrorCode::ApprovalRequired, format!("a human must approve this exact call of `{}`", row.tool))
        .hint(format!("the operator answers with `{how}`; then make the same call with the same arguments again"))
        .details(json!({ "approval_id": row.id, "expires_at": row.expires, "how": how }))
}

fn denied(row: &ApprovalRow) -> Fault {
    let said = row.answer.as_deref().filter(|said| !said.is_empty()).map(|said| format!(": {said}")).unwrap_or_default();
    Fault::new(ErrorCode::ApprovalDenied, format!("the operator refused this call of `{}`{said}", row.tool))
        .hint("do not try the same call again; ask the person what they would accept")
        .details(json!({ "approval_id": row.id }))
}

fn unanswered(row: &ApprovalRow) -> Fault {
    Fault::new(ErrorCode::ApprovalDenied, format!("nobody answered for this call of `{}` in time, which is a no", row.tool))
        .hint("tell the person; the same call made later asks anew")
        .details(json!({ "approval_id": row.id, "expires_at": row.expires }))
}

fn gone(row: &ApprovalRow) -> Fault {
    Fault::new(ErrorCode::ApprovalRequired, format!("the approval of this call of `{}` is no longer open", row.tool))
        .hint("make the same call again to ask anew")
        .details(json!({ "approval_id": row.id, "expires_at": row.expires }))
}
