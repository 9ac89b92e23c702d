//! What policy is told of a call's surroundings, and which labels a call leaves where.
//!
//! INVARIANT: labels are only added. What a call may have shown to whoever makes it marks the run it was made in; what it may have taken
//! along marks the runs it writes to. A label that is certain beforehand is durable before anything runs.
//! Does not decide: see `policy`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::call::{ArtifactRef, PreparedCall};
use crate::domain::{Actor, ArtifactId, Fault, Labels, Role, RunId};
use crate::policy::{Decision, Facts};
use crate::run::{EventDraft, EventKind};
use crate::store::{Append, Change, RunRow};
use crate::tools::CallContext;

use super::Inner;

/// Artifacts of one value that are looked at.
const MOST_ARTIFACTS: usize = 1_000;
/// How deep a value is looked into.
const DEPTH: usize = 32;

/// A run that a call touches.
struct Touched {
    run: RunId,
    had: Labels,
    /// Whether whoever makes the call sees what it answers here.
    is_here: bool,
    /// Whether the call belongs to it.
    is_own: bool,
}

/// Where a call stands.
pub(super) struct Surroundings {
    /// What policy is told.
    pub(super) facts: Facts,
    touched: Vec<Touched>,
    /// The labels that the manifest states for a call with these effects.
    stated: Labels,
    writes: bool,
}

impl Inner {
    /// Looks at the runs and artifacts that a call made in `here` touches; the row of that run may have been read already, since the call
    /// came.
    pub(super) async fn surroundings(
        &self,
        call: &PreparedCall,
        here: RunId,
        mut row_here: Option<Option<RunRow>>,
    ) -> Result<Surroundings, Fault> {
        let parsed = call.parsed();
        let named = parsed.args.value().get("run_id").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let mut facts = Facts::default();
        let mut touched = Vec::new();
        for run in BTreeSet::from_iter([Some(here), Some(parsed.run), named].into_iter().flatten()) {
            // A run that is not there, or another's, tells nothing and is told nothing.
            let known = if run == here { row_here.take() } else { None };
            let row = match known {
                Some(row) => row,
                None => self.store.run(&run).await?,
            };
            let Some(row) = row else { continue };
            if row.principal != parsed.actor.principal && parsed.actor.role != Role::Operator {
                continue;
            }
            facts.labels = facts.labels.union(row.labels);
            if run == parsed.run {
                facts.workflow = row.workflow;
            }
            touched.push(Touched { run, had: row.labels, is_here: run == here, is_own: run == parsed.run });
        }
        let mut artifacts = Vec::new();
        gather(parsed.args.value(), DEPTH, &mut artifacts);
        if !artifacts.is_empty() {
            // What others stored is not there for whoever asks, and tells nothing.
            let whose = Some(&parsed.actor.principal).filter(|_| parsed.actor.role != Role::Operator);
            let ids: Vec<ArtifactId> = artifacts.into_iter().map(|artifact| artifact.artifact).collect();
            facts.labels = facts.labels.union(self.store.labels_of_artifacts(whose, &ids).await?);
        }
        let stated = self.registry.find(parsed.tool.name.as_str()).map(|entry| entry.def.marks.of(call.effects())).unwrap_or_default();
        Ok(Surroundings { facts, touched, stated, writes: !call.effects().leave_nothing_behind() })
    }

    /// Makes the labels that a running program has brought so far known to the calls it makes.
    pub(super) async fn mark_so_far(&self, context: &CallContext) -> Result<(), Fault> {
        let labels = context.brought.with(Labels::default());
        if labels.is_empty() || self.store.run(&context.run).await?.is_none_or(|row| row.labels.union(labels) == row.labels) {
            return Ok(());
        }
        let event = EventDraft::new(EventKind::SystemEvent, Actor::system())
            .call(context.call)
            .field("event", "labels_added")
            .field("marks", json!(labels.words()));
        let changes = vec![Change::AddLabels { run: context.run, labels }];
        self.store.record(Append { run: Some(context.run), events: vec![event], changes, ..Append::default() }).await
    }
}

impl Surroundings {
    /// What is known before the call runs: the labels its manifest states, and those that go from run to run with it.
    pub(super) fn before(&self) -> Vec<Change> {
        self.changes(self.stated)
    }

    /// The outcome with the labels that the call brought, and what they change.
    pub(super) fn after(&self, outcome: EventDraft, context: &CallContext, output: Option<&Value>) -> (EventDraft, Vec<Change>) {
        let brought = context.brought.with(self.stated);
        let mut changes = self.changes(brought);
        let outcome = if brought.is_empty() { outcome } else { outcome.field("marks", json!(brought.words())) };
        let others: Map<String, Value> = changes
            .iter()
            .filter_map(|change| if let Change::AddLabels { run, labels } = change { Some((run, labels)) } else { None })
            .filter(|(run, _)| **run != context.run)
            .map(|(run, labels)| (run.to_string(), json!(labels.words())))
            .collect();
        let outcome = if others.is_empty() { outcome } else { outcome.field("labelled", Value::Object(others)) };
        // Artifacts carry the labels of the runs that they are from.
        if let Some(output) = output.filter(|_| !self.facts.labels.union(brought).is_empty()) {
            let mut artifacts = Vec::new();
            gather(output, DEPTH, &mut artifacts);
            changes.extend(artifacts.into_iter().map(Change::NameArtifact));
        }
        (outcome, changes)
    }

    /// The labels that the runs lack.
    fn changes(&self, brought: Labels) -> Vec<Change> {
        let all = self.facts.labels.union(brought);
        let lacking = |touched: &Touched| {
            let labels = match touched {
                Touched { is_here: true, .. } => all,
                _ if self.writes => all,
                Touched { is_own: true, .. } => brought,
                _ => Labels::default(),
            };
            (touched.had.union(labels) != touched.had).then_some(Change::AddLabels { run: touched.run, labels })
        };
        self.touched.iter().filter_map(lacking).collect()
    }
}

/// What policy saw of a call besides its arguments, and what rules on trial said: fields of the event that records the decision.
pub(super) fn seen(draft: EventDraft, decision: &Decision, call: &PreparedCall, facts: &Facts) -> EventDraft {
    let fields = [
        // An intent has these in any case; a refusal is replayed by them.
        ("effects", Some(json!(call.effects()))),
        ("verdict", Some(decision.verdict.as_str().into())),
        ("hosts", (!call.hosts().is_empty()).then(|| json!(call.hosts()))),
        ("labels", (!facts.labels.is_empty()).then(|| json!(facts.labels.words()))),
        ("workflow", facts.workflow.as_ref().map(|workflow| json!(workflow))),
        ("log_only", (!decision.trials.is_empty()).then(|| json!(decision.trials))),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name, value?))).fold(draft, |draft, (name, value)| draft.field(name, value))
}

/// Every artifact that a value names: `{"artifact": "…", "size": …, "media_type": …}`, where only the first field is needed.
fn gather(value: &Value, depth: usize, found: &mut Vec<ArtifactRef>) {
    if depth == 0 || found.len() >= MOST_ARTIFACTS {
        return;
    }
    match value {
        Value::Object(fields) => {
            if let Some(artifact) = fields.get("artifact").and_then(Value::as_str).and_then(|text| text.parse().ok()) {
                let size = fields.get("size").and_then(Value::as_u64).unwrap_or_default();
                let media_type = fields.get("media_type").and_then(Value::as_str).unwrap_or("application/octet-stream").to_owned();
                found.push(ArtifactRef { artifact, size, media_type });
            }
            fields.values().for_each(|inner| gather(inner, depth - 1, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| gather(inner, depth - 1, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
