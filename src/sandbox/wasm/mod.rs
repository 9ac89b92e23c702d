//! CPython as a WebAssembly component under wasmtime: a fresh instance for each call, from one frozen interpreter.
//!
//! INVARIANT: nothing a guest did is there for the next one: memory, files and streams are the call's own. Guests run on threads of their
//! own, so none can stall the server, and every wait in here ends when its call is cancelled.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::call::Progress;
use crate::domain::{Clock, ErrorCode, Fault};

use super::{Sandbox, SandboxOutcome, SandboxSpec};

mod cache;
mod chance;
mod cpu;
mod desk;
mod engine;
mod files;
mod fresh;
mod guest;
mod native;
mod pipes;
mod ticker;

#[cfg(test)]
mod desk_tests;
#[cfg(test)]
pub(crate) mod tests;

use engine::Ready;
use fresh::Shelf;

/// What a [`WasmSandbox`] needs to know.
pub struct WasmOptions {
    /// Folder for natively compiled code, for nothing else; made owner-only. Code in it is run, so only its owner may write to it.
    pub cache: PathBuf,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// How many threads guests share; 0 for as many as the machine has processors.
    pub threads: usize,
    /// How many guests are kept ready for the next calls, so that these need not wait for an instance.
    pub kept_ready: usize,
}

/// Runs Python in WebAssembly. Cheap to make: the interpreter is compiled or loaded at the first use, or by [`WasmSandbox::warm`].
pub struct WasmSandbox {
    cache: PathBuf,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
    slots: Arc<Semaphore>,
    nested: Arc<Semaphore>,
    shelf: Arc<Shelf>,
    runtime: Threads,
}

#[derive(Clone)]
enum State {
    Idle,
    Preparing,
    Ready(Arc<Ready>),
    Failed(Fault),
}

/// The guests' threads. A runtime may not be dropped where it would have to wait, hence the wrapper.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl WasmSandbox {
    /// Starts the guests' threads, nothing else.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE` where the system gives no threads.
    pub fn new(options: WasmOptions) -> Result<Self, Fault> {
        let processors = || std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let threads = if options.threads == 0 { processors() } else { options.threads };
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(8)
            .thread_name("toolgate-guest")
            .enable_time()
            .build()
            .map_err(|error| unavailable(format!("no threads for guests: {error}")))?;
        Ok(Self {
            cache: options.cache,
            clock: options.clock,
            state: watch::Sender::new(State::Idle),
            slots: Arc::new(Semaphore::new(engine::MOST_GUESTS)),
            nested: Arc::new(Semaphore::new(engine::MOST_NESTED)),
            shelf: Arc::new(Shelf::new(options.kept_ready)),
            runtime: Threads(Some(runtime)),
        })
    }

    /// Begins to make the interpreter ready, in the background; does nothing where that has begun.
    pub fn warm(&self) {
        let begin = self.state.send_if_modified(|state| {
            let idle = matches!(state, State::Idle);
            if idle {
                *state = State::Preparing;
            }
            idle
        });
        let Some(runtime) = self.runtime.0.as_ref().filter(|_| begin) else { return };
        let (state, cache) = (self.state.clone(), self.cache.clone());
        drop(runtime.spawn_blocking(move || {
            let made = std::panic::catch_unwind(|| engine::prepare(&cache))
                .unwrap_or_else(|_| Err(unavailable("the compiler of the Python runtime panicked".into())));
            state.send_replace(match made {
                Ok(ready) => State::Ready(Arc::new(ready)),
                Err(fault) => State::Failed(fault),
            });
        }));
    }

    /// Whether a call would start without waiting: `None` while the interpreter is being made ready or was not asked for.
    ///
    /// # Errors
    /// `SANDBOX_UNAVAILABLE`: it could not be made ready.
    pub fn readiness(&self) -> Option<Result<(), Fault>> {
        match &*self.state.borrow() {
            State::Idle | State::Preparing => None,
            State::Ready(_) => Some(Ok(())),
            State::Failed(fault) => Some(Err(fault.clone())),
        }
    }

    async fn ready(&self, progress: &dyn Progress) -> Result<Arc<Ready>, Fault> {
        self.warm();
        let mut state = self.state.subscribe();
        if !matches!(*state.borrow(), State::Ready(_)) {
            progress.note("preparing the Python runtime", None, None);
        }
        let settled = state.wait_for(|state| matches!(state, State::Ready(_) | State::Failed(_))).await;
        match settled.as_deref() {
            Ok(State::Ready(ready)) => Ok(ready.clone()),
            Ok(State::Failed(fault)) => Err(fault.clone()),
            Ok(State::Idle | State::Preparing) | Err(_) => Err(Fault::internal("the Python runtime was dropped while it was prepared")),
        }
    }

    async fn admit_and_run(
        &self,
        spec: SandboxSpec,
        cancel: &CancellationToken,
        progress: Arc<dyn Progress>,
    ) -> Result<SandboxOutcome, Fault> {
        let ready = self.ready(&*progress).await?;
        // First come, first served: the semaphore keeps the order. Guests that others wait for have places of their own.
        let places = if spec.nested { &self.nested } else { &self.slots };
        let slot = places.clone().acquire_owned().await.map_err(|_| Fault::internal("the guests' slots are closed"))?;
        let Some(runtime) = &self.runtime.0 else { return Err(Fault::internal("the guests' threads have ended")) };
        let job = guest::run(ready.clone(), self.shelf.clone(), spec, self.clock.now(), cancel.clone(), progress).in_current_span();
        let (shelf, clock) = (self.shelf.clone(), self.clock.clone());
        let (answer, answered) = oneshot::channel();
        let task = AbortOnDrop(Some(runtime.spawn(async move {
            let (outcome, husk) = match job.await {
                Ok((outcome, husk)) => (Ok(outcome), Some(husk)),
                Err(fault) => (Err(fault), None),
            };
            // Nobody waits any more where this fails.
            let _unheard = answer.send(outcome);
            drop(slot);
            shelf.refill(husk, &ready, &*clock).await;
        })));
        task.outcome(answered).await
    }
}

#[async_trait]
impl Sandbox for WasmSandbox {
    async fn run(&self, spec: SandboxSpec, cancel: CancellationToken, progress: Arc<dyn Progress>) -> Result<SandboxOutcome, Fault> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(cancelled()),
            outcome = self.admit_and_run(spec, &cancel, progress) => outcome,
        }
    }
}

/// A guest's task, which ends when nobody waits for its outcome any more.
struct AbortOnDrop(Option<JoinHandle<()>>);

impl AbortOnDrop {
    async fn outcome(mut self, answered: oneshot::Receiver<Result<SandboxOutcome, Fault>>) -> Result<SandboxOutcome, Fault> {
        let outcome = answered.await;
        // From here on the task only tidies up and makes the next guests ready.
        let task = self.0.take();
        match (outcome, task) {
            (Ok(outcome), _) => outcome,
            (Err(_), Some(task)) => match task.await {
                Ok(()) => Err(failed("the guest's task ended without an outcome".to_owned())),
                Err(error) => Err(failed(format!("the guest's task ended badly: {error}"))),
            },
            (Err(_), None) => Err(failed("the guest's task is gone".to_owned())),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

fn cancelled() -> Fault {
    Fault::new(ErrorCode::Cancelled, "the call was cancelled, and its program stopped")
}

fn unavailable(why: String) -> Fault {
    Fault::new(ErrorCode::SandboxUnavailable, format!("the Python sandbox cannot be made ready: {why}"))
        .hint("`toolgate doctor` tells which part is missing")
}

fn failed(why: String) -> Fault {
    Fault::new(ErrorCode::SandboxFailed, why)
}
