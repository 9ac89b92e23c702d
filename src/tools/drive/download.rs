//! `drive.download`: one document as a file of the workspace, or as an artifact.
//!
//! INVARIANT: the file stands where the call says and nowhere else: what a drive calls its document names no place here. Checked against
//! the sums that the drive states before anything is written.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::{ArtifactRef, Preparation};
use crate::confine::RelPath;
use crate::domain::{Digest, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::search::title;
use super::{Drives, Wanted, id, media};

/// The tool.
pub struct DriveDownload {
    drives: Drives,
}

impl DriveDownload {
    /// Downloads from these drives.
    #[must_use]
    pub fn new(drives: Drives) -> Self {
        Self { drives }
    }
}

/// Which document, and where to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct DownloadInput {
    /// From drive.search; or path.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[a-z0-9]+/."), length(max = 1130))]
    id: Option<String>,
    #[serde(default)]
    path: Option<RelPath>,
    /// File of the workspace; without it an artifact.
    #[serde(default)]
    to: Option<RelPath>,
    /// For documents of a drive's own kind.
    #[serde(default)]
    format: Option<Wanted>,
    /// Default: the current run.
    #[serde(default)]
    #[expect(dead_code, reason = "read by the gateway, which has chosen the workspace by it")]
    run_id: Option<String>,
}

/// What came.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct DownloadOutput {
    id: String,
    /// As the drive has it.
    title: String,
    size: u64,
    #[schemars(with = "String")]
    sha256: Digest,
    media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    exported_from: Option<String>,
    /// The file of the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    to: Option<RelPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact: Option<ArtifactRef>,
    source: String,
}

#[async_trait]
impl Tool for DriveDownload {
    type Input = DownloadInput;
    type Output = DownloadOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        let (drive, _) = self.drives.document((input.id.as_deref(), input.path.as_ref().map(RelPath::as_str)))?;
        let Some(to) = &input.to else { return Ok(Preparation::of(Effects::only(Effect::Read)).reaching(drive.hosts())) };
        check(to, context)?;
        let effects = Effects::of([Effect::Read, Effect::Write]);
        Ok(Preparation::of(effects).about(json!({ "workspace": context.run })).reaching(drive.hosts()))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (drive, place) = self.drives.document((input.id.as_deref(), input.path.as_ref().map(RelPath::as_str)))?;
        if let Some(to) = &input.to {
            check(to, context)?;
        }
        let document = drive.fetch(place, input.format, context).await?;
        let media_type = document.media_type.unwrap_or_else(|| media::media_type(&document.title, &document.bytes).0.to_owned());
        let (size, sha256) = (document.bytes.len() as u64, Digest::of(&document.bytes));
        let artifact = match input.to.clone() {
            None => Some(context.artifacts.put(document.bytes, &media_type).await?),
            Some(to) => {
                let workspace = Arc::clone(&context.workspace);
                blocking(move || workspace.write(&to, &document.bytes, false)).await?;
                None
            }
        };
        Ok(DownloadOutput {
            id: id::join(drive.name(), place),
            title: title(&document.title),
            size,
            sha256,
            media_type,
            exported_from: document.exported_from,
            to: input.to.clone(),
            artifact,
            source: drive.name().to_owned(),
        })
    }
}

fn check(to: &RelPath, context: &CallContext) -> Result<(), Fault> {
    if to.touches_git() {
        return Err(Fault::new(ErrorCode::PathRefused, format!("`{to}` lies in a git folder")));
    }
    context.workspace.check_writable(to)
}
