//! The composition root: opens a home and joins every room; the only place that knows them all.
//!
//! INVARIANT: nothing here decides; a file that is wrong stops the opening with every problem named.

mod audit_room;
mod build_box;
mod bytecode;
mod channels;
mod clock;
mod doctor;
mod door;
mod drive;
mod drive_desk;
mod files;
mod gate;
mod handlers;
mod house;
mod http_door;
mod http_events;
mod http_tls;
mod hygiene;
mod log_level;
mod meet;
mod native;
mod network;
mod notes;
mod oidc;
mod orphan;
mod panic;
mod policies;
mod policy_door;
mod policy_verbs;
mod policy_watch;
mod post;
mod questions;
mod redaction;
mod schemas;
mod start;
mod tasks;
mod tokens;
mod vault;
mod views;
mod watched;
mod web;
mod webhook;

pub use clock::SystemClock;
pub use door::FrontDoor;
pub use schemas::generated_schemas;
pub use start::{front_door, launcher, on_runtime};
pub use tasks::Tasks;
pub use vault::StoreShelf;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::call::Redact;
use crate::cli::ports::LogSwitch;
use crate::config::Config;
use crate::domain::{Bytes, Clock, ErrorCode, Fault, Meter, ToolName};
use crate::egress::Roots;
use crate::engine::{Control, Driver, DriverParts, DriverSettings, RunTraces};
use crate::gateway::{CodeGate, Gateway, Parts};
use crate::manifest::ToolDef;
use crate::policy;
use crate::registry::Registry;
use crate::sandbox::process::ProcessSandbox;
use crate::sandbox::wasm::{WasmOptions, WasmSandbox};
use crate::secrets::redact::Redactor;
use crate::secrets::tokens::Tokens as AccessTokens;
use crate::secrets::vault::Vault;
use crate::store::{RoomLimits, Store};
use crate::telemetry::Figures;
use crate::telemetry::otlp::{Traced, TracedSpans};
use crate::tools::Handler;
use crate::tools::control::RunControl;
use crate::tools::drive::LocalDrive;
use crate::tools::notify::{Courier, Leaving, NotifyHub, WriterSink};
use crate::workflow::Library;

use files::{Files, callable};

/// How long the end of the process waits for calls that are being stopped; a client expects it gone within a second.
const LAST_CALLS: Duration = Duration::from_millis(350);

/// How long the sandboxes wait for a client to ask for its lists, before they take a processor each to become ready.
const FIRST_QUESTIONS: Duration = Duration::from_millis(150);

/// Guests of the sandbox that stand ready: enough for a client's few calls at once, few enough for an idle server.
const KEPT_READY: usize = 2;

/// A home that is open.
pub struct App {
    tasks: Tasks,
    store: Store,
    vault: Vault,
    tokens: AccessTokens,
    gateway: Gateway,
    control: Arc<Control>,
    driver: Driver,
    workflows: Arc<Library>,
    policies: policies::Policies,
    rules: Arc<policy::Current>,
    watches: AtomicBool,
    sandbox: Arc<WasmSandbox>,
    process: Arc<ProcessSandbox>,
    hub: Arc<NotifyHub>,
    notes: Arc<notes::StepNotesOf>,
    webhook: std::sync::Mutex<Option<webhook::Webhook>>,
    post: post::Post,
    told: Arc<watched::Told>,
    log_switch: Option<LogSwitch>,
    home: PathBuf,
    drive: LocalDrive,
    drive_desk: drive_desk::Desk,
    stop: CancellationToken,
}

impl App {
    /// Opens the home these settings name. Reads every file before the database is touched. Whatever is recorded or shown goes through
    /// `redactor`, which knows the live secrets.
    ///
    /// # Errors
    /// Every problem of manifests, policies and workflows at once, in `details.problems`; what the store says.
    pub async fn open(config: &Config, redactor: &Redactor) -> Result<Arc<Self>, Fault> {
        Self::open_watched(config, redactor, (None, None)).await
    }

    /// The same, with a collector that gets what `traced` took in, and with what sets the level of the process's log.
    async fn open_watched(
        config: &Config,
        redactor: &Redactor,
        (traced, log_switch): (Option<&Traced>, Option<LogSwitch>),
    ) -> Result<Arc<Self>, Fault> {
        redaction::configure(config, redactor);
        let redact: Arc<dyn Redact> = Arc::new(redactor.clone());
        let home = config.home.value.clone();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tasks = Tasks::default();
        let told = Arc::new(watched::Told::new(Figures::new(clock.now())));
        let meter: Arc<dyn Meter> = told.clone();
        let files = Files::read(config)?;
        redactor.is_ready()?;
        let sandbox = Arc::new(WasmSandbox::new(WasmOptions {
            // A folder for compiled code and nothing else, as the code in it is run.
            cache: config.python_cache_dir.value.join("native"),
            clock: clock.clone(),
            threads: 0,
            kept_ready: KEPT_READY,
        })?);
        let process = Arc::new(native::process_sandbox(config, Arc::new(tasks.clone())));
        let hub = Arc::new(NotifyHub::redacting(redact.clone()));
        hub.attach("console", Arc::new(notes::OnTerminal(WriterSink::new(std::io::stderr()))));
        channels::attach_desktops(config, &hub)?;
        // Nothing needs the rules before the gateway does; they are made ready meanwhile.
        let policy = {
            let (policies, tools, span) = (files.policies.clone(), files.tools.clone(), tracing::Span::current());
            let load = move || policies.load(&tools).map_err(|problems| problems.into_fault(ErrorCode::PolicyInvalid));
            tokio::task::spawn_blocking(move || span.in_scope(load))
        };
        let store = open_store(config, &clock, redact).await?;
        store.measured_by(meter.clone());
        let vault = vault::vault(config, &store, redactor.live(), &clock)?;
        let tokens = tokens::tokens(&store, &clock)?;
        let keys = drive::VaultKeys { vault: vault.clone(), live: redactor.live().clone() };
        let drive = drive::DriveRoom::new(config, &clock, Arc::new(keys))?;
        if let Err(fault) = vault.refresh().await {
            tracing::warn!(code = %fault.code, "no secret can be used: {fault}");
        }
        let config = &vault::with_secrets(config, &vault).await;
        let workflows = Arc::new(files.workflows);
        let rules: Arc<std::sync::OnceLock<Arc<policy::Current>>> = Arc::default();
        let pinned = rules.clone();
        let control = Control::new(
            Arc::new(store.clone()),
            workflows.clone(),
            clock.clone(),
            Arc::new(move || pinned.get().map_or(crate::domain::Digest::ZERO, |rules| *rules.get().digest())),
        );
        let budgets = config.budgets.budgets();
        let names = callable(&files.tools);
        let run_traces = Arc::new(RunTraces::new(Arc::new(TracedSpans)));
        let control = Arc::new(control.within(budgets.clone()).knowing(names).traced_by(run_traces.clone()));
        let code = Arc::new(CodeGate::default());
        let explain = Arc::new(policy_door::PolicyDoor::default());
        let egress = network::egress(config)?;
        egress.measured_by(meter.clone());
        let stop = CancellationToken::new();
        let leaving = Arc::new(channels::leaving(config)?);
        let post = post::Post::new(post::Inner {
            store: store.clone(),
            channels: leaving.clone(),
            courier: Courier {
                egress: egress.clone(),
                roots: Roots::new(network::extra_roots(config)?),
                secrets: Arc::new(vault.clone()),
                live: redactor.live().clone(),
                clock: clock.clone(),
            },
            requests: http_events::JournalledRequests { store: store.clone(), budgets: budgets.clone() },
            clock: clock.clone(),
            tasks: tasks.clone(),
            attempts: u32::try_from(config.notify.attempts.value).unwrap_or(u32::MAX),
            stop: stop.clone(),
            wake: tokio::sync::Notify::new(),
            begun: AtomicBool::new(false),
        });
        let ports = handlers::Ports {
            spawner: Arc::new(tasks.clone()),
            egress,
            http_events: Arc::new(http_events::JournalledRequests { store: store.clone(), budgets: budgets.clone() }),
            calls: code.clone(),
            worker_calls: code.clone(),
            secrets: Arc::new(vault.clone()),
            redact: Arc::new(redaction::values_only(redactor)?),
            clock: clock.clone(),
            journal: Arc::new(audit_room::Room::new(store.clone())),
            sandbox: Arc::new(watched::CountedSandbox { sandbox: sandbox.clone(), kind: "wasm", meter: meter.clone() }),
            process: process.clone(),
            meter: meter.clone(),
            notifier: hub.clone(),
            leaving: Leaving {
                channels: leaving,
                outbox: Arc::new(post.clone()),
                default: config.notify.default.value.clone(),
                patience: config.notify.wait.value.duration(),
            },
            control: control.clone() as Arc<dyn RunControl>,
            explain: explain.clone(),
            index: handlers::index(&files.tools),
            state: explain.clone(),
            drive: drive.clone(),
            config,
        };
        let drive_ports = drive::ports(&ports);
        let registry = join(files.tools, &ports)?;
        let policy = policy.await.map_err(|_| Fault::internal("making the rules ready was broken off"))??;
        let policy = rules.get_or_init(|| Arc::new(policy::Current::new(policy))).clone();
        let in_force = policy.clone();
        let gateway = Gateway::new(Parts {
            registry,
            policy,
            store: store.clone(),
            clock: clock.clone(),
            spawner: Arc::new(tasks.clone()),
            runs_folder: home.join("runs"),
            approvals: questions::settings(config),
            inline: config.inline_output.value,
            private_paths: config.private_paths.value.clone(),
            budgets: budgets.clone(),
        });
        gateway.measured_by(meter.clone());
        gateway.traced_by(Arc::new(TracedSpans));
        code.lead_to(&gateway);
        control.stopping(gateway.stop_calls());
        explain.lead_to(&gateway, &in_force);
        let notes = Arc::new(notes::StepNotesOf::default());
        let driver = Driver::new(DriverParts {
            log: Arc::new(store.clone()),
            calls: Arc::new(gateway.clone()),
            clock: clock.clone(),
            spawner: Arc::new(tasks.clone()),
            settings: DriverSettings { progress: notes.clone().port(), budgets, meter, traces: run_traces, ..DriverSettings::default() },
        });
        if let Some(traced) = traced {
            told.begin_sending(config, traced, &store)?;
        }
        let closed = gateway.recover().await?;
        if closed > 0 {
            tracing::warn!(calls = closed, "calls of processes that died were closed as interrupted");
        }
        let webhook = std::sync::Mutex::new(webhook::Webhook::of(config, &store, &clock)?);
        let around = drive_desk::Around {
            ports: drive_ports,
            vault: vault.clone(),
            gateway: gateway.clone(),
            store: store.clone(),
            stop: stop.clone(),
        };
        let drive_desk = drive_desk::Desk::new(config, around)?;
        Ok(Arc::new(Self {
            tasks,
            store,
            vault,
            tokens,
            gateway,
            control,
            driver,
            workflows,
            policies: files.policies,
            rules: in_force,
            watches: AtomicBool::new(false),
            sandbox,
            process,
            hub,
            notes,
            webhook,
            post,
            told,
            log_switch,
            home,
            drive: drive.local,
            drive_desk,
            stop,
        }))
    }

    /// Looks at the home's policy files and puts changed rules in force, until [`App::close`]. Once is enough. `hangs_up` is whether a
    /// hang-up signal asks for a look; else it ends the process, as one expects of a program in the foreground.
    fn watch_policies(&self, hangs_up: bool) {
        if self.watches.swap(true, Ordering::AcqRel) {
            return;
        }
        let tools: Vec<ToolDef> = self.gateway.registry().iter().map(|entry| entry.def.clone()).collect();
        let watch = policy_watch::Watch::new(self.policies.clone(), tools, self.rules.clone());
        let tellers = policy_watch::Tellers { gateway: self.gateway.clone(), store: self.store.clone(), hub: self.hub.clone() };
        let watching = policy_watch::watch(watch, tellers, hangs_up, self.stop.clone());
        crate::call::Spawner::spawn(&self.tasks, "policy files", Box::pin(watching));
    }

    /// Drives every open run of the home until [`App::close`].
    pub fn drive(&self) {
        self.watch_policies(true);
        let (driver, stop) = (self.driver.clone(), self.stop.clone());
        crate::call::Spawner::spawn(&self.tasks, "driver", Box::pin(async move { driver.drive(stop).await }));
        let looking = vault::keep_live(self.vault.clone(), self.stop.clone());
        crate::call::Spawner::spawn(&self.tasks, "vault", Box::pin(looking));
        let post = self.post.clone();
        crate::call::Spawner::spawn(&self.tasks, "outbox of before", Box::pin(async move { post.begin_if_needed().await }));
        let watching = self.drive.clone().watch(self.stop.clone());
        crate::call::Spawner::spawn(&self.tasks, "local drive", Box::pin(watching));
        let keeping = questions::keep(self.gateway.clone(), self.stop.clone());
        crate::call::Spawner::spawn(&self.tasks, "questions", Box::pin(keeping));
        if let Some(switch) = self.log_switch.clone() {
            let around = (self.gateway.clone(), self.store.clone());
            let following = log_level::follow(log_level::Watch::new(&self.home), switch, around, self.stop.clone());
            crate::call::Spawner::spawn(&self.tasks, "log level", Box::pin(following));
        }
        if self.told.sends() {
            let counting = watched::keep_counting(self.store.clone(), self.told.clone(), self.stop.clone());
            crate::call::Spawner::spawn(&self.tasks, "figures", Box::pin(counting));
        }
        if let Some(webhook) = self.webhook.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
            crate::call::Spawner::spawn(&self.tasks, "webhook", Box::pin(webhook.tell(self.stop.clone())));
        }
    }

    /// Gives everything back: calls in flight are cancelled and recorded, leases released, the database closed.
    pub async fn close(&self) {
        self.stop.cancel();
        self.gateway.stop_going_on();
        let ended = self.tasks.finish(LAST_CALLS).await;
        if !ended {
            tracing::warn!("calls were still running at the end; the next start closes them as interrupted");
        }
        if let Err(fault) = self.gateway.close_adhoc_runs().await {
            tracing::warn!("ad-hoc runs stay open: {fault}");
        }
        tokio::join!(self.store.clone().close(), self.told.end_sending());
    }
}

/// The database, checked against what was signed of it, with the room that it may take.
async fn open_store(config: &Config, clock: &Arc<dyn Clock>, redact: Arc<dyn Redact>) -> Result<Store, Fault> {
    let store = Store::open_proven(audit_room::opening(config, clock, redact), &audit_room::options(config)).await?;
    let some = |limit: Bytes| Some(limit).filter(|limit| limit.0 > 0);
    store.limit_room(RoomLimits {
        home: some(config.storage_max.value),
        run: some(config.storage_run_max.value),
        free: config.storage_min_free.value,
    });
    Ok(store)
}

/// Every manifest with its handler.
fn join(tools: Vec<ToolDef>, ports: &handlers::Ports<'_>) -> Result<Registry, Fault> {
    let mut handlers: BTreeMap<ToolName, Arc<dyn Handler>> = handlers::builtin(ports)?;
    handlers.extend(handlers::scripts(&tools, ports));
    #[cfg(debug_assertions)]
    handlers.extend(handlers::fixtures(&tools));
    Registry::build(tools, handlers).map_err(|problems| problems.into_fault(ErrorCode::ManifestInvalid))
}
