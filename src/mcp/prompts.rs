//! Workflows as prompts: what a person picks from a client's menu, and what the agent is then told to do.
//!
//! INVARIANT: workflows are read by calling the tools that read them. A prompt starts nothing: the agent's call does, and is decided on.

use rmcp::model::{CompletionInfo, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role};
use serde_json::{Map, Value, json};

use crate::domain::{ErrorCode, Fault};

use super::resources::{Reader, Refused};

/// What a client completes a value for.
pub(super) enum Sought<'a> {
    /// An argument of a prompt.
    Argument { prompt: &'a str, name: &'a str },
    /// The id in `run://{id}` and what lies below it.
    Run,
}

/// A prompt for each workflow.
pub(super) async fn list(reader: &impl Reader) -> Result<Vec<Prompt>, Refused> {
    let answer = reader.call("workflow.list", json!({})).await?;
    let workflows = answer.get("workflows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(workflows.iter().filter_map(prompt).collect())
}

fn prompt(workflow: &Value) -> Option<Prompt> {
    let text = |name: &str| workflow.get(name).and_then(Value::as_str);
    let inputs = workflow.get("inputs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let arguments = inputs.iter().filter_map(Value::as_str).map(|input| match input.strip_suffix('?') {
        Some(name) => PromptArgument::new(name).with_required(false),
        None => PromptArgument::new(input).with_required(true),
    });
    Some(Prompt::new(text("name")?, text("description"), Some(arguments.collect())))
}

/// A workflow's inputs, by name: whether they are needed, and their schemas.
struct Inputs {
    description: String,
    schemas: Map<String, Value>,
    needed: Vec<String>,
}

async fn inputs(reader: &impl Reader, workflow: &str) -> Result<Inputs, Refused> {
    let shown = reader.call("workflow.show", json!({ "workflow": workflow })).await?;
    let schema = shown.get("inputs");
    let needed = schema.and_then(|schema| schema.get("required")).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(Inputs {
        description: shown.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        schemas: schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object).cloned().unwrap_or_default(),
        needed: needed.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// What the agent is told once a person has picked this workflow. `named` gives the name that a tool has in this client.
pub(super) async fn get(
    reader: &impl Reader,
    workflow: &str,
    arguments: &JsonObject,
    named: impl Fn(&str) -> String,
) -> Result<GetPromptResult, Refused> {
    let inputs = inputs(reader, workflow).await?;
    let values = values(workflow, &inputs, arguments)?;
    let start = json!({ "workflow": workflow, "inputs": values });
    let text = format!(
        "Run the toolgate workflow `{workflow}`: {}\n\n\
         1. Call `{}` with {start}.\n\
         2. Repeat `{}` with its run_id and the cursor of the last answer until `done`.\n\
         3. For each entry of `waiting` with waiting_for \"agent\" do what its prompt says, and answer with `{}`.\n\
         4. What waits for a human is not yours to answer: tell the user. At the end say what came of it.",
        inputs.description,
        named("run.start"),
        named("run.watch"),
        named("run.submit"),
    );
    let result = GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]);
    Ok(result.with_description(inputs.description))
}

/// The inputs as the workflow wants them. A prompt's arguments are text: text stays text, other types are read as JSON.
fn values(workflow: &str, inputs: &Inputs, arguments: &JsonObject) -> Result<Map<String, Value>, Fault> {
    let known = || inputs.schemas.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let refused =
        |message: String| Fault::new(ErrorCode::InvalidInput, message).hint(format!("the inputs of `{workflow}` are {}", known()));
    let mut values = Map::new();
    for (name, said) in arguments {
        let shown: String = name.chars().take(60).collect();
        let schema = inputs.schemas.get(name).ok_or_else(|| refused(format!("`{workflow}` has no input `{shown}`")))?;
        let text = said.as_str().ok_or_else(|| refused(format!("the argument `{shown}` of a prompt must be text")))?;
        // A menu leaves empty what nobody filled in.
        if text.is_empty() && !inputs.needed.contains(name) {
            continue;
        }
        let is_text = schema.get("type").is_none_or(|kind| kind == "string");
        let value = if is_text { Ok(Value::from(text)) } else { serde_json::from_str(text) };
        let value = value.map_err(|error| refused(format!("the argument `{shown}` is not JSON: {error}")))?;
        values.insert(name.clone(), value);
    }
    match inputs.needed.iter().find(|name| !values.contains_key(*name)) {
        Some(missing) => Err(refused(format!("`{workflow}` needs the input `{missing}`"))),
        None => Ok(values),
    }
}

/// Values that begin with what was typed: those that a workflow's input may have, or the runs there are.
pub(super) async fn complete(reader: &impl Reader, sought: Sought<'_>, typed: &str) -> Result<CompletionInfo, Refused> {
    let values = match sought {
        Sought::Run => runs(reader).await?,
        Sought::Argument { prompt, name } => {
            let inputs = inputs(reader, prompt).await?;
            let refused = || Fault::new(ErrorCode::InvalidInput, format!("`{prompt}` has no such argument")).hint("see `prompts/list`");
            choices(inputs.schemas.get(name).ok_or_else(refused)?)
        }
    };
    let fitting: Vec<String> = values.into_iter().filter(|value| value.starts_with(typed)).collect();
    let total = fitting.len();
    let first: Vec<String> = fitting.into_iter().take(CompletionInfo::MAX_VALUES).collect();
    let has_more = total > first.len();
    let made = CompletionInfo::with_pagination(first, u32::try_from(total).ok(), has_more);
    Ok(made.map_err(|error| Fault::internal(format!("completions: {error}")))?)
}

fn choices(schema: &Value) -> Vec<String> {
    if schema.get("type").is_some_and(|kind| kind == "boolean") {
        return vec!["false".to_owned(), "true".to_owned()];
    }
    let listed = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

async fn runs(reader: &impl Reader) -> Result<Vec<String>, Refused> {
    let answer = reader.call("run.list", json!({ "limit": CompletionInfo::MAX_VALUES })).await?;
    let runs = answer.get("runs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(runs.iter().filter_map(|run| run.get("run_id")?.as_str().map(str::to_owned)).collect())
}
