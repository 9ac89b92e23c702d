//! `workspace.remove`: takes files and folders away.
//!
//! INVARIANT: git's folders cannot be removed, nor a folder that holds one. What a link points to stays.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::confine::{Folder, Kind, RelPath};
use crate::domain::{Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::{refuse_git, refuse_many};

/// The tool.
pub struct WorkspaceRemove;

/// What to remove.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RemoveInput {
    /// Files, or folders with all in them.
    #[schemars(length(min = 1, max = 512))]
    paths: Vec<RelPath>,
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

/// What became of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct RemoveOutput {
    #[schemars(with = "Vec<String>")]
    removed: Vec<RelPath>,
    /// Those that were not there.
    #[schemars(with = "Vec<String>")]
    missing: Vec<RelPath>,
}

#[async_trait]
impl Tool for WorkspaceRemove {
    type Input = RemoveInput;
    type Output = RemoveOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        refuse_many(input.paths.len())?;
        input.paths.iter().try_for_each(refuse_git)?;
        Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "workspace": context.run })))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, paths) = (Arc::clone(&context.workspace), input.paths.clone());
        blocking(move || remove(&workspace, paths)).await
    }
}

fn remove(workspace: &Folder, paths: Vec<RelPath>) -> Result<RemoveOutput, Fault> {
    for path in &paths {
        if workspace.kind(path)? == Some(Kind::Folder) {
            holds_no_repository(workspace, path)?;
        }
    }
    let mut output = RemoveOutput { removed: Vec::new(), missing: Vec::new() };
    for path in paths {
        let list = if workspace.remove(&path)? { &mut output.removed } else { &mut output.missing };
        list.push(path);
    }
    Ok(output)
}

fn holds_no_repository(workspace: &Folder, path: &RelPath) -> Result<(), Fault> {
    let found = std::cell::Cell::new(false);
    workspace.survey(Some(path), 100_000, |inner| {
        found.set(found.get() || inner.touches_git());
        found.get()
    })?;
    if found.get() {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` holds a git repository"))
            .hint("remove the files in it one by one; the history stays"));
    }
    Ok(())
}
