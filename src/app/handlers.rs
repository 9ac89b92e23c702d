//! Every built-in tool with the ports it gets; what a tool can reach is what stands here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::call::{Redact, Spawner};
use crate::config::Config;
use crate::domain::{Clock, Fault, Meter, ToolName};
use crate::egress::{Egress, HostRules};
use crate::manifest::{Executor, ToolDef};
use crate::packages::{Packages, PackagesOptions};
use crate::sandbox::Sandbox;
use crate::sandbox::process::ProcessSandbox;
use crate::secrets::source::SecretSource;
use crate::tools::control::{self, AuditVerify, JournalCheck, RunControl};
use crate::tools::drive::{DriveDownload, DriveGet, DriveSearch, DriveUpload};
use crate::tools::eval::EvalRun;
use crate::tools::network::{HttpEvents, NetworkPorts};
use crate::tools::notify::{Leaving, Notifier, NotifySend};
use crate::tools::policy_explain::{Explain, PolicyExplain};
use crate::tools::python::{CodeCalls, PythonRun};
use crate::tools::repo_git::{Author, GitAddAll, GitCommit, GitInit, GitLog, GitStatus};
use crate::tools::sandbox_status::SandboxStatus;
use crate::tools::script::{Script, ScriptNetwork};
use crate::tools::secret_list::SecretList;
use crate::tools::status::{State, ToolgateStatus};
use crate::tools::tool_search::{Indexed, ToolCall, ToolSearch};
use crate::tools::transform::TransformJq;
use crate::tools::web::{WebFetch, WebSearch};
use crate::tools::workers::{ToolCalls, WorkerCodegen, WorkerPlan, WorkerResearch};
use crate::tools::workspace::{WorkspaceList, WorkspaceRead, WorkspaceRemove, WorkspaceWrite};
use crate::tools::{Handler, handler};

use super::bytecode::Bytecode;
use super::native;

/// What tools are given.
pub(super) struct Ports<'a> {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) process: Arc<ProcessSandbox>,
    pub(super) spawner: Arc<dyn Spawner>,
    pub(super) egress: Egress,
    pub(super) http_events: Arc<dyn HttpEvents>,
    pub(super) calls: Arc<dyn CodeCalls>,
    pub(super) worker_calls: Arc<dyn ToolCalls>,
    pub(super) secrets: Arc<dyn SecretSource>,
    pub(super) redact: Arc<dyn Redact>,
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) leaving: Leaving,
    pub(super) journal: Arc<dyn JournalCheck>,
    pub(super) control: Arc<dyn RunControl>,
    pub(super) explain: Arc<dyn Explain>,
    pub(super) index: Arc<[Indexed]>,
    pub(super) meter: Arc<dyn Meter>,
    pub(super) state: Arc<dyn State>,
    pub(super) drive: super::drive::DriveRoom,
    pub(super) config: &'a Config,
}

/// The built-in tools by name.
pub(super) fn builtin(ports: &Ports<'_>) -> Result<BTreeMap<ToolName, Arc<dyn Handler>>, Fault> {
    let drives = super::drive::drives(ports)?;
    let author = Author { name: ports.config.git_author_name.value.clone(), email: ports.config.git_author_email.value.clone() };
    let python = python(ports)?;
    let web = super::web::ports(ports.config, network(ports), ports.clock.clone())?;
    let has_uv = native::installer(ports.config).has_uv();
    let eval = EvalRun { sandbox: python.sandbox.clone(), packages: python.packages.clone(), native: python.native.clone() };
    let mut handlers: BTreeMap<&'static str, Arc<dyn Handler>> = BTreeMap::from([
        ("python.run", handler(python)),
        ("eval.run", handler(eval)),
        ("workspace.write", handler(WorkspaceWrite)),
        ("workspace.read", handler(WorkspaceRead)),
        ("workspace.list", handler(WorkspaceList)),
        ("workspace.remove", handler(WorkspaceRemove)),
        ("repo.git.init", handler(GitInit)),
        ("repo.git.add_all", handler(GitAddAll)),
        ("repo.git.commit", handler(GitCommit::new(author, ports.clock.clone()))),
        ("repo.git.status", handler(GitStatus)),
        ("repo.git.log", handler(GitLog)),
        ("notify.send", handler(NotifySend::new(ports.notifier.clone()).leaving(ports.leaving.clone()))),
        ("secret.list", handler(SecretList { secrets: ports.secrets.clone() })),
        ("transform.jq", handler(TransformJq)),
        ("drive.search", handler(DriveSearch::new(drives.clone()))),
        ("drive.get", handler(DriveGet::new(drives.clone()))),
        ("drive.download", handler(DriveDownload::new(drives.clone()))),
        ("drive.upload", handler(DriveUpload::new(drives))),
        ("audit.verify", handler(AuditVerify(ports.journal.clone()))),
        ("policy.explain", handler(PolicyExplain(ports.explain.clone()))),
        ("tool.search", handler(ToolSearch(ports.index.clone()))),
        ("tool.call", handler(ToolCall)),
        ("toolgate.status", handler(ToolgateStatus(ports.state.clone()))),
        ("sandbox.status", handler(SandboxStatus { process: ports.process.clone(), has_uv })),
        ("web.search", handler(WebSearch::new(web.clone()))),
        ("web.fetch", handler(WebFetch::new(web))),
        ("worker.plan", handler(WorkerPlan)),
        ("worker.research", handler(WorkerResearch { calls: ports.worker_calls.clone() })),
        ("worker.codegen", handler(WorkerCodegen)),
    ]);
    handlers.extend(control::handlers(&ports.control));
    handlers
        .into_iter()
        .map(|(name, handler)| {
            let name = name.parse().map_err(|error| Fault::internal(format!("{error}")))?;
            Ok((name, handler))
        })
        .collect()
}

fn python(ports: &Ports<'_>) -> Result<PythonRun, Fault> {
    let packages = Packages::new(PackagesOptions {
        cache: ports.config.python_cache_dir.value.join("packages"),
        installer: native::installer(ports.config),
        compiler: Arc::new(Bytecode { sandbox: ports.sandbox.clone() }),
        clock: ports.clock.clone(),
    });
    Ok(PythonRun {
        native: native::native(ports)?,
        sandbox: ports.sandbox.clone(),
        packages: Arc::new(packages),
        network: network(ports),
        calls: ports.calls.clone(),
    })
}

fn network(ports: &Ports<'_>) -> NetworkPorts {
    NetworkPorts {
        egress: ports.egress.clone(),
        http_events: ports.http_events.clone(),
        secrets: ports.secrets.clone(),
        redact: ports.redact.clone(),
        spawner: ports.spawner.clone(),
    }
}

/// The tools as they are searched for.
pub(super) fn index(tools: &[ToolDef]) -> Arc<[Indexed]> {
    let indexed = |def: &ToolDef| Indexed {
        name: def.name.clone(),
        title: def.title.clone(),
        description: def.description.clone(),
        hint: def.search_hint.clone().unwrap_or_default(),
        scopes: def.scopes.clone(),
        effects: def.effects.clone(),
        input: def.input.json().clone(),
        output: def.output.json().clone(),
    };
    tools.iter().map(indexed).collect()
}

/// The tools that are a Python script beside their manifest.
pub(super) fn scripts(tools: &[ToolDef], ports: &Ports<'_>) -> BTreeMap<ToolName, Arc<dyn Handler>> {
    tools
        .iter()
        .filter_map(|def| match &def.executor {
            Executor::Builtin => None,
            Executor::Python { script } => {
                let script = Script {
                    name: def.name.to_string(),
                    source: script.as_str().into(),
                    input_schema: def.input.json().clone(),
                    output_schema: def.output.json().clone(),
                    sandbox: ports.sandbox.clone(),
                    network: (!def.reach.hosts.is_empty()).then(|| ScriptNetwork {
                        hosts: HostRules::of(def.reach.hosts.clone()),
                        secrets: def.reach.secrets.clone(),
                        effects: def.effects.clone(),
                        ports: network(ports),
                    }),
                };
                Some((def.name.clone(), Arc::new(script) as Arc<dyn Handler>))
            }
        })
        .collect()
}

/// Those of the tools that are fixtures of a conformance suite. No release has them.
#[cfg(debug_assertions)]
pub(super) fn fixtures(tools: &[ToolDef]) -> BTreeMap<ToolName, Arc<dyn Handler>> {
    let handler = |def: &ToolDef| {
        let made = crate::tools::fixtures::handler(def.name.as_str(), def.input.json().clone(), def.output.json().clone())?;
        Some((def.name.clone(), made))
    };
    tools.iter().filter_map(handler).collect()
}
