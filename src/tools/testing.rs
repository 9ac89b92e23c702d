//! What the tools' unit tests share: a context on a temporary folder, artifacts in memory, and the walk through a handler.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{ArtifactRef, Artifacts, NoProgress, Preparation};
use crate::confine::Folder;
use crate::domain::{Actor, ArtifactId, Bytes, CallId, Clock, ErrorCode, Fault, Limits, Millis, Principal, RunId, Timestamp};

use super::{CallContext, Handler};

/// A workspace that vanishes with the test.
pub struct Bench {
    _temporary: tempfile::TempDir,
    pub root: PathBuf,
    pub context: CallContext,
}

pub fn bench() -> Bench {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().canonicalize().unwrap().join("workspace");
    let now = Timestamp::from_unix_millis(1_700_000_000_000);
    let context = CallContext {
        call: CallId::mint(now),
        run: RunId::mint(now),
        actor: Actor::agent(Principal::local()),
        from_code: false,
        digest: crate::domain::Digest::ZERO,
        wall: Arc::default(),
        labels: Default::default(),
        brought: Default::default(),
        artifacts: Arc::new(MemoryArtifacts::default()),
        workspace: Arc::new(Folder::create(&root).unwrap()),
        limits: Limits { wall: Millis(10_000), output: Bytes(1 << 20) },
        cancel: CancellationToken::new(),
        progress: Arc::new(NoProgress),
    };
    Bench { _temporary: temporary, root, context }
}

/// Parses, prepares and executes, as the path of a call does.
pub async fn call(tool: &Arc<dyn Handler>, bench: &Bench, arguments: Value) -> Result<Value, Fault> {
    let arguments = tool.parse(arguments)?;
    tool.prepare(&arguments, &bench.context).await?;
    Ok(tool.execute(&arguments, &bench.context).await?.0)
}

pub async fn prepare(tool: &Arc<dyn Handler>, bench: &Bench, arguments: Value) -> Result<Preparation, Fault> {
    tool.prepare(&tool.parse(arguments)?, &bench.context).await
}

/// The code of the refusal.
pub async fn code(tool: &Arc<dyn Handler>, bench: &Bench, arguments: Value) -> ErrorCode {
    call(tool, bench, arguments).await.unwrap_err().code
}

#[derive(Default)]
pub struct MemoryArtifacts(Mutex<BTreeMap<ArtifactId, Vec<u8>>>);

#[async_trait]
impl Artifacts for MemoryArtifacts {
    async fn put(&self, bytes: Vec<u8>, media_type: &str) -> Result<ArtifactRef, Fault> {
        let artifact = ArtifactId::of(&bytes);
        let size = bytes.len() as u64;
        self.0.lock().unwrap().insert(artifact, bytes);
        Ok(ArtifactRef { artifact, size, media_type: media_type.to_owned() })
    }

    async fn read(&self, id: &ArtifactId, offset: u64, limit: u64) -> Result<(Vec<u8>, u64), Fault> {
        let all = self.0.lock().unwrap();
        let bytes = all.get(id).ok_or_else(|| Fault::new(ErrorCode::UnknownArtifact, format!("no artifact `{id}` is stored")))?;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let to = (from + usize::try_from(limit).unwrap()).min(bytes.len());
        Ok((bytes[from..to].to_vec(), bytes.len() as u64))
    }
}

/// A clock that stands still.
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(1_700_000_000_000)
    }
}
