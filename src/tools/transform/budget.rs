//! What one filter may use up, counted on the thread that runs it.
//!
//! jaq has no fuel. But it asks for its table of terms before every step, each growth of a value passes through the value's own
//! operations, and both are ours: there this is called. Where a budget is used up the thread unwinds with a [`Stop`], which no filter can
//! catch as it could an error.
//!
//! INVARIANT: counters only fall, and belong to one thread and one filter. Does not measure time: the waiting side raises a flag.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Steps of the interpreter and of comparisons.
const STEPS: u64 = 5_000_000;
/// Bytes that values may allocate over the whole run.
const MEMORY: u64 = 256 << 20;
/// Bytes of one string: the longest that a regular expression goes through in about a second.
pub(super) const STRING: usize = 8 << 20;
/// How deep values may be nested.
pub(super) const DEPTH: u32 = 500;
/// Stack of the thread. Only what is touched costs memory; the most is for freeing what a stopped filter leaves: lists of up to a node a
/// step, which the interpreter frees by recursion. Without optimisation between 256 and 384 MiB were needed, with it less than 256.
pub(super) const STACK: usize = if cfg!(target_pointer_width = "64") { 1 << 30 } else { 256 << 20 };
/// Stack that evaluation may take.
const STACK_USED: usize = 48 << 20;

/// Why a filter was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Steps,
    Memory,
    Depth,
    Raised,
    Panicked,
}

thread_local! {
    static STEPS_LEFT: Cell<u64> = const { Cell::new(0) };
    static MEMORY_LEFT: Cell<u64> = const { Cell::new(0) };
    static BASE: Cell<usize> = const { Cell::new(0) };
    static RAISED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work` with a fresh budget, until it ends or `raised` is set.
pub(super) fn within<T>(raised: &Arc<AtomicBool>, work: impl FnOnce() -> T) -> Result<T, Stop> {
    STEPS_LEFT.set(STEPS);
    MEMORY_LEFT.set(MEMORY);
    BASE.set(here());
    RAISED.set(Some(Arc::clone(raised)));
    // All that `work` leaves behind is dropped with it, so nothing half done is seen.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| payload.downcast_ref::<Stop>().copied().unwrap_or(Stop::Panicked))
}

/// One step.
pub(super) fn step() {
    steps(1);
}

/// This many steps at once, for work inside one function.
pub(super) fn steps(many: u64) {
    match STEPS_LEFT.get().checked_sub(many) {
        Some(left) => STEPS_LEFT.set(left),
        None => stop(Stop::Steps),
    }
    if RAISED.with_borrow(|raised| raised.as_ref().is_some_and(|raised| raised.load(Ordering::Relaxed))) {
        stop(Stop::Raised);
    }
    if BASE.get().abs_diff(here()) > STACK_USED {
        stop(Stop::Depth);
    }
}

/// This many bytes more.
pub(super) fn charge(bytes: usize) {
    match MEMORY_LEFT.get().checked_sub(bytes as u64) {
        Some(left) => MEMORY_LEFT.set(left),
        None => stop(Stop::Memory),
    }
}

/// A string of this many bytes.
pub(super) fn charge_string(bytes: usize) {
    if bytes > STRING {
        stop(Stop::Memory);
    }
    charge(bytes);
}

/// A value nested this deep.
pub(super) fn check_depth(depth: u32) {
    if depth > DEPTH {
        stop(Stop::Depth);
    }
}

fn stop(why: Stop) -> ! {
    resume_unwind(Box::new(why))
}

/// About where the stack is now.
#[inline(never)]
fn here() -> usize {
    let marker = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&marker)).addr()
}
