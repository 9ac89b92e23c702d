//! A log in memory that means what the store means, shared by several "processes", each of which can be made to die after so many
//! appends: from then on none of its operations ever returns, as for a process that was killed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use crate::call::{ArtifactRef, Artifacts};
use crate::domain::{Amounts, ApprovalId, ArtifactId, Clock, Digest, ErrorCode, Fault, Millis, OwnerId, RunId};
use crate::engine::Log;
use crate::run::{Budget, Event, EventDraft, Mark, RunStatus};
use crate::store::{Append, ApprovalRow, ApprovalStatus, Change, Guard, Lease, RunFilter, RunRow};

/// What all processes share: the database.
#[derive(Default)]
pub struct Shared {
    pub runs: BTreeMap<RunId, RunRow>,
    pub events: BTreeMap<RunId, Vec<Event>>,
    pub approvals: BTreeMap<ApprovalId, ApprovalRow>,
    leases: HashMap<RunId, Lease>,
    fences: HashMap<RunId, u64>,
    dead: HashSet<OwnerId>,
    artifacts: HashMap<ArtifactId, Vec<u8>>,
    index: u64,
}

/// One process's handle.
pub struct MemLog {
    pub shared: Arc<Mutex<Shared>>,
    pub owner: OwnerId,
    clock: Arc<dyn Clock>,
    changes: watch::Sender<u64>,
    left: AtomicI64,
    pub died: Arc<AtomicBool>,
}

impl MemLog {
    /// `lives`: appends until it dies.
    pub fn new(shared: Arc<Mutex<Shared>>, clock: Arc<dyn Clock>, lives: i64) -> Arc<Self> {
        let owner = OwnerId::mint(clock.now());
        let (changes, _) = watch::channel(0);
        Arc::new(Self { shared, owner, clock, changes, left: AtomicI64::new(lives), died: Arc::default() })
    }

    /// What the operating system does when a process ends: its lock is free.
    pub fn bury(&self) {
        self.died.store(true, Ordering::SeqCst);
        self.shared.lock().unwrap().dead.insert(self.owner);
    }

    /// A human's answer, from another process.
    pub fn answer(&self, approve: bool) -> ApprovalId {
        let mut shared = self.shared.lock().unwrap();
        let row = shared.approvals.values_mut().find(|row| row.status == ApprovalStatus::Pending).expect("a question waits");
        row.status = if approve { ApprovalStatus::Approved } else { ApprovalStatus::Denied };
        row.answer = Some(if approve { "fine" } else { "not today" }.into());
        row.id
    }

    /// Gives the lease to nobody in particular, as when this process was stalled past it.
    pub fn steal(&self, run: &RunId) {
        let mut shared = self.shared.lock().unwrap();
        let fence = shared.fences.entry(*run).or_default();
        *fence += 1;
        let fence = *fence;
        shared.leases.insert(*run, Lease { run: *run, owner: OwnerId::mint(self.clock.now()), fence });
    }

    async fn unless_dead(&self) {
        if self.died.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    fn commit(&self, append: Append) -> Result<Vec<Event>, Fault> {
        let mut shared = self.shared.lock().unwrap();
        let now = self.clock.now();
        let run = append.run;
        for guard in &append.guards {
            check(&shared, run, guard, &append.events, now)?;
        }
        for change in &append.changes {
            if let Change::UseApproval { id, digest } = change {
                let row = &shared.approvals[id];
                if standing(row, now) != ApprovalStatus::Approved || row.digest != *digest {
                    return Err(Fault::new(ErrorCode::ApprovalRequired, "not approved"));
                }
            }
        }
        for change in append.changes {
            apply(&mut shared, run, change, now);
        }
        let mut written = Vec::new();
        for draft in append.events {
            let run = run.unwrap();
            let event = event_of(draft, run, shared.events.get(&run).map_or(1, |events| events.len() as u64 + 1), shared.index, now);
            shared.index += 1;
            shared.events.entry(run).or_default().push(event.clone());
            let row = shared.runs.get_mut(&run).expect("the run was created");
            (row.last_seq, row.updated) = (event.seq, now);
            written.push(event);
        }
        Ok(written)
    }
}

fn check(shared: &Shared, run: Option<RunId>, guard: &Guard, events: &[EventDraft], now: crate::domain::Timestamp) -> Result<(), Fault> {
    let refuse = |code, why: &str| Err(Fault::new(code, why));
    match guard {
        Guard::Holds(lease) if shared.leases.get(&lease.run) != Some(lease) => refuse(ErrorCode::LeaseLost, "the lease is another's"),
        Guard::LastSeq(seq) if shared.runs[&run.unwrap()].last_seq != *seq => refuse(ErrorCode::RunState, "the log moved"),
        Guard::RunOpen if shared.runs[&run.unwrap()].status.is_final() => refuse(ErrorCode::RunState, "the run is over"),
        Guard::Budget(_) => {
            let asked = events.iter().filter_map(|event| Mark::of(event.kind, &event.payload));
            let asked = asked.fold(Amounts::default(), |sum, mark| sum.plus(&mark.asks()));
            budget(shared, run.unwrap()).over(now, &asked).map_or(Ok(()), |over| Err(over.fault()))
        }
        Guard::NotReached(over) if budget(shared, run.unwrap()).has_reached(over, now) => refuse(ErrorCode::RunState, "told already"),
        Guard::Holds(_) | Guard::LastSeq(_) | Guard::RunOpen | Guard::NotReached(_) => Ok(()),
    }
}

fn budget(shared: &Shared, run: RunId) -> Budget {
    let mut budget = Budget::default();
    for event in shared.events.get(&run).into_iter().flatten() {
        if let Some(mark) = Mark::of(event.kind, &event.payload) {
            budget.take(event.ts, &mark);
        }
    }
    budget
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the engine makes no other changes")]
fn apply(shared: &mut Shared, run: Option<RunId>, change: Change, now: crate::domain::Timestamp) {
    match change {
        Change::CreateRun { kind, workflow, principal } => {
            let id = run.unwrap();
            let row = RunRow {
                id,
                kind,
                workflow,
                principal,
                status: RunStatus::Running,
                created: now,
                updated: now,
                last_seq: 0,
                labels: Default::default(),
            };
            shared.runs.insert(id, row);
        }
        Change::AddLabels { run, labels } => {
            let row = shared.runs.get_mut(&run).unwrap();
            row.labels = row.labels.union(labels);
        }
        Change::SetStatus(status) => shared.runs.get_mut(&run.unwrap()).unwrap().status = status,
        Change::RequestApproval(asked) => {
            let run_id = run.unwrap();
            let row = ApprovalRow {
                id: asked.id,
                run_id,
                step_id: asked.step,
                digest: asked.digest,
                tool: asked.tool,
                principal: shared.runs[&run_id].principal.clone(),
                shown: asked.shown,
                reason: asked.reason,
                note: asked.note,
                covers: asked.covers,
                asked: 1,
                channel: None,
                status: ApprovalStatus::Pending,
                answer: None,
                created: now,
                expires: asked.expires,
            };
            shared.approvals.insert(row.id, row);
        }
        Change::UseApproval { id, .. } => shared.approvals.get_mut(&id).unwrap().status = ApprovalStatus::Used,
        _ => {}
    }
}

fn event_of(draft: EventDraft, run_id: RunId, seq: u64, index: u64, ts: crate::domain::Timestamp) -> Event {
    let mut payload = draft.payload;
    payload.extend(draft.sealed);
    Event {
        v: 1,
        index,
        run_id,
        seq,
        ts,
        kind: draft.kind,
        step_id: draft.step,
        call_id: draft.call,
        actor: draft.actor,
        payload,
        prev_hash: Digest::ZERO,
        hash: Digest::ZERO,
    }
}

fn standing(row: &ApprovalRow, now: crate::domain::Timestamp) -> ApprovalStatus {
    let is_open = matches!(row.status, ApprovalStatus::Pending | ApprovalStatus::Approved);
    if is_open && now >= row.expires { ApprovalStatus::Expired } else { row.status }
}

#[async_trait]
impl Log for MemLog {
    async fn append(&self, append: Append) -> Result<Vec<Event>, Fault> {
        self.unless_dead().await;
        // What a disk does while others go on.
        tokio::task::yield_now().await;
        let written = self.commit(append)?;
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.died.store(true, Ordering::SeqCst);
        }
        self.unless_dead().await;
        self.changes.send_modify(|count| *count += 1);
        Ok(written)
    }

    async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault> {
        self.unless_dead().await;
        let shared = self.shared.lock().unwrap();
        let events = shared.events.get(run).map_or(&[][..], Vec::as_slice);
        Ok(events.iter().filter(|event| event.seq > after).take(limit as usize).cloned().collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn run(&self, run: &RunId) -> Result<Option<RunRow>, Fault> {
        self.unless_dead().await;
        Ok(self.shared.lock().unwrap().runs.get(run).cloned())
    }

    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault> {
        self.unless_dead().await;
        let shared = self.shared.lock().unwrap();
        let fits = |row: &&RunRow| {
            filter.principal.as_ref().is_none_or(|principal| row.principal == *principal) && !(filter.open && row.status.is_final())
        };
        Ok(shared.runs.values().rev().filter(fits).cloned().collect())
    }

    async fn take_lease(&self, run: &RunId, _span: Millis) -> Result<Option<Lease>, Fault> {
        self.unless_dead().await;
        let mut shared = self.shared.lock().unwrap();
        if shared.leases.get(run).is_some_and(|lease| !shared.dead.contains(&lease.owner)) {
            return Ok(None);
        }
        let fence = shared.fences.entry(*run).or_default();
        *fence += 1;
        let lease = Lease { run: *run, owner: self.owner, fence: *fence };
        shared.leases.insert(*run, lease.clone());
        Ok(Some(lease))
    }

    async fn renew_lease(&self, lease: &Lease, _span: Millis) -> Result<bool, Fault> {
        self.unless_dead().await;
        Ok(self.shared.lock().unwrap().leases.get(&lease.run) == Some(lease))
    }

    async fn release_lease(&self, lease: Lease) -> Result<(), Fault> {
        self.unless_dead().await;
        let mut shared = self.shared.lock().unwrap();
        if shared.leases.get(&lease.run) == Some(&lease) {
            shared.leases.remove(&lease.run);
        }
        Ok(())
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<ApprovalRow>, Fault> {
        self.unless_dead().await;
        let row = self.shared.lock().unwrap().approvals.get(id).cloned();
        Ok(row.map(|row| ApprovalRow { status: standing(&row, self.clock.now()), ..row }))
    }

    fn artifacts(&self) -> Arc<dyn Artifacts> {
        Arc::new(MemArtifacts(self.shared.clone()))
    }
}

struct MemArtifacts(Arc<Mutex<Shared>>);

#[async_trait]
impl Artifacts for MemArtifacts {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        let (artifact, size) = (ArtifactId::of(&bytes), bytes.len() as u64);
        self.0.lock().unwrap().artifacts.insert(artifact, bytes);
        Ok(ArtifactRef { artifact, size, media_type: media_type.into() })
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let shared = self.0.lock().unwrap();
        let bytes = shared.artifacts.get(id).ok_or_else(|| Fault::new(ErrorCode::UnknownArtifact, "no such artifact"))?;
        let part: Vec<u8> = bytes.iter().skip(offset as usize).take(limit as usize).copied().collect();
        Ok((part, bytes.len() as u64))
    }
}

/// The payload's field of a step's events, for assertions.
pub fn field<'a>(event: &'a Event, name: &str) -> &'a str {
    event.payload.get(name).and_then(Value::as_str).unwrap_or_default()
}
