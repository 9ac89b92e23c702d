//! `workspace.read`: files as text or base64, paged.
//!
//! INVARIANT: the answer stays below the call's output limit, and says of each file whether and where there is more. Does not list.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::{Folder, RelPath};
use crate::domain::{Bytes, Effect, Effects, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::{refuse_git, refuse_many};

/// Bytes of each file where the call does not say.
const USUAL: u64 = 256 << 10;

/// The tool.
pub struct WorkspaceRead;

/// What to read.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ReadInput {
    #[schemars(length(min = 1, max = 512))]
    paths: Vec<RelPath>,
    /// First byte of each file.
    #[serde(default)]
    offset: u64,
    /// Most bytes of each file; default 262144.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1_048_576))]
    limit: Option<u64>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// What was read.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ReadOutput {
    files: Vec<ReadFile>,
}

/// A file, or a page of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ReadFile {
    #[schemars(with = "String")]
    path: RelPath,
    /// Bytes of the whole file.
    size: u64,
    /// Where the content is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Whether the file goes on.
    truncated: bool,
    /// Offset of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
}

#[async_trait]
impl Tool for WorkspaceRead {
    type Input = ReadInput;
    type Output = ReadOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        refuse_many(input.paths.len())?;
        input.paths.iter().try_for_each(refuse_git)?;
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let workspace = Arc::clone(&context.workspace);
        let (paths, offset, limit) = (input.paths.clone(), input.offset, input.limit.unwrap_or(USUAL));
        // A character can cost six bytes of JSON; a quarter each leaves room for the usual text and the frame.
        let room = context.limits.output.0 / 4;
        let read = blocking(move || read_all(&workspace, &paths, offset, limit, room)).await?;
        input.paths.iter().for_each(|path| context.brought.read_file(path));
        Ok(read)
    }
}

fn read_all(workspace: &Folder, paths: &[RelPath], offset: u64, limit: u64, room: u64) -> Result<ReadOutput, Fault> {
    let mut left = room;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let (bytes, size) = workspace.read_part(path, offset, Bytes(limit.min(left)))?;
        let file = page(path, bytes, offset, size);
        left = left.saturating_sub(file.text.as_ref().or(file.base64.as_ref()).map_or(0, |text| text.len() as u64));
        files.push(file);
    }
    Ok(ReadOutput { files })
}

/// Text where it is text; a character that the page cuts in two waits for the next page.
fn page(path: &RelPath, bytes: Vec<u8>, offset: u64, size: u64) -> ReadFile {
    let more = |taken: usize| offset.saturating_add(taken as u64) < size;
    let (text, base64, taken) = match String::from_utf8(bytes) {
        Ok(text) => {
            let taken = text.len();
            (Some(text), None, taken)
        }
        Err(error) => {
            let (whole, cut) = (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_none());
            let mut bytes = error.into_bytes();
            if cut && whole > 0 && more(bytes.len()) {
                bytes.truncate(whole);
                (String::from_utf8(bytes).ok(), None, whole)
            } else {
                (None, Some(base64::engine::general_purpose::STANDARD.encode(&bytes)), bytes.len())
            }
        }
    };
    let next_offset = more(taken).then(|| offset.saturating_add(taken as u64));
    ReadFile { path: path.clone(), size, text, base64, truncated: next_offset.is_some(), next_offset }
}
