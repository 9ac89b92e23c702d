//! `workflows`: what there is, and checking a file.

use std::path::PathBuf;

use crate::config::Config;

use super::args::Workflows;
use super::exit::{Ending, Exit};
use super::output::Table;
use super::ports::{Door, WorkflowRef, WorkflowView};
use super::start::{Cx, Desk};
use super::text::{self, first_sentence, printable};
use super::tools::exists;

pub(super) fn needs_no_house(args: &Workflows) -> bool {
    matches!(args, Workflows::Validate { .. })
}

/// A file where it looks like a path, else a name.
pub(super) fn reference(text: &str) -> WorkflowRef {
    let file = text.contains(['/', std::path::MAIN_SEPARATOR]) || text.ends_with(".yaml") || text.ends_with(".yml");
    if file { WorkflowRef::File(PathBuf::from(text)) } else { WorkflowRef::Name(text.to_owned()) }
}

pub(super) async fn validate(args: &Workflows, desk: &Desk, config: &Config, door: &dyn Door) -> Ending {
    let Workflows::Validate { file, json } = args else { return Ok(Exit::Ok) };
    exists(file)?;
    let workflow = door.check_workflow(config, file).await?;
    if json.json {
        desk.console.json(&serde_json::json!({ "ok": true, "workflow": workflow }))?;
    } else {
        let steps = match workflow.steps.len() {
            1 => "1 step".to_owned(),
            count => format!("{count} steps"),
        };
        let (file, name) = (file.display().to_string(), format!("{} {}", workflow.name, workflow.version));
        desk.console.line(&format!("{} is right: {}, {steps}", printable(&file), printable(&name)))?;
    }
    Ok(Exit::Ok)
}

pub(super) async fn run(args: &Workflows, cx: &Cx<'_>) -> Ending {
    let console = &cx.desk.console;
    match args {
        Workflows::List { json } => {
            let workflows = cx.house.workflows();
            if json.json {
                console.json(&workflows)?;
                return Ok(Exit::Ok);
            }
            let mut table = Table::new(&["NAME", "VERSION", "STEPS", "FROM", "ABOUT"]);
            for workflow in &workflows {
                let steps = workflow.steps.len().to_string();
                table.row([&workflow.name, &workflow.version, &steps, &workflow.source, first_sentence(&workflow.description)]);
            }
            console.table(&table)?;
        }
        Workflows::Show { workflow, json } => {
            let which = reference(workflow);
            if let WorkflowRef::File(file) = &which {
                exists(file)?;
            }
            let workflow = cx.house.workflow(&which).await?;
            if json.json { console.json(&workflow)? } else { console.data(&describe(&workflow))? }
        }
        Workflows::Validate { .. } => {}
    }
    Ok(Exit::Ok)
}

fn describe(workflow: &WorkflowView) -> String {
    let mut shown = format!("{} {}  ({})\n", printable(&workflow.name), printable(&workflow.version), printable(&workflow.source));
    shown.push_str(&text::block(workflow.description.trim_end()));
    shown.push_str("inputs\n");
    shown.push_str(&inputs(workflow).render(None));
    shown.push_str("steps\n");
    let mut steps = Table::new(&["  STEP", "KIND", "AFTER"]);
    for step in &workflow.steps {
        let after = step.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        steps.row([&format!("  {}", step.id), &step.kind, &after]);
    }
    shown.push_str(&steps.render(None));
    shown
}

fn inputs(workflow: &WorkflowView) -> Table {
    let mut table = Table::new(&["  INPUT", "TYPE", "DEFAULT", "ABOUT"]);
    let required: Vec<&str> =
        workflow.inputs.get("required").and_then(|list| list.as_array()).into_iter().flatten().filter_map(|key| key.as_str()).collect();
    for (name, property) in workflow.inputs.get("properties").and_then(|all| all.as_object()).into_iter().flatten() {
        let kind = match property.get("type") {
            Some(serde_json::Value::String(kind)) => kind.clone(),
            Some(kind) => kind.to_string(),
            None => "any".to_owned(),
        };
        let default = match property.get("default") {
            Some(default) => default.to_string(),
            None if required.contains(&name.as_str()) => "(required)".to_owned(),
            None => String::new(),
        };
        let about = property.get("description").and_then(|about| about.as_str()).unwrap_or_default();
        table.row([&format!("  {name}"), &kind, &default, about]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_path_is_a_file() {
        assert_eq!(reference("build_service"), WorkflowRef::Name("build_service".into()));
        assert_eq!(reference("./build"), WorkflowRef::File("./build".into()));
        assert_eq!(reference("mine.yaml"), WorkflowRef::File("mine.yaml".into()));
    }
}
