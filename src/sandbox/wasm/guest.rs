//! One guest, from its empty store to its outcome.
//!
//! INVARIANT: whatever ends the guest (its end, a trap, its time, the cancel), none of its code runs when [`run`] returns, and what it had
//! written by then is in the outcome.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use wasmtime::component::ResourceTable;
use wasmtime::{Store, Trap};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use crate::call::{OutStream, Progress};
use crate::domain::{ErrorCode, Fault, SPANS, Timestamp};
use crate::sandbox::{Entry, LimitHit, Metrics, SandboxLimits, SandboxOutcome, SandboxSpec, Tape};

use super::cpu::{Metered, Spent};
use super::desk::{Desk, DeskReport, Diverged};
use super::engine::Ready;
use super::files::{Disk, FilesView, Handles};
use super::fresh::{self, Fresh, Meter, Shelf};
use super::pipes::Capture;
use super::{cancelled, failed};

/// What stands between a guest and the machine.
const LAYERS: &[&str] = &["wasm", "memory-files", "no-network", "no-environment", "own-threads"];

/// The same where the host makes HTTP requests for the guest.
const LAYERS_WITH_HTTP: &[&str] = &["wasm", "memory-files", "http-by-host", "no-environment", "own-threads"];

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "python-runtime/wit",
        world: "sandbox",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// A guest's store: all that host functions can reach.
pub(super) struct Guest {
    pub(super) wasi: WasiCtx,
    pub(super) table: ResourceTable,
    pub(super) handles: Handles,
    pub(super) disk: Disk,
    pub(super) desk: Desk,
    pub(super) meter: Arc<Meter>,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl Guest {
    pub(super) fn files(&mut self) -> FilesView<'_> {
        FilesView { table: &mut self.table, handles: &mut self.handles, disk: &self.disk }
    }
}

/// How a guest ended.
enum End {
    Returned(bindings::Outcome),
    Trapped(wasmtime::Error),
    OutOfTime,
}

/// What is left when the store is gone.
struct Remains {
    stdout: Capture,
    stderr: Capture,
    disk: Disk,
    meter: Arc<Meter>,
    desk: Arc<DeskReport>,
    spent: Arc<Spent>,
    layers: &'static [&'static str],
    /// How long the result may be, in bytes.
    most_result: u64,
}

/// Runs one guest. Must be polled on the guests' own threads.
///
/// # Errors
/// `PATH_REFUSED` or `INVALID_INPUT` for the specification, `CANCELLED`, `LIMIT_EXCEEDED` where the interpreter itself does not fit,
/// `REPLAY_DIVERGED`, `SANDBOX_FAILED`.
pub(super) async fn run(
    ready: Arc<Ready>,
    shelf: Arc<Shelf>,
    spec: SandboxSpec,
    now: Timestamp,
    cancel: CancellationToken,
    progress: Arc<dyn Progress>,
) -> Result<(SandboxOutcome, Husk), Fault> {
    let begun = Instant::now();
    let _beat = ready.ticker.beat();
    // One that is brought back must have its recorded randomness from the start, so none that stands ready will do.
    let kept = shelf.take().filter(|_| spec.recording.is_none());
    let was_kept = kept.is_some();
    let making = tracing::trace_span!(target: SPANS, "instantiate", kept = was_kept);
    let fresh = match kept {
        Some(fresh) => fresh,
        None => {
            let tape = Arc::new(Tape::new(spec.recording.as_ref(), now));
            // Programs that may be brought back always begin alike, so that even addresses are the same the second time.
            let rehearse = spec.host.as_ref().is_some_and(|host| host.powers().tools);
            let made = fresh::make(&ready, tape, rehearse).instrument(making.clone()).await;
            made.map_err(|error| failed(format!("the guest could not be started: {error:#}")))?
        }
    };
    drop(making);
    let (limits, wall) = (spec.limits, spec.wall.clone());
    let (store, instance, request, remains) = give_call(fresh, spec, progress)?;
    let start = begun.elapsed();
    let running = tracing::trace_span!(target: SPANS, "run");
    let play = Metered::new(play(store, instance, request), remains.spent.clone()).instrument(running);
    // The guest yields at each tick of the epoch, so the other branches are looked at even while it is busy.
    let (end, store) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        () = wall.elapsed(limits.wall.duration()) => (End::OutOfTime, None),
        (end, store) = play => (end, Some(store)),
    };
    outcome(end, &remains, begun.elapsed(), start).map(|outcome| (outcome, Husk { _store: store, was_kept }))
}

/// A guest that has ended: its memory, which takes a while to be given back, so its caller need not wait for that.
pub(super) struct Husk {
    _store: Option<Store<Guest>>,
    /// Whether it stood ready before its call.
    pub(super) was_kept: bool,
}

/// Gives a fresh guest what its call grants.
fn give_call(
    fresh: Fresh,
    spec: SandboxSpec,
    progress: Arc<dyn Progress>,
) -> Result<(Store<Guest>, bindings::Sandbox, bindings::Request, Remains), Fault> {
    let limits = spec.limits;
    if !fresh.meter.allow(limits.memory.as_usize()) {
        return Err(Fault::new(ErrorCode::LimitExceeded, "the interpreter itself needs more memory than the call allows")
            .hint("allow at least 64 MB"));
    }
    let (whole, heard) = (limits.whole.as_usize(), progress.wants_output());
    let listener = |stream| heard.then(|| (stream, progress.clone()));
    fresh.stdin.open(spec.stdin);
    fresh.stdout.open(limits.stdout.as_usize(), whole, listener(OutStream::Stdout));
    fresh.stderr.open(limits.stderr.as_usize(), whole, listener(OutStream::Stderr));
    fresh.disk.ledger.allow(limits.disk.0, u64::from(limits.files));
    fresh.disk.give(&spec.files, &spec.packages)?;
    let desk = Arc::new(DeskReport::default());
    let has_http = spec.host.as_ref().is_some_and(|host| host.powers().network);
    let recorded = spec.recording.map(|recording| recording.operations).unwrap_or_default();
    let Fresh { mut store, instance, stdout, stderr, meter, disk, tape, .. } = fresh;
    store.data_mut().desk = Desk::new(spec.host, tape, recorded, (limits.operations, limits.at_once), desk.clone());
    // Ticks that passed while it stood on the shelf are not its own.
    store.set_epoch_deadline(1);
    let request = request(spec.entry, spec.args, spec.input.as_ref(), !spec.packages.is_empty(), limits)?;
    let layers = if has_http { LAYERS_WITH_HTTP } else { LAYERS };
    let remains = Remains { stdout, stderr, disk, meter, desk, spent: Arc::default(), layers, most_result: limits.result.0 };
    Ok((store, instance, request, remains))
}

fn request(
    entry: Entry,
    args: Vec<String>,
    input: Option<&serde_json::Value>,
    packages: bool,
    limits: SandboxLimits,
) -> Result<bindings::Request, Fault> {
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err(Fault::new(ErrorCode::InvalidInput, "an argument holds a NUL character"));
    }
    let entry = match entry {
        Entry::Code(code) => bindings::Entry::Code(code),
        Entry::File(path) => bindings::Entry::File(path),
        Entry::Module(name) => bindings::Entry::Module(name),
        Entry::Program(program) => {
            let message = format!("the program `{program}` is native, and the WebAssembly sandbox runs Python alone");
            return Err(Fault::new(ErrorCode::SandboxUnavailable, message).hint("use the runtime `process`"));
        }
    };
    let result_limit = u32::try_from(limits.result.0).unwrap_or(u32::MAX).min(4 << 20);
    Ok(bindings::Request { entry, args, input: input.map(serde_json::Value::to_string), packages, result_limit })
}

async fn play(mut store: Store<Guest>, instance: bindings::Sandbox, request: bindings::Request) -> (End, Store<Guest>) {
    let end = match instance.call_run(&mut store, &request).await {
        Ok(outcome) => End::Returned(outcome),
        Err(error) => End::Trapped(error),
    };
    (end, store)
}

fn outcome(end: End, remains: &Remains, wall: Duration, start: Duration) -> Result<SandboxOutcome, Fault> {
    let mut stderr = remains.stderr.take();
    let mut result = None;
    let mut stopped = None;
    let return_code = match end {
        End::Returned(outcome) => {
            // The runner keeps to the limit; a program that has changed the runner does not.
            let within = outcome.result.filter(|json| json.len() as u64 <= remains.most_result);
            result = within.and_then(|json| serde_json::from_str(&json).ok());
            outcome.return_code
        }
        End::OutOfTime => {
            stopped = Some(LimitHit::Time);
            124
        }
        End::Trapped(error) => {
            if let Some(diverged) = error.downcast_ref::<Diverged>() {
                return Err(diverged_fault(diverged));
            }
            if let Some(exit) = error.downcast_ref::<I32Exit>() {
                exit.0
            } else {
                stopped = trapped(&error);
                stderr.bytes.extend_from_slice(format!("\nthe interpreter was stopped: {error}\n").as_bytes());
                134
            }
        }
    };
    if !remains.disk.given_is_untouched() {
        return Err(failed("the program's own files were changed, which should not be possible".to_owned()));
    }
    let stdout = remains.stdout.take();
    let memory_refused = return_code != 0 && remains.meter.has_refused();
    let limit = stopped
        .or_else(|| memory_refused.then_some(LimitHit::Memory))
        .or_else(|| remains.disk.ledger.struck().then_some(LimitHit::Disk))
        .or_else(|| remains.desk.struck.load(Ordering::Relaxed).then_some(LimitHit::Calls))
        .or_else(|| (stdout.truncated || stderr.truncated).then_some(LimitHit::Output));
    let operations = remains.desk.asked.load(Ordering::Relaxed);
    let metrics = Metrics { wall, start, cpu: remains.spent.so_far(), peak_memory: remains.meter.peak(), operations };
    Ok(SandboxOutcome {
        return_code,
        stdout,
        stderr,
        result,
        files: remains.disk.produced(),
        metrics,
        limit,
        layers: remains.layers.iter().map(|layer| (*layer).to_owned()).collect(),
    })
}

/// The limit behind a trap: of the stack, or of what a guest may hold at its host, which has no error code inside.
fn trapped(error: &wasmtime::Error) -> Option<LimitHit> {
    tracing::debug!("a guest was stopped: {error:#}");
    match error.downcast_ref::<Trap>() {
        Some(Trap::StackOverflow) => Some(LimitHit::Stack),
        Some(_) => None,
        None => Some(LimitHit::Host),
    }
}

fn diverged_fault(diverged: &Diverged) -> Fault {
    Fault::new(ErrorCode::ReplayDiverged, format!("the program was interrupted before and does not do the same again: {diverged}"))
        .hint("what it had done by then stands in the log of its run; to start anew, change the program, if only by a comment")
        .details(serde_json::json!({ "operation": diverged.number }))
}
