//! What a batch has to know of questions, grants and pauses, and what it may do with them.
//!
//! INVARIANT: pure but for [`Questions::load`]; changes of one append are kept apart until all of it holds.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::{Row as _, SqliteConnection};

use crate::domain::{ApprovalId, Digest, ErrorCode, Fault, GrantId, Millis, Principal, RunId, Timestamp};

use super::super::fault::{Doing as _, uint, unreadable};
use super::super::state::Failed;
use super::super::{ApprovalStatus, Change, NewApproval};
use super::write::QuestionWrite;
use super::{GrantStatus, NewGrant};

/// Questions are counted over this time.
const WINDOW: Millis = Millis(60_000);
/// The newest questions that are looked at for counting; no limit is higher.
const COUNTED: i64 = 512;

/// What is asked about.
#[derive(Debug, Default)]
pub(in crate::store) struct About {
    runs: BTreeSet<RunId>,
    grants: BTreeSet<GrantId>,
    asks: bool,
}

impl About {
    /// Notes what a change will have to know.
    pub(in crate::store) fn note(&mut self, run: Option<RunId>, change: &Change) {
        if let Change::RequestApproval(_) = change {
            self.asks = true;
            self.runs.extend(run);
        } else if let Change::PauseQuestions { .. } | Change::ReleaseQuestions = change {
            self.runs.extend(run);
        } else if let Change::GiveGrant(new) = change {
            self.grants.insert(new.grant.id);
        } else if let Change::UseGrant(id) | Change::EndGrant { id, .. } = change {
            self.grants.insert(*id);
        }
    }

    fn is_empty(&self) -> bool {
        !self.asks && self.runs.is_empty() && self.grants.is_empty()
    }
}

struct Pending {
    id: ApprovalId,
    run: RunId,
    digest: Digest,
    expires: Timestamp,
}

#[derive(Clone)]
struct GrantState {
    status: GrantStatus,
    until: Timestamp,
}

/// The answers.
#[derive(Default)]
pub(in crate::store) struct Questions {
    pending: Vec<Pending>,
    recent: Vec<(Principal, Timestamp)>,
    paused: HashSet<RunId>,
    grants: HashMap<GrantId, GrantState>,
}

impl Questions {
    /// Reads what is asked about, inside the transaction; nothing where nothing is.
    pub(in crate::store) async fn load(connection: &mut SqliteConnection, about: &About) -> Result<Self, Failed> {
        let mut found = Self::default();
        if about.is_empty() {
            return Ok(found);
        }
        if about.asks {
            let rows = sqlx::query("SELECT id, run_id, digest, expires FROM approvals WHERE status = 'pending'");
            for row in rows.fetch_all(&mut *connection).await.map_err(Failed::Database)? {
                let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading a question");
                let bad = || unreadable("a question");
                found.pending.push(Pending {
                    id: text("id")?.parse().map_err(|_| bad())?,
                    run: text("run_id")?.parse().map_err(|_| bad())?,
                    digest: text("digest")?.parse().map_err(|_| bad())?,
                    expires: Timestamp::from_unix_millis(uint(row.try_get("expires").doing("reading a question")?)),
                });
            }
            let rows = sqlx::query("SELECT principal, created FROM approvals ORDER BY id DESC LIMIT ?1").bind(COUNTED);
            for row in rows.fetch_all(&mut *connection).await.map_err(Failed::Database)? {
                let created = Timestamp::from_unix_millis(uint(row.try_get("created").doing("counting questions")?));
                found.recent.push((Principal::new(row.try_get::<String, _>("principal").doing("counting questions")?), created));
            }
        }
        for run in &about.runs {
            let row = sqlx::query("SELECT 1 FROM paused_runs WHERE run_id = ?1").bind(run.to_string());
            if row.fetch_optional(&mut *connection).await.map_err(Failed::Database)?.is_some() {
                found.paused.insert(*run);
            }
        }
        for id in &about.grants {
            let row = sqlx::query("SELECT status, until FROM standing_grants WHERE id = ?1").bind(id.to_string());
            if let Some(row) = row.fetch_optional(&mut *connection).await.map_err(Failed::Database)? {
                let status = super::read::status_of(&row.try_get::<String, _>("status").doing("reading a grant")?)?;
                let until = Timestamp::from_unix_millis(uint(row.try_get("until").doing("reading a grant")?));
                found.grants.insert(*id, GrantState { status, until });
            }
        }
        Ok(found)
    }

    /// Makes the share of an append that holds part of what is known.
    pub(in crate::store) fn take_in(&mut self, share: &QuestionShare) {
        for write in &share.writes {
            match write {
                QuestionWrite::Pause { run, .. } => drop(self.paused.insert(*run)),
                QuestionWrite::Release(run) => drop(self.paused.remove(run)),
                QuestionWrite::Give { new, .. } => {
                    let state = GrantState { status: GrantStatus::Active, until: new.grant.until };
                    self.grants.insert(new.grant.id, state);
                }
                QuestionWrite::End { id, status } => {
                    if let Some(grant) = self.grants.get_mut(id) {
                        grant.status = *status;
                    }
                }
                QuestionWrite::Use(_) | QuestionWrite::AskAgain(_) | QuestionWrite::Told(_) => {}
            }
        }
        for (run, principal, asked, at) in &share.asked {
            self.pending.push(Pending { id: asked.0, run: *run, digest: asked.1, expires: asked.2 });
            self.recent.push((principal.clone(), *at));
        }
    }
}

type AskedNow = (RunId, Principal, (ApprovalId, Digest, Timestamp), Timestamp);

/// One append's changes, until it is known that all of it holds.
#[derive(Default)]
pub(in crate::store) struct QuestionShare {
    pub(in crate::store) writes: Vec<QuestionWrite>,
    asked: Vec<AskedNow>,
}

impl QuestionShare {
    /// Whether a new question may be put; `still_pending` tells of rows whose state changed since they were read.
    pub(in crate::store) fn ask(
        &mut self,
        known: &Questions,
        asked: (RunId, &Principal, &NewApproval),
        now: Timestamp,
        still_pending: impl Fn(ApprovalId) -> bool,
    ) -> Result<(), Fault> {
        let (run, principal, new) = asked;
        let waiting = || known.pending.iter().filter(|row| row.expires > now && still_pending(row.id));
        if waiting().any(|row| row.digest == new.digest) || self.asked.iter().any(|row| row.2.1 == new.digest) {
            return Err(Fault::new(ErrorCode::RunState, "the same question waits for an answer already"));
        }
        if let Some(limits) = new.limits {
            if known.paused.contains(&run) {
                return Err(too_much(run, "paused", "the run asked too much and its questions are paused"));
            }
            let of_run = waiting().filter(|row| row.run == run).count() + self.asked.iter().filter(|row| row.0 == run).count();
            if of_run >= limits.pending_per_run as usize {
                let why = format!("{of_run} questions of the run wait for an answer");
                return Err(too_much(run, "pending", &why));
            }
            let since = |at: Timestamp| now.since(at) < WINDOW;
            let lately = known.recent.iter().filter(|(who, at)| who == principal && since(*at)).count();
            if lately >= limits.per_minute as usize {
                let why = format!("`{principal}` asked {lately} questions within a minute");
                return Err(too_much(run, "rate", &why));
            }
        }
        self.asked.push((run, principal.clone(), (new.id, new.digest, new.expires), now));
        Ok(())
    }

    pub(in crate::store) fn pause(&mut self, known: &Questions, run: RunId, why: &str, at: Timestamp) -> Result<(), Fault> {
        if known.paused.contains(&run) {
            return Err(Fault::new(ErrorCode::RunState, format!("the questions of run `{run}` are paused already")));
        }
        self.writes.push(QuestionWrite::Pause { run, why: why.to_owned(), at });
        Ok(())
    }

    pub(in crate::store) fn release(&mut self, known: &Questions, run: RunId) -> Result<(), Fault> {
        if !known.paused.contains(&run) {
            return Err(Fault::new(ErrorCode::RunState, format!("the questions of run `{run}` are not paused")));
        }
        self.writes.push(QuestionWrite::Release(run));
        Ok(())
    }

    pub(in crate::store) fn give(&mut self, known: &Questions, run: RunId, new: &NewGrant, at: Timestamp) -> Result<(), Fault> {
        if known.grants.contains_key(&new.grant.id) {
            return Err(Fault::internal(format!("grant `{}` exists already", new.grant.id)));
        }
        if new.grant.until <= at {
            return Err(Fault::new(ErrorCode::InvalidInput, "the grant would end before it begins"));
        }
        self.writes.push(QuestionWrite::Give { new: Box::new(new.clone()), run, at });
        Ok(())
    }

    pub(in crate::store) fn use_grant(&mut self, known: &Questions, id: GrantId, now: Timestamp) -> Result<(), Fault> {
        let stands = known.grants.get(&id).is_some_and(|grant| grant.status == GrantStatus::Active && grant.until > now);
        if !stands {
            return Err(Fault::new(ErrorCode::ApprovalRequired, format!("grant `{id}` no longer stands"))
                .hint("make the same call again to ask anew"));
        }
        self.writes.push(QuestionWrite::Use(id));
        Ok(())
    }

    pub(in crate::store) fn end_grant(&mut self, known: &Questions, id: GrantId, revoked: bool, now: Timestamp) -> Result<(), Fault> {
        let active = known.grants.get(&id).filter(|grant| grant.status == GrantStatus::Active);
        let may = active.is_some_and(|grant| revoked == (grant.until > now));
        if !may {
            return Err(Fault::new(ErrorCode::UnknownApproval, format!("no grant `{id}` stands"))
                .hint("`toolgate approvals grants` shows those that do"));
        }
        let status = if revoked { GrantStatus::Revoked } else { GrantStatus::Ended };
        self.writes.push(QuestionWrite::End { id, status });
        Ok(())
    }
}

fn too_much(run: RunId, why: &str, message: &str) -> Fault {
    Fault::new(ErrorCode::ApprovalsPaused, message)
        .hint("nothing more is asked for this run until the operator answers what waits and releases it; tell the person")
        .details(serde_json::json!({ "run_id": run, "why": why, "how": format!("toolgate approvals release {run}") }))
}

/// Whether a row that was read as pending still is, given the states an append knows of.
pub(in crate::store) fn is_pending(status: Option<ApprovalStatus>) -> bool {
    status.is_none_or(|status| status == ApprovalStatus::Pending)
}
