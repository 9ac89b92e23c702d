//! A control group for one job's memory, below a folder that the operator has delegated, of either generation.
//!
//! Moving a process into a group costs as much as all other layers together, so without such a folder the launcher's watch bounds memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers the groups of this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A group; removed with this value, when its processes are gone.
pub(super) struct Cgroup {
    folder: PathBuf,
    generation: Generation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    First,
    Second,
}

impl Cgroup {
    /// A group whose processes may use this much memory together, files in memory included.
    pub(super) fn make(delegated: &Path, memory: u64) -> io::Result<Self> {
        let is_first = delegated.join("memory.limit_in_bytes").exists();
        let generation = if is_first { Generation::First } else { Generation::Second };
        if generation == Generation::Second {
            std::fs::write(delegated.join("cgroup.subtree_control"), "+memory")?;
        }
        let folder = delegated.join(format!("toolgate-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir(&folder)?;
        let group = Self { folder, generation };
        group.set(memory)?;
        Ok(group)
    }

    fn set(&self, memory: u64) -> io::Result<()> {
        match self.generation {
            Generation::First => std::fs::write(self.folder.join("memory.limit_in_bytes"), memory.to_string()),
            Generation::Second => {
                std::fs::write(self.folder.join("memory.max"), memory.to_string())?;
                std::fs::write(self.folder.join("memory.oom.group"), "1")
            }
        }
    }

    /// Puts a process in; those that it starts from then on are in as well.
    pub(super) fn add(&self, process: u32) -> io::Result<()> {
        std::fs::write(self.folder.join("cgroup.procs"), process.to_string())
    }

    /// Whether the kernel ended a process of the group for want of memory.
    pub(super) fn ran_out(&self) -> bool {
        let name = match self.generation {
            Generation::First => "memory.oom_control",
            Generation::Second => "memory.events",
        };
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.folder) {
            tracing::debug!(folder = %self.folder.display(), "a control group cannot be removed yet: {error}");
        }
    }
}

/// Removes groups of servers that are gone.
pub(super) fn sweep(delegated: &Path) {
    let Ok(entries) = std::fs::read_dir(delegated) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix("toolgate-")?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| owner != std::process::id() && !Path::new("/proc").join(owner.to_string()).exists()) {
            drop(std::fs::remove_dir(entry.path()));
        }
    }
}
