//! Checkpoints as the writer makes them, inside its transaction.
//!
//! INVARIANT: a checkpoint covers every record before its own event, and both are in one commit. What is outside the database hears of
//! it after that. Does not decide whether the database may be built upon: see `start`.

use std::time::Duration;

use serde_json::Value;
use sqlx::SqliteConnection;
use tokio::time::Instant;

use crate::domain::{Actor, ErrorCode, Fault, Principal, RunId};
use crate::run::{EventDraft, EventKind, RunKind};

use super::super::apply::{self, Task, Writes};
use super::super::events;
use super::super::fault::Doing as _;
use super::super::state::State;
use super::super::{Change, writer::At};
use super::anchor::{Anchor, News};
use super::key::{AuditKey, SignedCheckpoint};
use super::keyfile::KeyFiles;
use super::rows;

/// What the writer is asked for.
pub(in crate::store) enum Act {
    /// A checkpoint over all there is, unless there is one.
    Cover,
    /// A new key in the place of the old one, which signs for it.
    Rotate(Box<AuditKey>),
    /// The journal as it is, by the operator's word.
    Accept(Box<Acceptance>),
}

/// What the operator accepts.
pub(in crate::store) struct Acceptance {
    /// `payload.event` of the record that tells of it.
    pub(in crate::store) event: &'static str,
    /// Why, in the operator's words.
    pub(in crate::store) reason: String,
    /// What did not hold.
    pub(in crate::store) given_up: Value,
    /// The smallest checkpoint that does not hold.
    pub(in crate::store) from: Option<u64>,
    /// The key from now on, where it is not the last known one.
    pub(in crate::store) key: Option<AuditKey>,
}

/// What the database is given with a batch.
#[derive(Default)]
pub(in crate::store) struct Sealing {
    pub(in crate::store) signed: Vec<SignedCheckpoint>,
    /// Verifier, first size, why.
    pub(in crate::store) key: Option<(String, u64, &'static str)>,
    /// Checkpoints from this size on are taken away.
    pub(in crate::store) give_up: Option<u64>,
}

impl Sealing {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.signed.is_empty() && self.key.is_none() && self.give_up.is_none()
    }

    pub(in crate::store) async fn write(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        if let Some(from) = self.give_up {
            rows::give_up(connection, from).await?;
        }
        if let Some((verifier, since, why)) = &self.key {
            rows::add_key(connection, verifier, *since, why).await?;
        }
        for signed in &self.signed {
            rows::add(connection, signed).await?;
        }
        Ok(())
    }
}

/// How often checkpoints are made.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Pace {
    pub(in crate::store) events: u64,
    pub(in crate::store) every: Duration,
}

/// What the writer needs for checkpoints.
pub(in crate::store) struct Proofs {
    pub(in crate::store) files: KeyFiles,
    pub(in crate::store) key: AuditKey,
    /// The run of the house's own events.
    pub(in crate::store) run: RunId,
    pub(in crate::store) pace: Pace,
    pub(in crate::store) anchor: Anchor,
    /// How many records the newest checkpoint covers, as far as known.
    pub(in crate::store) covered: u64,
    /// Since when records of ours are not covered.
    pub(in crate::store) open_since: Option<Instant>,
}

impl Proofs {
    /// When a checkpoint is due for its time.
    pub(in crate::store) fn deadline(&self) -> Option<Instant> {
        self.open_since.map(|since| since + self.pace.every)
    }

    /// Whether what a batch wrote is to be covered at once.
    pub(in crate::store) fn is_due(&self, state: &State, writes: &Writes) -> bool {
        let ended = writes.runs.values().any(|run| run.status.is_final());
        let many = state.head.next.saturating_sub(self.covered) > self.pace.events;
        ended || many || self.deadline().is_some_and(|at| at <= Instant::now())
    }

    /// Takes over the key that another process rotated to. Inside the transaction, before anything is signed.
    pub(in crate::store) async fn refresh(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let known = rows::keys(connection).await?;
        let Some(last) = known.last().filter(|last| last.public != *self.key.public()) else { return Ok(()) };
        // The new one may not have been put in its place yet.
        for key in [self.files.load(), self.files.load_next()].into_iter().filter_map(|key| key.ok().flatten()) {
            if *key.public() == last.public {
                self.key = key;
                return Ok(());
            }
        }
        Err(Fault::new(
            ErrorCode::AuditKeyRefused,
            format!("the audit key {} is not to be had, and another one may not sign", last.public.id()),
        )
        .hint("start this process again; docs/audit.md tells what a missing key means"))
    }

    /// Covers what the batch leaves, unless that is done already.
    pub(in crate::store) async fn cover(
        &self,
        connection: &mut SqliteConnection,
        at: At,
        state: &mut State,
        writes: &mut Writes,
    ) -> Result<(), Fault> {
        let covered = rows::covered(connection).await.doing("reading the newest checkpoint")?;
        // The last checkpoint's own event needs no other one.
        if state.head.next > counted(covered) {
            if !state.runs.contains_key(&self.run) {
                // Before signing, so that the checkpoint's event is the one record that it does not cover.
                self.append(Vec::new(), at, state, writes)?;
            }
            let signed = self.sign(&self.key, state)?;
            self.seal(signed, at, state, writes)?;
        }
        Ok(())
    }

    /// Rotates or accepts.
    pub(in crate::store) fn act(&self, act: &Act, at: At, state: &mut State, writes: &mut Writes) -> Result<(), Fault> {
        match act {
            Act::Cover => Ok(()),
            Act::Rotate(new) => {
                let event = self
                    .event("audit_key_rotated", Actor::operator())
                    .field("old_key", self.key.public().to_string())
                    .field("new_key", new.public().to_string());
                self.append(vec![event], at, state, writes)?;
                let (last, first) = (self.sign(&self.key, state)?, self.sign(new, state)?);
                writes.sealing.key = Some((new.public().to_string(), state.head.next, "rotated"));
                writes.sealing.signed.push(last);
                self.seal(first, at, state, writes)
            }
            Act::Accept(accepted) => {
                let event = self.event(accepted.event, Actor::operator()).field("given_up", accepted.given_up.clone());
                let event = match &accepted.key {
                    Some(key) => event.field("new_key", key.public().to_string()),
                    None => event,
                };
                self.append(vec![event.sealed("reason", accepted.reason.clone().into())], at, state, writes)?;
                writes.sealing.give_up = accepted.from;
                if let Some(key) = &accepted.key {
                    writes.sealing.key = Some((key.public().to_string(), state.head.next, "accepted"));
                }
                let signed = self.sign(accepted.key.as_ref().unwrap_or(&self.key), state)?;
                self.seal(signed, at, state, writes)
            }
        }
    }

    fn sign(&self, key: &AuditKey, state: &State) -> Result<SignedCheckpoint, Fault> {
        key.sign(state.head.next, state.tree.root(), state.head.prev)
    }

    /// Takes in a checkpoint with the event that names it.
    fn seal(&self, signed: SignedCheckpoint, at: At, state: &mut State, writes: &mut Writes) -> Result<(), Fault> {
        let event = self
            .event("checkpoint", Actor::system())
            .field("size", signed.size)
            .field("root", signed.root.to_string())
            .field("key", signed.key.clone());
        writes.sealing.signed.push(signed);
        self.append(vec![event], at, state, writes)
    }

    fn event(&self, event: &str, actor: Actor) -> EventDraft {
        EventDraft::new(EventKind::SystemEvent, actor).field("event", event)
    }

    /// Appends events to the house's run, which begins with the first ones.
    fn append(&self, mut drafts: Vec<EventDraft>, at: At, state: &mut State, writes: &mut Writes) -> Result<(), Fault> {
        let mut changes = Vec::new();
        if !state.runs.contains_key(&self.run) {
            drafts.insert(0, EventDraft::new(EventKind::RunCreated, Actor::system()).field("kind", "house"));
            changes.push(Change::CreateRun { kind: RunKind::Adhoc, workflow: None, principal: Principal::new(HOUSE) });
        }
        let events = drafts.into_iter().map(events::prepare).collect::<Result<Vec<_>, Fault>>()?;
        let task = Task { run: Some(self.run), events, guards: Vec::new(), changes };
        apply::apply(&task, at.now, at.owner, state, writes).map(drop)
    }

    /// What follows on a commit: the world outside the database hears of it.
    pub(in crate::store) fn committed(&mut self, sealing: Sealing, next: u64, accepted: bool) {
        if let Some(newest) = sealing.signed.last() {
            self.covered = newest.size;
            self.anchor.tell(News { signed: sealing.signed, accepted });
        }
        let is_covered = next <= counted(self.covered);
        self.open_since = if is_covered { None } else { self.open_since.or_else(|| Some(Instant::now())) };
    }

    /// Takes the new key over, once the database knows it.
    pub(in crate::store) fn take_over(&mut self, key: AuditKey) {
        if let Err(fault) = self.files.advance(&key) {
            // The next start finds the new key beside the old one.
            tracing::error!("the new audit key is not in its place yet: {fault}");
        }
        self.key = key;
    }
}

/// How many records there are where nothing is left to be covered: each checkpoint but the one over nothing is followed by its event.
fn counted(covered: u64) -> u64 {
    covered + u64::from(covered > 0)
}

/// Whose the house's own run is.
const HOUSE: &str = "toolgate";
