//! A guest that has not been given its call: an instance of the frozen interpreter with nothing to read, write or ask. Some are kept ready,
//! so that a call need not wait for one to be made.
//!
//! INVARIANT: an instance is given one call in its life. Ready ones have run none of the program's and none of the interpreter's code.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::WasiCtx;

use crate::sandbox::Tape;

use super::chance::Chance;
use super::desk::Desk;
use super::engine::{MOST_MEMORY, Ready};
use super::files::{Disk, Handles};
use super::guest::{Guest, bindings};
use super::pipes::{Capture, Feed};

/// What a guest may send over in one call to the host, in bytes: above the largest honest write, far below what would hurt.
const MOST_PER_HOSTCALL: usize = 8 << 20;

/// How many resources (streams, handles, timers) a guest may hold.
const MOST_RESOURCES: usize = 4_000;

/// How many random bytes one call may ask for.
const MOST_RANDOM: u64 = 1 << 20;

/// A guest without a call, and the ends of its pipes.
pub(super) struct Fresh {
    pub(super) store: Store<Guest>,
    pub(super) instance: bindings::Sandbox,
    pub(super) stdin: Feed,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
    pub(super) chance: Chance,
    pub(super) meter: Arc<Meter>,
}

/// Memory: what is allowed, and what was asked for.
pub(super) struct Meter {
    allowed: AtomicUsize,
    peak: AtomicU64,
    refused: AtomicBool,
}

impl Meter {
    /// Sets what is allowed; whether the guest has not more than that already.
    pub(super) fn allow(&self, bytes: usize) -> bool {
        self.allowed.store(bytes.min(MOST_MEMORY), Ordering::Relaxed);
        self.peak() <= bytes as u64
    }

    /// The most memory so far, in bytes.
    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether more was asked for than is allowed.
    pub(super) fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.meter.allowed.load(Ordering::Relaxed);
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

/// Makes one.
///
/// # Errors
/// Where the pool is full or the memory for it is not there.
pub(super) async fn make(ready: &Ready) -> wasmtime::Result<Fresh> {
    let (stdin, stdout, stderr, chance) = (Feed::default(), Capture::default(), Capture::default(), Chance::default());
    let wasi = WasiCtx::builder()
        .stdin(stdin.clone())
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .secure_random(chance.clone())
        .insecure_random(chance.clone())
        .wall_clock(chance.clone())
        .monotonic_clock(chance.clone())
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MOST_RANDOM)
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(MOST_RESOURCES);
    let meter = Arc::new(Meter { allowed: MOST_MEMORY.into(), peak: 0.into(), refused: false.into() });
    let guest = Guest { wasi, table, handles: Handles::default(), disk: Disk::empty(), desk: Desk::closed(), meter: meter.clone() };
    let mut store = Store::new(&ready.engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(MOST_PER_HOSTCALL);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let instance = ready.component.instantiate_async(&mut store).await?;
    Ok(Fresh { store, instance, stdin, stdout, stderr, chance, meter })
}

impl Fresh {
    /// Gives it randomness and time.
    pub(super) fn open(&self, tape: Arc<Tape>) {
        self.chance.open(tape);
    }
}

/// Those that are kept ready.
pub(super) struct Shelf {
    room: usize,
    kept: Mutex<Vec<Fresh>>,
}

impl Shelf {
    /// With room for so many.
    pub(super) fn new(room: usize) -> Self {
        Self { room, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Fresh>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, if there is one.
    pub(super) fn take(&self) -> Option<Fresh> {
        self.kept().pop()
    }

    /// Makes new ones until enough are ready.
    pub(super) async fn fill(&self, ready: &Ready) {
        while self.kept().len() < self.room {
            match make(ready).await {
                Ok(fresh) => {
                    let mut kept = self.kept();
                    // Others may have filled it meanwhile.
                    if kept.len() < self.room {
                        kept.push(fresh);
                    }
                }
                Err(error) => {
                    tracing::debug!("no guest is kept ready: {error:#}");
                    return;
                }
            }
        }
    }
}
