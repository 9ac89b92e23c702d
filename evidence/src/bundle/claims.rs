//! What a bundle says beside its records, read out of the records themselves: whoever exports writes these, whoever verifies computes
//! them again.
//!
//! INVARIANT: a function of the records and the values that are there, and of nothing else. A word that is not known is passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::format::{Answer, Approval, Artifact, Manifest, Pins, Workflow};
use super::record::Record;
use super::unhex;

/// What the records say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Claims {
    /// How the run ended.
    pub status: String,
    /// The definition it follows.
    pub plan: Value,
    /// What exactly ran.
    pub pins: Pins,
    /// What humans were asked.
    pub approvals: Vec<Approval>,
    /// What the values refer to.
    pub artifacts: Vec<Artifact>,
}

/// Reads the claims out of records, each with the values that are there.
#[must_use]
pub fn claims<'a>(records: impl Iterator<Item = (&'a Record, BTreeMap<&'a str, Value>)>) -> Claims {
    let mut found = Claims { status: "open".to_owned(), ..Claims::default() };
    let (mut versions, mut policies, mut runtimes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut manifests, mut artifacts) = (BTreeSet::new(), BTreeSet::new());
    for (record, values) in records {
        match record.kind.as_str() {
            "run_created" => {
                versions.extend(record.text("version").map(str::to_owned));
                found.pins.workflow = workflow(record);
                if let Some(definition) = values.get("definition") {
                    found.plan = definition.clone();
                }
            }
            "tool_call" => {
                manifests.extend(manifest(record));
                used(&mut found.approvals, record);
            }
            "system_event" => {
                if let Some(status) = record.word().and_then(ending) {
                    found.status = status.to_owned();
                }
                asked_or_answered(&mut found.approvals, record);
            }
            _ => {}
        }
        policies.extend(record.text("policy").filter(|text| unhex(text).is_some()).map(str::to_owned));
        runtimes.extend(record.text("runtime").filter(|text| unhex(text).is_some()).map(str::to_owned));
        record.payload.values().chain(values.values()).for_each(|value| artifacts.extend(references(value)));
    }
    found.pins = Pins {
        versions: versions.into_iter().collect(),
        policies: policies.into_iter().collect(),
        manifests: manifests.into_iter().collect(),
        runtimes: runtimes.into_iter().collect(),
        ..found.pins
    };
    found.artifacts = artifacts.into_iter().collect();
    found
}

fn ending(word: &str) -> Option<&'static str> {
    match word {
        "run_succeeded" => Some("succeeded"),
        "run_failed" => Some("failed"),
        "run_cancelled" => Some("cancelled"),
        "run_closed" => Some("closed"),
        _ => None,
    }
}

fn workflow(record: &Record) -> Option<Workflow> {
    Some(Workflow {
        name: record.text("workflow")?.to_owned(),
        version: record.text("workflow_version")?.to_owned(),
        digest: record.text("workflow_digest")?.to_owned(),
    })
}

fn manifest(record: &Record) -> Option<Manifest> {
    Some(Manifest {
        tool: record.text("tool")?.to_owned(),
        version: record.text("version")?.to_owned(),
        digest: record.text("manifest")?.to_owned(),
    })
}

fn asked_or_answered(approvals: &mut Vec<Approval>, record: &Record) {
    let (Some(word), Some(id)) = (record.word(), record.text("approval_id")) else { return };
    let answer = match word {
        "approval_requested" => {
            let text = |name| record.text(name).unwrap_or_default().to_owned();
            let (tool, digest) = (text("tool"), text("digest"));
            approvals.push(Approval { id: id.to_owned(), tool, digest, asked: record.seq, answer: None, used: None });
            return;
        }
        "approval_granted" => "granted",
        "approval_denied" => "denied",
        "approval_expired" => "expired",
        _ => return,
    };
    if let Some(asked) = approvals.iter_mut().rev().find(|asked| asked.id == id && asked.answer.is_none()) {
        asked.answer = Some(Answer { word: answer.to_owned(), by: record.actor.principal.clone(), seq: record.seq });
    }
}

/// A call that a human was asked about uses the yes to its digest.
fn used(approvals: &mut [Approval], record: &Record) {
    if record.text("verdict") != Some("ask") {
        return;
    }
    let is_open = |asked: &&mut Approval| {
        asked.used.is_none()
            && Some(asked.digest.as_str()) == record.text("digest")
            && asked.answer.as_ref().is_some_and(|answer| answer.word == "granted")
    };
    if let Some(asked) = approvals.iter_mut().rev().find(is_open) {
        asked.used = Some(record.seq);
    }
}

/// Every object that names stored bytes: `artifact` is their digest and `size` their number.
#[must_use]
pub fn references(value: &Value) -> BTreeSet<Artifact> {
    let (mut open, mut found) = (vec![value], BTreeSet::new());
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                let artifact = fields.get("artifact").and_then(Value::as_str).filter(|text| unhex(text).is_some());
                if let (Some(artifact), Some(size)) = (artifact, fields.get("size").and_then(Value::as_u64)) {
                    found.insert(Artifact { artifact: artifact.to_owned(), size });
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}
