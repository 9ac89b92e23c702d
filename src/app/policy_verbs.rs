//! `policy explain` and `policy replay` over the open home.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::{Asking, NoProgress, Origin, RawCall};
use crate::cli::ports::{ExplainAsk, ExplainView, ReplayAsk, ReplayView};
use crate::domain::{Clock as _, ErrorCode, Fault, Problems, Role, RunId};
use crate::manifest::ToolDef;
use crate::policy::Replay;
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
        })
    }

    pub(super) async fn replay_calls(&self, ask: ReplayAsk) -> Result<ReplayView, Fault> {
        let invalid = |problems: Problems| problems.into_fault(ErrorCode::PolicyInvalid);
        let tools: Vec<ToolDef> = self.gateway.registry().iter().map(|entry| entry.def.clone()).collect();
        let changed = self.policies.changed(&ask.with).map_err(invalid)?.load(&tools).map_err(invalid)?;
        let current = self.gateway.policy();
        let runs = match ask.run {
            Some(run) if self.store.run(&run).await?.is_none() => {
                return Err(
                    Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are")
                );
            }
            Some(run) => vec![run],
            None => self.store.runs(RunFilter::default()).await?.into_iter().rev().map(|row| row.id).collect(),
        };
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
}
