//! `repo.git.status`: how the files, the index and the last commit differ.
//!
//! INVARIANT: compares by content with our own walk. Changes nothing, not even the index's stamps.

use std::sync::Arc;

use async_trait::async_trait;
use git2::{ObjectType, Oid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::{Folder, RelPath};
use crate::domain::{Bytes, Effect, Effects, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::add::{Change, Staged, worktree};
use super::open::{self, failed};
use super::tree;

/// Paths of each kind that are told.
const MOST_TOLD: usize = 1_000;
/// Branches that are told.
const MOST_BRANCHES: usize = 100;

/// The tool.
pub struct GitStatus;

/// Where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct StatusInput {
    /// The repository's folder in the workspace; default: the workspace itself.
    #[serde(default)]
    path: Option<RelPath>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// The differences; at most 1000 paths of each kind.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct StatusOutput {
    branch: Option<String>,
    /// The local branches, the first 100.
    branches: Vec<String>,
    /// The last commit.
    head: Option<String>,
    /// Index against last commit.
    staged: Vec<Staged>,
    /// Files against index.
    #[schemars(with = "Vec<String>")]
    modified: Vec<RelPath>,
    #[schemars(with = "Vec<String>")]
    deleted: Vec<RelPath>,
    #[schemars(with = "Vec<String>")]
    untracked: Vec<RelPath>,
    /// Whether all lists are empty.
    clean: bool,
}

#[async_trait]
impl Tool for GitStatus {
    type Input = StatusInput;
    type Output = StatusOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        blocking(move || status(&workspace, path.as_ref())).await
    }
}

fn status(workspace: &Folder, path: Option<&RelPath>) -> Result<StatusOutput, Fault> {
    let opened = open::open(workspace, path)?;
    let index = tree::of_index(&opened.repository.index().map_err(failed("read"))?)?;
    let head = opened.head()?;
    let committed = match &head {
        Some(commit) => tree::of_commit(&commit.tree().map_err(failed("read"))?)?,
        None => tree::Files::new(),
    };
    let mut staged: Vec<Staged> = index
        .iter()
        .filter_map(|(path, file)| match committed.get(path) {
            Some(before) if before == file => None,
            Some(_) => Some(Staged { path: path.clone(), change: Change::Modified }),
            None => Some(Staged { path: path.clone(), change: Change::Added }),
        })
        .collect();
    let gone = committed.keys().filter(|path| !index.contains_key(*path));
    staged.extend(gone.map(|path| Staged { path: path.clone(), change: Change::Deleted }));
    staged.sort_by(|a, b| a.path.cmp(&b.path));

    let worktree = worktree(&opened.folder, &index)?;
    let (mut modified, mut untracked) = (Vec::new(), Vec::new());
    for file in &worktree.files {
        let Some((mode, id)) = index.get(&file.path) else {
            untracked.push(file.path.clone());
            continue;
        };
        let bytes = opened.folder.read(&file.path, Bytes(file.size.saturating_add(1 << 20)))?;
        if Oid::hash_object(ObjectType::Blob, &bytes).map_err(failed("read"))? != *id || tree::mode(file.mode) != *mode {
            modified.push(file.path.clone());
        }
    }
    let mut deleted: Vec<RelPath> = index.keys().filter(|path| !worktree.holds(path)).cloned().collect();
    let clean = staged.is_empty() && modified.is_empty() && untracked.is_empty() && deleted.is_empty();
    staged.truncate(MOST_TOLD);
    for list in [&mut modified, &mut untracked, &mut deleted] {
        list.truncate(MOST_TOLD);
    }
    Ok(StatusOutput {
        branch: opened.branch()?,
        branches: opened.branches(MOST_BRANCHES)?,
        head: head.map(|commit| commit.id().to_string()),
        staged,
        modified,
        deleted,
        untracked,
        clean,
    })
}
