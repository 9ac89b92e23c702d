//! The log alone, for the verb `audit` and the tool `audit.verify`.

use std::sync::Arc;

use async_trait::async_trait;

use crate::call::Redact;
use crate::cli::ports::{AuditAccess, AuditHead, AuditReport, AuditRoom, BrokenRecord};
use crate::config::Config;
use crate::domain::{Actor, Clock, ErrorCode, Fault, OwnerId, Role, RunId};
use crate::store::{AuditOptions, Durability, InclusionProof, OpenOptions, SignedCheckpoint, Store, StoredRecord};
use crate::tools::control::{JournalCheck, types};

/// How the home's database is opened.
pub(super) fn opening(config: &Config, clock: &Arc<dyn Clock>, redact: Arc<dyn Redact>) -> OpenOptions {
    OpenOptions {
        home: Some(config.home.value.clone()),
        owner: OwnerId::mint(clock.now()),
        clock: clock.clone(),
        durability: Durability::Full,
        redact,
    }
}

/// How its checkpoints are made and kept.
pub(super) fn options(config: &Config) -> AuditOptions {
    AuditOptions {
        key_file: config.audit_key_file.value.clone(),
        every_events: config.audit_checkpoint_events.value,
        every: config.audit_checkpoint_every.value,
        witness: config.audit_witness.value.clone(),
        witness_required: config.audit_witness_required.value,
    }
}

/// Opens the log of a home.
pub(super) async fn open(
    config: &Config,
    clock: &Arc<dyn Clock>,
    redact: Arc<dyn Redact>,
    how: AuditAccess,
) -> Result<Arc<dyn AuditRoom>, Fault> {
    let (opening, options) = (opening(config, clock, redact), options(config));
    let store = match how {
        AuditAccess::Look => Store::open_unchecked(opening, &options).await?,
        AuditAccess::Accept(reason, proof) => {
            tracing::info!(proved_by = ?proof.by(), "the operator accepts the log as it is");
            Store::open_accepting(opening, &options, "audit_accepted", &reason).await?
        }
        AuditAccess::Rotate(proof) => {
            tracing::info!(proved_by = ?proof.by(), "the operator exchanges the audit key");
            let store = Store::open_proven(opening, &options).await?;
            store.rotate_key().await?;
            store
        }
    };
    Ok(Arc::new(Room::new(store)))
}

/// The log of an open store.
pub(super) struct Room(Store);

impl Room {
    pub(super) fn new(store: Store) -> Self {
        Self(store)
    }
}

#[async_trait]
impl AuditRoom for Room {
    async fn verify(&self) -> Result<AuditReport, Fault> {
        let report = self.0.verify().await?;
        Ok(AuditReport {
            records: report.events,
            head: report.head.map(|(index, hash)| AuditHead { index, hash }),
            checkpoints: report.checkpoints,
            proven: report.proven,
            broken: report.bad.map(|bad| BrokenRecord { index: bad.index, run: bad.run_id, why: bad.why }),
        })
    }

    async fn head(&self) -> Result<Option<AuditHead>, Fault> {
        Ok(self.0.head().await?.map(|(index, hash)| AuditHead { index, hash }))
    }

    async fn checkpoint(&self) -> Result<Option<SignedCheckpoint>, Fault> {
        self.0.checkpoint().await
    }

    async fn place(&self, run: &RunId, seq: u64) -> Result<u64, Fault> {
        if self.0.run(run).await?.is_none() {
            return Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are"));
        }
        let none = || Fault::new(ErrorCode::NotFound, format!("run `{run}` has no event {seq}")).hint("`toolgate runs events` lists them");
        let before = seq.checked_sub(1).ok_or_else(none)?;
        let events = self.0.events(run, before, 1).await?;
        events.first().map(|event| event.index).ok_or_else(none)
    }

    async fn proof(&self, index: u64) -> Result<InclusionProof, Fault> {
        if self.0.head().await?.is_none_or(|(last, _)| last < index) {
            return Err(Fault::new(ErrorCode::NotFound, format!("the log has no record {index}")));
        }
        let uncovered = || {
            Fault::new(ErrorCode::NotFound, format!("no checkpoint covers record {index} yet"))
                .hint("one is signed at the end of every run, and after `audit.checkpoint_seconds` while a server runs")
        };
        self.0.prove(index).await?.ok_or_else(uncovered)
    }

    async fn records(&self, from: u64, limit: u32) -> Result<Vec<StoredRecord>, Fault> {
        self.0.records(from, limit).await
    }

    async fn close(&self) {
        self.0.clone().close().await;
    }
}

#[async_trait]
impl JournalCheck for Room {
    async fn verify(&self, who: &Actor) -> Result<types::AuditVerifyOutput, Fault> {
        let report = self.0.verify().await?;
        let broken = match report.bad {
            Some(bad) => {
                let row = match bad.run_id {
                    Some(run) => self.0.run(&run).await?,
                    None => None,
                };
                let is_theirs = who.role == Role::Operator || row.is_some_and(|row| row.principal == who.principal);
                Some(types::AuditBroken { index: bad.index, run_id: bad.run_id.filter(|_| is_theirs), why: bad.why })
            }
            None => None,
        };
        Ok(types::AuditVerifyOutput {
            ok: broken.is_none(),
            records: report.events,
            covered: report.proven.map_or(0, |proven| proven.size),
            checkpoints: report.checkpoints,
            broken,
        })
    }
}
