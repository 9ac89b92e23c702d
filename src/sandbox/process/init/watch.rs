//! Watches the job from beside it: ends everything when the server is gone, or when too much memory is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::protocol::{Report, launcher_side};
use super::{report, sys};

/// How often memory is looked at.
const PERIOD: Duration = Duration::from_millis(20);

/// A watch that runs.
pub(super) struct Watch(Arc<AtomicU64>);

impl Watch {
    /// Most bytes that all processes had at once, as far as was looked.
    pub(super) fn peak(&self) -> u64 {
        let largest = sys::usage_of_children().1;
        self.0.load(Ordering::Relaxed).max(largest)
    }
}

/// Begins to watch. This process forks no more from here on, so a thread does no harm.
pub(super) fn begin(memory: u64) -> Watch {
    let peak = Arc::new(AtomicU64::new(0));
    let seen = peak.clone();
    let watching = std::thread::Builder::new().name("watch".into()).stack_size(64 << 10).spawn(move || watch(memory, &seen));
    if watching.is_err() {
        // Without a watch nobody would end the job when the server goes.
        sys::exit_now(1);
    }
    Watch(peak)
}

fn watch(memory: u64, peak: &AtomicU64) {
    let socket = launcher_side();
    let period = Timespec { tv_sec: 0, tv_nsec: i64::try_from(PERIOD.as_nanos()).unwrap_or(20_000_000) };
    loop {
        let mut fds = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
        let is_over = poll(&mut fds, Some(&period)).is_ok_and(|ready| ready > 0);
        if is_over {
            // Nothing is ever sent to a job that runs: whatever comes is the end. With this process all others go.
            sys::exit_now(1);
        }
        let mut used = sum(quickly);
        if used > memory {
            // Forked processes share most of what they have; that is seen only by looking closely, which is slow.
            used = sum(closely);
        }
        peak.fetch_max(used, Ordering::Relaxed);
        if used > memory {
            report(&Report::Memory);
            sys::exit_now(1);
        }
    }
}

/// Bytes that all processes but this one hold in memory that is no file's.
fn sum(of: fn(u32) -> u64) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let numbers = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|number| *number != 1).map(of).fold(0, u64::saturating_add)
}

/// What several processes share counts for each of them.
fn quickly(process: u32) -> u64 {
    rows(&format!("/proc/{process}/status"), &["RssAnon:", "RssShmem:"]).unwrap_or(0)
}

/// What several processes share is divided among them.
fn closely(process: u32) -> u64 {
    rows(&format!("/proc/{process}/smaps_rollup"), &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]).unwrap_or_else(|| quickly(process))
}

/// The sum of some rows of a file under `/proc`, in bytes; nothing where it has none of them.
fn rows(path: &str, names: &[&str]) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let rows = text.lines().filter_map(|line| names.iter().find_map(|name| line.strip_prefix(name)));
    let kilobytes = rows.filter_map(|row| row.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.reduce(u64::saturating_add).map(|sum| sum.saturating_mul(1024))
}

/// Microseconds of processor time of all processes that ended and were waited for.
pub(super) fn processor_time() -> u64 {
    sys::usage_of_children().0
}
