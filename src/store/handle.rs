//! The store as other rooms see it.
//!
//! INVARIANT: writes go through the one writer, reads through connections that cannot write. Holds no rule of its own.

mod calls;
mod keep;
mod outbox;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use sqlx::Connection as _;
use tokio::sync::{mpsc, oneshot, watch};
use toolgate_evidence::tree::{Hash, Subtree};

use crate::call::{ArtifactRef, Artifacts, Redact};
use crate::domain::{
    Actor, Amounts, ApprovalId, ArtifactId, CallId, Clock, Digest, ErrorCode, Fault, GrantId, Labels, Measured, Meter, Millis, OwnerId,
    Principal, Role, RunId, ToolName,
};
use crate::run::{Budget, Event};

use super::apply::{Row, Task};
use super::leases::{LeaseAct, LeaseDone};
use super::open::Readers;
use super::owners::{self, OwnerLock};
use super::proof::{self, Act, Broken, Outside, Proofs, Refused};
use super::room::Room;
use super::writer::{self, Job, Writer};
use super::{
    Append, ApprovalFilter, ApprovalRow, AuditOptions, GrantRow, InclusionProof, Lease, OpenCall, OpenOptions, PausedRun, RunFilter,
    RunRow, SignedCheckpoint, StoredRecord, VaultRows, VerifyReport, approvals, artifacts, budgets, events, home, open, questions,
    remembered, runs, scrub, tree, vault, verify,
};

/// How long reads that are under way may take when the store is closed.
const LAST_READS: Millis = Millis(500);

pub use keep::{Shut, fold, shut};

/// A handle to one home's database; cheap to clone, safe beside other processes on the same home.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    owner: OwnerId,
    clock: Arc<dyn Clock>,
    home: Option<PathBuf>,
    jobs: mpsc::Sender<Job>,
    writer: Mutex<Option<writer::Handle>>,
    changes: watch::Receiver<u64>,
    readers: Readers,
    artifacts: Arc<dyn Artifacts>,
    redact: Arc<dyn Redact>,
    /// Set where room is limited.
    room: OnceLock<Room>,
    /// Set where appends are counted.
    meter: OnceLock<Arc<dyn Meter>>,
    /// `None` in memory, and once closed.
    lock: Mutex<Option<OwnerLock>>,
    /// `None` where there are no checkpoints.
    outside: Option<Outside>,
}

/// How a journal with checkpoints is opened.
enum With<'a> {
    /// Checked against them, and made more of.
    Checked,
    /// As it is: to look at it.
    Unchecked,
    /// As it is: the operator accepts it, under this event and for this reason.
    Accepting(&'static str, &'a str),
}

impl Store {
    /// Opens or creates the database of a home and takes the lock of `options.owner`. No checkpoints are made or looked at.
    ///
    /// # Errors
    /// `STORE_TOO_NEW` where a newer version wrote it, `STORE_FAILED` where it is damaged, not ours or cannot be used; then nothing was
    /// changed.
    pub async fn open(options: OpenOptions) -> Result<Self, Fault> {
        Self::begin(options, None).await.map(|(store, _)| store)
    }

    /// The same with signed checkpoints: the journal must be the one that was signed last, and is signed from now on.
    ///
    /// # Errors
    /// As [`Store::open`]; `AUDIT_BROKEN` with the first record that does not hold, `AUDIT_KEY_REFUSED`, `WITNESS_UNREACHABLE` where the
    /// witness is required.
    pub async fn open_proven(options: OpenOptions, audit: &AuditOptions) -> Result<Self, Fault> {
        Self::begin(options, Some((audit, With::Checked))).await.map(|(store, _)| store)
    }

    /// The same without asking whether the journal holds: to verify it, and to prove and export records. Makes no checkpoints.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_unchecked(options: OpenOptions, audit: &AuditOptions) -> Result<Self, Fault> {
        Self::begin(options, Some((audit, With::Unchecked))).await.map(|(store, _)| store)
    }

    /// Opens a journal that may not hold, records by `event` (in `payload.event`) that the operator accepts it as it is, and signs it.
    /// Whoever calls this has the operator's proof.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_accepting(options: OpenOptions, audit: &AuditOptions, event: &'static str, reason: &str) -> Result<Self, Fault> {
        let redact = Arc::clone(&options.redact);
        let reason = redact.text(reason);
        let (store, act) = Self::begin(options, Some((audit, With::Accepting(event, &reason)))).await?;
        if let Some(act) = act {
            store.seal(act).await?;
        }
        Ok(store)
    }

    async fn begin(options: OpenOptions, audit: Option<(&AuditOptions, With<'_>)>) -> Result<(Self, Option<Act>), Fault> {
        let OpenOptions { home, owner, clock, durability, redact } = options;
        let (mut proofs, mut act, mut outside) = (None, None, None);
        let (connection, readers, artifacts, lock): (_, _, Arc<dyn Artifacts>, _) = match &home {
            None => {
                let (connection, readers) = open::open(None, durability).await?;
                (connection, readers, Arc::new(artifacts::Memory::default()), None)
            }
            Some(home) => {
                home::make_folder(home)?;
                let _opening = home::lock(home).await?;
                let (connection, readers) = open::open(Some(home), durability).await?;
                if let Some((audit, with)) = audit {
                    let around = Outside::new(home, audit);
                    (proofs, act) = prepare(&connection, &readers, &around, audit, (with, clock.as_ref())).await?;
                    outside = Some(around);
                }
                let artifacts = artifacts::Files::open(home)?;
                let lock = OwnerLock::take(home, owner)?;
                (connection, readers, Arc::new(artifacts), Some(lock))
            }
        };
        let (counter, changes) = watch::channel(0);
        let writer = Writer { connection, clock: Arc::clone(&clock), owner, home: home.clone(), changes: counter, proofs };
        let (jobs, task) = writer::start(writer);
        let (writer, lock) = (Mutex::new(Some(task)), Mutex::new(lock));
        let artifacts: Arc<dyn Artifacts> = Arc::new(scrub::Scrubbed { artifacts, redact: Arc::clone(&redact) });
        let (room, meter) = (OnceLock::new(), OnceLock::new());
        let inner = Inner { owner, clock, home, jobs, writer, changes, readers, artifacts, redact, room, meter, lock, outside };
        Ok((Self { inner: Arc::new(inner) }, act))
    }

    /// Tells of every append from now on; the first meter stays.
    pub fn measured_by(&self, meter: Arc<dyn Meter>) {
        let _first = self.inner.meter.set(meter);
    }

    /// This process.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.inner.owner
    }

    /// Appends events to one run and makes the changes that go with them, in one durable transaction, or nothing at all; without
    /// secrets, see [`OpenOptions::redact`].
    /// Waits in a queue with other callers' appends and shares their commit.
    ///
    /// # Errors
    /// The fault of the guard or change that does not hold; `LIMIT_EXCEEDED` for an event that is too large; `AUDIT_BROKEN` where the
    /// journal's end was changed; `STORE_FAILED`: nothing was recorded; `OUTCOME_UNKNOWN`: it may have been, and this process records
    /// nothing more.
    pub async fn append(&self, append: Append) -> Result<Vec<Event>, Fault> {
        self.write(append).await?.iter().map(events::written).collect()
    }

    /// Like [`Self::append`], for whoever does not look at the events again: reading them back means parsing what was just written.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn record(&self, append: Append) -> Result<(), Fault> {
        self.write(append).await.map(drop)
    }

    async fn write(&self, append: Append) -> Result<Vec<Row>, Fault> {
        let Append { run, events, guards, changes } = scrub::scrubbed(append, &*self.inner.redact);
        let events = events.into_iter().map(events::prepare).collect::<Result<Vec<_>, Fault>>()?;
        let begun = Instant::now();
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Append(Task { run, events, guards, changes }, answer)).await?;
        let written = answered.await.map_err(|_| unanswered()).flatten();
        if let Some(meter) = self.inner.meter.get() {
            meter.tell(Measured::Append { took: begun.elapsed(), code: written.as_ref().err().map(|fault| fault.code) });
        }
        written
    }

    async fn queue(&self, job: Job) -> Result<(), Fault> {
        let closed = |_| Fault::new(ErrorCode::StoreFailed, "the store is closed: this process is ending").hint("start toolgate again");
        self.inner.jobs.send(job).await.map_err(closed)
    }

    /// Events of a run with `seq > after`, at most `limit` (0 is no limit), in order.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where one cannot be read or is missing; `STORE_FAILED`.
    pub async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
        events::of_run(self.inner.readers.get().await?, run, after, limit).await
    }

    /// The intent of a call and, once there is one, its outcome; `None` where the journal holds no intent of it.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where one cannot be read; `STORE_FAILED`.
    pub async fn event_by_call(&self, call: &CallId) -> Result<Option<(Event, Option<Event>)>, Fault> {
        events::of_call(self.inner.readers.get().await?, call).await
    }

    /// What a run may use up and has used; one that is not known has an empty budget.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn budget(&self, run: &RunId) -> Result<Budget, Fault> {
        budgets::of_run(self.inner.readers.get().await?, run).await
    }

    /// What a principal used up on a day, in UTC, as [`crate::domain::day_of`] counts it.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn used_on(&self, principal: &Principal, day: u64) -> Result<Amounts, Fault> {
        budgets::on_day(self.inner.readers.get().await?, principal, day).await
    }

    /// Fires whenever this process has committed something (the value is a counter). Other processes' commits are not seen here:
    /// who waits for those polls as well.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.clone()
    }

    /// One run.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn run(&self, run: &RunId) -> Result<Option<RunRow>, Fault> {
        runs::one(self.inner.readers.get().await?, run).await
    }

    /// Runs, the newest first.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        runs::list(self.inner.readers.get().await?, &filter).await
    }

    /// The labels of all runs that these artifacts are from; of this principal's runs, where one is named.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn labels_of_artifacts(&self, principal: Option<&Principal>, artifacts: &[ArtifactId]) -> Result<Labels, Fault> {
        runs::labels_of_artifacts(self.inner.readers.get().await?, principal, artifacts).await
    }

    /// Whether this one may read this artifact: a run of theirs stored it, or they are the operator. To know its name is not enough.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn may_read(&self, who: &Actor, artifact: &ArtifactId) -> Result<bool, Fault> {
        if who.role == Role::Operator {
            return Ok(true);
        }
        runs::may_read(self.inner.readers.get().await?, &who.principal, artifact).await
    }

    /// The artifacts linked to a run, in the order they came.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn run_artifacts(&self, run: &RunId) -> Result<Vec<ArtifactRef>, Fault> {
        runs::artifacts(self.inner.readers.get().await?, run).await
    }

    async fn lease(&self, act: LeaseAct) -> Result<LeaseDone, Fault> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Lease(act, answer)).await?;
        answered.await.map_err(|_| unanswered())?
    }

    /// Takes the right to drive a run for `span`, unless a living process has it, this one included. Each taking raises the fencing
    /// token.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn take_lease(&self, run: &RunId, span: Millis) -> Result<Option<Lease>, Fault> {
        match self.lease(LeaseAct::Take { run: *run, span }).await? {
            LeaseDone::Taken(lease) => Ok(lease),
            LeaseDone::Renewed(_) | LeaseDone::Released => Err(Fault::internal("the writer confused two leases")),
        }
    }

    /// Extends a lease; `false` when it was lost.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn renew_lease(&self, lease: &Lease, span: Millis) -> Result<bool, Fault> {
        let act = LeaseAct::Renew { lease: lease.clone(), span };
        Ok(self.lease(act).await? == LeaseDone::Renewed(true))
    }

    /// Gives a lease back; one that was lost is left to whoever has it.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn release_lease(&self, lease: Lease) -> Result<(), Fault> {
        self.lease(LeaseAct::Release { lease }).await.map(drop)
    }

    /// One approval.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, Fault> {
        approvals::one(self.inner.readers.get().await?, id, self.inner.clock.now()).await
    }

    /// Approvals, the newest first.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, Fault> {
        approvals::list(self.inner.readers.get().await?, &filter, self.inner.clock.now()).await
    }

    /// The newest approval of a call digest that is pending, approved or denied (not used, not expired).
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn approval_of(&self, digest: &Digest) -> Result<Option<ApprovalRow>, Fault> {
        approvals::of_digest(self.inner.readers.get().await?, digest, self.inner.clock.now()).await
    }

    /// Standing grants of this principal and tool that stand now.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn standing_grants(&self, principal: &Principal, tool: &ToolName) -> Result<Vec<GrantRow>, Fault> {
        questions::read::standing(self.inner.readers.get().await?, principal, tool, self.inner.clock.now()).await
    }

    /// The newest standing grants of this principal and tool, at most `limit`, also those that ended or were taken back.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn grants_of(&self, principal: &Principal, tool: &ToolName, limit: u32) -> Result<Vec<GrantRow>, Fault> {
        questions::read::of_tool(self.inner.readers.get().await?, (principal, tool), self.inner.clock.now(), limit).await
    }

    /// Standing grants, the newest first: those not yet noted as ended, or all there ever were.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn grants(&self, all: bool) -> Result<Vec<GrantRow>, Fault> {
        questions::read::grants(self.inner.readers.get().await?, !all, self.inner.clock.now()).await
    }

    /// One standing grant.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<GrantRow>, Fault> {
        questions::read::one(self.inner.readers.get().await?, id, self.inner.clock.now()).await
    }

    /// Runs whose questions are paused.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn paused_runs(&self) -> Result<Vec<PausedRun>, Fault> {
        questions::read::paused(self.inner.readers.get().await?).await
    }

    /// Questions and unused answers whose time is over, without an event that says so yet; at most 100.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn overdue_approvals(&self) -> Result<Vec<ApprovalId>, Fault> {
        questions::read::overdue(self.inner.readers.get().await?, self.inner.clock.now()).await
    }

    /// Questions that wait and that the webhook has not heard of; at most 20.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn untold_approvals(&self) -> Result<Vec<ApprovalId>, Fault> {
        questions::read::untold(self.inner.readers.get().await?, self.inner.clock.now()).await
    }

    /// The call remembered under a key, and its run.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn remembered(&self, key: &Digest) -> Result<Option<(CallId, RunId)>, Fault> {
        remembered::one(self.inner.readers.get().await?, key).await
    }

    /// The vault's rows, and the events of the run that tells of them, at one moment.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where an event cannot be read or is missing; `STORE_FAILED`.
    pub async fn vault(&self, run: &RunId) -> Result<VaultRows, Fault> {
        vault::all(self.inner.readers.get().await?, run).await
    }

    /// Intents without an outcome whose owner process is gone.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn orphaned_calls(&self) -> Result<Vec<OpenCall>, Fault> {
        let open = runs::open_calls(self.inner.readers.get().await?).await?;
        let me = self.inner.owner.to_string();
        let dead = |owner: &str| owner != me && self.inner.home.as_deref().is_none_or(|home| !owners::is_alive(home, owner));
        Ok(open.into_iter().filter(|(owner, _)| dead(owner)).map(|(_, call)| call).collect())
    }

    /// Raw rows of the journal with `index >= from`, at most `limit` (0 is no limit), for export.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where a row cannot be read; `STORE_FAILED`.
    pub async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, Fault> {
        events::records(self.inner.readers.get().await?, from, limit).await
    }

    /// Place and hash of the journal's last record.
    ///
    /// # Errors
    /// `STORE_FAILED`, `AUDIT_BROKEN`.
    pub async fn head(&self) -> Result<Option<(u64, Digest)>, Fault> {
        verify::head(&self.inner.readers).await
    }

    /// Verifies all that the journal holds now, and every checkpoint that is known. Damage is what the report tells, not an error.
    ///
    /// # Errors
    /// `STORE_FAILED` where the database cannot be used at all.
    pub async fn verify(&self) -> Result<VerifyReport, Fault> {
        verify::verify(&self.inner.readers, self.inner.outside.as_ref()).await
    }

    async fn seal(&self, act: Act) -> Result<(), Fault> {
        let (answer, answered) = oneshot::channel();
        self.queue(Job::Seal(act, answer)).await?;
        answered.await.map_err(|_| unanswered())?
    }

    /// The newest checkpoint, as the database has it.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Fault> {
        proof::newest(&mut *self.inner.readers.get().await?).await
    }

    /// Signs all that is recorded now, unless that is done already. To be asked of a store that was opened proven.
    ///
    /// # Errors
    /// As [`Store::append`].
    pub async fn cover(&self) -> Result<Option<SignedCheckpoint>, Fault> {
        self.seal(Act::Cover).await?;
        self.checkpoint().await
    }

    /// Proves a record by the smallest checkpoint that covers it; `None` where none does yet.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where the record, the tree or the checkpoint is not what was signed; `STORE_FAILED`.
    pub async fn prove(&self, index: u64) -> Result<Option<InclusionProof>, Fault> {
        proof::prove(&mut *self.inner.readers.get().await?, index).await
    }

    /// Hashes of complete subtrees of the journal's tree, as they are stored: what proofs are made of.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where one is missing; `STORE_FAILED`.
    pub async fn subtrees(&self, subtrees: &[Subtree]) -> Result<HashMap<Subtree, Hash>, Fault> {
        tree::hashes(&mut *self.inner.readers.get().await?, subtrees).await
    }

    /// The public keys of the home, the first one first, each in the form that verifiers of signed notes take, with the size from which
    /// on it signs.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn audit_keys(&self) -> Result<Vec<(String, u64)>, Fault> {
        proof::public_keys(&mut *self.inner.readers.get().await?).await
    }

    /// Draws a new audit key; the old one signs for it, and that is recorded. Whoever calls this has the operator's proof.
    ///
    /// # Errors
    /// `AUDIT_KEY_REFUSED` where this store has no key, and as [`Store::append`].
    pub async fn rotate_key(&self) -> Result<Option<SignedCheckpoint>, Fault> {
        let Some(outside) = &self.inner.outside else {
            return Err(Fault::new(ErrorCode::AuditKeyRefused, "this store has no audit key"));
        };
        // Whoever opens the home meanwhile would take the new key for one of a rotation that did not come to its end.
        let _opening = match &self.inner.home {
            Some(home) => Some(home::lock(home).await?),
            None => None,
        };
        let name = proof::name(&mut *self.inner.readers.get().await?).await?;
        self.seal(proof::rotate(outside, &name)?).await?;
        self.checkpoint().await
    }

    /// Whether new calls may be taken: not where a witness is required and does not hear of checkpoints.
    ///
    /// # Errors
    /// `WITNESS_UNREACHABLE`.
    pub fn witnessed(&self) -> Result<(), Fault> {
        self.inner.outside.as_ref().and_then(Outside::refusal).map_or(Ok(()), Err)
    }

    /// What takes secrets out of whatever is recorded here.
    #[must_use]
    pub fn redact(&self) -> &dyn Redact {
        &*self.inner.redact
    }

    /// The artifact files, whosever they are.
    #[must_use]
    pub fn artifacts(&self) -> Arc<dyn Artifacts> {
        Arc::clone(&self.inner.artifacts)
    }

    /// Stops the writer after what is queued, and gives the owner lock back. Other handles of the same store are closed with it.
    pub async fn close(self) {
        // Fails where the writer has stopped already.
        let _ = self.inner.jobs.send(Job::Stop).await;
        let writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = match writer {
            Some(writer) => writer.await.ok().flatten(),
            None => None,
        };
        // Whoever still reads is not waited for long. The writer's connection goes last: as the last one of all processes it moves
        // the write-ahead log into the database.
        let _ = tokio::time::timeout(LAST_READS.duration(), self.inner.readers.close()).await;
        if let Some(connection) = connection {
            let _ = connection.close().await;
        }
        drop(self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The writer's part for checkpoints, and what it is to do first.
async fn prepare(
    connection: &open::Writing,
    readers: &Readers,
    outside: &Outside,
    audit: &AuditOptions,
    (with, clock): (With<'_>, &dyn Clock),
) -> Result<(Option<Proofs>, Option<Act>), Fault> {
    let opened = match with {
        With::Unchecked => return Ok((None, None)),
        With::Accepting(event, reason) => {
            let mut connection = connection.lock().await;
            let (proofs, act) = proof::accept(&mut connection, outside, audit, clock, (event, reason)).await?;
            return Ok((Some(proofs), Some(act)));
        }
        With::Checked => proof::open(&mut *connection.lock().await, outside, audit, clock).await,
    };
    match opened {
        Ok(proofs) => Ok((Some(proofs), None)),
        Err(Refused::Fault(fault)) => Err(fault),
        // What is wrong was found by a glance; the whole walk may name the very record.
        Err(Refused::Broken(broken)) => match verify::verify(readers, Some(outside)).await.ok().and_then(|report| report.bad) {
            Some(bad) if bad.index <= broken.index => Err(Broken::at(bad.index, bad.why).into_fault(bad.run_id)),
            _ => Err(broken.into_fault(None)),
        },
    }
}

fn unanswered() -> Fault {
    Fault::new(ErrorCode::OutcomeUnknown, "the process is ending, and it is not known whether this was recorded")
        .hint("at the next start the log shows what was recorded")
}
