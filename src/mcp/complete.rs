//! Completions: what a half-typed argument of a prompt or of a resource's address may become.
//!
//! INVARIANT: every value was read by a tool call of whoever asks, so nobody is told of what it may not see; at most 100 are given, in a
//! fixed order, with how many there are.

use rmcp::model::CompletionInfo;
use serde_json::{Value, json};

use crate::domain::{ErrorCode, Fault};

use super::resources::{Reader, Refused};
use super::{Catalog, workflows};

/// What a client completes a value for.
pub(super) enum Sought<'a> {
    /// An argument of a prompt.
    Argument {
        /// The workflow.
        prompt: &'a str,
        /// Its input.
        name: &'a str,
    },
    /// The variable of a resource's address.
    Variable {
        /// The template.
        template: &'a str,
        /// The variable.
        name: &'a str,
    },
}

/// What kind of thing a value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Run,
    Workflow,
    Tool,
    Branch,
}

impl Kind {
    /// By the name of an input, where it has no list of values of its own.
    fn of_input(name: &str) -> Option<Self> {
        let last = name.rsplit('_').next().unwrap_or(name);
        match (name, last) {
            ("run_id", _) | (_, "run") => Some(Self::Run),
            (_, "workflow") => Some(Self::Workflow),
            (_, "tool") => Some(Self::Tool),
            (_, "branch") => Some(Self::Branch),
            _ => None,
        }
    }

    fn of_variable(template: &str, name: &str) -> Option<Self> {
        match (template, name) {
            ("run://{id}" | "run://{id}/events", "id") => Some(Self::Run),
            ("workflow://{name}", "name") => Some(Self::Workflow),
            ("tool://{name}", "name") => Some(Self::Tool),
            _ => None,
        }
    }
}

/// Values that begin with what was typed.
pub(super) async fn complete(reader: &impl Reader, catalog: &Catalog, sought: Sought<'_>, typed: &str) -> Result<CompletionInfo, Refused> {
    let values = match sought {
        Sought::Variable { template, name } => match Kind::of_variable(template, name) {
            Some(kind) => of_kind(reader, catalog, kind).await?,
            None => Vec::new(),
        },
        Sought::Argument { prompt, name } => {
            let workflow = workflows::one(reader, prompt).await?;
            let refused = || Fault::new(ErrorCode::InvalidInput, format!("`{prompt}` has no such argument")).hint("see `prompts/list`");
            let schema = workflow.inputs.get(name).ok_or_else(refused)?;
            match (choices(schema), Kind::of_input(name)) {
                (listed, Some(kind)) if listed.is_empty() => of_kind(reader, catalog, kind).await?,
                (listed, _) => listed,
            }
        }
    };
    let fitting: Vec<String> = values.into_iter().filter(|value| value.starts_with(typed)).collect();
    let total = fitting.len();
    let first: Vec<String> = fitting.into_iter().take(CompletionInfo::MAX_VALUES).collect();
    let has_more = total > first.len();
    let made = CompletionInfo::with_pagination(first, u32::try_from(total).ok(), has_more);
    Ok(made.map_err(|error| Fault::internal(format!("completions: {error}")))?)
}

/// The values that a schema lists itself.
fn choices(schema: &Value) -> Vec<String> {
    if schema.get("type").is_some_and(|kind| kind == "boolean") {
        return vec!["false".to_owned(), "true".to_owned()];
    }
    let listed = ["enum", "examples"].into_iter().find_map(|word| schema.get(word)?.as_array());
    listed.into_iter().flatten().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

async fn of_kind(reader: &impl Reader, catalog: &Catalog, kind: Kind) -> Result<Vec<String>, Refused> {
    match kind {
        Kind::Run => {
            let answer = reader.call("run.list", json!({ "limit": CompletionInfo::MAX_VALUES })).await?;
            let runs = answer.get("runs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Ok(runs.iter().filter_map(|run| run.get("run_id")?.as_str().map(str::to_owned)).collect())
        }
        Kind::Workflow => workflows::names(reader).await,
        Kind::Tool => Ok(catalog.ids().map(str::to_owned).collect()),
        Kind::Branch => branches(reader, catalog).await,
    }
}

/// The branches of the repository in the current run's workspace; none where there is no repository.
async fn branches(reader: &impl Reader, catalog: &Catalog) -> Result<Vec<String>, Refused> {
    if catalog.find("repo.git.status").is_none() {
        return Ok(Vec::new());
    }
    // Whatever keeps the repository from being read keeps its branches from being told, and no more.
    let Ok(answer) = reader.call("repo.git.status", json!({})).await else { return Ok(Vec::new()) };
    let listed = answer.get("branches").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(listed.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
