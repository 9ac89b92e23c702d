//! `runs`: what was done and what is going on.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::domain::{Actor, RunId, Timestamp};
use crate::run::Event;
use crate::store::{RunFilter, RunRow};

use super::args::Runs;
use super::exit::{Ending, Exit, Stop};
use super::output::Table;
use super::ports::RunView;
use super::start::Cx;
use super::text::{self, ago, moment, printable};
use super::tree::{Notes, lines};
use super::{follow, inputs, raise, report};

/// How often other processes' events are looked for.
const TICK: Duration = Duration::from_millis(300);

pub(super) async fn run(args: &Runs, cx: &Cx<'_>) -> Ending {
    match args {
        Runs::List { open, all, status, limit, json } => {
            let without = (!all).then(|| Actor::system().principal);
            let filter = RunFilter { open: *open, status: *status, limit: *limit, without, ..RunFilter::default() };
            list(filter, json.json, cx).await
        }
        Runs::Show { run, json } => {
            let view = cx.house.run(run).await?;
            if json.json {
                cx.desk.console.json(&view)?;
            } else {
                cx.desk.console.data(&describe(&view, cx.desk.clock.now()))?;
            }
            Ok(Exit::Ok)
        }
        Runs::Events { run, follow, after, json } => events(run, *after, *follow, json.json, cx).await,
        Runs::Watch { run, follow: how } => {
            let answers = how.answers.as_deref().map(inputs::answers).transpose()?.unwrap_or_default();
            // A run that has ended is only told.
            let view = cx.house.run(run).await?;
            if view.row.status.is_final() {
                return super::run::result(&view, how.json, cx);
            }
            follow::follow(run, how, answers, cx).await
        }
        Runs::Raise(args) => raise::run(args, cx).await,
        // Done without the rest of the house.
        Runs::Export(_) | Runs::Redact(_) | Runs::Archive(_) => Ok(Exit::Ok),
        Runs::Cancel { run, reason, json } => {
            cx.house.cancel(run, reason.clone()).await?;
            let view = cx.house.run(run).await?;
            if json.json {
                cx.desk.console.json(&view)?;
            } else {
                cx.desk.console.line(&format!("{run} {}", view.row.status.as_str()))?;
            }
            Ok(Exit::Ok)
        }
    }
}

async fn list(filter: RunFilter, json: bool, cx: &Cx<'_>) -> Ending {
    let rows = cx.house.runs(filter).await?;
    let console = &cx.desk.console;
    if json {
        console.json(&rows)?;
        return Ok(Exit::Ok);
    }
    if rows.is_empty() {
        console.tell("no runs\n");
        return Ok(Exit::Ok);
    }
    let now = cx.desk.clock.now();
    let mut table = Table::new(&["ID", "STATUS", "WORKFLOW", "FOR", "CREATED", "UPDATED", "EVENTS"]);
    for row in &rows {
        let workflow = row.workflow.as_deref().map_or_else(|| format!("({})", holds(row)), str::to_owned);
        let (id, created, updated, events) =
            (row.id.to_string(), moment(row.created, now), ago(row.updated, now), row.last_seq.to_string());
        table.row([&id, row.status.as_str(), &workflow, row.principal.as_str(), &created, &updated, &events]);
    }
    console.table(&table)?;
    Ok(Exit::Ok)
}

/// What a run without a workflow is there for.
fn holds(row: &RunRow) -> &'static str {
    if row.principal == Actor::system().principal { "toolgate's own records" } else { "direct calls" }
}

fn describe(view: &RunView, now: Timestamp) -> String {
    let row = &view.row;
    let workflow = row.workflow.as_deref().unwrap_or_else(|| holds(row));
    let mut shown = format!("{} ({}) {}\n", row.id, printable(workflow), row.status.as_str());
    let workspace = view.workspace.as_ref().map(|path| path.display().to_string());
    for (label, value) in [
        ("goal", view.goal.clone()),
        ("for", Some(row.principal.to_string())),
        ("created", Some(moment(row.created, now))),
        ("updated", Some(moment(row.updated, now))),
        ("events", Some(row.last_seq.to_string())),
        ("labels", (!row.labels.is_empty()).then(|| row.labels.words().join(", "))),
        ("workspace", workspace),
    ] {
        if let Some(value) = value {
            let _ = writeln!(shown, "  {label:<9} {}", printable(&value));
        }
    }
    shown.push_str(&raise::used(&view.budget));
    for line in lines(view, &Notes::default(), now) {
        let _ = writeln!(shown, "  {line}");
    }
    if let Some(fault) = &view.error {
        shown.push_str(&report::render(fault, false));
    }
    if let Some(output) = view.output.as_ref().filter(|output| !output.is_null()) {
        shown.push_str(&text::outline(output));
    }
    shown
}

async fn events(run: &RunId, after: u64, follow: bool, json: bool, cx: &Cx<'_>) -> Ending {
    // Says so where there is no such run.
    cx.house.run(run).await?;
    let stop = CancellationToken::new();
    let printing = print_events(run, after, follow, json, &stop, cx);
    follow::until_interrupted(&stop, printing).await.unwrap_or(Ok(()))?;
    Ok(Exit::Ok)
}

async fn print_events(run: &RunId, mut after: u64, follow: bool, json: bool, stop: &CancellationToken, cx: &Cx<'_>) -> Result<(), Stop> {
    let mut changes = cx.house.changes();
    loop {
        // Looked at before the events are read, so that none after the end is missed.
        let ended = cx.house.run(run).await?.row.status.is_final();
        loop {
            let events = cx.house.events(run, after, 500).await?;
            for event in &events {
                if json {
                    cx.desk.console.json_line(event)?
                } else {
                    cx.desk.console.line(&event_line(event))?
                }
                after = event.seq;
            }
            if events.is_empty() {
                break;
            }
        }
        if ended || !follow || stop.is_cancelled() {
            return Ok(());
        }
        let changed = async {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(TICK, changed) => {}
            () = stop.cancelled() => return Ok(()),
        }
    }
}

/// An event in one line: place, time, kind, step, and the beginning of its payload.
fn event_line(event: &Event) -> String {
    let mut payload = event.payload.clone();
    let word = match payload.remove("event") {
        Some(Value::String(word)) => word,
        _ => event.kind.as_str().to_owned(),
    };
    let step = event.step_id.as_ref().map(crate::domain::StepId::as_str).unwrap_or_default();
    let rest = if payload.is_empty() { String::new() } else { text::json(&Value::Object(payload), false) };
    let rest = console::truncate_str(&rest, 120, "…");
    format!("{:>5}  {}  {:<22}  {:<14}  {rest}", event.seq, event.ts, printable(&word), step).trim_end().to_owned()
}
