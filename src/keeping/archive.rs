//! Puts old runs aside: their evidence and artifacts go to the home's archive, their values leave the database.
//!
//! INVARIANT: a run's values leave only after they were written elsewhere, read back and verified, so that breaking off anywhere loses
//! nothing and the next try goes on. The records stay: chain, tree and every proof hold as before.

use serde::Serialize;
use toolgate_evidence::bundle::{self, Bundle};

use crate::domain::{Actor, ArtifactId, Digest, ErrorCode, Fault, Millis, RunId};
use crate::run::{EventDraft, EventKind, RunKind};
use crate::store::{Append, ApprovalFilter, Change, RunFilter, RunRow, Taken};

use super::{Keeper, files};

/// Pieces in which artifacts are copied.
const WHOLE: u64 = u64::MAX;

/// A run that was put aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// The run.
    pub run: RunId,
    /// The folder that holds `bundle.json` and the artifacts.
    pub folder: String,
    /// SHA-256 of the bundle.
    pub bundle: Digest,
    /// Artifacts beside it.
    pub artifacts: u64,
}

impl Keeper {
    /// Puts every run aside that ended at least `age` ago. Artifacts that nothing else names are removed by the next collection.
    ///
    /// # Errors
    /// `AUDIT_BROKEN` where a run does not verify: it is left as it is; `STORE_FAILED`.
    pub async fn archive(&self, age: Millis) -> Result<Vec<Archived>, Fault> {
        let now = self.clock.now();
        let mut done = Vec::new();
        for row in self.store.runs(RunFilter::default()).await? {
            if row.status.is_final() && now.since(row.updated) >= age && self.holds_values(&row).await? {
                done.push(self.put_aside(&row).await?);
            }
        }
        if !done.is_empty() {
            self.store.scrub().await?;
        }
        Ok(done)
    }

    async fn holds_values(&self, row: &RunRow) -> Result<bool, Fault> {
        let told = |record: &str| record.contains("\"event\":\"run_archived\"") || record.contains("\"event\":\"value_redacted\"");
        Ok(self.store.sealed(&row.id).await?.iter().any(|row| row.sealed.is_some() && !told(&row.record)))
    }

    async fn put_aside(&self, row: &RunRow) -> Result<Archived, Fault> {
        let run = row.id;
        let text = self.export(&run, true).await?;
        let whole: Bundle =
            serde_json::from_str(&text).map_err(|error| Fault::internal(format!("a bundle does not read back: {error}")))?;
        let folder = self.home.join("archive").join(run.to_string());
        files::make_folder(&folder)?;
        let mut kept = 0;
        let mut named: Vec<ArtifactId> = whole.artifacts.iter().filter_map(|artifact| artifact.artifact.parse().ok()).collect();
        named.extend(self.store.run_artifacts(&run).await?.into_iter().map(|artifact| artifact.artifact));
        named.sort_unstable();
        named.dedup();
        for id in &named {
            match self.store.artifacts().read(id, 0, WHOLE).await {
                Ok((bytes, _)) => {
                    files::write(&folder.join(id.to_string()), &bytes)?;
                    kept += 1;
                }
                // A value can name what was never stored here.
                Err(fault) if fault.code == ErrorCode::UnknownArtifact => {}
                Err(fault) => return Err(fault),
            }
        }
        let path = folder.join("bundle.json");
        files::write(&path, text.as_bytes())?;
        let back = files::read_text(&path, bundle::MAX_BYTES)?;
        bundle::verify(&back, &[]).map_err(|wrong| {
            Fault::new(ErrorCode::AuditBroken, format!("the archive of run `{run}` does not verify: {wrong}"))
                .hint("nothing was taken away; look at the disk, then try again")
        })?;
        // The folders as well: what names the bundle must be on disk before the values go.
        for new in [folder.as_path(), self.home.join("archive").as_path()] {
            files::sync_folder(new).map_err(|error| files::failed("writing", new, &error))?;
        }
        let digest = Digest::of(back.as_bytes());
        self.take_values(row, &digest, &named).await?;
        Ok(Archived { run, folder: folder.display().to_string(), bundle: digest, artifacts: kept })
    }

    /// One append: the event, and every value gone.
    async fn take_values(&self, row: &RunRow, bundle: &Digest, named: &[ArtifactId]) -> Result<(), Fault> {
        let run = row.id;
        let mut changes: Vec<Change> = Vec::new();
        for sealed in self.store.sealed(&run).await? {
            let is_told = sealed.record.contains("\"event\":\"value_redacted\"");
            if let Some(old) = sealed.sealed.filter(|_| !is_told) {
                changes.push(Change::TakeAway(Taken::Values { index: sealed.index, old, new: None }));
            }
        }
        let asked = self.store.approvals(ApprovalFilter { run: Some(run), ..ApprovalFilter::default() }).await?;
        changes.extend(asked.into_iter().map(|asked| Change::TakeAway(Taken::Question(asked.id))));
        changes.extend(named.iter().map(|id| Change::TakeAway(Taken::Link(*id))));
        let event = EventDraft::new(EventKind::SystemEvent, Actor::operator())
            .field("event", "run_archived")
            .field("bundle", bundle.to_string())
            .field("kind", if row.kind == RunKind::Workflow { "workflow" } else { "adhoc" });
        let guards = vec![crate::store::Guard::LastSeq(row.last_seq)];
        self.store.append(Append { run: Some(run), events: vec![event], guards, changes }).await.map(drop)
    }
}
