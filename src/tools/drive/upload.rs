//! `drive.upload`: a file of the workspace, or an artifact, into a drive.
//!
//! INVARIANT: what is decided on and approved is these very bytes for this very place: both are in the call's target, and what changed since
//! is another call. The same bytes for the same place again change nothing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::call::Preparation;
use crate::confine::RelPath;
use crate::domain::{ArtifactId, Digest, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::search::title;
use super::{Drives, MOST_BYTES, Sending, id, media};

/// The tool.
pub struct DriveUpload {
    drives: Drives,
}

impl DriveUpload {
    /// Uploads to these drives.
    #[must_use]
    pub fn new(drives: Drives) -> Self {
        Self { drives }
    }
}

/// What, and where to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct UploadInput {
    /// File of the workspace; or artifact.
    #[serde(default)]
    path: Option<RelPath>,
    /// SHA-256 of stored bytes.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    artifact: Option<ArtifactId>,
    /// Path in the drive; in a drive without paths the document's name.
    #[schemars(length(min = 1, max = 1024))]
    name: String,
    /// Id of a folder, in a drive without paths.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    folder: Option<String>,
    /// Which drive; default the first configured.
    #[serde(default)]
    #[schemars(length(max = 20))]
    provider: Option<String>,
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

/// What is there now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct UploadOutput {
    /// For drive.get.
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    path: Option<RelPath>,
    title: String,
    size: u64,
    #[schemars(with = "String")]
    sha256: Digest,
    /// The same bytes were there already.
    unchanged: bool,
    /// Bytes that an earlier, interrupted upload had sent.
    #[serde(skip_serializing_if = "is_zero")]
    resumed_from: u64,
    /// What stood there before.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
    source: String,
}

/// An earlier version.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Previous {
    /// For drive.get.
    id: String,
    size: u64,
    #[schemars(with = "String")]
    sha256: Digest,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[async_trait]
impl Tool for DriveUpload {
    type Input = UploadInput;
    type Output = UploadOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        let drive = self.drives.named(input.provider.as_deref())?;
        let place = drive.target(&input.name, input.folder.as_deref()).await?;
        let bytes = bytes_of(input, context).await?;
        let target = json!({ "drive": drive.name(), "place": place, "sha256": Digest::of(&bytes), "size": bytes.len() });
        Ok(Preparation::of(Effects::only(Effect::ExternalWrite)).about(target).reaching(drive.hosts()))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let drive = self.drives.named(input.provider.as_deref())?;
        drive.target(&input.name, input.folder.as_deref()).await?;
        let bytes = bytes_of(input, context).await?;
        let (size, sha256) = (bytes.len() as u64, Digest::of(&bytes));
        let media_type = media::media_type(&input.name, &bytes).0.to_owned();
        let sending = Sending { name: input.name.clone(), folder: input.folder.clone(), bytes, sha256, media_type };
        let sent = drive.send(sending, context).await?;
        let previous = sent.previous.map(|kept| Previous { id: id::join(drive.name(), &kept.id), size: kept.size, sha256: kept.sha256 });
        Ok(UploadOutput {
            id: id::join(drive.name(), &sent.id),
            path: sent.path,
            title: title(&sent.title),
            size,
            sha256,
            unchanged: sent.unchanged,
            resumed_from: sent.resumed_from,
            previous,
            source: drive.name().to_owned(),
        })
    }
}

async fn bytes_of(input: &UploadInput, context: &CallContext) -> Result<Bytes, Fault> {
    match (&input.path, &input.artifact) {
        (Some(path), None) => {
            if path.touches_git() {
                return Err(Fault::new(ErrorCode::PathRefused, format!("`{path}` lies in a git folder")));
            }
            let (workspace, path) = (Arc::clone(&context.workspace), path.clone());
            blocking(move || workspace.read(&path, MOST_BYTES)).await.map(Bytes::from)
        }
        (None, Some(artifact)) => {
            let (bytes, size) = context.artifacts.read(artifact, 0, MOST_BYTES.0).await?;
            if bytes.len() as u64 == size {
                return Ok(bytes.into());
            }
            Err(Fault::new(ErrorCode::LimitExceeded, format!("the artifact has {size} bytes, {} can be sent at once", MOST_BYTES.0)))
        }
        _ => Err(Fault::new(ErrorCode::InvalidInput, "exactly one of `path` and `artifact` is needed")),
    }
}
