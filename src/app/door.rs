//! The way into a home, and what can be had without one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::call::Redact;
use crate::cli::ports::{AuditAccess, AuditRoom, Check, Door, House, LogSwitch, Met, PolicyCheck, ToolView, TraceLayer, Way, WorkflowView};
use crate::config::{Config, ToolNames};
use crate::domain::{Clock, ErrorCode, Fault, Problem, Problems};
use crate::gateway::Gateway;
use crate::keeping::{self, Keeper, Restored};
use crate::manifest;
use crate::mcp::{self, Entrance, HttpLimits, Naming, ServeOptions, Toolset};
use crate::policy::{CaseOutcome, Finding, FindingKind};
use crate::secrets::live::LiveSecrets;
use crate::secrets::operator::OperatorProof;
use crate::secrets::redact::Redactor;
use crate::store::{OpenOptions, Store};
use crate::telemetry::otlp::Traced;
use crate::workflow::Library;

use super::gate::ClientNotices;
use super::watched::HouseMetrics;
use super::{App, SystemClock, audit_room, doctor, http_door, meet, orphan, policies, views};

/// Opens homes of this machine.
pub struct FrontDoor {
    redactor: Redactor,
    /// Set where spans are taken for a collector.
    traced: OnceLock<Traced>,
    log_switch: OnceLock<LogSwitch>,
}

impl Default for FrontDoor {
    fn default() -> Self {
        Self::new()
    }
}

impl FrontDoor {
    /// With no live secrets yet.
    #[must_use]
    pub fn new() -> Self {
        Self { redactor: Redactor::beginning(LiveSecrets::new()), traced: OnceLock::new(), log_switch: OnceLock::new() }
    }

    /// What takes secrets out of everything that is recorded or shown.
    #[must_use]
    pub fn redact(&self) -> Arc<dyn Redact> {
        Arc::new(self.redactor.clone())
    }

    /// Serves a home over HTTP by this way in until `shutdown` fires.
    ///
    /// # Errors
    /// As [`App::open`] and [`mcp::serve_http`].
    pub async fn serve_at(&self, config: &Config, entrance: Entrance, shutdown: CancellationToken) -> Result<(), Fault> {
        let app = self.app(config).await?;
        self.serve_opened(app, config, entrance, shutdown).await
    }

    async fn serve_opened(&self, app: Arc<App>, config: &Config, entrance: Entrance, shutdown: CancellationToken) -> Result<(), Fault> {
        let options = ServeOptions { redact: Some(self.redact()), ..options(config) };
        app.serve(options, |gate, options| mcp::serve_http(gate, entrance, options, shutdown)).await
    }

    /// Opens the home; its traces go where the log's subscriber takes them.
    async fn app(&self, config: &Config) -> Result<Arc<App>, Fault> {
        App::open_watched(config, &self.redactor, (self.traced.get(), self.log_switch.get().cloned())).await
    }

    /// The same, with its live secrets.
    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

#[async_trait]
impl Door for FrontDoor {
    fn traces(&self, config: &Config) -> Option<TraceLayer> {
        config.otlp_endpoint.value.as_ref()?;
        // Percent are at most 100.
        let share = f64::from(u32::try_from(config.otlp_sample_percent.value).unwrap_or(100)) / 100.0;
        Some(self.traced.get_or_init(|| Traced::new(share)).layer())
    }

    fn takes_log_switch(&self, switch: LogSwitch) {
        let _first = self.log_switch.set(switch);
    }

    async fn open(&self, config: &Config) -> Result<Arc<dyn House>, Fault> {
        Ok(self.app(config).await?)
    }

    async fn serve_http(&self, config: &Config, address: SocketAddr) -> Result<(), Fault> {
        let shutdown = on_signal();
        let place = http_door::Place::open(address, config, &self.redactor).await?;
        let app = self.app(config).await?;
        let entrance = match place.entrance(config, &app).await {
            Ok(entrance) => entrance,
            Err(fault) => {
                app.close().await;
                return Err(fault);
            }
        };
        self.serve_opened(app, config, entrance, shutdown).await
    }

    async fn serve(&self, config: Result<Config, Problems>) -> Result<(), Fault> {
        let shutdown = on_signal();
        orphan::watch(shutdown.clone());
        let config = match config {
            Ok(config) => config,
            Err(problems) => {
                return tell(problems, ServeOptions { redact: Some(self.redact()), ..ServeOptions::default() }, shutdown).await;
            }
        };
        let options = ServeOptions { redact: Some(self.redact()), ..options(&config) };
        match self.app(&config).await {
            Ok(app) => app.serve(options, |gate, options| mcp::serve_stdio(gate, options, shutdown)).await,
            Err(fault) => {
                tracing::error!(code = %fault.code, "{fault}");
                tell(problems_of(&fault), options, shutdown).await
            }
        }
    }

    async fn keeper(&self, config: &Config) -> Result<Keeper, Fault> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::open_proven(audit_room::opening(config, &clock, self.redact()), &audit_room::options(config)).await?;
        Ok(Keeper::new(store, &config.home.value, clock))
    }

    async fn restore(&self, config: &Config, from: &Path, reason: &str, proof: OperatorProof) -> Result<Restored, Fault> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let opening = |home: &Path| OpenOptions { home: Some(home.to_owned()), ..audit_room::opening(config, &clock, self.redact()) };
        keeping::put_back((&config.home.value, from), &audit_room::options(config), &opening, reason, proof).await
    }

    async fn audit(&self, config: &Config, how: AuditAccess) -> Result<Arc<dyn AuditRoom>, Fault> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        audit_room::open(config, &clock, self.redact(), how).await
    }

    async fn doctor(&self, config: &Config) -> Vec<Check> {
        doctor::checks(config, &self.redactor).await
    }

    async fn meet(&self, way: Way) -> Result<Met, Fault> {
        meet::meet(way).await
    }

    async fn check_manifest(&self, _config: &Config, file: &Path) -> Result<ToolView, Fault> {
        let invalid = |problems: Problems| problems.into_fault(ErrorCode::ManifestInvalid);
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let named = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !file.is_file() {
            return Err(Fault::new(ErrorCode::NotFound, format!("no file `{}`", file.display())));
        }
        let files = manifest::read_folder(folder).map_err(invalid)?;
        let shown = format!("{}/{named}", folder.display());
        let Some(found) = files.into_iter().find(|candidate| candidate.path == shown) else {
            return Err(invalid(Problem::new(shown, "not a manifest").hint("its name must end in `.yaml`").into()));
        };
        let defs = manifest::load(&[found]).map_err(invalid)?;
        let def = defs.first().ok_or_else(|| Fault::internal("a manifest without problems gave no tool"))?;
        Ok(views::tool(def))
    }

    async fn check_policy(&self, config: &Config, files: &[PathBuf]) -> Result<PolicyCheck, Fault> {
        let tested = policies::tested(config, files)?;
        let mut findings = tested.set.check(&tested.tools, &tested.outcomes);
        // That a rule of the home makes one of the program needless is nothing to mend.
        let is_mendable = |finding: &Finding| finding.kind != FindingKind::Shadowed || !finding.file.starts_with("policies/");
        findings.retain(|finding| (files.is_empty() && is_mendable(finding)) || tested.named.contains(&finding.file));
        Ok(PolicyCheck { rules: tested.set.len(), digest: *tested.set.digest(), findings })
    }

    async fn test_policy(&self, config: &Config, files: &[PathBuf]) -> Result<Vec<CaseOutcome>, Fault> {
        Ok(policies::tested(config, files)?.outcomes)
    }

    async fn check_workflow(&self, config: &Config, file: &Path) -> Result<WorkflowView, Fault> {
        let invalid = |problems: Problems| problems.into_fault(ErrorCode::WorkflowInvalid);
        let plan = Library::read_file(file).map_err(invalid)?;
        // Manifests that are wrong are told where they are needed; what a workflow names can then not be judged.
        if let Ok(tools) = super::files::manifest_files(&config.home.value).and_then(|files| manifest::load(&files)) {
            let known = super::files::callable(&tools);
            plan.unknown_tools(&file.display().to_string(), &known).map_err(invalid)?;
        }
        Ok(views::workflow(&plan, &file.display().to_string()))
    }
}

impl App {
    /// Serves by `face` until it ends, with everything at work that goes on beside it.
    async fn serve<F>(self: Arc<Self>, options: ServeOptions, face: impl FnOnce(Arc<Gateway>, ServeOptions) -> F) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let notices = Arc::new(ClientNotices::new());
        self.hub.attach("mcp", notices.clone());
        let gate: Arc<Gateway> = Arc::new(self.gateway.clone());
        let metrics = Arc::new(HouseMetrics { told: self.told.clone(), store: self.store.clone() });
        let options = ServeOptions { notices: Some(notices), meter: self.told.clone(), metrics: Some(metrics), ..options };
        let serving = face(gate, options);
        // Serving over lines sets standard output apart at its first poll; only then may anything else begin.
        let begin = async {
            self.warm_soon();
            self.drive();
        };
        let (served, ()) = tokio::join!(biased; serving, begin);
        self.close().await;
        served
    }

    /// Makes the sandboxes ready in the background, once a client's first questions had the processors for themselves. A call that needs one
    /// sooner makes it ready itself.
    fn warm_soon(&self) {
        let (sandbox, process, stop) = (self.sandbox.clone(), self.process.clone(), self.stop.clone());
        let warming = async move {
            if stop.run_until_cancelled(tokio::time::sleep(super::FIRST_QUESTIONS)).await.is_some() {
                sandbox.warm();
                process.warm();
            }
        };
        crate::call::Spawner::spawn(&self.tasks, "sandboxes", Box::pin(warming));
    }
}

fn toolsets(config: &Config) -> Vec<String> {
    let words = config.toolsets.value.clone();
    #[cfg(debug_assertions)]
    let words = words.into_iter().chain(config.fixtures.then(|| "fixtures".to_owned())).collect();
    words
}

fn options(config: &Config) -> ServeOptions {
    ServeOptions {
        naming: match config.tool_names.value {
            ToolNames::Underscore => Naming::Underscore,
            ToolNames::Dotted => Naming::Dotted,
        },
        toolset: Toolset::parse(&toolsets(config).join(",")),
        answer: config.serving.answer.value.duration(),
        limits: HttpLimits {
            rate: config.serving.rate.value,
            burst: config.serving.burst.value,
            concurrent: config.serving.concurrent.value,
            streams: config.serving.streams.value,
        },
        ..ServeOptions::default()
    }
}

/// Stays up with the one tool that tells what is wrong, so that the person sees it in the client.
async fn tell(problems: Problems, options: ServeOptions, shutdown: CancellationToken) -> Result<(), Fault> {
    mcp::serve_broken(problems, Arc::new(SystemClock), options, shutdown).await
}

/// The problems a fault lists, else the fault as one.
fn problems_of(fault: &Fault) -> Problems {
    let listed = fault.details.as_ref().and_then(|details| details.get("problems")).and_then(|list| list.as_array());
    let mut problems = listed.into_iter().flatten().filter_map(|entry| {
        let text = |name: &str| entry.get(name).and_then(|field| field.as_str()).map(str::to_owned);
        let problem = Problem::new(text("file")?, text("message")?).at(entry.get("line").and_then(serde_json::Value::as_u64));
        Some(match text("hint") {
            Some(hint) => problem.hint(hint),
            None => problem,
        })
    });
    let own = || {
        let problem = Problem::new("toolgate", format!("{}: {}", fault.code, fault.message));
        fault.hint.iter().fold(problem, |problem, hint| problem.hint(hint.clone()))
    };
    let first = problems.next().unwrap_or_else(own);
    let all = std::iter::once(first).chain(problems).collect();
    Problems::check(all).err().unwrap_or_else(|| Problems::one(own()))
}

/// Fires at an interrupt or a request to end.
fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let fired = token.clone();
    let wait = async move {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        #[cfg(not(unix))]
        let _interrupted = tokio::signal::ctrl_c().await;
        fired.cancel();
    };
    crate::call::Spawner::spawn(&super::Tasks::default(), "signals", Box::pin(wait));
    token
}
