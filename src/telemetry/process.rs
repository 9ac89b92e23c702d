//! What the system knows of this process.

use std::time::Duration;

/// A look at the process; what the system does not tell is left out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Process {
    /// Bytes of memory that are its own now.
    pub(super) resident: Option<u64>,
    /// Time of processors that it used, its own and in the kernel.
    pub(super) cpu: Option<Duration>,
    /// Files, sockets and the like that it has open.
    pub(super) open_files: Option<u64>,
}

impl Process {
    #[cfg(target_os = "linux")]
    pub(super) fn look() -> Self {
        let pages = || {
            let text = std::fs::read_to_string("/proc/self/statm").ok()?;
            text.split(' ').nth(1)?.parse::<u64>().ok()
        };
        let ticks = || {
            let text = std::fs::read_to_string("/proc/self/stat").ok()?;
            // The program's name stands in parentheses and may hold spaces. User and system time are the 14th and 15th field.
            let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
            Some(fields.next()?.parse::<u64>().ok()?.saturating_add(fields.next()?.parse().ok()?))
        };
        let second = rustix::param::clock_ticks_per_second().max(1);
        Self {
            resident: pages().map(|pages| pages.saturating_mul(rustix::param::page_size() as u64)),
            cpu: ticks().map(|ticks| Duration::from_millis(ticks.saturating_mul(1_000) / second)),
            // One of them is the look itself.
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn look() -> Self {
        Self::default()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_the_process_uses() {
        let mut sum = 0_u64;
        while Process::look().cpu.unwrap() < Duration::from_millis(20) {
            sum = (0..1_000_000_u64).fold(sum, |sum, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        let seen = Process::look();
        assert!(seen.resident.unwrap() > 1 << 20 && seen.open_files.unwrap() >= 3, "{seen:?} {sum}");
    }
}
