//! `workspace.write`: puts files in place, each whole or not at all.
//!
//! INVARIANT: every path and content of a call is checked before the first file is written. Does not create links or folders alone.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{Artifacts, Preparation};
use crate::confine::{Folder, RelPath, twins};
use crate::domain::{ArtifactId, Digest, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::{refuse_git, refuse_many};

/// Bytes of all files of one call together.
const MOST_BYTES: u64 = 64 << 20;

/// The tool.
pub struct WorkspaceWrite;

/// What to write.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct WriteInput {
    /// The files; each has one of content, content_base64, artifact.
    #[schemars(length(min = 1, max = 512))]
    files: Vec<NewFile>,
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

/// One file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct NewFile {
    path: RelPath,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    content_base64: Option<String>,
    /// SHA-256 of stored bytes.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    artifact: Option<ArtifactId>,
    #[serde(default)]
    executable: bool,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WriteOutput {
    written: Vec<Written>,
}

/// One file that was written.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Written {
    #[schemars(with = "String")]
    path: RelPath,
    size: u64,
    #[schemars(with = "String")]
    sha256: Digest,
}

struct Ready {
    path: RelPath,
    bytes: Vec<u8>,
    executable: bool,
}

async fn fetched(file: &NewFile, artifacts: &dyn Artifacts) -> Result<Ready, Fault> {
    let bytes = match (&file.content, &file.content_base64, &file.artifact) {
        (Some(text), None, None) => text.clone().into_bytes(),
        (None, Some(text), None) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| Fault::new(ErrorCode::InvalidInput, format!("`content_base64` of `{}` is not base64: {error}", file.path)))?,
        (None, None, Some(id)) => stored(id, &file.path, artifacts).await?,
        _ => {
            return Err(Fault::new(
                ErrorCode::InvalidInput,
                format!("`{}` needs exactly one of `content`, `content_base64`, `artifact`", file.path),
            ));
        }
    };
    Ok(Ready { path: file.path.clone(), bytes, executable: file.executable })
}

async fn stored(id: &ArtifactId, path: &RelPath, artifacts: &dyn Artifacts) -> Result<Vec<u8>, Fault> {
    let (bytes, size) = artifacts.read(id, 0, MOST_BYTES).await?;
    if bytes.len() as u64 != size {
        return Err(too_large(&format!("the artifact for `{path}` has {size} bytes")));
    }
    Ok(bytes)
}

#[async_trait]
impl Tool for WorkspaceWrite {
    type Input = WriteInput;
    type Output = WriteOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        check(input, &context.workspace)?;
        Ok(Preparation::of(Effects::only(Effect::Write)).about(json!({ "workspace": context.run })))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let mut ready = Vec::with_capacity(input.files.len());
        let mut total = 0;
        for file in &input.files {
            let file = fetched(file, &*context.artifacts).await?;
            total += file.bytes.len() as u64;
            if total > MOST_BYTES {
                return Err(too_large(&format!("the files up to `{}` have {total} bytes", file.path)));
            }
            ready.push(file);
        }
        check(input, &context.workspace)?;
        let workspace = Arc::clone(&context.workspace);
        blocking(move || put(&workspace, &ready)).await
    }
}

/// Everything that can be told before the first byte is written.
fn check(input: &WriteInput, workspace: &Folder) -> Result<(), Fault> {
    refuse_many(input.files.len())?;
    let paths = || input.files.iter().map(|file| &file.path);
    if let Some((one, other)) = twins(paths()) {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{one}` and `{other}` are one file where case does not count")));
    }
    let mut seen = std::collections::BTreeSet::new();
    for path in paths() {
        refuse_git(path)?;
        if !seen.insert(path) {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("`{path}` is given twice")));
        }
        workspace.check_writable(path)?;
    }
    for path in paths() {
        let mut above = path.parent();
        while let Some(folder) = above {
            if seen.contains(&folder) {
                return Err(Fault::new(ErrorCode::InvalidInput, format!("`{folder}` cannot be a file and the folder of `{path}`")));
            }
            above = folder.parent();
        }
    }
    Ok(())
}

fn put(workspace: &Folder, ready: &[Ready]) -> Result<WriteOutput, Fault> {
    let mut written = Vec::with_capacity(ready.len());
    for file in ready {
        workspace.write(&file.path, &file.bytes, file.executable)?;
        written.push(Written { path: file.path.clone(), size: file.bytes.len() as u64, sha256: Digest::of(&file.bytes) });
    }
    Ok(WriteOutput { written })
}

fn too_large(what: &str) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("{what}, at most {MOST_BYTES} are allowed in one call")).hint("split the call")
}
