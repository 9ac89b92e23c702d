//! `secret.list`: the names of secrets that calls may use, with where they may go; never a value.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault};
use crate::secrets::source::SecretSource;

use super::{CallContext, Tool};

/// The tool.
pub struct SecretList {
    /// Where secrets are.
    pub secrets: Arc<dyn SecretSource>,
}

/// The arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The id of a tool: those that it may use, and no others.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub tool: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Output {
    /// By name.
    pub secrets: Vec<Usable>,
}

/// A secret without its value.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Usable {
    /// What stands in `{{secret:NAME}}`.
    pub name: String,
    /// What it is for, in the operator's words.
    pub description: String,
    /// Where it may go.
    pub hosts: Vec<String>,
    /// The tools that may use it; empty where all that take secrets may.
    pub tools: Vec<String>,
}

#[async_trait]
impl Tool for SecretList {
    type Input = Input;
    type Output = Output;

    async fn prepare(&self, _input: &Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Input, _context: &CallContext) -> Result<Output, Fault> {
        let all = self.secrets.usable(input.tool.as_deref()).await?;
        let secrets = all.into_iter().map(|secret| Usable {
            name: secret.name.to_string(),
            description: secret.terms.description,
            hosts: secret.terms.hosts.iter().map(ToString::to_string).collect(),
            tools: secret.terms.tools,
        });
        Ok(Output { secrets: secrets.collect() })
    }
}
