//! `repo.git.init`: a fresh repository.
//!
//! INVARIANT: the git folder is laid out by our own hand, so neither a template nor a setting of the machine gets into it. An existing
//! repository is left as it is.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::confine::{Folder, RelPath};
use crate::domain::{Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::{guard, open};

const CONFIG: &str = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n";

/// The tool.
pub struct GitInit;

/// Where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct InitInput {
    /// Folder in the workspace; default: the workspace itself.
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

/// What stands there now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct InitOutput {
    branch: Option<String>,
    /// False where there was a repository already.
    created: bool,
}

#[async_trait]
impl Tool for GitInit {
    type Input = InitInput;
    type Output = InitOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        if input.path.as_ref().is_some_and(RelPath::touches_git) {
            return Err(Fault::new(ErrorCode::PathRefused, "a repository inside a git folder is refused"));
        }
        Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "workspace": context.run })))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (workspace, path) = (Arc::clone(&context.workspace), input.path.clone());
        blocking(move || init(&workspace, path.as_ref())).await
    }
}

fn init(workspace: &Folder, path: Option<&RelPath>) -> Result<InitOutput, Fault> {
    if let Some(path) = path {
        workspace.make_folder(path)?;
    }
    let folder = open::folder(workspace, path)?;
    let created = !guard::present(&folder)?;
    if created {
        for empty in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
            folder.make_folder(&RelPath::parse(&format!(".git/{empty}"))?)?;
        }
        folder.write(&RelPath::parse(".git/config")?, CONFIG.as_bytes(), false)?;
        // HEAD comes last: until it is there, git sees no repository.
        folder.write(&RelPath::parse(".git/HEAD")?, b"ref: refs/heads/main\n", false)?;
    }
    let branch = open::open(workspace, path)?.branch()?;
    Ok(InitOutput { branch, created })
}
