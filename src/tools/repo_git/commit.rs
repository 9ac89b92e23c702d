//! `repo.git.commit`: makes the index a commit.
//!
//! INVARIANT: author and committer are the operator's setting, never the repository's or the caller's; what is committed is exactly
//! the index that `prepare` named. Writes no file of the work tree.

use std::sync::Arc;

use async_trait::async_trait;
use git2::{Signature, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::confine::{Folder, RelPath};
use crate::domain::{Clock, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking, plain};

use super::open::{self, Opened, failed};
use super::tree;

/// Who commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// A name.
    pub name: String,
    /// An address.
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self { name: "toolgate".to_owned(), email: "toolgate@localhost".to_owned() }
    }
}

/// The tool.
pub struct GitCommit {
    author: Arc<Author>,
    clock: Arc<dyn Clock>,
}

impl GitCommit {
    /// Commits as `author`, at the time of `clock`.
    #[must_use]
    pub fn new(author: Author, clock: Arc<dyn Clock>) -> Self {
        Self { author: Arc::new(author), clock }
    }
}

/// What to commit.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct CommitInput {
    #[schemars(length(min = 1, max = 20_000))]
    message: String,
    /// The repository's folder in the workspace; default: the workspace itself.
    #[serde(default)]
    path: Option<RelPath>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
    /// Same key, same outcome.
    #[serde(default)]
    #[schemars(length(max = 128))]
    #[expect(dead_code, reason = "read by the gateway, which looks for the call that used it before")]
    idempotency_key: Option<String>,
}

/// The commit.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CommitOutput {
    /// Its id.
    commit: String,
    branch: Option<String>,
    /// How many files it changes.
    files: u64,
    summary: String,
}

#[async_trait]
impl Tool for GitCommit {
    type Input = CommitInput;
    type Output = CommitOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        message(&input.message)?;
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        let run = context.run;
        let target = blocking(move || {
            let opened = open::open(&workspace, path.as_ref())?;
            let index = opened.repository.index().map_err(failed("read"))?;
            Ok(json!({
                "workspace": run,
                "branch": opened.branch()?,
                "head": opened.head()?.map(|commit| commit.id().to_string()),
                "index": tree::digest(&tree::of_index(&index)?),
            }))
        });
        Ok(Preparation::of(Effects::only(Effect::Write)).about(target.await?))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        let message = message(&input.message)?;
        let seconds = i64::try_from(self.clock.now().unix_millis() / 1_000).unwrap_or(i64::MAX);
        let author = Arc::clone(&self.author);
        blocking(move || commit(&workspace, path.as_ref(), &message, &author, seconds)).await
    }
}

fn message(text: &str) -> Result<String, Fault> {
    let message = plain(text).trim().to_owned();
    if message.is_empty() {
        return Err(Fault::new(ErrorCode::InvalidInput, "`message` is empty").hint("say what the commit changes"));
    }
    Ok(message + "\n")
}

fn commit(workspace: &Folder, path: Option<&RelPath>, message: &str, author: &Author, seconds: i64) -> Result<CommitOutput, Fault> {
    let opened = open::open(workspace, path)?;
    let Opened { repository, .. } = &opened;
    let mut index = repository.index().map_err(failed("read"))?;
    let files = tree::of_index(&index)?;
    let parent = opened.head()?;
    let before = match &parent {
        Some(parent) => tree::of_commit(&parent.tree().map_err(failed("read"))?)?,
        None => tree::Files::new(),
    };
    if files == before {
        return Err(Fault::new(ErrorCode::GitNothingToCommit, "the index holds nothing that the last commit does not")
            .hint("stage files with `repo.git.add_all`"));
    }
    let tree = index.write_tree().and_then(|id| repository.find_tree(id)).map_err(failed("changed"))?;
    let who = Signature::new(&author.name, &author.email, &Time::new(seconds, 0))
        .map_err(|error| Fault::new(ErrorCode::ConfigInvalid, format!("the configured git author cannot be used: {}", error.message())))?;
    let parents: Vec<_> = parent.iter().collect();
    let id = repository.commit(Some("HEAD"), &who, &who, message, &tree, &parents).map_err(failed("changed"))?;
    let changed = files.iter().filter(|(path, file)| before.get(*path) != Some(*file)).count();
    let deleted = before.keys().filter(|path| !files.contains_key(*path)).count();
    Ok(CommitOutput {
        commit: id.to_string(),
        branch: opened.branch()?,
        files: (changed + deleted) as u64,
        summary: message.lines().next().unwrap_or_default().to_owned(),
    })
}
