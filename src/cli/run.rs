//! `run`: starts a workflow and follows it; and how a run's result is told.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::ErrorCode;
use crate::domain::nearest;
use crate::run::RunStatus;

use super::args::Run;
use super::exit::{Ending, Exit};
use super::ports::{RunView, StepState, WorkflowRef};
use super::report::report;
use super::start::Cx;
use super::text::{self, printable};
use super::{follow, inputs, tools, workflows};

pub(super) async fn run(args: &Run, cx: &Cx<'_>) -> Ending {
    let which = workflows::reference(&args.workflow);
    if let WorkflowRef::File(file) = &which {
        tools::exists(file)?;
    }
    let workflow = match cx.house.workflow(&which).await {
        Ok(workflow) => workflow,
        Err(fault) if fault.code == ErrorCode::UnknownWorkflow && fault.hint.is_none() => {
            let known = cx.house.workflows();
            return Err(match nearest(&args.workflow, known.iter().map(|workflow| workflow.name.as_str())) {
                Some(near) => fault.hint(format!("did you mean `{near}`?")),
                None => fault.hint("`toolgate workflows list` lists the workflows there are; a file needs a `/` or the ending .yaml"),
            }
            .into());
        }
        Err(fault) => return Err(fault.into()),
    };
    // Everything the operator gave is read before anything is started.
    let inputs = inputs::read(&args.inputs, &workflow.inputs)?;
    let answers = args.follow.answers.as_deref().map(inputs::answers).transpose()?.unwrap_or_else(BTreeMap::new);
    let run = cx.house.start(&which, inputs).await?;
    if !args.follow.json {
        cx.desk.console.tell(&format!("{run} follows {} {}\n", printable(&workflow.name), printable(&workflow.version)));
    }
    follow::follow(&run, &args.follow, answers, cx).await
}

/// Tells how a run ended.
pub(super) fn result(view: &RunView, json: bool, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    let exit = match view.row.status {
        RunStatus::Succeeded | RunStatus::Closed => Exit::Ok,
        RunStatus::Failed | RunStatus::Cancelled | RunStatus::Running | RunStatus::Waiting => {
            Exit::of_failed_run(cause(view).map(|fault| fault.code))
        }
    };
    if json {
        console.json_line(&json!({ "result": view, "exit": exit as u8 }))?;
        return Ok(exit);
    }
    // A step that may fail and did is in the tree; only what stopped the run is an error.
    if let Some(fault) = cause(view).filter(|_| exit != Exit::Ok) {
        report(console, fault, false);
    }
    console.line(&format!("{} {} after {}", view.row.id, view.row.status.as_str(), follow::took(view)))?;
    let found = findings(view);
    for (label, value) in &found {
        console.line(&format!("  {label:<9} {}", printable(value)))?;
    }
    // Where something was built, the commit is the result; else what the last step gave is.
    let last = view.steps.iter().rev().find(|step| step.state == StepState::Succeeded).and_then(|step| step.output.as_ref());
    if let Some(output) = last.filter(|_| !found.iter().any(|(label, _)| *label == "commit")) {
        console.data(&text::outline(output))?;
    }
    console.tell(&format!("`toolgate runs show {}` shows every step and its output\n", view.row.id));
    Ok(exit)
}

fn cause(view: &RunView) -> Option<&crate::domain::Fault> {
    let failed = view.steps.iter().filter(|step| step.state == StepState::Failed);
    view.error.as_ref().or_else(|| failed.filter_map(|step| step.error.as_ref()).next())
}

/// What a person wants first: the commit, the files, and where they lie.
fn findings(view: &RunView) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let outputs = || view.steps.iter().filter_map(|step| step.output.as_ref());
    if let Some(commit) = outputs().filter_map(|output| output.get("commit")?.as_str()).next_back() {
        found.push(("commit", commit.to_owned()));
    }
    let lists = outputs().filter_map(|output| output.get("files")?.as_array());
    let names: Option<Vec<&str>> =
        lists.map(|files| files.iter().filter_map(file_name).collect::<Vec<_>>()).rfind(|names| !names.is_empty());
    if let Some(names) = names {
        found.push(("files", format!("{}: {}", names.len(), names.join(", "))));
    }
    if let Some(workspace) = &view.workspace {
        found.push(("workspace", workspace.display().to_string()));
    }
    found
}

fn file_name(file: &Value) -> Option<&str> {
    file.as_str().or_else(|| file.get("path")?.as_str())
}
