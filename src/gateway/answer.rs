//! What the operator says: yes, no, for a while, not any more.
//!
//! INVARIANT: every way in takes an [`OperatorProof`], which only the operator's passphrase makes, or a [`Form`](super::Form) that was
//! filled in; neither can be had through a call. One answer is one event.

use crate::domain::{Actor, ApprovalId, ErrorCode, Fault, GrantId, RunId, Timestamp};
use crate::policy::StandingGrant;
use crate::run::{EventDraft, EventKind};
use crate::secrets::operator::OperatorProof;
use crate::store::{Append, ApprovalRow, Change, Channel, GrantRow, GrantStatus, NewGrant};

use super::{Gateway, Inner};

/// What a human says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes, to exactly this.
    Approve {
        /// For how long what is alike is allowed besides.
        allow: Option<AllowFor>,
        /// A word for the log.
        reason: Option<String>,
    },
    /// No, and why.
    Deny {
        /// In the human's words.
        reason: String,
    },
}

impl Answer {
    /// Yes, once, without further words.
    #[must_use]
    pub fn yes() -> Self {
        Self::Approve { allow: None, reason: None }
    }
}

/// For how long what is alike is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowFor {
    /// The run that asked, but no longer than any grant may stand.
    ThisRun,
    /// Until then, in whatever run.
    Until(Timestamp),
}

fn unknown(id: ApprovalId) -> Fault {
    Fault::new(ErrorCode::UnknownApproval, format!("no approval `{id}`")).hint("`toolgate approvals list` shows those that wait")
}

fn event(name: &'static str, actor: Actor) -> EventDraft {
    EventDraft::new(EventKind::SystemEvent, actor).field("event", name)
}

impl Gateway {
    /// The operator's answer to a question; the row as it stands then.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL` where no such question is waiting; `INVALID_INPUT` for a grant that cannot be given.
    pub async fn answer(&self, id: ApprovalId, answer: Answer, proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        tracing::info!(approval_id = %id, proved_by = ?proof.by(), "the operator answers");
        self.inner.answered(id, answer, Actor::operator(), Channel::Cli).await
    }

    /// Takes a refusal back, so that the same may be asked again.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL` where there is no such refusal.
    pub async fn lift_denial(&self, id: ApprovalId, proof: OperatorProof) -> Result<ApprovalRow, Fault> {
        let store = &self.inner.store;
        let row = store.approval(&id).await?.ok_or_else(|| unknown(id))?;
        tracing::info!(approval_id = %id, proved_by = ?proof.by(), "the operator takes a refusal back");
        let lifted = event("approval_lifted", Actor::operator())
            .step(row.step_id.clone())
            .field("approval_id", id.to_string())
            .field("digest", row.digest.to_string());
        let changes = vec![Change::LiftDenial(id)];
        store.append(Append { run: Some(row.run_id), events: vec![lifted], changes, ..Append::default() }).await?;
        store.approval(&id).await?.ok_or_else(|| unknown(id))
    }

    /// Takes a standing grant back.
    ///
    /// # Errors
    /// `UNKNOWN_APPROVAL` where no such grant stands.
    pub async fn revoke(&self, id: GrantId, proof: OperatorProof) -> Result<GrantRow, Fault> {
        let none = || {
            Fault::new(ErrorCode::UnknownApproval, format!("no grant `{id}` stands"))
                .hint("`toolgate approvals grants` shows those that do")
        };
        let row = self.inner.store.grant(&id).await?.ok_or_else(none)?;
        tracing::info!(grant_id = %id, proved_by = ?proof.by(), "the operator takes a grant back");
        self.inner.end_grant(&row, true).await?;
        self.inner.store.grant(&id).await?.ok_or_else(none)
    }

    /// Lets a run that asked too much ask again.
    ///
    /// # Errors
    /// `RUN_STATE` unless it was paused; `UNKNOWN_RUN`.
    pub async fn release(&self, run: RunId, proof: OperatorProof) -> Result<(), Fault> {
        tracing::info!(run_id = %run, proved_by = ?proof.by(), "the operator lets a run ask again");
        let released = event("questions_released", Actor::operator());
        let changes = vec![Change::ReleaseQuestions];
        self.inner.store.append(Append { run: Some(run), events: vec![released], changes, ..Append::default() }).await.map(drop)
    }

    /// Records what time has ended: questions nobody answered, answers nobody used, grants that ran out. How many it found.
    ///
    /// # Errors
    /// Where that cannot be recorded.
    pub async fn end_what_is_over(&self) -> Result<usize, Fault> {
        let store = &self.inner.store;
        let mut ended = 0;
        for id in store.overdue_approvals().await? {
            if let Some(row) = store.approval(&id).await? {
                self.inner.note_expired(&row, "its time was over").await?;
                ended += 1;
            }
        }
        for row in store.grants(false).await?.iter().filter(|row| row.status == GrantStatus::Ended) {
            match self.inner.end_grant(row, false).await {
                Err(fault) if fault.code != ErrorCode::UnknownApproval => return Err(fault),
                Ok(()) | Err(_) => ended += 1,
            }
        }
        Ok(ended)
    }
}

impl Inner {
    pub(super) async fn answered(&self, id: ApprovalId, answer: Answer, actor: Actor, channel: Channel) -> Result<ApprovalRow, Fault> {
        let row = self.store.approval(&id).await?.ok_or_else(|| unknown(id))?;
        let (approve, allow, reason) = match answer {
            Answer::Approve { allow, reason } => (true, allow, reason),
            Answer::Deny { reason } => (false, None, Some(reason)),
        };
        let mut events = vec![
            event(if approve { "approval_granted" } else { "approval_denied" }, actor.clone())
                .step(row.step_id.clone())
                .field("approval_id", id.to_string())
                .field("digest", row.digest.to_string())
                .field("channel", channel.as_str())
                .sealed("reason", reason.clone().unwrap_or_default().into()),
        ];
        let mut changes = vec![Change::DecideApproval { id, approve, reason, channel }];
        if let Some(span) = allow {
            let grant = self.grant_of(&row, span)?;
            events.push(
                event("grant_given", actor)
                    .field("grant_id", grant.id.to_string())
                    .field("approval_id", id.to_string())
                    .field("run", grant.run.map(|run| run.to_string()))
                    .field("until", grant.until.to_string())
                    .sealed("covers", serde_json::to_value(&grant.covers).unwrap_or_default()),
            );
            changes.push(Change::GiveGrant(NewGrant { grant, approval: id }));
        }
        self.store.append(Append { run: Some(row.run_id), events, changes, ..Append::default() }).await?;
        self.store.approval(&id).await?.ok_or_else(|| unknown(id))
    }

    fn grant_of(&self, row: &ApprovalRow, span: AllowFor) -> Result<StandingGrant, Fault> {
        let refuse = |message: String, hint: &str| Fault::new(ErrorCode::InvalidInput, message).hint(hint);
        let covers = row.covers.clone().ok_or_else(|| {
            refuse(format!("`{}` is answered once, never for a while", row.tool), "approve it without `--for-run` and `--until`")
        })?;
        let now = self.clock.now();
        let longest = now.plus(self.approvals.longest_grant);
        let (run, until) = match span {
            AllowFor::ThisRun => (Some(row.run_id), longest),
            AllowFor::Until(until) if until > longest => {
                let hours = self.approvals.longest_grant.0 / 3_600_000;
                return Err(refuse(
                    format!("a grant may stand until {longest} at most ({hours} h)"),
                    "ask for less, or raise `approvals.longest_grant_sec`",
                ));
            }
            AllowFor::Until(until) if until <= now => {
                return Err(refuse("the grant would end before it begins".into(), "give a later time"));
            }
            AllowFor::Until(until) => (None, until),
        };
        Ok(StandingGrant { id: GrantId::mint(now), run, until, covers })
    }

    async fn end_grant(&self, row: &GrantRow, revoked: bool) -> Result<(), Fault> {
        let id = row.grant.id;
        let (actor, why) = if revoked { (Actor::operator(), "revoked") } else { (Actor::system(), "its time was over") };
        let ended = event("grant_ended", actor).field("grant_id", id.to_string()).field("why", why).field("uses", row.uses);
        let changes = vec![Change::EndGrant { id, revoked }];
        self.store.append(Append { run: Some(row.asked_in), events: vec![ended], changes, ..Append::default() }).await.map(drop)
    }
}
