//! `toolgate.status`: whether this server does what its files say. A server that could not start has a tool of the same name, which tells
//! why (`mcp/status`); both answer in the same words.
//!
//! INVARIANT: what a client was told once by a notice can be asked for here for as long as it is so. Reads nothing but the state.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::domain::{Digest, Effect, Effects, Fault, Problems};

use super::{CallContext, Tool};

/// Problems that are told.
const MOST_TOLD: usize = 100;

/// The rules as they are.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Digest of those in force.
    pub digest: Digest,
    /// How many.
    pub count: usize,
    /// What is wrong with the files, where they do not say what is in force.
    pub rejected: Option<Problems>,
}

/// Where the answer comes from.
pub trait State: Send + Sync {
    /// The rules.
    ///
    /// # Errors
    /// Where there are none yet.
    fn rules(&self) -> Result<Rules, Fault>;
}

/// The tool.
pub struct ToolgateStatus(pub Arc<dyn State>);

/// No arguments.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Nothing {}

/// How it is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Status {
    /// Whether calls are taken.
    pub ready: bool,
    /// What is wrong with toolgate's files, at most 100. The user should be told.
    pub problems: Vec<Wrong>,
    /// What to do; empty where nothing is wrong.
    pub next: String,
    /// The rules in force.
    pub policy: PolicyStatus,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Wrong {
    /// The file.
    pub file: String,
    /// The line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The rules in force.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PolicyStatus {
    /// Their digest.
    pub digest: String,
    /// How many.
    pub rules: usize,
    /// Whether changed policy files do not load, so that older rules are in force.
    pub files_rejected: bool,
}

#[async_trait]
impl Tool for ToolgateStatus {
    type Input = Nothing;
    type Output = Status;

    async fn prepare(&self, _input: &Nothing, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, _input: &Nothing, _context: &CallContext) -> Result<Status, Fault> {
        let Rules { digest, count, rejected } = self.0.rules()?;
        let policy = PolicyStatus { digest: digest.to_string(), rules: count, files_rejected: rejected.is_some() };
        let Some(problems) = rejected else {
            return Ok(Status { ready: true, problems: Vec::new(), next: String::new(), policy });
        };
        let told = problems.list().iter().take(MOST_TOLD).cloned();
        let problems = told.map(|one| Wrong { file: one.file, line: one.line, message: one.message, hint: one.hint }).collect();
        let next = "tell the user: changed policy files do not load, so the old rules stay in force; mend the files named here, `toolgate policy check` \
                    checks them, and they are loaded by themselves";
        Ok(Status { ready: true, problems, next: next.to_owned(), policy })
    }
}
