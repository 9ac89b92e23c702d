//! One guest, from its empty store to its outcome.
//!
//! INVARIANT: whatever ends the guest (its end, a trap, its time, the cancel), its store is gone when [`run`] returns, and what it had
//! written by then is in the outcome.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store, Trap};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

use crate::domain::{Clock, ErrorCode, Fault};
use crate::sandbox::{Entry, LimitHit, Metrics, SandboxLimits, SandboxOutcome, SandboxSpec};

use super::cpu::{Metered, Spent};
use super::engine::{MOST_MEMORY, Ready};
use super::files::{Disk, FilesView, Handles, Ledger};
use super::pipes::{Capture, Feed};
use super::{cancelled, failed};

/// What stands between a guest and the machine.
const LAYERS: &[&str] = &["wasm", "memory-files", "no-network", "no-environment", "own-threads"];

/// What a guest may send over in one call to the host, in bytes: above the largest honest write, far below what would hurt.
const MOST_PER_HOSTCALL: usize = 8 << 20;

/// How many resources (streams, handles, timers) a guest may hold.
const MOST_RESOURCES: usize = 4_000;

/// How many random bytes one call may ask for.
const MOST_RANDOM: u64 = 1 << 20;

pub(super) mod bindings {
    wasmtime::component::bindgen!({ path: "python-runtime/wit", world: "sandbox", exports: { default: async } });
}

/// A guest's store: all that host functions can reach.
pub(super) struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
    handles: Handles,
    disk: Disk,
    meter: Arc<Meter>,
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

/// Memory: what is allowed, and what was asked for.
struct Meter {
    allowed: usize,
    peak: AtomicU64,
    refused: AtomicBool,
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.meter.allowed;
        if fits {
            self.meter.peak.fetch_max(desired as u64, Ordering::Relaxed);
        } else {
            self.meter.refused.store(true, Ordering::Relaxed);
        }
        Ok(fits)
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        // The pool's fixed size is the limit.
        Ok(true)
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
    spent: Arc<Spent>,
}

/// Runs one guest. Must be polled on the guests' own threads.
///
/// # Errors
/// `PATH_REFUSED` or `INVALID_INPUT` for the specification, `CANCELLED`, `SANDBOX_FAILED`.
pub(super) async fn run(
    ready: Arc<Ready>,
    spec: SandboxSpec,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
) -> Result<SandboxOutcome, Fault> {
    let begun = Instant::now();
    let _beat = ready.ticker.beat();
    let limits = spec.limits;
    let ledger = Ledger::new(limits.disk.0, u64::from(limits.files), clock);
    let remains = Remains {
        stdout: Capture::new(limits.stdout.as_usize()),
        stderr: Capture::new(limits.stderr.as_usize()),
        disk: Disk::lay_out(&ready.library, &spec.files, ledger)?,
        meter: Arc::new(Meter { allowed: limits.memory.as_usize().min(MOST_MEMORY), peak: 0.into(), refused: false.into() }),
        spent: Arc::new(Spent::default()),
    };
    let started = Arc::new(AtomicU64::new(0));
    let store = store(&ready, spec.stdin, &remains);
    let request = request(spec.entry, spec.args, spec.input.as_ref(), limits)?;
    let play = Metered::new(play(ready.clone(), store, request, begun, started.clone()), remains.spent.clone());
    // The guest yields at each tick of the epoch, so the other branches are looked at even while it is busy.
    let end = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(cancelled()),
        () = tokio::time::sleep(limits.wall.duration()) => End::OutOfTime,
        end = play => end,
    };
    let wall = begun.elapsed();
    let start = Duration::from_nanos(started.load(Ordering::Relaxed));
    // Freeing a large guest's memory, its files and hashing nothing: all after the clock has stopped.
    outcome(end, &remains, wall, if start.is_zero() { wall } else { start })
}

fn store(ready: &Ready, stdin: Vec<u8>, remains: &Remains) -> Store<Guest> {
    let wasi = WasiCtx::builder()
        .stdin(Feed::new(stdin))
        .stdout(remains.stdout.clone())
        .stderr(remains.stderr.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MOST_RANDOM)
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(MOST_RESOURCES);
    let guest = Guest { wasi, table, handles: Handles::default(), disk: remains.disk.clone(), meter: remains.meter.clone() };
    let mut store = Store::new(&ready.engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(MOST_PER_HOSTCALL);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    store
}

fn request(entry: Entry, args: Vec<String>, input: Option<&serde_json::Value>, limits: SandboxLimits) -> Result<bindings::Request, Fault> {
    if args.iter().any(|arg| arg.contains('\0')) {
        return Err(Fault::new(ErrorCode::InvalidInput, "an argument holds a NUL character"));
    }
    let entry = match entry {
        Entry::Code(code) => bindings::Entry::Code(code),
        Entry::File(path) => bindings::Entry::File(path),
        Entry::Module(name) => bindings::Entry::Module(name),
    };
    let result_limit = u32::try_from(limits.result.0).unwrap_or(u32::MAX).min(4 << 20);
    Ok(bindings::Request { entry, args, input: input.map(serde_json::Value::to_string), result_limit })
}

async fn play(ready: Arc<Ready>, mut store: Store<Guest>, request: bindings::Request, begun: Instant, started: Arc<AtomicU64>) -> End {
    let instance = match ready.component.instantiate_async(&mut store).await {
        Ok(instance) => instance,
        Err(error) => return End::Trapped(error),
    };
    started.store(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    match instance.call_run(&mut store, &request).await {
        Ok(outcome) => End::Returned(outcome),
        Err(error) => End::Trapped(error),
    }
}

fn outcome(end: End, remains: &Remains, wall: Duration, start: Duration) -> Result<SandboxOutcome, Fault> {
    let mut stderr = remains.stderr.take();
    let mut result = None;
    let mut stopped = None;
    let return_code = match end {
        End::Returned(outcome) => {
            result = outcome.result.as_deref().and_then(|json| serde_json::from_str(json).ok());
            outcome.return_code
        }
        End::OutOfTime => {
            stopped = Some(LimitHit::Time);
            124
        }
        End::Trapped(error) => match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
            (Some(exit), _) => exit.0,
            (None, Some(trap)) => {
                stopped = (*trap == Trap::StackOverflow).then_some(LimitHit::Stack);
                stderr.bytes.extend_from_slice(format!("\nthe interpreter was stopped: {trap}\n").as_bytes());
                134
            }
            (None, None) if remains.meter.peak.load(Ordering::Relaxed) == 0 && remains.meter.refused.load(Ordering::Relaxed) => {
                return Err(Fault::new(ErrorCode::LimitExceeded, "the interpreter itself needs more memory than the call allows")
                    .hint("allow at least 64 MB"));
            }
            // A host function refused in a way that has no error code inside: a guest that holds too much.
            (None, None) if remains.meter.peak.load(Ordering::Relaxed) > 0 => {
                tracing::debug!("a guest was stopped: {error:#}");
                stderr.bytes.extend_from_slice(format!("\nthe interpreter was stopped: {error}\n").as_bytes());
                134
            }
            (None, None) => return Err(failed(format!("the guest could not be started: {error:#}"))),
        },
    };
    let stdout = remains.stdout.take();
    let memory_refused = return_code != 0 && remains.meter.refused.load(Ordering::Relaxed);
    let limit = stopped
        .or_else(|| memory_refused.then_some(LimitHit::Memory))
        .or_else(|| remains.disk.ledger.struck().then_some(LimitHit::Disk))
        .or_else(|| (stdout.truncated || stderr.truncated).then_some(LimitHit::Output));
    let peak_memory = remains.meter.peak.load(Ordering::Relaxed);
    let metrics = Metrics { wall, start, cpu: remains.spent.so_far(), peak_memory };
    Ok(SandboxOutcome { return_code, stdout, stderr, result, files: remains.disk.produced(), metrics, limit, layers: LAYERS })
}
