//! `drive.get`: one document, as text or as an artifact.
//!
//! INVARIANT: reads only, one document. Guesses the media type from name and content, never from a caller.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::{ArtifactRef, Preparation};
use crate::confine::RelPath;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::search::title;
use super::{Drives, id, media};

/// Bytes of text that come in the answer itself.
const MOST_INLINE: usize = 64 << 10;

/// The tool.
pub struct DriveGet {
    drives: Drives,
}

impl DriveGet {
    /// Reads from these drives; what is not short text becomes an artifact.
    #[must_use]
    pub fn new(drives: Drives) -> Self {
        Self { drives }
    }
}

/// Which document: one of both.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct GetInput {
    /// From drive.search.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z0-9]+/."), length(max = 1130))]
    id: Option<String>,
    #[serde(default)]
    path: Option<RelPath>,
}

/// The document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct GetOutput {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    path: Option<RelPath>,
    title: String,
    size: u64,
    media_type: String,
    /// What it is in its drive, where this text was made from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    exported_from: Option<String>,
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
        let (drive, _) = self.drives.document((input.id.as_deref(), input.path.as_ref().map(RelPath::as_str)))?;
        Ok(Preparation::of(Effects::only(Effect::Read)).reaching(drive.hosts()))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (drive, place) = self.drives.document((input.id.as_deref(), input.path.as_ref().map(RelPath::as_str)))?;
        let document = drive.fetch(place, None, context).await?;
        let size = document.bytes.len() as u64;
        let (guessed, is_text) = media::media_type(&document.title, &document.bytes);
        let media_type = document.media_type.unwrap_or_else(|| guessed.to_owned());
        let is_text = is_text || media::may_be_text(&media_type);
        let (text, artifact) = match String::from_utf8(document.bytes) {
            Ok(text) if is_text && text.len() <= MOST_INLINE && !text.contains('\0') => (Some(text), None),
            Ok(text) => (None, Some(context.artifacts.put(text.into_bytes(), &media_type).await?)),
            Err(error) => (None, Some(context.artifacts.put(error.into_bytes(), &media_type).await?)),
        };
        Ok(GetOutput {
            id: id::join(drive.name(), place),
            path: document.path,
            title: title(&document.title),
            size,
            media_type,
            exported_from: document.exported_from,
            text,
            artifact,
            source: drive.name().to_owned(),
        })
    }
}
