//! `policy explain`, `policy replay` and `policy trials` over the open home.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::{Along, Asking, NoProgress, Origin, RawCall};
use crate::cli::ports::{ExplainAsk, ExplainView, ReplayAsk, ReplayView};
use crate::domain::{Clock as _, ErrorCode, Fault, Problems, Role, RunId, Timestamp};
use crate::manifest::ToolDef;
use crate::policy::{Replay, Trial, TrialCount, Verdict};
use crate::run::Event;
use crate::store::RunFilter;

use super::{App, SystemClock};

/// Events read at once.
const PAGE: u32 = 1_000;

impl App {
    pub(super) async fn explain_call(&self, ask: ExplainAsk) -> Result<ExplainView, Fault> {
        let (run, actor) = (ask.run.unwrap_or_else(|| RunId::mint(SystemClock.now())), ask.actor);
        if ask.run.is_some() && self.store.run(&run).await?.is_none() {
            return Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are"));
        }
        let raw = RawCall {
            tool: ask.tool,
            arguments: ask.arguments,
            origin: if actor.role == Role::Operator { Origin::Cli } else { Origin::Client },
            actor: actor.clone(),
            run,
            tokens: 0,
            along: Along::default(),
            asking: Asking::default(),
            cancel: CancellationToken::new(),
            progress: Arc::new(NoProgress),
        };
        let told = self.gateway.explain(raw, ask.labels).await?;
        Ok(ExplainView {
            tool: told.call.parsed().tool.name.clone(),
            actor,
            effects: told.call.effects().clone(),
            hosts: told.call.hosts().iter().cloned().collect(),
            labels: told.labels,
            policy: told.policy,
            explanation: told.explanation,
            grants: told.grants,
        })
    }

    pub(super) async fn replay_calls(&self, ask: ReplayAsk) -> Result<ReplayView, Fault> {
        let invalid = |problems: Problems| problems.into_fault(ErrorCode::PolicyInvalid);
        let tools: Vec<ToolDef> = self.gateway.registry().iter().map(|entry| entry.def.clone()).collect();
        let changed = self.policies.changed(&ask.with).map_err(invalid)?.load(&tools).map_err(invalid)?;
        let current = self.gateway.policy();
        let runs = self.runs_named(ask.run).await?;
        let mut replay = Replay::default();
        for run in runs {
            let mut after = 0;
            loop {
                let page: Vec<Event> = self.store.events(&run, after, PAGE).await?;
                for event in page.iter().filter(|event| ask.since.is_none_or(|since| event.ts >= since)) {
                    match self.gateway.recorded_call(event).await? {
                        None => {}
                        Some(Ok(call)) => replay.ask(&current, &changed, &tools, &call),
                        Some(Err(why)) => replay.skip(why),
                    }
                }
                match page.last() {
                    Some(last) if page.len() == PAGE as usize => after = last.seq,
                    _ => break,
                }
            }
        }
        Ok(ReplayView { old: *current.digest(), new: *changed.digest(), replay })
    }

    /// Counts what recorded decisions say of rules on trial; those on trial now are there even where they never spoke.
    pub(super) async fn count_trials(&self, run: Option<RunId>, since: Option<Timestamp>) -> Result<Vec<TrialCount>, Fault> {
        let unheard = |rule: String| (rule.clone(), TrialCount { rule, matched: 0, changed: 0 });
        let mut counts: BTreeMap<String, TrialCount> =
            self.gateway.policy().trial_counts().into_iter().map(|count| unheard(count.rule)).collect();
        for run in self.runs_named(run).await? {
            let mut after = 0;
            loop {
                let page: Vec<Event> = self.store.events(&run, after, PAGE).await?;
                for event in page.iter().filter(|event| since.is_none_or(|since| event.ts >= since)) {
                    for (trial, changed) in trials_of(event) {
                        let count = counts.entry(trial.rule.clone()).or_insert_with(|| unheard(trial.rule).1);
                        count.matched += 1;
                        count.changed += u64::from(changed);
                    }
                }
                match page.last() {
                    Some(last) if page.len() == PAGE as usize => after = last.seq,
                    _ => break,
                }
            }
        }
        Ok(counts.into_values().collect())
    }

    /// One run, which must be there, or all, the oldest first.
    async fn runs_named(&self, run: Option<RunId>) -> Result<Vec<RunId>, Fault> {
        match run {
            Some(run) if self.store.run(&run).await?.is_none() => {
                Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are"))
            }
            Some(run) => Ok(vec![run]),
            None => Ok(self.store.runs(RunFilter::default()).await?.into_iter().rev().map(|row| row.id).collect()),
        }
    }
}

/// What rules on trial said of the call whose decision this event records, and whether they would have changed it.
fn trials_of(event: &Event) -> Vec<(Trial, bool)> {
    fn read<T: serde::de::DeserializeOwned>(event: &Event, name: &str) -> Option<T> {
        serde_json::from_value(event.payload.get(name)?.clone()).ok()
    }
    let (Some(trials), Some(verdict)) = (read::<Vec<Trial>>(event, "log_only"), read::<Verdict>(event, "verdict")) else {
        return Vec::new();
    };
    // A standing grant answered: the rules asked.
    let verdict = if event.payload.contains_key("grant_used") { Verdict::Ask } else { verdict };
    trials
        .into_iter()
        .map(|trial| {
            let changed = trial.would != verdict;
            (trial, changed)
        })
        .collect()
}
