//! Workflows as this face knows them: read once for whatever shows them, by the tools that read them.
//!
//! INVARIANT: nothing of a workflow is known here but what `workflow.list` and `workflow.show` gave for this very request.

use serde_json::{Map, Value, json};

use super::resources::{Reader, Refused};

/// One workflow.
pub(super) struct Workflow {
    /// Its name.
    pub(super) name: String,
    /// What it is for.
    pub(super) description: String,
    /// Its inputs by name, with their schemas.
    pub(super) inputs: Map<String, Value>,
    /// Which of them are needed.
    pub(super) needed: Vec<String>,
    /// The file as it was written.
    pub(super) definition: String,
}

impl Workflow {
    fn of(line: &Value, name: Option<&str>, schema: &str) -> Option<Self> {
        let text = |member: &str| line.get(member).and_then(Value::as_str);
        let schema = line.get(schema);
        let part = |member: &str| schema.and_then(|schema| schema.get(member));
        let needed = part("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Some(Self {
            name: name.or_else(|| text("name"))?.to_owned(),
            description: text("description").unwrap_or_default().to_owned(),
            inputs: part("properties").and_then(Value::as_object).cloned().unwrap_or_default(),
            needed: needed.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            definition: text("definition").unwrap_or_default().to_owned(),
        })
    }

    /// What an input is for.
    pub(super) fn about(&self, input: &str) -> Option<&str> {
        self.inputs.get(input)?.get("description")?.as_str()
    }
}

/// All that there are, in the order of their names.
pub(super) async fn all(reader: &impl Reader) -> Result<Vec<Workflow>, Refused> {
    let answer = reader.call("workflow.list", json!({ "detail": true })).await?;
    let lines = answer.get("workflows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(lines.iter().filter_map(|line| Workflow::of(line, None, "schema")).collect())
}

/// Their names alone.
pub(super) async fn names(reader: &impl Reader) -> Result<Vec<String>, Refused> {
    let answer = reader.call("workflow.list", json!({})).await?;
    let lines = answer.get("workflows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(lines.iter().filter_map(|line| line.get("name")?.as_str().map(str::to_owned)).collect())
}

/// One of them.
pub(super) async fn one(reader: &impl Reader, name: &str) -> Result<Workflow, Refused> {
    let shown = reader.call("workflow.show", json!({ "workflow": name })).await?;
    Ok(Workflow::of(&shown, Some(name), "inputs").ok_or_else(|| crate::domain::Fault::internal("a workflow without a name"))?)
}
