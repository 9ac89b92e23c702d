//! The one task that writes: what many callers want in the database shares one transaction and one wait for the disk.
//!
//! INVARIANT: a caller hears "done" only after `COMMIT` came back; a caller that is queued always gets an answer; after a commit whose
//! outcome is unknown nothing more is written by this process. Does not decide what an append may do: see `apply`.

use std::path::PathBuf;
use std::sync::Arc;

use sqlx::SqliteConnection;
use tokio::sync::{mpsc, oneshot, watch};
use toolgate_evidence::tree::Frontier;

use crate::domain::{Clock, ErrorCode, Fault, OwnerId, Timestamp, day_of};

use super::apply::{self, Row, Task, Writes};
use super::fault::{Kind, failed, kind};
use super::flush::{self, flush};
use super::known::{self, Known};
use super::leases::{self, LeaseAct, LeaseDone};
use super::open::Writing;
use super::proof::{Act, Proofs, Sealing};
use super::room::Reserve;
use super::state::{self, Asked, Head, State, broken};
use super::tree;
use super::{Change, Guard};

/// Most jobs of one transaction.
const BATCH: usize = 256;
/// Most jobs that wait; more callers wait for a place in the queue.
const QUEUE: usize = 1024;
/// How often the writer lets others run before it begins: those whom the last commit released get to queue again.
const LINGER: u32 = 3;

/// What the writer is asked to do.
pub(super) enum Job {
    /// Append events and make changes.
    Append(Task, oneshot::Sender<Result<Vec<Row>, Fault>>),
    /// Take, extend or give back a lease.
    Lease(LeaseAct, oneshot::Sender<Result<LeaseDone, Fault>>),
    /// Make a checkpoint, or what comes with one.
    Seal(Act, oneshot::Sender<Result<(), Fault>>),
    /// See whether a checkpoint is due.
    Tick,
    /// Finish what is queued, then stop.
    Stop,
}

impl Job {
    /// A caller that no longer waits is no concern.
    fn answer(self, done: Done) {
        match (self, done) {
            (Self::Append(_, answer), Done::Append(result)) => drop(answer.send(result)),
            (Self::Lease(_, answer), Done::Lease(done)) => drop(answer.send(Ok(done))),
            (Self::Seal(_, answer), Done::Seal) => drop(answer.send(Ok(()))),
            (Self::Stop | Self::Tick, Done::Stop) => {}
            (job, _) => job.refuse(Fault::internal("the writer confused two answers")),
        }
    }

    fn refuse(self, fault: Fault) {
        match self {
            Self::Append(_, answer) => drop(answer.send(Err(fault))),
            Self::Lease(_, answer) => drop(answer.send(Err(fault))),
            Self::Seal(_, answer) => drop(answer.send(Err(fault))),
            Self::Stop | Self::Tick => {}
        }
    }

    /// Refused with everything else, except that its own reason goes first.
    fn fail(self, done: Done, fault: Fault) {
        match done {
            Done::Append(Err(own)) => self.refuse(own),
            Done::Append(Ok(_)) | Done::Lease(_) | Done::Seal | Done::Stop => self.refuse(fault),
        }
    }
}

/// What came of a job, to be told once the commit is through.
enum Done {
    Append(Result<Vec<Row>, Fault>),
    Lease(LeaseDone),
    Seal,
    Stop,
}

/// What the writer is made of.
pub(super) struct Writer {
    pub(super) connection: Writing,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) owner: OwnerId,
    /// `None` in memory, where there are no other owners.
    pub(super) home: Option<PathBuf>,
    pub(super) changes: watch::Sender<u64>,
    /// `None` where no checkpoints are made.
    pub(super) proofs: Option<Proofs>,
}

/// When and by which process something is written.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) now: Timestamp,
    pub(super) owner: OwnerId,
}

/// The writer's task; gives its connection back at its end, unless something else holds it too.
pub(super) type Handle = tokio::task::JoinHandle<Option<SqliteConnection>>;

/// Starts the writer.
pub(super) fn start(writer: Writer) -> (mpsc::Sender<Job>, Handle) {
    let (sender, queue) = mpsc::channel(QUEUE);
    #[expect(clippy::disallowed_methods, reason = "the writer belongs to the store's handle, which ends it by `close` or by being dropped")]
    let task = tokio::spawn(
        Running { reserve: writer.home.as_deref().map(Reserve::of), writer, queue, last: None, known: None, halted: None }.run(),
    );
    (sender, task)
}

/// The end of the journal: its head and the tree up to there.
type End = (Head, Frontier);

/// What came of a transaction.
struct Transacted {
    /// Where the journal then ends.
    end: End,
    /// What is then known of the database.
    known: Known,
    /// What came of each job.
    done: Vec<Done>,
    sealing: Sealing,
    committed: Result<(), sqlx::Error>,
}

fn no_key() -> Trouble {
    Trouble::own(Fault::internal("a checkpoint was asked for where none are made"))
}

/// Which try at some jobs this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    /// Several in one transaction.
    Together,
    /// The only one of its batch.
    OnlyJob,
    /// By itself, after a try that failed.
    Last,
}

struct Running {
    writer: Writer,
    /// `None` in memory.
    reserve: Option<Reserve>,
    queue: mpsc::Receiver<Job>,
    /// The end of the journal as this process last wrote it.
    last: Option<End>,
    /// What else it knows; nothing after a failure.
    known: Option<Known>,
    /// Why nothing more is written.
    halted: Option<Fault>,
}

impl Running {
    async fn run(mut self) -> Option<SqliteConnection> {
        let mut jobs = Vec::with_capacity(BATCH);
        while self.next(&mut jobs).await > 0 {
            self.gather(&mut jobs).await;
            if jobs.iter().any(|job| matches!(job, Job::Stop)) {
                self.queue.close();
            }
            self.batch(std::mem::take(&mut jobs)).await;
        }
        if let Some(proofs) = self.writer.proofs.take() {
            proofs.anchor.finish().await;
        }
        Arc::into_inner(self.writer.connection).map(tokio::sync::Mutex::into_inner)
    }

    /// Waits for jobs, or until a checkpoint is due.
    async fn next(&mut self, jobs: &mut Vec<Job>) -> usize {
        let deadline = self.writer.proofs.as_ref().filter(|_| self.halted.is_none()).and_then(Proofs::deadline);
        let waiting = self.queue.recv_many(jobs, BATCH);
        let Some(deadline) = deadline else { return waiting.await };
        if let Ok(count) = tokio::time::timeout_at(deadline, waiting).await {
            return count;
        }
        jobs.push(Job::Tick);
        1
    }

    /// Takes in who is about to queue: a larger batch costs the disk no more than a small one.
    async fn gather(&mut self, jobs: &mut Vec<Job>) {
        let mut quiet = 0;
        while quiet < LINGER && jobs.len() < BATCH {
            tokio::task::yield_now().await;
            let before = jobs.len();
            while jobs.len() < BATCH
                && let Ok(job) = self.queue.try_recv()
            {
                jobs.push(job);
            }
            quiet = if jobs.len() == before { quiet + 1 } else { 0 };
        }
    }

    /// One transaction for all; where one of them spoils it, one for each, so that nobody suffers for a neighbour.
    async fn batch(&mut self, jobs: Vec<Job>) {
        let first = if jobs.len() == 1 { Try::OnlyJob } else { Try::Together };
        if let Some(jobs) = self.attempt(jobs, first).await {
            for job in jobs {
                self.attempt(vec![job], Try::Last).await;
            }
        }
    }

    /// Answers all jobs, or gives them back where it is worth trying them one by one.
    async fn attempt(&mut self, jobs: Vec<Job>, which: Try) -> Option<Vec<Job>> {
        if let Some(fault) = &self.halted {
            jobs.into_iter().for_each(|job| job.refuse(fault.clone()));
            return None;
        }
        let connection = Arc::clone(&self.writer.connection);
        let mut connection = connection.lock().await;
        let transacted = match self.at_once(&mut connection, &jobs).await {
            Some(done) => Ok(done),
            None => self.transact(&mut connection, &jobs).await,
        };
        let found_no_room = match &transacted {
            Ok(Transacted { committed: Err(error), .. }) => kind(error) == Kind::Full,
            Ok(_) => false,
            Err(trouble) => trouble.fault.code == ErrorCode::StorageFull,
        };
        // What was begun must still be recorded: that is what the reserve is for.
        let may_retry = found_no_room && which != Try::Last && rollback(&mut connection).await.is_ok();
        if may_retry && self.reserve.as_ref().is_some_and(Reserve::give_up) {
            tracing::error!("the disk is full: the reserve was given up, and new calls are refused until there is room");
            return Some(jobs);
        }
        let Transacted { end, known, done, sealing, committed } = match transacted {
            Ok(done) => done,
            Err(trouble) => {
                if let Err(error) = rollback(&mut connection).await {
                    self.halt(&failed("taking back what failed", &error));
                    jobs.into_iter().for_each(|job| job.refuse(trouble.fault.clone()));
                    return None;
                }
                if trouble.shared || which != Try::Together {
                    self.put_off();
                    jobs.into_iter().for_each(|job| job.refuse(trouble.fault.clone()));
                    return None;
                }
                return Some(jobs);
            }
        };
        let fault = match &committed {
            Ok(()) => None,
            // A full disk took no commit: its mark is the last thing that is written.
            Err(error) if matches!(kind(error), Kind::Busy | Kind::Full) && rollback(&mut connection).await.is_ok() => {
                Some(failed("committing", error))
            }
            Err(error) => {
                let _ = rollback(&mut connection).await;
                let fault = Fault::new(ErrorCode::OutcomeUnknown, format!("it is not known whether this was recorded: {error}"))
                    .hint("stop this process; at the next start the log shows what was recorded");
                self.halt(&fault);
                Some(fault)
            }
        };
        drop(connection);
        let all = jobs.into_iter().zip(done);
        match fault {
            None => {
                let next = end.0.next;
                self.last = Some(end);
                self.known = Some(known);
                self.writer.changes.send_modify(|count| *count += 1);
                let mut accepted = false;
                for (mut job, done) in all {
                    accepted |= self.take_over(&mut job);
                    job.answer(done);
                }
                if let Some(proofs) = &mut self.writer.proofs {
                    proofs.committed(sealing, next, accepted);
                }
            }
            Some(fault) => all.for_each(|(job, done)| job.fail(done, fault.clone())),
        }
        None
    }

    /// After a failure a checkpoint that was due is tried again later, not at once.
    fn put_off(&mut self) {
        if let Some(proofs) = self.writer.proofs.as_mut().filter(|proofs| proofs.open_since.is_some()) {
            proofs.open_since = Some(tokio::time::Instant::now());
        }
    }

    /// Uses the new key of a rotation or an acceptance from now on; tells whether it was an acceptance.
    fn take_over(&mut self, job: &mut Job) -> bool {
        let Job::Seal(act, _) = job else { return false };
        let (key, accepted) = match std::mem::replace(act, Act::Cover) {
            Act::Cover => (None, false),
            Act::Rotate(key) => (Some(*key), false),
            Act::Accept(acceptance) => (acceptance.key, true),
        };
        if let (Some(proofs), Some(key)) = (&mut self.writer.proofs, key) {
            proofs.take_over(key);
        }
        accepted
    }

    fn halt(&mut self, fault: &Fault) {
        tracing::error!("the journal is halted: {fault}");
        let refusal = Fault::new(ErrorCode::StoreFailed, format!("nothing more is recorded since a commit failed: {}", fault.message))
            .hint("stop this process; at the next start the log shows what was recorded");
        self.halted = Some(refusal);
    }

    /// The whole transaction in one passage to the database, where the jobs are usual ones, all that they depend on is known and nobody
    /// else wrote since. `None` where any of this is not so, whatever the reason: nothing is written then, and nothing known any more.
    async fn at_once(&mut self, connection: &mut SqliteConnection, jobs: &[Job]) -> Option<Transacted> {
        let tasks = known::plain(jobs)?;
        let mut asked = asked(jobs);
        asked.today = day_of(self.writer.clock.now());
        let known = self.known.take_if(|known| known.answers(&asked))?;
        let (mut state, rest) = known.state(self.last.clone()?);
        let mut writes = Writes::default();
        let mut apply = |task: &Task| apply::apply(task, self.writer.clock.now(), self.writer.owner, &mut state, &mut writes);
        let done = tasks.into_iter().map(|task| Done::Append(apply(task))).collect();
        let is_due = self.writer.proofs.as_ref().is_some_and(|proofs| proofs.is_due(&state, &writes));
        if is_due || !flush::fits_at_once(&writes) {
            return None;
        }
        let committed = match flush::at_once(connection, &writes, state.version).await {
            Ok(()) => Ok(()),
            Err(flush::Failed::Committing(error)) => Err(error),
            Err(flush::Failed::Writing(_)) => {
                // Where this fails the next transaction cannot begin, and says so.
                let _ = rollback(connection).await;
                return None;
            }
        };
        #[cfg(test)]
        known::AT_ONCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let end = (state.head, std::mem::take(&mut state.tree));
        Some(Transacted { end, known: rest.with(state), done, sealing: writes.sealing, committed })
    }

    /// The whole transaction. An error is one before the commit.
    async fn transact(&mut self, connection: &mut SqliteConnection, jobs: &[Job]) -> Result<Transacted, Trouble> {
        let known = self.known.take();
        let mut asked = asked(jobs);
        asked.today = day_of(self.writer.clock.now());
        asked.runs.extend(self.writer.proofs.as_ref().map(|proofs| proofs.run));
        let mut state = self.begin(connection, &asked).await?;
        let mut writes = Writes::default();
        let mut done = Vec::with_capacity(jobs.len());
        let mut forced = false;
        for job in jobs {
            let now = self.writer.clock.now();
            done.push(match job {
                Job::Append(task, _) => Done::Append(apply::apply(task, now, self.writer.owner, &mut state, &mut writes)),
                Job::Lease(act, _) => Done::Lease(self.lease(connection, act, now, &mut state).await?),
                Job::Seal(act, _) => {
                    let proofs = self.writer.proofs.as_mut().ok_or_else(no_key)?;
                    if !matches!(act, Act::Accept(_)) {
                        proofs.refresh(connection).await.map_err(Trouble::own)?;
                    }
                    proofs.act(act, At { now, owner: self.writer.owner }, &mut state, &mut writes).map_err(Trouble::own)?;
                    forced = true;
                    Done::Seal
                }
                Job::Stop | Job::Tick => {
                    forced |= self.writer.proofs.as_ref().is_some_and(|proofs| proofs.open_since.is_some());
                    Done::Stop
                }
            });
        }
        if let Some(proofs) = &mut self.writer.proofs
            && writes.sealing.is_empty()
            && (forced || proofs.is_due(&state, &writes))
        {
            proofs.refresh(connection).await.map_err(Trouble::own)?;
            let at = At { now: self.writer.clock.now(), owner: self.writer.owner };
            proofs.cover(connection, at, &mut state, &mut writes).await.map_err(Trouble::own)?;
        }
        let committed = match flush(connection, &writes, self.writer.owner).await {
            Ok(()) => Ok(()),
            Err(flush::Failed::Committing(error)) => Err(error),
            Err(flush::Failed::Writing(error)) => return Err(Trouble::of("writing", &error)),
        };
        let end = (state.head, std::mem::take(&mut state.tree));
        Ok(Transacted { end, known: Known::after(known, asked, state), done, sealing: writes.sealing, committed })
    }

    async fn begin(&self, connection: &mut SqliteConnection, asked: &Asked) -> Result<State, Trouble> {
        let mut state = State::begin(connection, asked).await.map_err(|failed| match failed {
            state::Failed::Database(error) => Trouble::of("beginning to write", &error),
            state::Failed::Content(fault) => Trouble { fault, shared: false },
        })?;
        state.tree = match &self.last {
            Some((last, _)) if state.head.next < last.next || (state.head.next == last.next && state.head != *last) => {
                return Err(Trouble { fault: broken("the journal lost records that were written before"), shared: true });
            }
            // Nobody wrote since: the tree is the one we left.
            Some((last, tree)) if state.head == *last => tree.clone(),
            _ => tree::frontier(connection, state.head.next).await.map_err(|fault| Trouble { fault, shared: false })?,
        };
        Ok(state)
    }

    async fn lease(
        &self,
        connection: &mut SqliteConnection,
        act: &LeaseAct,
        now: Timestamp,
        state: &mut State,
    ) -> Result<LeaseDone, Trouble> {
        let (done, row) = leases::decide(act, now, self.writer.owner, self.writer.home.as_deref(), state);
        if let Some((run, row)) = row {
            leases::write(connection, run, &row).await.map_err(|error| Trouble::of("writing a lease", &error))?;
            state.leases.insert(run, row);
        }
        Ok(done)
    }
}

/// Why a transaction did not come to its commit.
struct Trouble {
    fault: Fault,
    /// Whether it is everybody's: then trying one by one is of no use.
    shared: bool,
}

impl Trouble {
    /// One of ours, not the database's.
    fn own(fault: Fault) -> Self {
        Self { fault, shared: false }
    }

    fn of(what: &str, error: &sqlx::Error) -> Self {
        Self { fault: failed(what, error), shared: kind(error) == Kind::Busy }
    }
}

/// Ends the transaction if one is open: some errors have ended it already, and then there is nothing to take back.
async fn rollback(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    match sqlx::query("ROLLBACK").execute(&mut *connection).await {
        Err(error) if error.as_database_error().is_some_and(|error| error.message().contains("no transaction is active")) => Ok(()),
        result => result.map(drop),
    }
}

/// What a batch depends on.
fn asked(jobs: &[Job]) -> Asked {
    let mut asked = Asked::default();
    for job in jobs {
        match job {
            Job::Append(task, _) => {
                asked.runs.extend(task.run);
                asked.calls.extend(task.events.iter().filter_map(|event| event.call));
                let is_guarded = task.guards.iter().any(|guard| matches!(guard, Guard::Budget(_) | Guard::NotReached(_)));
                if is_guarded || task.events.iter().any(|event| event.mark.is_some()) {
                    asked.budgets.extend(task.run);
                    asked.principals.extend(task.events.iter().map(|event| event.actor.principal.clone()));
                }
                for guard in &task.guards {
                    if let Guard::Holds(lease) = guard {
                        asked.leases.insert(lease.run);
                    }
                }
                for change in &task.changes {
                    asked.questions.note(task.run, change);
                    match change {
                        Change::DecideApproval { id, .. }
                        | Change::UseApproval { id, .. }
                        | Change::AskAgain(id)
                        | Change::LiftDenial(id)
                        | Change::ExpireApproval(id) => {
                            asked.approvals.insert(*id);
                        }
                        Change::RequestApproval(approval) => {
                            asked.approvals.insert(approval.id);
                        }
                        Change::Remember { key, .. } | Change::Forget(key) => {
                            asked.keys.insert(*key);
                        }
                        Change::OpenCall { call, .. } | Change::CloseCall(call) => {
                            asked.calls.insert(*call);
                        }
                        Change::AddLabels { run, .. } => {
                            asked.runs.insert(*run);
                        }
                        Change::CreateRun { principal, .. } => {
                            asked.principals.insert(principal.clone());
                        }
                        Change::SetStatus(_)
                        | Change::OwnArtifact(_)
                        | Change::NameArtifact(_)
                        | Change::TakeAway(_)
                        | Change::Vault(_)
                        | Change::Outbox(_)
                        | Change::ToldOf(_)
                        | Change::PauseQuestions { .. }
                        | Change::ReleaseQuestions
                        | Change::GiveGrant(_)
                        | Change::UseGrant(_)
                        | Change::EndGrant { .. } => {}
                    }
                }
            }
            Job::Lease(act, _) => {
                asked.leases.insert(act.run());
            }
            Job::Seal(..) | Job::Stop | Job::Tick => {}
        }
    }
    asked
}
