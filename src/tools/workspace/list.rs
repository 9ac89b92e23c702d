//! `workspace.list`: what lies in the workspace.
//!
//! INVARIANT: links and special files are named, never followed. Git's own folders are left out.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::RelPath;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::refuse_git;

/// Entries that are looked at.
const MOST_ENTRIES: usize = 100_000;
/// Files that are told.
const MOST_TOLD: usize = 5_000;

/// The tool.
pub struct WorkspaceList;

/// What to list.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ListInput {
    /// Folder; default: the whole workspace.
    #[serde(default)]
    under: Option<RelPath>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// What lies there.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ListOutput {
    files: Vec<ListedFile>,
    /// Links and other things that are not plain files.
    others: Vec<ListedOther>,
    /// Whether there are more than the 5000 files told.
    truncated: bool,
}

/// A plain file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ListedFile {
    #[schemars(with = "String")]
    path: RelPath,
    size: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    executable: bool,
}

/// Something else.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ListedOther {
    path: String,
    what: String,
}

#[async_trait]
impl Tool for WorkspaceList {
    type Input = ListInput;
    type Output = ListOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        input.under.iter().try_for_each(refuse_git)?;
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, under) = (Arc::clone(&context.workspace), input.under.clone());
        let survey = blocking(move || workspace.survey(under.as_ref(), MOST_ENTRIES, RelPath::touches_git)).await?;
        let truncated = survey.files.len() > MOST_TOLD || survey.others.len() > MOST_TOLD;
        let files = survey.files.into_iter().take(MOST_TOLD);
        let others = survey.others.into_iter().take(MOST_TOLD);
        Ok(ListOutput {
            files: files.map(|file| ListedFile { path: file.path, size: file.size, executable: file.mode & 0o111 != 0 }).collect(),
            others: others.map(|other| ListedOther { path: other.shown, what: other.what.to_owned() }).collect(),
            truncated,
        })
    }
}
