//! What a manifest says, as types.

use serde_json::{Value, json};

use super::marks::Marks;
use super::reach::Reach;
use crate::domain::{Digest, Effects, Fault, Limits, TaskUse, ToolName};
use crate::schema::Schema;

/// What runs a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Executor {
    /// A handler of toolgate's own.
    Builtin,
    /// A Python script in the sandbox, with the input as JSON.
    Python {
        /// The script's text.
        script: String,
    },
}

/// A sample of arguments that the manifest carries; tried when it is loaded.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// Arguments that fit the input schema.
    Accept(Value),
    /// Arguments that do not fit it.
    Refuse {
        /// The arguments.
        arguments: Value,
        /// A word that the refusal mentions.
        because: String,
    },
}

/// A tool as its manifest describes it.
#[derive(Debug, Clone)]
pub struct ToolDef {
    /// Canonical name.
    pub name: ToolName,
    /// Semantic version.
    pub version: semver::Version,
    /// What people are shown; the name where the manifest gives none.
    pub title: String,
    /// For a model that chooses among tools: ASCII, the first sentence short.
    pub description: String,
    /// Words by which it is searched for that stand in neither name, title nor description.
    pub search_hint: Option<String>,
    /// What runs it.
    pub executor: Executor,
    /// The widest effects a call of it can have.
    pub effects: Effects,
    /// The hosts it may reach and the secrets it may use there, where it is a script.
    pub reach: Reach,
    /// What it touches, in words that policy can speak of.
    pub scopes: Vec<String>,
    /// The labels that what it gives brings into the run.
    pub marks: Marks,
    /// The most one call may use up.
    pub limits: Limits,
    /// Whether a call may be run again by itself after an interruption.
    pub idempotent: bool,
    /// Of the arguments; an object.
    pub input: Schema,
    /// Of the structured answer; an object.
    pub output: Schema,
    /// When a long call of it is answered with a task.
    pub task: TaskUse,
    /// At least one accepted and one refused.
    pub examples: Vec<Example>,
    /// Over all of the above. Comments, order and layout of the file do not count.
    pub digest: Digest,
    /// The file it was read from, as the user would name it.
    pub file: String,
}

impl ToolDef {
    /// The digest over what the manifest says, both schemas and the script.
    ///
    /// # Errors
    /// Where something has no canonical JSON (RFC 8785).
    pub(super) fn digest_of(&self) -> Result<Digest, Fault> {
        let executor = match &self.executor {
            Executor::Builtin => json!("builtin"),
            Executor::Python { script } => json!({ "python": Digest::of(script.as_bytes()) }),
        };
        let examples: Vec<Value> = self
            .examples
            .iter()
            .map(|example| match example {
                Example::Accept(arguments) => json!({ "accept": arguments }),
                Example::Refuse { arguments, because } => json!({ "refuse": arguments, "because": because }),
            })
            .collect();
        let mut covered = json!({
            "name": self.name, "version": self.version, "title": self.title, "description": self.description, "executor": executor,
            "effects": self.effects, "scopes": self.scopes, "marks": self.marks.words(), "limits": self.limits, "idempotent": self.idempotent,
            "input": self.input.json(), "output": self.output.json(), "examples": examples,
        });
        // Left out where they say nothing, so that manifests from before them keep their digests.
        if let (true, Some(covered)) = (self.task != TaskUse::default(), covered.as_object_mut()) {
            covered.insert("task".to_owned(), json!(self.task));
        }
        if let (Some(hint), Some(covered)) = (&self.search_hint, covered.as_object_mut()) {
            covered.insert("search_hint".to_owned(), hint.as_str().into());
        }
        if let Some(fields) = covered.as_object_mut().filter(|_| self.reach != Reach::default()) {
            fields.insert("reach".to_owned(), json!({ "hosts": self.reach.host_words(), "secrets": self.reach.secret_words() }));
        }
        let bytes = serde_json_canonicalizer::to_vec(&covered)
            .map_err(|error| Fault::internal(format!("manifest of `{}` has no canonical form: {error}", self.name)))?;
        Ok(Digest::of_parts("toolgate/manifest/v1", &[&bytes]))
    }
}
