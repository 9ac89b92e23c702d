//! `repo.git.log`: the last commits.
//!
//! INVARIANT: what a commit says is cleaned of control characters before it is told. Takes no revision: it starts at HEAD.

use std::sync::Arc;

use async_trait::async_trait;
use git2::Sort;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::{Folder, RelPath, shown};
use crate::domain::{Effect, Effects, Fault, Timestamp};
use crate::tools::{CallContext, Tool, blocking};

use super::open::{self, failed};

/// Commits where the call does not say.
const USUAL: u32 = 20;

/// The tool.
pub struct GitLog;

/// How many.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct LogInput {
    /// Default 20.
    #[serde(default)]
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// The repository's folder in the workspace; default: the workspace itself.
    #[serde(default)]
    path: Option<RelPath>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// The newest first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct LogOutput {
    commits: Vec<LoggedCommit>,
}

/// One commit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct LoggedCommit {
    id: String,
    summary: String,
    author: String,
    #[schemars(with = "String")]
    time: Timestamp,
}

#[async_trait]
impl Tool for GitLog {
    type Input = LogInput;
    type Output = LogOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        let limit = input.limit.unwrap_or(USUAL) as usize;
        blocking(move || log(&workspace, path.as_ref(), limit)).await
    }
}

fn log(workspace: &Folder, path: Option<&RelPath>, limit: usize) -> Result<LogOutput, Fault> {
    let opened = open::open(workspace, path)?;
    let Some(head) = opened.head()? else { return Ok(LogOutput { commits: Vec::new() }) };
    let mut walk = opened.repository.revwalk().map_err(failed("read"))?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME).and_then(|()| walk.push(head.id())).map_err(failed("read"))?;
    let mut commits = Vec::new();
    for id in walk.take(limit) {
        let commit = id.and_then(|id| opened.repository.find_commit(id)).map_err(failed("read"))?;
        let text = String::from_utf8_lossy(commit.message_bytes()).into_owned();
        let author = commit.author();
        let (name, email) = (String::from_utf8_lossy(author.name_bytes()), String::from_utf8_lossy(author.email_bytes()));
        commits.push(LoggedCommit {
            id: commit.id().to_string(),
            summary: shown(text.trim().lines().next().unwrap_or_default()),
            author: shown(&format!("{name} <{email}>")),
            time: Timestamp::from_unix_millis(u64::try_from(commit.time().seconds()).unwrap_or(0).saturating_mul(1_000)),
        });
    }
    Ok(LogOutput { commits })
}
