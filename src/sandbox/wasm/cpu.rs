//! Processor time of one task, wherever its pieces run.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

/// Adds up the processor time that polling `task` takes.
pub(super) struct Metered<F> {
    task: Pin<Box<F>>,
    spent: Arc<Spent>,
}

/// The sum so far.
#[derive(Default)]
pub(super) struct Spent(AtomicU64);

impl Spent {
    pub(super) fn so_far(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl<F: Future> Metered<F> {
    pub(super) fn new(task: F, spent: Arc<Spent>) -> Self {
        Self { task: Box::pin(task), spent }
    }
}

impl<F: Future> Future for Metered<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let before = thread_time();
        let polled = self.task.as_mut().poll(context);
        let spent = thread_time().saturating_sub(before);
        self.spent.0.fetch_add(u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        polled
    }
}

#[cfg(unix)]
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(unix))]
fn thread_time() -> Duration {
    // Without a clock of the thread, the time that passes while the task is polled stands for it.
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}
