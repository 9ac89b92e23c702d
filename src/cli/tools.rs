//! `tools`: what there is, and calling it by hand on the path that agents' calls take.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::call::{Progress, Reply};
use crate::config::Config;
use crate::domain::nearest;
use crate::domain::{ErrorCode, Fault};

use super::args::Tools;
use super::exit::{Ending, Exit};
use super::output::{Console, Table};
use super::ports::{CallAsk, Door, ToolView};
use super::start::{Cx, Desk};
use super::text::{self, first_sentence, printable};
use super::{follow, inputs, report};

pub(super) fn needs_no_house(args: &Tools) -> bool {
    matches!(args, Tools::Check { .. })
}

pub(super) async fn check(args: &Tools, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    let Tools::Check { manifest, json } = args else { return Ok(Exit::Ok) };
    exists(manifest)?;
    let tool = door.check_manifest(config, manifest).await?;
    if json.json {
        desk.console.json(&serde_json::json!({ "ok": true, "tool": tool }))?;
    } else {
        let (file, name) = (manifest.display().to_string(), tool.name.as_str());
        desk.console.line(&format!("{} is right: {name} {}, {}", printable(&file), printable(&tool.version), effects(&tool)))?;
    }
    Ok(Exit::Ok)
}

/// A file that is not there is told before anything is opened.
pub(super) fn exists(file: &Path) -> Result<(), Fault> {
    if file.is_file() {
        Ok(())
    } else {
        Err(Fault::new(ErrorCode::NotFound, format!("`{}` is not a file", file.display())).hint("name a file that is there"))
    }
}

pub(super) async fn run(args: &Tools, cx: &Cx<'_>) -> Ending {
    match args {
        Tools::List { json } => list(json.json, cx),
        Tools::Show { name, json } => show(name, json.json, cx),
        Tools::Call { name, arguments, json } => call(name, arguments, json.json, cx).await,
        Tools::Check { .. } => Ok(Exit::Ok),
    }
}

fn list(json: bool, cx: &Cx<'_>) -> Ending {
    let tools = cx.house.tools();
    if json {
        cx.desk.console.json(&tools)?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["NAME", "VERSION", "EFFECTS", "ABOUT"]);
    for tool in &tools {
        table.row([tool.name.as_str(), &tool.version, &effects(tool), first_sentence(&tool.description)]);
    }
    cx.desk.console.table(&table)?;
    Ok(Exit::Ok)
}

fn effects(tool: &ToolView) -> String {
    tool.effects.iter().map(crate::domain::Effect::as_str).collect::<Vec<_>>().join(", ")
}

fn show(name: &str, json: bool, cx: &Cx<'_>) -> Ending {
    let tools = cx.house.tools();
    let Some(tool) = tools.iter().find(|tool| tool.name.as_str() == name || tool.name.exposed() == name) else {
        return Err(unknown(name, &tools).into());
    };
    let console = &cx.desk.console;
    if json {
        console.json(tool)?;
        return Ok(Exit::Ok);
    }
    console.line(&format!("{} {}  ({})", tool.name, printable(&tool.version), tool.name.exposed()))?;
    console.data(&text::block(tool.description.trim_end()))?;
    let limits = format!("{} wall time, {} bytes of output", text::span(tool.limits.wall), tool.limits.output.0);
    let idempotent = if tool.idempotent { "yes" } else { "no" };
    for (label, value) in [
        ("executor", tool.executor.as_str()),
        ("effects", &effects(tool)),
        ("hosts", &tool.hosts.join(", ")),
        ("secrets", &tool.secrets.join(", ")),
        ("scopes", &tool.scopes.join(", ")),
        ("limits", &limits),
        ("idempotent", idempotent),
        ("digest", &tool.digest.to_string()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    {
        console.line(&format!("  {label:<11} {}", printable(value)))?;
    }
    console.line(&format!("input\n{}", text::json(&tool.input_schema, true)))?;
    console.line(&format!("output\n{}", text::json(&tool.output_schema, true)))?;
    Ok(Exit::Ok)
}

fn unknown(name: &str, tools: &[ToolView]) -> Fault {
    let fault = Fault::new(ErrorCode::UnknownTool, format!("there is no tool `{name}`"));
    fault.hint(suggestion(name, tools))
}

fn suggestion(name: &str, tools: &[ToolView]) -> String {
    match nearest(&name.replace('_', "."), tools.iter().map(|tool| tool.name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`toolgate tools list` lists the tools there are".to_owned(),
    }
}

async fn call(name: &str, arguments: &str, json: bool, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    let arguments = inputs::arguments(arguments, console)?;
    let cancel = CancellationToken::new();
    let ask = CallAsk { tool: name.to_owned(), arguments, progress: progress(console), cancel: cancel.clone() };
    let reply = follow::until_interrupted(&cancel, cx.house.call(ask)).await;
    let Some(reply) = reply else {
        return Err(Fault::new(ErrorCode::Cancelled, "broken off; the call's outcome is in its run").hint("`toolgate runs list`").into());
    };
    let mut reply = reply?;
    if let Err(fault) = &mut reply.outcome
        && fault.code == ErrorCode::UnknownTool
        && fault.hint.is_none()
    {
        fault.hint = Some(suggestion(name, &cx.house.tools()));
    }
    tell(&reply, json, console)?;
    Ok(reply.outcome.as_ref().err().map_or(Exit::Ok, |fault| Exit::of(fault.code)))
}

fn tell(reply: &Reply, json: bool, console: &Console) -> std::io::Result<()> {
    let (call, run) = (reply.call, reply.run);
    match (&reply.outcome, json) {
        (Ok(output), true) => {
            console.json(&serde_json::json!({ "call": call, "run": run, "ok": true, "output": output.value, "artifact": output.artifact }))
        }
        (Err(fault), true) => console.json(&serde_json::json!({ "call": call, "run": run, "ok": false, "error": fault.to_json() })),
        (Ok(output), false) => {
            console.line(&text::json(&output.value, true))?;
            console.tell(&format!("{call} in {run}\n"));
            Ok(())
        }
        (Err(fault), false) => {
            report::report(console, &with_approval_hint(fault), false);
            console.tell(&format!("{call} in {run}\n"));
            Ok(())
        }
    }
}

/// Where a human is needed, the hint says what that human types.
fn with_approval_hint(fault: &Fault) -> Fault {
    let id = fault.details.as_ref().and_then(|details| details.get("approval_id")).and_then(serde_json::Value::as_str);
    match id {
        Some(id) if fault.code == ErrorCode::ApprovalRequired => {
            fault.clone().hint(format!("`toolgate approvals approve {id}`, then make the same call again"))
        }
        Some(_) | None => fault.clone(),
    }
}

/// Progress goes to a live terminal only.
fn progress(console: &Console) -> Arc<dyn Progress> {
    if console.looks().live { Arc::new(OnTerminal::new(console.redact())) } else { Arc::new(crate::call::NoProgress) }
}

struct OnTerminal(indicatif::ProgressBar, Arc<dyn crate::call::Redact>);

impl OnTerminal {
    fn new(redact: Arc<dyn crate::call::Redact>) -> Self {
        let bar = indicatif::ProgressBar::new_spinner();
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        Self(bar, redact)
    }
}

impl Progress for OnTerminal {
    fn note(&self, message: &str, done: Option<f64>, total: Option<f64>) {
        self.0.set_message(super::tree::note_text(&self.1.text(message), done, total));
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
