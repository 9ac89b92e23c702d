//! What goes in and out of the store.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::{ArtifactRef, Redact};
use crate::domain::{
    Actor, Allowance, ApprovalId, ArtifactId, CallId, Clock, Digest, Fault, GrantId, Labels, Overrun, OwnerId, Principal, RunId, StepId,
    Timestamp, ToolName, VaultWrite,
};
use crate::policy::Coverage;
use crate::run::{EventDraft, RunKind, RunStatus, reached_draft};

use super::OutboxWrite;
use super::SignedCheckpoint;
use super::questions::{AskLimits, Channel, NewGrant};

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After the disk has it (SQLite `synchronous=FULL`).
    Full,
    /// After the operating system has it (`NORMAL`): for benchmarks and throw-away homes; a power cut may lose the newest commits.
    Relaxed,
}

/// How to open a home's database.
#[derive(Clone)]
pub struct OpenOptions {
    /// The home; `None` is an in-memory database for tests, with artifacts in a temporary folder.
    pub home: Option<PathBuf>,
    /// This process.
    pub owner: OwnerId,
    /// The clock that stamps events.
    pub clock: Arc<dyn Clock>,
    /// When a commit counts as done.
    pub durability: Durability,
    /// What takes secrets out of whatever is recorded.
    pub redact: Arc<dyn Redact>,
}

/// Events for one run, and what must change with them.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// The run. Required unless `events` is empty.
    pub run: Option<RunId>,
    /// The events, in order.
    pub events: Vec<EventDraft>,
    /// What must hold inside the transaction, else nothing is written and the guard's fault is returned.
    pub guards: Vec<Guard>,
    /// What changes beside the journal.
    pub changes: Vec<Change>,
}

impl Append {
    /// Tells that a limit of this run, or of its principal, was hit, unless that was told before: then `RUN_STATE`.
    #[must_use]
    pub fn telling(run: RunId, over: Overrun, actor: Actor) -> Self {
        Self { run: Some(run), events: vec![reached_draft(&over, actor)], guards: vec![Guard::NotReached(over)], changes: Vec::new() }
    }
}

/// A condition checked inside the transaction.
#[derive(Debug, Clone)]
pub enum Guard {
    /// This process still drives the run: `LEASE_LOST`.
    Holds(Lease),
    /// The run's last event has this `seq`: `RUN_STATE`.
    LastSeq(u64),
    /// The run is not in a final state: `RUN_STATE`.
    RunOpen,
    /// What the events use up fits what is left to the run, and of this for today to the principal: `BUDGET_EXCEEDED`.
    Budget(Allowance),
    /// The run was not told yet that this limit is hit: `RUN_STATE`.
    NotReached(Overrun),
}

/// A change beside the journal.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new run (its first event must be among the events).
    CreateRun {
        /// Which kind.
        kind: RunKind,
        /// The workflow's name, if it follows one.
        workflow: Option<String>,
        /// Whose run it is.
        principal: Principal,
    },
    /// The run's state as lists show it.
    SetStatus(RunStatus),
    /// What a run, this one or another, has seen besides what it had: `UNKNOWN_RUN` where there is none.
    AddLabels {
        /// Which.
        run: RunId,
        /// The labels.
        labels: Labels,
    },
    /// A question to a human: `RUN_STATE` where the same waits already, `APPROVALS_PAUSED` beyond its limits.
    RequestApproval(NewApproval),
    /// The same question was raised once more while it waits.
    AskAgain(ApprovalId),
    /// The webhook has heard of the question.
    ToldOf(ApprovalId),
    /// The operator takes a refusal back, so that the same may be asked again: `UNKNOWN_APPROVAL` unless it is denied.
    LiftDenial(ApprovalId),
    /// No further question of the run is put to anybody: `RUN_STATE` where that is so already.
    PauseQuestions {
        /// Why.
        why: String,
    },
    /// The run may ask again: `RUN_STATE` unless it was paused.
    ReleaseQuestions,
    /// A standing grant begins. It belongs to the run of the question it was given with.
    GiveGrant(NewGrant),
    /// A call goes through by a standing grant: `APPROVAL_REQUIRED` unless it stands.
    UseGrant(GrantId),
    /// A standing grant ends: taken back while it stands, or noted once its time is over; `UNKNOWN_APPROVAL` otherwise.
    EndGrant {
        /// Which.
        id: GrantId,
        /// Taken back.
        revoked: bool,
    },
    /// A human's answer to a pending approval: `UNKNOWN_APPROVAL` unless it is pending and not expired.
    DecideApproval {
        /// Which.
        id: ApprovalId,
        /// Yes or no.
        approve: bool,
        /// Why, in the human's words.
        reason: Option<String>,
        /// By which way.
        channel: Channel,
    },
    /// Uses an approval up: `APPROVAL_REQUIRED` unless it is approved, unused, not expired and names this digest.
    UseApproval {
        /// Which.
        id: ApprovalId,
        /// The call's digest.
        digest: Digest,
    },
    /// Marks a pending approval as expired.
    ExpireApproval(ApprovalId),
    /// A call is in flight in this process from this event on (an intent); its outcome event closes it.
    OpenCall {
        /// The call.
        call: CallId,
        /// May recovery run it again by itself.
        idempotent: bool,
    },
    /// The call ended; a second outcome of the same call fails the transaction.
    CloseCall(CallId),
    /// The call can be found again under this key: `RUN_STATE` where another is remembered under it already.
    Remember {
        /// The key.
        key: Digest,
        /// The call.
        call: CallId,
    },
    /// Nothing is remembered under this key any more: `RUN_STATE` where nothing was.
    Forget(Digest),
    /// The run stored this artifact, so its principal may read it; saying it again changes nothing.
    OwnArtifact(ArtifactRef),
    /// The run names this artifact, which then carries its labels. Whoever names it may not read it for that.
    NameArtifact(ArtifactRef),
    /// A row of the vault; the events must tell of it.
    Vault(VaultWrite),
    /// A row of the outbox; the events must tell of it.
    Outbox(OutboxWrite),
    /// Something is taken away for good.
    TakeAway(Taken),
}

/// What is taken away. No record is touched by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Values beside a record, which only commits to them: `STORE_FAILED` where they are not what was read.
    Values {
        /// The record's place in the journal.
        index: u64,
        /// All that stands beside it.
        old: String,
        /// What is left.
        new: Option<String>,
    },
    /// What an answered question showed.
    Question(ApprovalId),
    /// The run's link to an artifact.
    Link(ArtifactId),
}

/// A question to a human, to be stored.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The digest of the exact call (for a workflow's approval step: of what is shown).
    pub digest: Digest,
    /// The call's tool; for an approval step `workflow.approval`.
    pub tool: ToolName,
    /// The step that asks, if one does.
    pub step: Option<StepId>,
    /// What the human is shown, rendered by the server from the bytes to be executed.
    pub shown: Value,
    /// Why a human is asked: the policy's or the step's words.
    pub reason: String,
    /// Why the model makes the call, in its own words.
    pub note: Option<String>,
    /// What a standing grant given with the answer would cover; `None` where there can be none.
    pub covers: Option<Coverage>,
    /// How much may be asked; `None` where nothing bounds it.
    pub limits: Option<AskLimits>,
    /// When it expires.
    pub expires: Timestamp,
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalStatus {
    /// Nobody answered yet.
    Pending,
    /// A human said yes; unused.
    Approved,
    /// A human said no.
    Denied,
    /// Used up.
    Used,
    /// Nobody answered, or nobody used it, in time.
    Expired,
    /// A human said no and took that back later.
    Lifted,
}

impl ApprovalStatus {
    /// The word as it is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Lifted => "lifted",
        }
    }
}

/// An approval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ApprovalRow {
    /// Its id.
    pub id: ApprovalId,
    /// The run it belongs to.
    pub run_id: RunId,
    /// The step that asks, if one does.
    pub step_id: Option<StepId>,
    /// The digest it names.
    pub digest: Digest,
    /// The tool.
    pub tool: ToolName,
    /// Whose run it is.
    pub principal: Principal,
    /// What the human is shown.
    pub shown: Value,
    /// Why a human is asked.
    pub reason: String,
    /// Why the model makes the call, in its own words.
    pub note: Option<String>,
    /// What a standing grant given with the answer would cover.
    pub covers: Option<Coverage>,
    /// How often the same was asked.
    pub asked: u64,
    /// Where it stands; a pending or approved one past its time reads `Expired`.
    pub status: ApprovalStatus,
    /// The human's words.
    pub answer: Option<String>,
    /// By which way it was answered.
    pub channel: Option<Channel>,
    /// When it was asked.
    pub created: Timestamp,
    /// When it expires.
    pub expires: Timestamp,
}

/// Which approvals.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// Only with this status.
    pub status: Option<ApprovalStatus>,
    /// Only of this run.
    pub run: Option<RunId>,
    /// At most so many; 0 is no limit.
    pub limit: u32,
}

/// A run as lists show it: a projection of its events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunRow {
    /// Its id.
    pub id: RunId,
    /// Which kind.
    pub kind: RunKind,
    /// The workflow, if it follows one.
    pub workflow: Option<String>,
    /// Whose run it is.
    pub principal: Principal,
    /// Where it stands.
    pub status: RunStatus,
    /// When it was created.
    pub created: Timestamp,
    /// When its last event was recorded.
    pub updated: Timestamp,
    /// `seq` of its last event.
    pub last_seq: u64,
    /// What it has seen.
    pub labels: Labels,
}

/// Which runs.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this principal.
    pub principal: Option<Principal>,
    /// Only of this kind.
    pub kind: Option<RunKind>,
    /// Only in this state.
    pub status: Option<RunStatus>,
    /// Only those that are not in a final state.
    pub open: bool,
    /// Not those of this principal.
    pub without: Option<Principal>,
    /// At most so many; 0 is no limit.
    pub limit: u32,
}

/// The right to drive a run, with its fencing token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run: RunId,
    /// Who drives it.
    pub owner: OwnerId,
    /// Raised at each taking.
    pub fence: u64,
}

/// An intent without an outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenCall {
    /// The call.
    pub call: CallId,
    /// Its run.
    pub run: RunId,
    /// Its step, if it is one's.
    pub step: Option<StepId>,
    /// Whether it may be run again.
    pub idempotent: bool,
}

/// A row of the journal as it lies on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecord {
    /// Its place.
    pub index: u64,
    /// The columns beside the record, which must say what the record says: run, seq, kind, step, call.
    pub columns: RecordColumns,
    /// The canonical JSON that was hashed.
    pub record: Vec<u8>,
    /// The stored hash, as bytes (32 when sound).
    pub hash: Vec<u8>,
    /// The sealed values: `{name: {salt, value}}` as JSON text.
    pub sealed: Option<String>,
}

/// The columns that repeat what a record says, so that it can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordColumns {
    /// Run id.
    pub run_id: String,
    /// Place in the run.
    pub seq: u64,
    /// Kind of event.
    pub kind: String,
    /// Step.
    pub step_id: Option<String>,
    /// Call.
    pub call_id: Option<String>,
}

/// The signature of every store function's failure.
pub type StoreResult<T> = Result<T, Fault>;

/// What verifying the journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// How many records are sound, from the first on.
    pub events: u64,
    /// How many of their sealed values were taken away.
    pub redacted: u64,
    /// Place and hash of the last sound record.
    pub head: Option<(u64, Digest)>,
    /// The first record that is not.
    pub bad: Option<BadRecord>,
    /// How many checkpoints were read.
    pub checkpoints: u64,
    /// The largest checkpoint that holds.
    pub proven: Option<SignedCheckpoint>,
}

/// The first record that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRecord {
    /// Its place in the journal.
    pub index: u64,
    /// Its run, as far as that can be told.
    pub run_id: Option<RunId>,
    /// What is wrong with it: lower case, no final period.
    pub why: String,
}
