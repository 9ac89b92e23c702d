//! Native programs, confined by the operating system: Linux namespaces, a fresh read-only root, Landlock, seccomp and limits.
//!
//! INVARIANT: every layer is up before a job's first instruction, or there is no job. Before the first job a canary tries the walls from
//! the inside; what it gets through, or a layer it misses, makes the sandbox unavailable. The parent's side is `launch`, the child's side
//! `init`; `protocol` is all they share.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::{ErrorCode, Fault};

mod cgroup;
mod folders;
pub mod init;
mod job;
mod launch;
mod launcher;
pub mod layers;
mod options;
mod protocol;
mod python;
mod streams;
mod system;

pub use job::{Job, JobOutcome, Mount};
pub use options::{Launcher, ProcessOptions};
pub use protocol::Stage;
pub use python::ENVIRONMENT;
pub use system::{Interpreter, System};

use cgroup::Cgroup;
use launcher::Launchers;
use protocol::{Caps, Order, PROXY};

/// The layers that bound memory.
const MEMORY_GROUP: &str = "memory-cgroup";
const MEMORY_WATCH: &str = "memory-watch";

/// Variables that every job has.
const VARIABLES: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("HOME", "/tmp"),
    ("TMPDIR", "/tmp"),
    ("USER", "sandbox"),
    ("LANG", "C.UTF-8"),
    ("LC_ALL", "C.UTF-8"),
];

/// Runs native programs. Cheap to make: nothing of the machine is tried before the first use, or [`ProcessSandbox::warm`].
#[derive(Clone)]
pub struct ProcessSandbox {
    inner: Arc<Inner>,
}

struct Inner {
    options: ProcessOptions,
    launchers: Launchers,
    system: System,
    interpreter: Option<Interpreter>,
    /// Held while the canary runs.
    trying: tokio::sync::Mutex<()>,
    tried: Mutex<Option<Result<Arc<[String]>, Fault>>>,
    places: Semaphore,
    die_at: Option<Stage>,
}

impl ProcessSandbox {
    /// Looks at what the machine has, and starts nothing.
    #[must_use]
    pub fn new(options: ProcessOptions) -> Self {
        Self::made_of(options, None)
    }

    /// One whose launchers kill themselves at a stage, to see what is left of them.
    #[doc(hidden)]
    #[must_use]
    pub fn dying_at(options: ProcessOptions, stage: Stage) -> Self {
        Self::made_of(options, Some(stage))
    }

    fn made_of(options: ProcessOptions, die_at: Option<Stage>) -> Self {
        let (system, interpreter) = (System::of_machine(), Interpreter::find(&options.path));
        let places = Semaphore::new(options.at_once.max(1));
        let launchers = Launchers::new(options.launcher.clone());
        let inner = Inner {
            options,
            launchers,
            system,
            interpreter,
            trying: tokio::sync::Mutex::default(),
            tried: Mutex::default(),
            places,
            die_at,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Tries the walls in the background.
    pub fn warm(&self) {
        let sandbox = self.clone();
        self.inner.options.spawner.spawn("canary", Box::pin(async move { drop(sandbox.ready().await) }));
    }

    /// The layers that jobs run behind, or why none can; `None` while that was not tried.
    #[must_use]
    pub fn readiness(&self) -> Option<Result<Arc<[String]>, Fault>> {
        self.inner.tried.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries the walls, unless they were found to stand before; gives their names. What failed is tried again at the next call: the operator may have mended it.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE` with the layer that is missing.
    pub async fn ready(&self) -> Result<Arc<[String]>, Fault> {
        let _one_at_a_time = self.inner.trying.lock().await;
        if let Some(Ok(layers)) = self.readiness() {
            return Ok(layers);
        }
        let tried = self.try_walls().await;
        *self.inner.tried.lock().unwrap_or_else(PoisonError::into_inner) = Some(tried.clone());
        tried
    }

    async fn try_walls(&self) -> Result<Arc<[String]>, Fault> {
        if let Some(delegated) = &self.inner.options.cgroup {
            cgroup::sweep(delegated);
        }
        let order = self.order(&Job::new(Vec::new()));
        let memory = if self.cgroup(64 << 20)?.is_some() { MEMORY_GROUP } else { MEMORY_WATCH };
        let (got_through, mut layers) = launch::canary(&self.inner.launchers, order).await?;
        layers.push(memory.to_owned());
        match got_through.as_slice() {
            [] => Ok(layers.into()),
            some => Err(layers::missing("canary", &format!("from inside it is possible to {}", some.join(", to ")))),
        }
    }

    /// The machine's Python.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE` where there is none.
    pub fn interpreter(&self) -> Result<&Interpreter, Fault> {
        self.inner.interpreter.as_ref().ok_or_else(|| layers::missing("python", "this machine has no Python that a job can be shown"))
    }

    /// Runs a job to its end, to a limit or to the cancel, whichever is first.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`, `PROGRAM_NOT_FOUND`, `LIMIT_EXCEEDED` where its files do not fit, `INVALID_INPUT`, `CANCELLED`, `SANDBOX_FAILED`.
    pub async fn run_job(&self, job: Job, cancel: CancellationToken, progress: Arc<dyn Progress>) -> Result<JobOutcome, Fault> {
        if job.argv.is_empty() || job.argv.iter().any(|argument| argument.as_encoded_bytes().contains(&0)) {
            return Err(Fault::new(ErrorCode::InvalidInput, "a program's arguments are empty or hold a zero byte"));
        }
        self.ready().await?;
        let waiting = self.inner.places.acquire();
        let _place = tokio::select! {
            place = waiting => place.map_err(|_| Fault::internal("the places of jobs are closed"))?,
            () = cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "the call was cancelled before its program ran")),
        };
        // A launcher that waited may have died with the order in its hands; the job did not begin, so another one may have it.
        let first = self.launch(job.clone(), &cancel, progress.clone()).await?;
        let ended = match first {
            Some(outcome) => Some(outcome),
            None => self.launch(job, &cancel, progress).await?,
        };
        // While nobody waits for an answer, the next job's launcher is made ready.
        let launchers = self.inner.launchers.clone();
        drop(tokio::task::spawn_blocking(move || launchers.prepare()));
        ended.ok_or_else(|| layers::missing("launcher", "it ended before the job began, without a word"))
    }

    async fn launch(&self, job: Job, cancel: &CancellationToken, progress: Arc<dyn Progress>) -> Result<Option<JobOutcome>, Fault> {
        let order = self.order(&job);
        let all = order.caps.memory.saturating_add(order.caps.disk).saturating_add(16 << 20);
        let cgroup = self.cgroup(all)?;
        let means = launch::Means { launchers: &self.inner.launchers, order, cgroup, progress };
        Box::pin(launch::run(job, means, cancel.clone())).await
    }

    /// A control group for this much memory, where one is delegated. Where it cannot be made, that is a layer missing only if the operator
    /// said so.
    fn cgroup(&self, memory: u64) -> Result<Option<Cgroup>, Fault> {
        let options = &self.inner.options;
        let missing = |why: String| if options.require_cgroup { Err(layers::missing("cgroup", &why)) } else { Ok(None) };
        let Some(delegated) = &options.cgroup else {
            return missing("it is required, and no folder is delegated (`sandbox.cgroup`)".into());
        };
        match Cgroup::make(delegated, memory) {
            Ok(cgroup) => Ok(Some(cgroup)),
            Err(error) => missing(format!("one cannot be made in {}: {error}", delegated.display())),
        }
    }

    fn order(&self, job: &Job) -> Order {
        let limits = &job.limits;
        let mut environment: Vec<(OsString, OsString)> =
            VARIABLES.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        if job.door.is_some() {
            let (address, port) = PROXY;
            let proxy = OsString::from(format!("http://{address}:{port}"));
            let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
            environment.extend(names.map(|name| (name.into(), proxy.clone())));
            environment.extend(["NO_PROXY", "no_proxy"].map(|name| (name.into(), "localhost,127.0.0.1,::1".into())));
        }
        for (name, value) in &job.environment {
            environment.retain(|(known, _)| known != name);
            environment.push((name.clone(), value.clone()));
        }
        let wall_seconds = limits.wall.0.div_ceil(1000);
        Order {
            argv: job.argv.clone(),
            environment,
            mounts: self.inner.system.mounts.iter().cloned().chain(job.mounts.iter().map(real)).collect(),
            may_write_work: job.may_write_work,
            links: self.inner.system.links.clone(),
            caps: Caps {
                memory: limits.memory.0,
                // A backstop for what is asked for at once; runtimes reserve far more than they use.
                address_space: limits.memory.0.saturating_mul(4).saturating_add(4 << 30),
                file_size: limits.disk.0,
                disk: limits.disk.0,
                files: u64::from(limits.files),
                open_files: 1024,
                processes: u64::from(limits.processes),
                cpu_seconds: wall_seconds.saturating_mul(64).saturating_add(60),
            },
            network: job.door.is_some(),
            die_at: self.inner.die_at,
        }
    }
}

/// A mount by its real path: the launcher follows no link, not even one that the machine's own folders have.
fn real(mount: &Mount) -> Mount {
    let host = std::fs::canonicalize(&mount.host).unwrap_or_else(|_| mount.host.clone());
    Mount { host, ..mount.clone() }
}
