//! What the tests of the tools that run programs share.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::NoProgress;
use crate::confine::Folder;
use crate::domain::{Actor, Bytes, CallId, ErrorCode, Fault, Limits, Millis, Principal, RunId, Timestamp};

use crate::call::Spawner;
use crate::egress::{Egress, EgressOptions, NoCredentials, RequestLog, RequestRecord, SystemResolver};
use crate::packages::{
    BuildBox, BuildJob, BuildOutcome, Compile, Environments, EnvironmentsOptions, InstallerOptions, Packages, PackagesOptions, PythonAt,
};
use crate::sandbox::process::{Launcher, ProcessOptions, ProcessSandbox};

use super::native::Native;
use super::network::{HttpEvents, NetworkPorts};
use super::testing::{MemoryArtifacts, StillClock};
use super::{CallContext, Handler};

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
        labels: Default::default(),
        brought: Default::default(),
        artifacts: Arc::new(MemoryArtifacts::default()),
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

/// Nothing is compiled, built or started.
struct Nothing;

#[async_trait]
impl Compile for Nothing {
    async fn compile(&self, _: &[(String, Arc<[u8]>)], _: &CancellationToken) -> Result<Vec<(String, Arc<[u8]>)>, Fault> {
        unreachable!("no package was named")
    }
}

#[async_trait]
impl BuildBox for Nothing {
    async fn run(&self, _: BuildJob, _: &CancellationToken) -> Result<BuildOutcome, Fault> {
        unreachable!("no package was named")
    }
}

impl Spawner for Nothing {
    fn spawn(&self, _: &'static str, _: futures_util::future::BoxFuture<'static, ()>) {}
}

/// A way out that nobody takes.
pub(crate) fn egress() -> Egress {
    let options = EgressOptions {
        proxy: None,
        private: Vec::new(),
        extra_roots_pem: None,
        resolver: Arc::new(SystemResolver),
        credentials: Arc::new(NoCredentials),
    };
    Egress::new(options).unwrap()
}

/// Requests are recorded nowhere.
struct NoEvents;

impl HttpEvents for NoEvents {
    fn of(&self, _: &CallContext) -> Arc<dyn RequestLog> {
        Arc::new(NoEvents)
    }
}

#[async_trait]
impl RequestLog for NoEvents {
    async fn record(&self, _: RequestRecord) -> Result<(), Fault> {
        Ok(())
    }
}

/// A network that leads to nothing private, with no secrets.
pub(crate) fn network(spawner: Arc<dyn Spawner>) -> NetworkPorts {
    NetworkPorts {
        egress: egress(),
        http_events: Arc::new(NoEvents),
        secrets: Arc::new(crate::secrets::source::NoSecrets),
        redact: Arc::new(crate::call::NoRedaction),
        spawner,
    }
}

/// Packages on a machine without an installer.
pub(crate) fn packages() -> Arc<Packages> {
    Arc::new(Packages::new(PackagesOptions {
        cache: "/nowhere/packages".into(),
        installer: InstallerOptions::default(),
        compiler: Arc::new(Nothing),
        clock: Arc::new(StillClock),
    }))
}

/// A process sandbox whose launcher is not there.
pub(crate) fn native() -> Native {
    let sandbox = ProcessSandbox::new(ProcessOptions {
        launcher: Launcher { program: "/nowhere".into(), first: Vec::new() },
        path: "/usr/bin".into(),
        cgroup: None,
        require_cgroup: false,
        at_once: 1,
        spawner: Arc::new(Nothing),
    });
    let environments = Environments::new(EnvironmentsOptions {
        cache: "/nowhere/environments".into(),
        installer: InstallerOptions::default(),
        python: PythonAt { exe: std::path::PathBuf::new(), version: String::new(), tag: String::new() },
        build_box: Arc::new(Nothing),
        clock: Arc::new(StillClock),
    });
    Native { sandbox: Arc::new(sandbox), environments: Arc::new(environments), egress: egress(), spawner: Arc::new(Nothing) }
}
