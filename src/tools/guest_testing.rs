//! What the tests of the tools that run programs share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{ArtifactRef, Artifacts, NoProgress};
use crate::confine::Folder;
use crate::domain::{Actor, ArtifactId, Bytes, CallId, ErrorCode, Fault, Limits, Millis, Principal, RunId, Timestamp};

use super::{CallContext, Handler};

/// Artifacts in memory.
#[derive(Default)]
pub(crate) struct MemArtifacts(pub(crate) Mutex<HashMap<ArtifactId, Vec<u8>>>);

#[async_trait]
impl Artifacts for MemArtifacts {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        let artifact = ArtifactId::of(&bytes);
        let size = bytes.len() as u64;
        self.0.lock().unwrap().insert(artifact, bytes);
        Ok(ArtifactRef { artifact, size, media_type: media_type.to_owned() })
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let all = self.0.lock().unwrap().get(id).cloned().ok_or_else(|| Fault::new(ErrorCode::UnknownArtifact, "none"))?;
        let part = all.iter().skip(offset as usize).take(limit as usize).copied().collect();
        Ok((part, all.len() as u64))
    }
}

/// A context whose workspace is `folder`.
pub(crate) fn context(folder: &std::path::Path) -> CallContext {
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    CallContext {
        call: CallId::mint(now),
        run: RunId::mint(now),
        actor: Actor::agent(Principal::local()),
        from_code: false,
        digest: crate::domain::Digest::ZERO,
        wall: Arc::default(),
        workspace: Arc::new(Folder::create(folder).unwrap()),
        limits: Limits { wall: Millis(60_000), output: Bytes(8 << 20) },
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    }
}

/// Walks a handler's stages with schema checks on both ends, as the registry does.
pub(crate) async fn call(handler: &dyn Handler, arguments: Value, context: &CallContext) -> Result<Value, Fault> {
    let schema = jsonschema::validator_for(&handler.input_schema()).unwrap();
    if let Err(error) = schema.validate(&arguments) {
        return Err(Fault::new(ErrorCode::InvalidInput, format!("schema: {error}")));
    }
    let arguments = handler.parse(arguments)?;
    handler.prepare(&arguments, context).await?;
    let output = handler.execute(&arguments, context).await?.0;
    jsonschema::validator_for(&handler.output_schema()).unwrap().validate(&output).unwrap();
    Ok(output)
}
