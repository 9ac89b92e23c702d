//! Workflows as prompts: what a person picks from a client's menu, and what the agent is then told to do.
//!
//! INVARIANT: workflows are read by calling the tools that read them. A prompt starts nothing: the agent's call does, and is decided on.

use rmcp::model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::{Map, Value, json};

use crate::domain::{ErrorCode, Fault};

use super::resources::{Reader, Refused};
use super::workflows::{self, Workflow};

/// A prompt for each workflow.
pub(super) async fn list(reader: &impl Reader) -> Result<Vec<Prompt>, Refused> {
    Ok(workflows::all(reader).await?.iter().map(prompt).collect())
}

fn prompt(workflow: &Workflow) -> Prompt {
    let argument = |name: &String| {
        let argument = PromptArgument::new(name).with_required(workflow.needed.contains(name));
        match workflow.about(name) {
            Some(about) => argument.with_description(about),
            None => argument,
        }
    };
    // Those that are needed come first: some menus ask for them one by one.
    let (needed, optional): (Vec<_>, Vec<_>) = workflow.inputs.keys().partition(|name| workflow.needed.contains(name));
    let arguments = needed.into_iter().chain(optional).map(argument).collect();
    Prompt::new(workflow.name.clone(), Some(workflow.description.clone()), Some(arguments)).with_title(title(&workflow.name))
}

/// `build_service` as people read it.
pub(super) fn title(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// How an agent runs a workflow: numbered, with the names that tools have in this client.
pub(super) fn steps(start: &str, named: impl Fn(&str) -> String) -> String {
    format!(
        "1. Call `{}` with {start}.\n\
         2. Repeat `{}` with its run_id and the cursor of the last answer until `done`.\n\
         3. For each entry of `waiting` with waiting_for \"agent\" do what its prompt says, and answer with `{}`.\n\
         4. What waits for a human is not yours to answer: tell the user. At the end say what came of it.",
        named("run.start"),
        named("run.watch"),
        named("run.submit"),
    )
}

/// What the agent is told once a person has picked this workflow. `named` gives the name that a tool has in this client.
pub(super) async fn get(
    reader: &impl Reader,
    workflow: &str,
    arguments: &JsonObject,
    named: impl Fn(&str) -> String,
) -> Result<GetPromptResult, Refused> {
    let workflow = workflows::one(reader, workflow).await?;
    let values = values(&workflow, arguments)?;
    let start = json!({ "workflow": workflow.name, "inputs": values }).to_string();
    let text = format!("Run the toolgate workflow `{}`: {}\n\n{}", workflow.name, workflow.description, steps(&start, named));
    let result = GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]);
    Ok(result.with_description(workflow.description))
}

/// The inputs as the workflow wants them. A prompt's arguments are text: text stays text, other types are read as JSON.
fn values(workflow: &Workflow, arguments: &JsonObject) -> Result<Map<String, Value>, Fault> {
    let Workflow { name: of, inputs, needed, .. } = workflow;
    let known = || inputs.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let refused = |message: String| Fault::new(ErrorCode::InvalidInput, message).hint(format!("the inputs of `{of}` are {}", known()));
    let mut values = Map::new();
    for (name, said) in arguments {
        let shown: String = name.chars().take(60).collect();
        let schema = inputs.get(name).ok_or_else(|| refused(format!("`{of}` has no input `{shown}`")))?;
        let text = said.as_str().ok_or_else(|| refused(format!("the argument `{shown}` of a prompt must be text")))?;
        // A menu leaves empty what nobody filled in.
        if text.is_empty() && !needed.contains(name) {
            continue;
        }
        let is_text = schema.get("type").is_none_or(|kind| kind == "string");
        let value = if is_text { Ok(Value::from(text)) } else { serde_json::from_str(text) };
        let value = value.map_err(|error| refused(format!("the argument `{shown}` is not JSON: {error}")))?;
        values.insert(name.clone(), value);
    }
    match needed.iter().find(|name| !values.contains_key(*name)) {
        Some(missing) => Err(refused(format!("`{of}` needs the input `{missing}`"))),
        None => Ok(values),
    }
}
