//! Who is told that a run moved on, or that another run is there: subscribers of the older generation, and listening streams of the
//! newer one.
//!
//! INVARIANT: nobody is told of a run that it could not read when it subscribed, and nobody is told what happened, only that something
//! did: who wants to know reads. A resource is told of at most once in [`LEAST`]; who takes no notes loses them, and nobody waits for it.
//! Everything a connection or stream subscribed to ends with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::SubscriptionSink;
use rmcp::{Peer, RoleServer};
use tokio::sync::Notify;

use crate::domain::{Actor, ErrorCode, Fault, RunId};

use super::Gate;
use super::resources::LISTED_RUNS;

/// The least time between two notes of one resource; what happens meanwhile is one note.
const LEAST: Duration = Duration::from_millis(250);
/// How often the log is read for what other processes wrote about runs that are watched.
const POLL: Duration = Duration::from_secs(1);
/// The same where only the list of runs is watched.
const SLOW_POLL: Duration = Duration::from_secs(3);
/// How long one note may wait for its client to take it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Resources that one connection or stream may subscribe to.
pub(super) const MOST_EACH: usize = 64;
/// Resources that may be subscribed to in all.
const MOST: usize = 4_096;

/// Where notes go.
#[derive(Clone)]
pub(super) enum Ear {
    /// A connection of the older generation.
    Older(Peer<RoleServer>),
    /// A listening stream of the newer one.
    Newer(SubscriptionSink),
}

impl Ear {
    async fn updated(&self, uri: &str) -> bool {
        match self {
            Self::Older(peer) => peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_ok(),
            Self::Newer(sink) => sink.notify_resource_updated(uri).await.is_ok(),
        }
    }

    async fn list_changed(&self) -> bool {
        match self {
            Self::Older(peer) => peer.notify_resource_list_changed().await.is_ok(),
            Self::Newer(sink) => sink.notify_resource_list_changed().await.is_ok(),
        }
    }
}

/// One resource that somebody subscribed to.
struct Watched {
    holder: u64,
    actor: Actor,
    uri: String,
    run: RunId,
    /// The run's last event that the subscriber was told of, or could read when it subscribed.
    seen: u64,
    ear: Ear,
}

/// A list of runs that somebody looked at.
struct List {
    holder: u64,
    actor: Actor,
    seen: Vec<RunId>,
    ear: Ear,
}

#[derive(Default)]
struct State {
    watched: Vec<Watched>,
    lists: Vec<List>,
}

/// All subscriptions of a server.
#[derive(Default)]
pub(super) struct Subscriptions {
    state: Mutex<State>,
    next: AtomicU64,
    came: Notify,
}

/// What one connection or stream has subscribed to; given up when dropped.
pub(super) struct Holder {
    number: u64,
    all: Arc<Subscriptions>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let mut state = self.all.locked();
        state.watched.retain(|watched| watched.holder != self.number);
        state.lists.retain(|list| list.holder != self.number);
    }
}

impl Holder {
    /// From now on `ear` is told when the run of this address moves on from where it is now. The caller has read the run as `actor`.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`; `LIMIT_EXCEEDED` where there are too many already.
    pub(super) async fn watch(&self, gate: &dyn Gate, actor: &Actor, (uri, run): (&str, RunId), ear: Ear) -> Result<(), Fault> {
        let unknown = || Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("see `resources/list`");
        let seen = gate.glance(actor, &run).await?.ok_or_else(unknown)?.last_seq;
        let mut state = self.all.locked();
        let own = state.watched.iter().filter(|watched| watched.holder == self.number).count();
        if state.watched.iter().any(|watched| watched.holder == self.number && watched.uri == uri) {
            return Ok(());
        }
        if own >= MOST_EACH || state.watched.len() >= MOST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("at most {MOST_EACH} resources can be subscribed to at a time"))
                .hint("unsubscribe from some first"));
        }
        state.watched.push(Watched { holder: self.number, actor: actor.clone(), uri: uri.to_owned(), run, seen, ear });
        drop(state);
        self.all.came.notify_one();
        Ok(())
    }

    /// From now on `ear` is told when there are other runs than `seen`.
    pub(super) fn watch_list(&self, actor: &Actor, seen: Vec<RunId>, ear: Ear) {
        let mut state = self.all.locked();
        state.lists.retain(|list| list.holder != self.number);
        if state.lists.len() < MOST {
            state.lists.push(List { holder: self.number, actor: actor.clone(), seen, ear });
        }
        drop(state);
        self.all.came.notify_one();
    }

    /// No more of this address; that it was not subscribed to is no fault.
    pub(super) fn forget(&self, uri: &str) {
        self.all.locked().watched.retain(|watched| watched.holder != self.number || watched.uri != uri);
    }
}

impl Subscriptions {
    /// For one more connection or stream.
    pub(super) fn holder(self: &Arc<Self>) -> Holder {
        Holder { number: self.next.fetch_add(1, Ordering::Relaxed), all: self.clone() }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells subscribers for as long as the server lives; never ends by itself. Reads nothing while there are none.
    pub(super) async fn tell(&self, gate: &dyn Gate) {
        let Some(mut changes) = gate.changes() else { return std::future::pending().await };
        loop {
            let poll = {
                let state = self.locked();
                if state.watched.is_empty() && state.lists.is_empty() {
                    None
                } else {
                    Some(if state.watched.is_empty() { SLOW_POLL } else { POLL })
                }
            };
            match poll {
                None => self.came.notified().await,
                Some(poll) => {
                    changes.mark_unchanged();
                    self.sweep(gate).await;
                    tokio::time::sleep(LEAST).await;
                    tokio::select! {
                        changed = changes.changed() => if changed.is_err() { tokio::time::sleep(poll).await },
                        () = self.came.notified() => {}
                        () = tokio::time::sleep(poll.saturating_sub(LEAST)) => {}
                    }
                }
            }
        }
    }

    /// Looks once at everything that is watched, and tells of what has moved.
    async fn sweep(&self, gate: &dyn Gate) {
        let runs: BTreeMap<RunId, Actor> = self.locked().watched.iter().map(|watched| (watched.run, watched.actor.clone())).collect();
        let mut now: BTreeMap<RunId, u64> = BTreeMap::new();
        for (run, actor) in runs {
            match gate.glance(&actor, &run).await {
                Ok(found) => now.extend(found.map(|glance| (run, glance.last_seq))),
                Err(fault) => tracing::debug!("run `{run}` cannot be looked at: {fault}"),
            }
        }
        let mut lists: Vec<(Actor, Vec<RunId>)> = Vec::new();
        let askers: BTreeSet<_> = self.locked().lists.iter().map(|list| list.actor.principal.clone()).collect();
        for principal in askers {
            let actor = Actor::agent(principal);
            match gate.newest_runs(&actor, LISTED_RUNS).await {
                Ok(runs) => lists.push((actor, runs)),
                Err(fault) => tracing::debug!("runs cannot be listed: {fault}"),
            }
        }
        let (updated, changed) = self.take(&now, &lists);
        let notes = join_all(updated.iter().map(|(ear, uri)| tokio::time::timeout(PATIENCE, ear.updated(uri))));
        let listed = join_all(changed.iter().map(|ear| tokio::time::timeout(PATIENCE, ear.list_changed())));
        let (_, _) = tokio::join!(notes, listed);
    }

    /// What has moved since it was told, now counted as told.
    fn take(&self, now: &BTreeMap<RunId, u64>, lists: &[(Actor, Vec<RunId>)]) -> (Vec<(Ear, String)>, Vec<Ear>) {
        let mut state = self.locked();
        let mut updated = Vec::new();
        for watched in &mut state.watched {
            if let Some(last) = now.get(&watched.run).filter(|last| **last > watched.seen) {
                watched.seen = *last;
                updated.push((watched.ear.clone(), watched.uri.clone()));
            }
        }
        let mut changed = Vec::new();
        for list in &mut state.lists {
            let found = lists.iter().find(|(actor, _)| actor.principal == list.actor.principal);
            if let Some((_, runs)) = found.filter(|(_, runs)| *runs != list.seen) {
                list.seen.clone_from(runs);
                changed.push(list.ear.clone());
            }
        }
        (updated, changed)
    }
}
