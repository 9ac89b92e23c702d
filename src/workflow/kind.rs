//! The kinds of steps: what each needs, and what an agent is asked for where it does the work.
//!
//! INVARIANT: every schema here is closed, so that an answer cannot carry anything beside the data it was asked for.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// Turns the goal into tasks.
    Plan,
    /// Gathers what is known, with sources.
    Research,
    /// Writes files.
    Codegen,
    /// Runs checks in the sandbox; fails where they do not pass.
    Eval,
    /// Works on the run's repository.
    Repo,
    /// Tells somebody.
    Notify,
    /// Calls any tool.
    Tool,
    /// Changes JSON by a jq filter.
    Transform,
    /// Waits for a human's yes.
    Approval,
}

/// Kinds by their words, in the order they are told.
pub(super) const KINDS: &[(&str, StepKind)] = &[
    ("plan", StepKind::Plan),
    ("research", StepKind::Research),
    ("codegen", StepKind::Codegen),
    ("eval", StepKind::Eval),
    ("repo", StepKind::Repo),
    ("notify", StepKind::Notify),
    ("tool", StepKind::Tool),
    ("transform", StepKind::Transform),
    ("approval", StepKind::Approval),
];

/// What `repo.git` can be asked for by name.
pub(super) const REPO_ACTIONS: &[&str] = &["init", "clone", "status", "diff", "log", "add_all", "commit", "branch", "push"];

impl StepKind {
    /// The word as it stands in workflow files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }

    /// Whether an agent can do it, or a built-in worker in its place.
    #[must_use]
    pub fn is_agents_work(self) -> bool {
        match self {
            Self::Plan | Self::Research | Self::Codegen => true,
            Self::Eval | Self::Repo | Self::Notify | Self::Tool | Self::Transform | Self::Approval => false,
        }
    }

    /// Fields that `input` must have, and those it may have; `None` where its tool's schema says so.
    pub(super) fn input_fields(self) -> (&'static [&'static str], Option<&'static [&'static str]>) {
        match self {
            Self::Plan | Self::Research | Self::Codegen | Self::Repo => (&[], None),
            Self::Eval => (&["commands"], None),
            Self::Notify => (&["message"], None),
            Self::Tool => (&["tool"], Some(&["tool", "arguments"])),
            Self::Transform => (&["filter"], Some(&["filter", "input"])),
            Self::Approval => (&["message"], Some(&["title", "message", "details"])),
        }
    }

    /// What an answer to such a step looks like, unless the step says otherwise.
    pub(super) fn answer_schema(self) -> Option<Value> {
        let text = json!({ "type": "string" });
        let closed = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
        let list = |item: Value| json!({ "type": "array", "items": item, "maxItems": 500 });
        match self {
            Self::Plan => {
                let task = closed(json!({ "path": text, "purpose": text }), &["path", "purpose"]);
                Some(closed(json!({ "summary": text, "tasks": list(task) }), &["summary", "tasks"]))
            }
            Self::Research => {
                // Where in an artifact the extract stands, in characters.
                let place = json!({ "type": "integer", "minimum": 0 });
                let parts = json!({ "title": text, "source": text, "extract": text, "artifact": text, "start": place, "end": place });
                let citation = closed(parts, &["title", "source", "extract"]);
                let whole = json!({ "summary": text, "citations": list(citation), "notes": list(text.clone()) });
                Some(closed(whole, &["summary", "citations"]))
            }
            Self::Codegen => {
                let file = closed(
                    json!({ "path": { "type": "string", "minLength": 1, "maxLength": 400 }, "content": text }),
                    &["path", "content"],
                );
                let mut files = list(file);
                if let Some(files) = files.as_object_mut() {
                    files.insert("minItems".into(), json!(1));
                }
                Some(closed(json!({ "files": files, "summary": text }), &["files"]))
            }
            Self::Eval | Self::Repo | Self::Notify | Self::Tool | Self::Transform | Self::Approval => None,
        }
    }

    /// What an agent is told to do, unless the step says otherwise.
    pub(super) fn default_prompt(self) -> &'static str {
        match self {
            Self::Plan => "Plan the work: for each file to be written, its path and purpose. Give the plan by run.submit.",
            Self::Research => "Find out what the work needs to know and cite where it stands. Give it by run.submit.",
            Self::Codegen => "Write the files, each whole, with paths relative to the workspace. Give them by run.submit.",
            Self::Eval | Self::Repo | Self::Notify | Self::Tool | Self::Transform | Self::Approval => "",
        }
    }
}
