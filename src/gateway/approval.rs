//! Asking a human: the question is bound to one digest, waited for a while, and used up once.

use std::sync::Arc;

use serde_json::json;

use crate::call::{Origin, PreparedCall, Progress};
use crate::domain::{Actor, ApprovalId, Digest, ErrorCode, Fault, Millis};
use crate::policy::{Decision, Grant, UsedApproval};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, ApprovalRow, ApprovalStatus, Change, NewApproval};

use super::{Gateway, Inner, journal};

/// Other processes' answers are not announced here, so the row is read this often while a call waits.
const POLL: Millis = Millis(200);

/// How humans are asked.
#[derive(Debug, Clone, Copy)]
pub struct ApprovalSettings {
    /// How long a client's call waits for the answer before it is told to come back.
    pub wait: Millis,
    /// How long a question, and then the yes, stands.
    pub expires: Millis,
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

/// What a human says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes, once.
    Approve,
    /// No, and why.
    Deny {
        /// In the human's words.
        reason: String,
    },
}

impl Inner {
    /// The human's yes to this exact call: found, or asked for and waited for. A step does not wait: its run parks.
    pub(super) async fn ask(&self, call: &PreparedCall, decision: &Decision) -> Result<Approved, Fault> {
        let asked = match self.store.approval_of(call.digest()).await? {
            Some(row) => row,
            None => self.request(call, decision).await?,
        };
        let wait = match call.parsed().origin {
            Origin::Client | Origin::Cli => self.approvals.wait,
            // A program cannot come back later: it waits for as long as the question stands.
            Origin::Code { .. } => self.approvals.expires,
            Origin::Step { .. } => Millis(0),
        };
        let until = self.clock.now().plus(wait);
        let _waiting = Waiting::begin(&call.parsed().progress);
        let mut row = asked;
        let mut changes = self.store.changes();
        loop {
            match row.status {
                ApprovalStatus::Approved => return Ok(Approved { id: row.id }),
                ApprovalStatus::Denied => return Err(denied(&row)),
                ApprovalStatus::Used | ApprovalStatus::Expired => return Err(expired(&row)),
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

    /// Asks: what the human is shown is rendered here, from the very arguments that would be executed.
    async fn request(&self, call: &PreparedCall, decision: &Decision) -> Result<ApprovalRow, Fault> {
        let parsed = call.parsed();
        let now = self.clock.now();
        let id = ApprovalId::mint(now);
        let reason =
            decision.reasons.iter().map(|reason| reason.text.as_str()).filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; ");
        let shown = json!({
            "tool": parsed.tool.name,
            "version": parsed.tool.version,
            "arguments": parsed.args.value(),
            "effects": call.effects(),
            "target": call.target(),
            "principal": parsed.actor.principal,
        });
        let step = journal::step_of(&parsed.origin);
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
            expires: now.plus(self.approvals.expires),
        };
        let append =
            Append { run: Some(parsed.run), events: vec![event], changes: vec![Change::RequestApproval(asked)], ..Append::default() };
        self.store.append(append).await?;
        self.store.approval(&id).await?.ok_or_else(|| Fault::internal("an approval vanished"))
    }
}

impl Gateway {
    /// A human's answer. The faces that call this have checked that it is the operator.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL` where no such question is waiting.
    pub async fn answer(&self, id: ApprovalId, answer: Answer) -> Result<ApprovalRow, Fault> {
        let store = &self.inner.store;
        let unknown = || {
            Fault::new(ErrorCode::UnknownApproval, format!("no approval `{id}`")).hint("`toolgate approvals list` shows those that wait")
        };
        let row = store.approval(&id).await?.ok_or_else(unknown)?;
        let (approve, reason) = match answer {
            Answer::Approve => (true, None),
            Answer::Deny { reason } => (false, Some(reason)),
        };
        let event = EventDraft::new(EventKind::SystemEvent, Actor::operator())
            .step(row.step_id.clone())
            .field("event", if approve { "approval_granted" } else { "approval_denied" })
            .field("approval_id", id.to_string())
            .field("digest", row.digest.to_string())
            .sealed("reason", reason.clone().unwrap_or_default().into());
        let append = Append {
            run: Some(row.run_id),
            events: vec![event],
            changes: vec![Change::DecideApproval { id, approve, reason }],
            ..Append::default()
        };
        store.append(append).await?;
        store.approval(&id).await?.ok_or_else(unknown)
    }
}

fn required(row: &ApprovalRow) -> Fault {
    let how = format!("toolgate approvals approve {}", row.id);
    Fault::new(ErrorCode::ApprovalRequired, format!("a human must approve this exact call of `{}`", row.tool))
        .hint("ask the operator to answer; then make the same call with the same arguments again")
        .details(json!({ "approval_id": row.id, "expires_at": row.expires, "how": how }))
}

fn denied(row: &ApprovalRow) -> Fault {
    let said = row.answer.as_deref().filter(|said| !said.is_empty()).map(|said| format!(": {said}")).unwrap_or_default();
    Fault::new(ErrorCode::ApprovalDenied, format!("the operator refused this call of `{}`{said}", row.tool))
        .hint("do not try the same call again; ask the person what they would accept")
        .details(json!({ "approval_id": row.id }))
}

fn expired(row: &ApprovalRow) -> Fault {
    Fault::new(ErrorCode::ApprovalRequired, format!("the approval of this call of `{}` is no longer open", row.tool))
        .hint("make the same call again to ask anew")
        .details(json!({ "approval_id": row.id, "expires_at": row.expires }))
}
