//! Drives and follows a run on the terminal until it ends or waits for somebody who is not here.
//!
//! INVARIANT: breaking off loses nothing: the run stays where its log says, and `runs watch` goes on with it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Source;
use crate::domain::{ApprovalId, ErrorCode, RunId, StepId};
use crate::gateway::{Amount, Answer, describe};
use crate::run::RunStatus;
use crate::store::ApprovalStatus;

use super::args;
use super::exit::{Ending, Exit, Stop};
use super::ports::{RunView, StepState, StepView, WaitsFor};
use super::report::report;
use super::start::Cx;
use super::text::{self, printable, span};
use super::tree::{LiveTree, Notes, again, detail, lines, mark};
use super::{approvals, run};

/// How often a run is looked at while nothing is heard; other processes' commits are only seen so.
const TICK: Duration = Duration::from_millis(200);

/// Commits that follow each other closely are looked at together.
const TOGETHER: Duration = Duration::from_millis(25);

/// Awaits `work`. A first interruption fires `stop`, so that `work` can end in order; a second gives it up: `None`.
pub(super) async fn until_interrupted<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => return Some(done),
        () = interruption() => stop.cancel(),
    }
    tokio::select! {
        done = &mut work => Some(done),
        () = interruption() => None,
    }
}

async fn interruption() {
    if tokio::signal::ctrl_c().await.is_err() {
        // There are no such signals here.
        std::future::pending::<()>().await;
    }
}

/// Drives a run to its end, asking the operator on a terminal; `answers` serve steps that wait for data.
pub(super) async fn follow(id: &RunId, args: &args::Follow, mut answers: BTreeMap<StepId, Value>, cx: &Cx<'_>) -> Ending {
    let mut screen = Screen::new(args.json, cx);
    loop {
        let stop = CancellationToken::new();
        let ended = until_interrupted(&stop, drive(id, &stop, &mut screen, cx)).await;
        let view = match ended {
            Some(driven) => driven?,
            None => cx.house.run(id).await?,
        };
        screen.show(&view, cx).await?;
        if view.row.status.is_final() {
            screen.leave(&view, cx);
            return run::result(&view, args.json, cx);
        }
        if stop.is_cancelled() {
            screen.leave(&view, cx);
            cx.desk.console.tell(&format!("broken off; the run is kept: `{} runs watch {id}` goes on with it\n", command(cx)));
            return Ok(Exit::Failed);
        }
        if !answer_one(&view, &mut answers, args, &mut screen, cx).await? {
            screen.leave(&view, cx);
            return waiting(&view, args.json, cx);
        }
    }
}

/// Lets the house drive while the screen follows; where another process drives, only follows.
async fn drive(id: &RunId, stop: &CancellationToken, screen: &mut Screen, cx: &Cx<'_>) -> Result<RunView, Stop> {
    let driven = {
        let driving = cx.house.drive(id, stop.clone(), screen.notes.clone());
        tokio::select! {
            driven = driving => driven,
            failed = watch(id, screen, cx, false, stop) => return failed,
        }
    };
    match driven {
        Ok(_) => Ok(cx.house.run(id).await?),
        Err(fault) if fault.code == ErrorCode::LeaseLost => watch(id, screen, cx, true, stop).await,
        Err(fault) => Err(fault.into()),
    }
}

/// Shows the run at every change. Ends when the run does not move by itself any more, if that is wanted, or cannot be read.
async fn watch(id: &RunId, screen: &mut Screen, cx: &Cx<'_>, until_still: bool, stop: &CancellationToken) -> Result<RunView, Stop> {
    let mut changes = cx.house.changes();
    loop {
        let view = cx.house.run(id).await?;
        screen.show(&view, cx).await?;
        if until_still && (view.row.status != RunStatus::Running || stop.is_cancelled()) {
            return Ok(view);
        }
        let changed = async {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(TOGETHER).await;
        };
        let _ = tokio::time::timeout(TICK, changed).await;
    }
}

/// Answers one waiting step, if that can be done here; `false` where somebody else must.
async fn answer_one(
    view: &RunView,
    answers: &mut BTreeMap<StepId, Value>,
    args: &args::Follow,
    screen: &mut Screen,
    cx: &Cx<'_>,
) -> Result<bool, Stop> {
    for (step, waits_for) in waiting_steps(view) {
        match waits_for {
            WaitsFor::Agent | WaitsFor::UserInput => {
                if let Some(output) = answers.remove(&step.id) {
                    cx.house.submit(&view.row.id, &step.id, output).await?;
                    return Ok(true);
                }
            }
            WaitsFor::Approval { approval } => {
                if cx.desk.console.looks().interactive && !args.json {
                    screen.clear();
                    return ask(approval, args, cx).await;
                }
            }
            WaitsFor::Time { .. } | WaitsFor::Limit => {}
        }
    }
    Ok(false)
}

fn waiting_steps(view: &RunView) -> impl Iterator<Item = (&StepView, &WaitsFor)> {
    view.steps.iter().filter(|step| step.state == StepState::Waiting).filter_map(|step| Some((step, step.waits_for.as_ref()?)))
}

/// Shows in full what is asked and takes the operator's word; `false` when it is left for later.
async fn ask(id: &ApprovalId, args: &args::Follow, cx: &Cx<'_>) -> Result<bool, Stop> {
    let console = &cx.desk.console;
    console.tell(&describe(&cx.house.approval(id).await?, cx.desk.clock.now(), Amount::Short));
    console.tell(&format!("From another terminal: `{0} approvals approve {id}` or `{0} approvals deny {id} --reason …`\n", command(cx)));
    loop {
        let Some(word) = console.ask("Say yes to exactly this? [y]es, [n]o, [l]ater: ")? else { return Ok(false) };
        let answer = match word.to_lowercase().as_str() {
            "y" | "yes" => Answer::yes(),
            "n" | "no" => Answer::Deny { reason: console.ask("Why not? The agent reads it: ")?.unwrap_or_default() },
            "l" | "later" => return Ok(false),
            _ => continue,
        };
        // It may have been answered from another terminal, or have expired, meanwhile.
        let row = cx.house.approval(id).await?;
        if row.status != ApprovalStatus::Pending {
            console.tell("it was answered elsewhere or has expired\n");
            return Ok(true);
        }
        match approvals::decide(&row, answer, args.from, cx).await {
            Ok(_) => return Ok(true),
            Err(Stop::Fault(fault)) if fault.code == ErrorCode::OperatorLocked => report(console, &fault, false),
            Err(stop) => return Err(stop),
        }
    }
}

/// Tells who must act, and how to go on.
fn waiting(view: &RunView, json: bool, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    let id = view.row.id;
    if json {
        let waits: Vec<Value> = waiting_steps(view).map(|(step, waits_for)| json!({ "step": step.id, "waits_for": waits_for })).collect();
        let go_on = format!("{} runs watch {id}", command(cx));
        console.json_line(&json!({ "result": view, "exit": Exit::Waiting as u8, "waiting": waits, "go_on": go_on }))?;
        return Ok(Exit::Waiting);
    }
    let command = command(cx);
    console.line(&format!("{id} waits"))?;
    for (step, waits_for) in waiting_steps(view) {
        let kind = printable(&step.kind);
        match waits_for {
            WaitsFor::Approval { approval } => console.tell(&format!(
                "step `{}` needs the operator's yes:\n    {command} approvals show {approval}\n    {command} approvals approve {approval}\n",
                step.id
            )),
            WaitsFor::Agent => console.tell(&format!(
                "step `{}` ({kind}) needs an agent's answer: over MCP with run.submit, or in a file:\n    {command} runs watch {id} --answers FILE\n",
                step.id
            )),
            WaitsFor::Limit => console.tell(&format!(
                "step `{}` waits until a limit is raised:\n    {command} runs raise {id} --calls +50\n",
                step.id
            )),
            WaitsFor::UserInput => console.tell(&format!(
                "step `{}` ({kind}) needs data from a person:\n    {command} runs watch {id} --answers FILE\n",
                step.id
            )),
            WaitsFor::Time { until } => console.tell(&format!("step `{}` goes on {}\n", step.id, text::moment(*until, cx.desk.clock.now()))),
        }
    }
    console.tell(&format!("then go on with:\n    {command} runs watch {id}\n"));
    Ok(Exit::Waiting)
}

/// The program as it must be called to reach the same home.
fn command(cx: &Cx<'_>) -> String {
    match cx.config.home.source {
        Source::Option(_) => format!("toolgate --home {}", printable(&cx.config.home.value.display().to_string())),
        Source::Env(_) | Source::File { .. } | Source::Default => "toolgate".to_owned(),
    }
}

/// Where a run is shown.
struct Screen {
    notes: Arc<Notes>,
    form: Form,
}

enum Form {
    /// Every event as a line on stdout; holds the last `seq` printed.
    Events(u64),
    /// A line on stderr whenever a step changes; holds what was said of each.
    Lines(BTreeMap<StepId, String>),
    /// Redrawn lines on a terminal.
    Tree(LiveTree),
}

impl Screen {
    fn new(json: bool, cx: &Cx<'_>) -> Self {
        let form = match (json, cx.desk.console.looks().live) {
            (true, _) => Form::Events(0),
            (false, true) => Form::Tree(LiveTree::new()),
            (false, false) => Form::Lines(BTreeMap::new()),
        };
        Self { notes: Arc::default(), form }
    }

    async fn show(&mut self, view: &RunView, cx: &Cx<'_>) -> Result<(), Stop> {
        match &mut self.form {
            Form::Events(last) => loop {
                let events = cx.house.events(&view.row.id, *last, 500).await?;
                for event in &events {
                    cx.desk.console.json_line(event)?;
                    *last = event.seq;
                }
                if events.is_empty() {
                    break;
                }
            },
            Form::Lines(said) => changed_lines(view, &self.notes, said, cx),
            Form::Tree(tree) => {
                let lines = lines(view, &self.notes, cx.desk.clock.now());
                tree.draw(&lines.iter().map(|line| cx.desk.console.clean(line).into_owned()).collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        if let Form::Tree(tree) = &mut self.form {
            tree.clear();
        }
    }

    /// Leaves the tree as it stands now, as plain lines.
    fn leave(&mut self, view: &RunView, cx: &Cx<'_>) {
        if let Form::Tree(tree) = &mut self.form {
            tree.clear();
            for line in lines(view, &self.notes, cx.desk.clock.now()) {
                cx.desk.console.tell(&format!("{line}\n"));
            }
        }
    }
}

/// A line for every step that changed its state, was tried again, or has a new note.
fn changed_lines(view: &RunView, notes: &Notes, said: &mut BTreeMap<StepId, String>, cx: &Cx<'_>) {
    let width = view.steps.iter().map(|step| step.id.as_str().len()).max().unwrap_or(0);
    for step in view.steps.iter().filter(|step| step.state != StepState::Pending) {
        let note = notes.of(&step.id).filter(|_| step.state == StepState::Running);
        let now_said = format!("{:?} {} {:?} {note:?}", step.state, step.attempt, step.repair);
        if said.get(&step.id) == Some(&now_said) {
            continue;
        }
        let detail = match (step.state, &note) {
            (StepState::Running, Some(note)) => note.clone(),
            (StepState::Running, None) => again(step),
            _ => detail(step, None, cx.desk.clock.now()),
        };
        let line = format!("{} {:width$}  {detail}", mark(step.state), step.id.as_str());
        cx.desk.console.tell(&format!("{}\n", line.trim_end()));
        said.insert(step.id.clone(), now_said);
    }
}

/// How long a run has taken.
pub(super) fn took(view: &RunView) -> String {
    span(view.row.updated.since(view.row.created))
}
