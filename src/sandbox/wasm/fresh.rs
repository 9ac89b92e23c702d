//! A guest that has not been given its call: an instance of the frozen interpreter, thawed, with nothing to read, write or ask. Some are kept
//! ready, so that a call need not wait for one to be made.
//!
//! INVARIANT: an instance is given one call in its life, and has run no program before it; its randomness is its own from the start.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::WasiCtx;

use crate::domain::Clock;
use crate::sandbox::Tape;

use super::chance::Chance;
use super::desk::Desk;
use super::engine::{MOST_MEMORY, Ready};
use super::files::{Disk, Handles, Ledger};
use super::guest::{Guest, Husk, bindings};
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
    pub(super) tape: Arc<Tape>,
    pub(super) disk: Disk,
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

/// Makes one, whose randomness and time come from `tape`. With a rehearsal it takes longer to make and its call is quicker.
///
/// # Errors
/// Where the pool is full or the memory for it is not there.
pub(super) async fn make(ready: &Ready, tape: Arc<Tape>, rehearse: bool) -> wasmtime::Result<Fresh> {
    let (stdin, stdout, stderr, chance) = (Feed::default(), Capture::default(), Capture::default(), Chance::new(tape.clone()));
    let disk = Disk::new(&ready.library, Ledger::new(0, 0, Arc::new(chance.clone())));
    let wasi = WasiCtx::builder()
        .stdin(stdin.clone())
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .secure_random(chance.clone())
        .insecure_random(chance.clone())
        .wall_clock(chance.clone())
        .monotonic_clock(chance)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MOST_RANDOM)
        .build();
    let mut table = ResourceTable::new();
    table.set_max_capacity(MOST_RESOURCES);
    let meter = Arc::new(Meter { allowed: MOST_MEMORY.into(), peak: 0.into(), refused: false.into() });
    let guest = Guest { wasi, table, handles: Handles::default(), disk: disk.clone(), desk: Desk::closed(), meter: meter.clone() };
    let mut store = Store::new(&ready.engine, guest);
    store.limiter(|guest| guest);
    store.set_hostcall_fuel(MOST_PER_HOSTCALL);
    store.set_epoch_deadline(1);
    store.epoch_deadline_async_yield_and_update(1);
    let instance = ready.component.instantiate_async(&mut store).await?;
    instance.call_thaw(&mut store, rehearse).await?;
    Ok(Fresh { store, instance, stdin, stdout, stderr, tape, disk, meter })
}

/// How long an answer has the processors for itself.
const LINGER: Duration = Duration::from_millis(2);

/// Those that are kept ready.
pub(super) struct Shelf {
    room: usize,
    kept: Mutex<Vec<Fresh>>,
    /// How many guests have begun.
    begun: AtomicU64,
}

impl Shelf {
    /// With room for so many.
    pub(super) fn new(room: usize) -> Self {
        Self { room, kept: Mutex::default(), begun: 0.into() }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Fresh>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of them, if there is one.
    pub(super) fn take(&self) -> Option<Fresh> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.kept().pop()
    }

    /// Gives an ended guest's memory back and, once it has been quiet for a little, makes new ones until enough are ready. Calls that come
    /// one after the other are better served by the processors than by what would be ready for the one after the next.
    pub(super) async fn refill(&self, ended: Option<Husk>, ready: &Ready, clock: &dyn Clock) {
        // Memory that is given back at once is used again at once, and is still warm; but giving it back takes a processor from the answer.
        let lingering = ended.filter(|husk| husk.was_kept);
        if self.room == 0 {
            return;
        }
        let begun = self.begun.load(Ordering::Relaxed);
        tokio::time::sleep(LINGER).await;
        drop(lingering);
        if self.begun.load(Ordering::Relaxed) != begun {
            // Whichever begins last makes them at its end.
            return;
        }
        while self.kept().len() < self.room {
            match make(ready, Arc::new(Tape::new(None, clock.now())), true).await {
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
