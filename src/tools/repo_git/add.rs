//! `repo.git.add_all`: brings the index to the state of the files.
//!
//! INVARIANT: bytes come from our own walk and go to libgit2 as bytes; a link is neither followed nor staged, it is told. Ignored
//! files are those of the `.gitignore` files, unless they are tracked.

use std::sync::Arc;

use async_trait::async_trait;
use git2::{IndexEntry, IndexTime, ObjectType, Oid};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::confine::{FileEntry, Folder, RelPath};
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::ignore::Ignored;
use super::open::{self, failed};
use super::tree::{self, Files};

/// Entries of a work tree.
const MOST_ENTRIES: usize = 100_000;
/// Bytes of one file.
const MOST_FILE: Bytes = Bytes(64 << 20);
/// Changes and skipped things that are told one by one.
const MOST_TOLD: usize = 1_000;

/// The tool.
pub struct GitAddAll;

/// Where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct AddInput {
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

/// What was staged.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct AddOutput {
    /// How many paths changed in the index.
    changed: u64,
    /// The first 1000 of them.
    staged: Vec<Staged>,
    /// What was not staged, and why; at most 1000.
    skipped: Vec<Skipped>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub(super) struct Staged {
    #[schemars(with = "String")]
    pub(super) path: RelPath,
    pub(super) change: Change,
}

/// In which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One thing left out.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Skipped {
    path: String,
    why: String,
}

#[async_trait]
impl Tool for GitAddAll {
    type Input = AddInput;
    type Output = AddOutput;

    async fn prepare(&self, _input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "workspace": context.run })))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        blocking(move || add_all(&workspace, path.as_ref())).await
    }
}

fn add_all(workspace: &Folder, path: Option<&RelPath>) -> Result<AddOutput, Fault> {
    let opened = open::open(workspace, path)?;
    let mut index = opened.repository.index().map_err(failed("read"))?;
    let before = tree::of_index(&index)?;
    let worktree = worktree(&opened.folder, &before)?;
    let mut staged = Vec::new();
    for file in &worktree.files {
        let bytes = opened.folder.read(&file.path, MOST_FILE)?;
        let id = Oid::hash_object(ObjectType::Blob, &bytes).map_err(failed("read"))?;
        let mode = tree::mode(file.mode);
        let change = match before.get(&file.path) {
            Some(known) if *known == (mode, id) => continue,
            Some(_) => Change::Modified,
            None => Change::Added,
        };
        index.add_frombuffer(&entry(&file.path, mode), &bytes).map_err(failed("changed"))?;
        staged.push(Staged { path: file.path.clone(), change });
    }
    for path in before.keys().filter(|path| !worktree.holds(path)) {
        index.remove(path.as_str().as_ref(), 0).map_err(failed("changed"))?;
        staged.push(Staged { path: path.clone(), change: Change::Deleted });
    }
    if !staged.is_empty() {
        index.write().map_err(failed("changed"))?;
    }
    staged.sort_by(|a, b| a.path.cmp(&b.path));
    let changed = staged.len() as u64;
    staged.truncate(MOST_TOLD);
    let mut skipped = worktree.skipped;
    skipped.truncate(MOST_TOLD);
    Ok(AddOutput { changed, staged, skipped })
}

/// The files that git would look at, sorted by path.
pub(super) struct Worktree {
    pub(super) files: Vec<FileEntry>,
    pub(super) skipped: Vec<Skipped>,
}

impl Worktree {
    /// Whether `path` is one of the files.
    pub(super) fn holds(&self, path: &RelPath) -> bool {
        self.files.binary_search_by(|file| file.path.cmp(path)).is_ok()
    }
}

/// Walks the folder, leaving out git folders, ignored files that are not `tracked`, and what is not a plain file.
pub(super) fn worktree(folder: &Folder, tracked: &Files) -> Result<Worktree, Fault> {
    let nested = std::cell::RefCell::new(Vec::new());
    let own = super::guard::git()?;
    let survey = folder.survey(None, MOST_ENTRIES, |path| {
        if path.touches_git() && *path != own {
            nested.borrow_mut().push(Skipped { path: path.to_string(), why: "a git folder inside the repository".to_owned() });
        }
        path.touches_git()
    })?;
    let mut ignored = Ignored::read(folder, &survey.files)?;
    let mut skipped = nested.into_inner();
    skipped.extend(survey.others.into_iter().map(|other| Skipped { path: other.shown, why: other.what.to_owned() }));
    let mut files = Vec::new();
    for file in survey.files {
        if !tracked.contains_key(&file.path) && ignored.is_ignored(&file.path) {
            continue;
        }
        if file.size > MOST_FILE.0 {
            return Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("`{}` has {} bytes, at most {} can be staged", file.path, file.size, MOST_FILE.0),
            )
            .hint("remove it or name it in `.gitignore`"));
        }
        files.push(file);
    }
    Ok(Worktree { files, skipped })
}

fn entry(path: &RelPath, mode: u32) -> IndexEntry {
    let never = IndexTime::new(0, 0);
    IndexEntry {
        ctime: never,
        mtime: never,
        dev: 0,
        ino: 0,
        mode,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: Oid::ZERO_SHA1,
        flags: 0,
        flags_extended: 0,
        path: path.as_str().as_bytes().to_vec(),
    }
}
