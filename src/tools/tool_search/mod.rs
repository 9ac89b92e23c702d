//! `tool.search` and the shape of `tool.call`: tools that a client does not list are found by words, and called by name.
//!
//! INVARIANT: what is found depends on the query and the tools alone, never on who asks or what was asked before; a schema is given whole
//! or not at all. Whether a tool may be called is not said here: policy says it when it is.

mod rank;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault, ToolName};

use super::{CallContext, Tool};

/// Bytes of JSON that all that is found may have together: small enough that no face cuts it.
const MOST_BYTES: usize = 12 * 1024;
/// Tools that are shown with their schemas where nothing else is asked for.
const FEW: u32 = 5;
/// Names of further matches.
const MOST_NAMES: usize = 20;

/// A tool as it can be searched for.
#[derive(Debug, Clone)]
pub struct Indexed {
    /// Canonical name.
    pub name: ToolName,
    /// Title.
    pub title: String,
    /// Description.
    pub description: String,
    /// More words for it.
    pub hint: String,
    /// The scopes of its manifest.
    pub scopes: Vec<String>,
    /// The widest effects.
    pub effects: Effects,
    /// JSON Schema of its arguments.
    pub input: Value,
    /// JSON Schema of its answer.
    pub output: Value,
}

/// `tool.search`.
pub struct ToolSearch(pub Arc<[Indexed]>);

/// What to look for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SearchInput {
    /// What it should do, or its name.
    #[schemars(length(min = 1, max = 200))]
    pub query: String,
    /// Default 5.
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub limit: Option<u32>,
    /// Also say what it answers.
    #[serde(default)]
    pub output_schema: bool,
}

/// The tools that fit, the best first.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct SearchOutput {
    /// With all that is needed to call them.
    pub tools: Vec<FoundTool>,
    /// Names of further ones; search for a name to see its schema.
    pub more: Vec<String>,
}

/// One tool.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct FoundTool {
    /// Its name, for `tool.call`.
    pub name: String,
    /// Its title.
    pub title: String,
    /// What it does.
    pub description: String,
    /// The widest effects it can have.
    pub effects: Vec<String>,
    /// JSON Schema of the arguments; left out where it alone is too large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,
    /// JSON Schema of the answer, where it was asked for and fits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

impl FoundTool {
    fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |bytes| bytes.len())
    }
}

fn shown(tool: &Indexed, with_output: bool) -> FoundTool {
    let mut found = FoundTool {
        name: tool.name.to_string(),
        title: tool.title.clone(),
        description: tool.description.clone(),
        effects: tool.effects.iter().map(|effect| effect.as_str().to_owned()).collect(),
        input_schema: Some(tool.input.clone()),
        output_schema: with_output.then(|| tool.output.clone()),
    };
    if found.bytes() > MOST_BYTES {
        found.output_schema = None;
    }
    if found.bytes() > MOST_BYTES {
        found.input_schema = None;
    }
    found
}

impl ToolSearch {
    fn search(&self, input: &SearchInput) -> SearchOutput {
        let mut found = SearchOutput { tools: Vec::new(), more: Vec::new() };
        let limit = usize::try_from(input.limit.unwrap_or(FEW)).unwrap_or(usize::MAX);
        let mut left = MOST_BYTES;
        for tool in rank::ranked(&input.query, &self.0) {
            let one = shown(tool, input.output_schema);
            let bytes = one.bytes();
            if found.more.is_empty() && found.tools.len() < limit && bytes <= left {
                left -= bytes;
                found.tools.push(one);
            } else if found.more.len() < MOST_NAMES {
                found.more.push(one.name);
            }
        }
        found
    }
}

#[async_trait]
impl Tool for ToolSearch {
    type Input = SearchInput;
    type Output = SearchOutput;

    async fn prepare(&self, _input: &SearchInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &SearchInput, _context: &CallContext) -> Result<SearchOutput, Fault> {
        Ok(self.search(input))
    }
}

/// `tool.call`: its manifest's schemas. The gateway puts the call that it names in its place, so this one is never made.
pub struct ToolCall;

/// Which tool, and with what.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct CallInput {
    /// As tool.search names it.
    #[schemars(length(min = 1, max = 120))]
    pub tool: String,
    /// That fit its input_schema.
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// Whatever the tool answers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CallOutput {
    /// By the tool's own names.
    #[serde(flatten)]
    pub answer: Map<String, Value>,
}

fn not_put_through() -> Fault {
    Fault::internal("a call of `tool.call` was not put through")
}

#[async_trait]
impl Tool for ToolCall {
    type Input = CallInput;
    type Output = CallOutput;

    async fn prepare(&self, _input: &CallInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Err(not_put_through())
    }

    async fn execute(&self, _input: &CallInput, _context: &CallContext) -> Result<CallOutput, Fault> {
        Err(not_put_through())
    }
}
