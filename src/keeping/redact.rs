//! Takes one value away from a run's record, which goes on to commit to it.
//!
//! INVARIANT: the value's bytes leave the database, its write-ahead log and the artifacts it alone named; record, hash, chain and proofs
//! stay as they were; who took what away and why is an event of the run.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;
use toolgate_evidence::bundle::{self, Opening, Record};

use crate::domain::{Actor, ApprovalId, ArtifactId, ErrorCode, Fault, RunId};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, ApprovalFilter, ApprovalStatus, Change, SealedRow, Store, Taken};

use super::Keeper;

/// Stored values larger than this were not recorded as one.
const MOST_READ: u64 = 16 << 20;

/// What is to be taken away.
#[derive(Debug, Clone)]
pub struct Redaction {
    /// From which run.
    pub run: RunId,
    /// From which of its events.
    pub seq: u64,
    /// Which field.
    pub field: String,
    /// Why.
    pub reason: String,
}

/// What was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Redacted {
    /// `seq` of the event that tells of it.
    pub event: u64,
    /// What the record goes on to hold.
    pub commitment: String,
    /// Artifacts that went with it.
    pub artifacts: Vec<ArtifactId>,
    /// Artifacts that it named and that something else names too, or that a call may be about to name.
    pub kept: Vec<ArtifactId>,
    /// Where in this run the same value still stands: event and field.
    pub also: Vec<(u64, String)>,
    /// Whether the write-ahead log is empty; else it is overwritten when the last process of the home ends.
    pub scrubbed: bool,
}

/// What was found of it.
struct Found {
    index: u64,
    old: String,
    new: Option<String>,
    commitment: String,
    digest: Option<String>,
    value: Value,
    also: Vec<(u64, String)>,
}

impl Keeper {
    /// Takes a value away.
    ///
    /// # Errors
    /// `UNKNOWN_RUN`, `NOT_FOUND` where there is no such event, field or value; `STORE_FAILED`.
    pub async fn redact(&self, ask: &Redaction) -> Result<Redacted, Fault> {
        let rows = self.store.sealed(&ask.run).await?;
        let found = find(ask, &rows)?;
        let (mut named, elsewhere) = named(&found.value, ask, &rows)?;
        self.add_inner(&mut named).await?;
        let mut changes = vec![Change::TakeAway(Taken::Values { index: found.index, old: found.old, new: found.new })];
        changes.extend(
            self.questions(ask, found.digest.as_deref(), &found.value).await?.into_iter().map(|id| Change::TakeAway(Taken::Question(id))),
        );
        changes.extend(named.difference(&elsewhere).map(|id| Change::TakeAway(Taken::Link(*id))));
        let event = EventDraft::new(EventKind::SystemEvent, Actor::operator())
            .field("event", "value_redacted")
            .field("of_seq", ask.seq)
            .field("field", ask.field.as_str())
            .field("commitment", found.commitment.as_str())
            .sealed("reason", ask.reason.as_str().into());
        let written = self.store.append(Append { run: Some(ask.run), events: vec![event], changes, ..Append::default() }).await?;
        let (artifacts, kept) = self.drop_artifacts(named).await?;
        let scrubbed = self.store.scrub().await?;
        let event = written.first().map_or(0, |event| event.seq);
        Ok(Redacted { event, commitment: found.commitment, artifacts, kept, also: found.also, scrubbed })
    }

    /// Adds what is named inside of values that are stored apart.
    async fn add_inner(&self, named: &mut HashSet<ArtifactId>) -> Result<(), Fault> {
        for id in named.clone() {
            match self.store.artifacts().read(&id, 0, MOST_READ).await {
                Ok((bytes, _)) => named.extend(serde_json::from_slice(&bytes).iter().flat_map(ids)),
                // A value can name what was never stored here.
                Err(fault) if fault.code == ErrorCode::UnknownArtifact => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Answered questions of the run that show the value.
    async fn questions(&self, ask: &Redaction, digest: Option<&str>, value: &Value) -> Result<Vec<ApprovalId>, Fault> {
        let rows = self.store.approvals(ApprovalFilter { run: Some(ask.run), ..ApprovalFilter::default() }).await?;
        let shows = |shown: &Value| shown.get("arguments") == Some(value) || shown == value;
        let asked = rows.into_iter().filter(|row| {
            let is_meant = ask.field == "arguments" && digest == Some(row.digest.to_string().as_str());
            row.status != ApprovalStatus::Pending && (is_meant || shows(&row.shown) || value.as_str() == Some(row.reason.as_str()))
        });
        Ok(asked.map(|row| row.id).collect())
    }

    /// Removes those of these artifacts that nothing names any more. While calls are in hand one may be about to name what was put a
    /// moment ago, so that is left for the next collection.
    async fn drop_artifacts(&self, named: HashSet<ArtifactId>) -> Result<(Vec<ArtifactId>, Vec<ArtifactId>), Fault> {
        if named.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let mut listed = self.store.stored_artifacts()?;
        listed.retain(|stored| named.contains(&stored.id));
        if self.store.has_open_calls().await? {
            listed.retain(|stored| stored.put.elapsed().is_ok_and(|age| age >= super::collect::GRACE));
        }
        let free = self.store.unnamed(listed.iter().map(|stored| stored.id).collect()).await?;
        listed.retain(|stored| free.contains(&stored.id));
        let gone: Vec<ArtifactId> = self.store.remove_artifacts(&listed)?.into_iter().map(|stored| stored.id).collect();
        let kept = named.into_iter().filter(|id| !gone.contains(id)).collect();
        Ok((gone, kept))
    }
}

fn values(row: &SealedRow) -> Result<BTreeMap<String, Opening>, Fault> {
    let Some(sealed) = &row.sealed else { return Ok(BTreeMap::new()) };
    let broken = || Fault::new(ErrorCode::AuditBroken, format!("the values of record {} cannot be read", row.index));
    Store::openings(sealed).ok_or_else(|| broken().hint("`toolgate audit verify` tells more"))
}

fn find(ask: &Redaction, rows: &[SealedRow]) -> Result<Found, Fault> {
    let missing = |what: String| Fault::new(ErrorCode::NotFound, what).hint("`toolgate runs events RUN --json` shows events and fields");
    if rows.is_empty() {
        return Err(
            Fault::new(ErrorCode::UnknownRun, format!("no run `{}`", ask.run)).hint("`toolgate runs list` shows the runs there are")
        );
    }
    let row = rows.iter().find(|row| row.seq == ask.seq).ok_or_else(|| missing(format!("run `{}` has no event {}", ask.run, ask.seq)))?;
    let record = Record::read(&row.record).map_err(|what| Fault::new(ErrorCode::AuditBroken, format!("record {}: {what}", row.index)))?;
    let Some(commitment) = record.sealed.get(&ask.field) else {
        let names = record.sealed.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = if names.is_empty() { "it has none".to_owned() } else { format!("it has: {names}") };
        return Err(missing(format!("event {} has no field `{}` that can be taken away; {what}", ask.seq, ask.field)));
    };
    let mut left = values(row)?;
    let gone = || missing(format!("the value of `{}` of event {} was taken away before", ask.field, ask.seq));
    let taken = left.remove(&ask.field).ok_or_else(gone)?;
    let mut also = Vec::new();
    for other in rows {
        let same = values(other)?.into_iter().filter(|(_, opening)| opening.value == taken.value).map(|(name, _)| (other.seq, name));
        also.extend(same.filter(|(seq, name)| (*seq, name.as_str()) != (ask.seq, ask.field.as_str())));
    }
    let value = serde_json::from_str(&taken.value).map_err(|error| Fault::internal(format!("a sealed value is not JSON: {error}")))?;
    Ok(Found {
        index: row.index,
        old: row.sealed.clone().ok_or_else(gone)?,
        new: Store::sealed_text(&left)?,
        commitment: commitment.clone(),
        digest: record.text("digest").map(str::to_owned),
        value,
        also,
    })
}

/// The artifacts that a value names.
fn ids(value: &Value) -> Vec<ArtifactId> {
    bundle::references(value).into_iter().filter_map(|artifact| artifact.artifact.parse().ok()).collect()
}

/// The artifacts that the value names, and those that other values of the run name.
fn named(value: &Value, ask: &Redaction, rows: &[SealedRow]) -> Result<(HashSet<ArtifactId>, HashSet<ArtifactId>), Fault> {
    let mut elsewhere = HashSet::new();
    for row in rows {
        for (name, opening) in values(row)? {
            if (row.seq, name.as_str()) != (ask.seq, ask.field.as_str())
                && let Ok(other) = serde_json::from_str(&opening.value)
            {
                elsewhere.extend(ids(&other));
            }
        }
    }
    Ok((ids(value).into_iter().collect(), elsewhere))
}
