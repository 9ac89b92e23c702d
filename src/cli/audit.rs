//! `audit`: is the log whole, and what proves it?
//!
//! INVARIANT: the log is opened alone, so that one that does not hold can be looked at; what changes it needs the operator.

use serde_json::json;

use crate::config::Config;
use crate::domain::{ErrorCode, Fault};
use crate::secrets::operator::{Operator, OperatorProof};
use crate::store::StoredRecord;

use super::args::{Audit, PassphraseFrom};
use super::exit::{Ending, Exit};
use super::ports::{AuditAccess, AuditReport, AuditRoom, Door};
use super::report::report;
use super::start::Desk;
use super::text::printable;

/// Records of an export that are read at once.
const PAGE: u32 = 1_000;

pub(super) async fn run(args: &Audit, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    let access = match args {
        Audit::Verify { .. } | Audit::Head { .. } | Audit::Proof { .. } | Audit::Export { .. } => AuditAccess::Look,
        Audit::Accept { reason, from, .. } => AuditAccess::Accept(reason.clone(), prove(*from, desk, config)?),
        Audit::RotateKey { from, .. } => AuditAccess::Rotate(prove(*from, desk, config)?),
    };
    let room = door.audit(config, access).await?;
    let ending = inside(args, desk, room.as_ref()).await;
    room.close().await;
    ending
}

fn prove(from: PassphraseFrom, desk: &Desk, config: &Config) -> Result<OperatorProof, Fault> {
    Operator::of_home(&config.home.value, desk.clock.clone()).prove(desk.asks(from).as_ref())
}

async fn inside(args: &Audit, desk: &Desk, room: &dyn AuditRoom) -> Ending {
    let console = &desk.console;
    match args {
        Audit::Verify { json } => return verify(json.json, desk, room).await,
        Audit::Head { json } => {
            let (head, checkpoint) = (room.head().await?, room.checkpoint().await?);
            if json.json {
                let (index, hash) = head.map(|head| (head.index, head.hash)).unzip();
                console.json(&json!({ "index": index, "hash": hash, "checkpoint": checkpoint }))?;
            } else {
                match head {
                    Some(head) => console.line(&format!("{} {}", head.index, head.hash))?,
                    None => console.tell("the log is empty\n"),
                }
                if let Some(checkpoint) = checkpoint {
                    console.data(&format!("\n{}", checkpoint.note))?;
                }
            }
        }
        Audit::Proof { seq, run } => {
            let index = match run {
                Some(run) => room.place(run, *seq).await?,
                None => *seq,
            };
            console.json(&room.proof(index).await?)?;
        }
        Audit::Export { from, limit, without_values } => export(*from, *limit, *without_values, desk, room).await?,
        Audit::Accept { json, .. } | Audit::RotateKey { json, .. } => {
            let checkpoint = room.checkpoint().await?;
            if json.json {
                console.json(&json!({ "checkpoint": checkpoint }))?;
            } else if let Some(checkpoint) = checkpoint {
                console.line(&format!("{} records are signed by the key {}", checkpoint.size, checkpoint.key))?;
            }
        }
    }
    Ok(Exit::Ok)
}

async fn verify(json: bool, desk: &Desk, room: &dyn AuditRoom) -> Ending {
    let found = room.verify().await?;
    let sound = found.broken.is_none();
    if json {
        let (records, head, broken) = (found.records, &found.head, &found.broken);
        let (checkpoints, proven) = (found.checkpoints, &found.proven);
        let told = json!({
            "ok": sound, "records": records, "head": head, "checkpoints": checkpoints, "proven": proven, "broken": broken
        });
        desk.console.json(&told)?;
    } else {
        tell(&found, desk)?;
    }
    Ok(if sound { Exit::Ok } else { Exit::Failed })
}

fn tell(found: &AuditReport, desk: &Desk) -> std::io::Result<()> {
    let console = &desk.console;
    if let Some(broken) = &found.broken {
        let run = broken.run.as_ref().map(|run| format!(" of {run}")).unwrap_or_default();
        let fault = Fault::new(ErrorCode::AuditBroken, format!("record {}{run} does not verify: {}", broken.index, printable(&broken.why)))
            .hint(format!("{} records before it are sound; keep the database as it is and compare it with a copy", found.records));
        report(console, &fault, false);
        return Ok(());
    }
    match &found.head {
        Some(head) => console.line(&format!("{} records are sound; the newest is {} {}", found.records, head.index, head.hash))?,
        None => console.line("the log is empty")?,
    }
    if let Some(proven) = &found.proven {
        let (size, key, count) = (proven.size, &proven.key, found.checkpoints);
        console.line(&format!("{size} of them are as they were signed by the key {key}; {count} checkpoints hold"))?;
    }
    Ok(())
}

async fn export(from: u64, limit: u64, without_values: bool, desk: &Desk, room: &dyn AuditRoom) -> Result<(), super::exit::Stop> {
    let mut left = if limit == 0 { u64::MAX } else { limit };
    let mut from = from;
    while left > 0 {
        let page = u32::try_from(left).unwrap_or(u32::MAX).min(PAGE);
        let rows = room.records(from, page).await?;
        for row in &rows {
            desk.console.json_line(&line(row, without_values))?;
        }
        let count = rows.len() as u64;
        if count < u64::from(page) {
            break;
        }
        (from, left) = (from + count, left.saturating_sub(count));
    }
    Ok(())
}

/// A record as text, so that its bytes are those that were hashed.
fn line(row: &StoredRecord, without_values: bool) -> serde_json::Value {
    let hash = row.hash.iter().fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"));
    let sealed = row.sealed.as_ref().filter(|_| !without_values);
    json!({ "index": row.index, "record": String::from_utf8_lossy(&row.record), "hash": hash, "sealed": sealed })
}
