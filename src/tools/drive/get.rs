//! `drive.get`: one document, as text or as an artifact.
//!
//! INVARIANT: reads only, one plain file of the drive's folder. Guesses the media type from name and content, never from a caller.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{ArtifactRef, Preparation};
use crate::confine::RelPath;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::LocalDrive;

/// Bytes of text that come in the answer itself.
const MOST_INLINE: usize = 64 << 10;
/// Bytes of a document.
const MOST_BYTES: Bytes = Bytes(64 << 20);

/// The tool.
pub struct DriveGet {
    local: LocalDrive,
}

impl DriveGet {
    /// Reads from this drive; what is not short text becomes an artifact.
    #[must_use]
    pub fn new(local: LocalDrive) -> Self {
        Self { local }
    }
}

/// Which document: one of both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct GetInput {
    /// From drive.search.
    #[serde(default)]
    #[schemars(regex(pattern = r"^local/."), length(max = 1030))]
    id: Option<String>,
    #[serde(default)]
    path: Option<RelPath>,
}

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct GetOutput {
    #[schemars(with = "String")]
    path: RelPath,
    size: u64,
    media_type: String,
    /// Where it is text of at most 65536 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<ArtifactRef>,
    source: String,
}

#[async_trait]
impl Tool for DriveGet {
    type Input = GetInput;
    type Output = GetOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        wanted(input)?;
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (local, path) = (self.local.clone(), wanted(input)?);
        let at = path.clone();
        let bytes = blocking(move || local.folder()?.read(&at, MOST_BYTES)).await?;
        let size = bytes.len() as u64;
        let (media_type, is_text) = media_type(&path, &bytes);
        let (text, artifact) = match String::from_utf8(bytes) {
            Ok(text) if is_text && text.len() <= MOST_INLINE => (Some(text), None),
            Ok(text) => (None, Some(context.artifacts.put(text.into_bytes(), media_type).await?)),
            Err(error) => (None, Some(context.artifacts.put(error.into_bytes(), media_type).await?)),
        };
        Ok(GetOutput { path, size, media_type: media_type.to_owned(), text, artifact, source: "local".to_owned() })
    }
}

fn wanted(input: &GetInput) -> Result<RelPath, Fault> {
    let path = match (&input.id, &input.path) {
        (Some(id), None) => match id.strip_prefix("local/") {
            Some(path) => RelPath::parse(path)?,
            None => return Err(Fault::new(ErrorCode::DriveUnavailable, "only ids that begin with `local/` can be read")),
        },
        (None, Some(path)) => path.clone(),
        _ => return Err(Fault::new(ErrorCode::InvalidInput, "exactly one of `id` and `path` is needed")),
    };
    if path.touches_git() {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies in a git folder")));
    }
    Ok(path)
}

/// The media type, and whether it is text.
fn media_type(path: &RelPath, bytes: &[u8]) -> (&'static str, bool) {
    let is_text = !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok();
    let ending = path.name().rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = match ending.as_deref() {
        Some("md" | "markdown") => "text/markdown",
        Some("html" | "htm") => "text/html",
        Some("csv") => "text/csv",
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/yaml",
        Some("py") => "text/x-python",
        Some("pdf") => return ("application/pdf", false),
        Some("png") => return ("image/png", false),
        Some("jpg" | "jpeg") => return ("image/jpeg", false),
        Some("gif") => return ("image/gif", false),
        Some("svg") => "image/svg+xml",
        Some("zip") => return ("application/zip", false),
        Some("docx") => return ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", false),
        Some("xlsx") => return ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", false),
        _ => "text/plain",
    };
    if is_text { (known, true) } else { ("application/octet-stream", false) }
}
