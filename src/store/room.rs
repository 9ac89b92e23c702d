//! Room on the disk: how much there is, how much the home and a run take, and a reserve for what must still be recorded.
//!
//! INVARIANT: whatever is refused here is refused before it begins, and only for as long as there is no room: nothing has to be restarted.
//! The reserve is given up for a write that found none, never for one that has not begun. Does not free anything else.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use crate::domain::{Bytes, ErrorCode, Fault, RunId};

use super::fault::{Doing as _, FREE_ROOM};
use super::home;

/// For how long a sum of file sizes is good enough.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// The reserve: enough for the outcomes of the calls that are in hand when the disk becomes full.
const RESERVE: u64 = 8 << 20;
/// Runs whose sizes are remembered.
const REMEMBERED: usize = 1024;

/// How much may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomLimits {
    /// Most bytes of the whole home.
    pub home: Option<Bytes>,
    /// Most bytes of one run's workspace.
    pub run: Option<Bytes>,
    /// New calls are refused while the disk has less than this left.
    pub free: Bytes,
}

/// What is taken and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes of the home's files.
    pub home: u64,
    /// Bytes that are left on its disk.
    pub free: u64,
}

/// Why a call may not begin.
#[derive(Debug, Clone)]
pub struct NoRoom {
    /// As the caller is told.
    pub fault: Fault,
    /// Whether there is still room to record that.
    pub may_record: bool,
}

/// A file that takes room away, to be given up when it is needed.
#[derive(Debug, Clone)]
pub(super) struct Reserve(PathBuf);

impl Reserve {
    pub(super) fn of(home: &Path) -> Self {
        Self(home.join("ballast"))
    }

    /// Takes the room, unless it is taken.
    fn take(&self) -> io::Result<()> {
        if self.0.exists() {
            return Ok(());
        }
        let file = home::open_private(&self.0)?;
        let taken = fill(&file);
        if taken.is_err() {
            drop(std::fs::remove_file(&self.0));
        }
        taken
    }

    /// Gives it up; `false` where it was given up already.
    pub(super) fn give_up(&self) -> bool {
        std::fs::remove_file(&self.0).is_ok()
    }
}

#[cfg(target_os = "linux")]
fn fill(file: &std::fs::File) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, RESERVE)?)
}

#[cfg(not(target_os = "linux"))]
fn fill(file: &std::fs::File) -> io::Result<()> {
    let mut left = file;
    io::copy(&mut io::Read::take(io::repeat(0), RESERVE), &mut left).map(drop)
}

/// The room of one home.
pub(super) struct Room {
    home: PathBuf,
    limits: RoomLimits,
    reserve: Reserve,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    home: Option<(Instant, u64)>,
    runs: HashMap<RunId, (Instant, u64)>,
}

impl Room {
    pub(super) fn new(home: &Path, limits: RoomLimits) -> Self {
        let room = Self { home: home.to_owned(), limits, reserve: Reserve::of(home), known: Mutex::default() };
        room.keep_reserve();
        room
    }

    /// Whether a call of this run may begin.
    pub(super) async fn check(&self, run: &RunId) -> Result<(), NoRoom> {
        let least = self.limits.free.0;
        let free = free(&self.home).map_err(|fault| NoRoom { fault, may_record: true })?;
        if free < least {
            let fault =
                full(format!("the disk of the home has {free} bytes left, and {least} are kept free"), json!({ "free_bytes": free }));
            return Err(NoRoom { fault, may_record: free >= least / 2 });
        }
        if free >= least.saturating_add(2 * RESERVE) {
            self.keep_reserve();
        }
        let told = |fault| NoRoom { fault, may_record: true };
        if let Some(most) = self.limits.home {
            let used = self.used().await.map_err(told)?;
            if used >= most.0 {
                return Err(told(full(format!("the home takes {used} bytes, and may take {}", most.0), json!({ "used_bytes": used }))));
            }
        }
        if let Some(most) = self.limits.run {
            let used = self.used_by(run).await.map_err(told)?;
            if used >= most.0 {
                let said = format!("the workspace of run `{run}` takes {used} bytes, and may take {}", most.0);
                return Err(told(full(said, json!({ "used_bytes": used })).hint("remove files from the workspace, or begin another run")));
            }
        }
        Ok(())
    }

    fn keep_reserve(&self) {
        if let Err(error) = self.reserve.take() {
            tracing::debug!("no reserve is kept on the home's disk: {error}");
        }
    }

    async fn used(&self) -> Result<u64, Fault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).home;
        if let Some((_, used)) = known.filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return Ok(used);
        }
        let used = walked(self.home.clone()).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).home = Some((Instant::now(), used));
        Ok(used)
    }

    async fn used_by(&self, run: &RunId) -> Result<u64, Fault> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).runs.get(run).copied();
        if let Some((_, used)) = known.filter(|(at, _)| at.elapsed() < GOOD_FOR) {
            return Ok(used);
        }
        let used = walked(self.home.join("runs").join(run.to_string())).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.runs.len() >= REMEMBERED {
            known.runs.clear();
        }
        known.runs.insert(*run, (Instant::now(), used));
        Ok(used)
    }
}

fn full(message: String, details: serde_json::Value) -> Fault {
    Fault::new(ErrorCode::StorageFull, message).hint(FREE_ROOM).details(details)
}

/// What a home takes and what its disk has left.
pub(super) async fn usage(home: &Path) -> Result<Usage, Fault> {
    Ok(Usage { home: walked(home.to_owned()).await?, free: free(home)? })
}

/// Bytes that are left on the disk for us.
fn free(path: &Path) -> Result<u64, Fault> {
    #[cfg(unix)]
    {
        let about = rustix::fs::statvfs(path).map_err(io::Error::from).doing("asking how much room the disk has")?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(u64::MAX)
    }
}

/// The sizes of all files below a folder; links are not followed, and what vanishes meanwhile counts for nothing.
async fn walked(folder: PathBuf) -> Result<u64, Fault> {
    let walk = move || {
        let (mut open, mut sum) = (vec![folder], 0_u64);
        while let Some(folder) = open.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.flatten() {
                match entry.metadata() {
                    Ok(about) if about.is_dir() => open.push(entry.path()),
                    Ok(about) => sum = sum.saturating_add(about.len()),
                    Err(_) => {}
                }
            }
        }
        sum
    };
    tokio::task::spawn_blocking(walk).await.map_err(|_| Fault::internal("adding up file sizes was broken off"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    const NONE: RoomLimits = RoomLimits { home: None, run: None, free: Bytes(0) };

    fn run() -> RunId {
        RunId::mint(Timestamp::from_unix_millis(1))
    }

    #[tokio::test]
    async fn a_limit_refuses_until_there_is_room_again() {
        let (home, run) = (tempfile::tempdir().unwrap(), run());
        let room = |limits| Room::new(home.path(), limits);
        assert!(room(NONE).check(&run).await.is_ok());
        let greedy = RoomLimits { free: Bytes(u64::MAX), ..NONE };
        let refused = room(greedy).check(&run).await.unwrap_err();
        assert_eq!((refused.fault.code, refused.may_record), (ErrorCode::StorageFull, false));

        let small = RoomLimits { home: Some(Bytes(RESERVE + 100)), ..NONE };
        std::fs::write(home.path().join("a"), [0; 200]).unwrap();
        assert_eq!(room(small).check(&run).await.unwrap_err().fault.code, ErrorCode::StorageFull);
        std::fs::remove_file(home.path().join("a")).unwrap();
        assert!(room(small).check(&run).await.is_ok());

        let each = RoomLimits { run: Some(Bytes(100)), ..NONE };
        let workspace = home.path().join("runs").join(run.to_string()).join("workspace");
        std::fs::create_dir_all(&workspace).unwrap();
        std::fs::write(workspace.join("a"), [0; 200]).unwrap();
        let refused = room(each).check(&run).await.unwrap_err();
        assert!(refused.may_record && refused.fault.message.contains("workspace"), "{refused:?}");
        assert!(room(each).check(&RunId::mint(Timestamp::from_unix_millis(2))).await.is_ok());
    }

    #[test]
    fn the_reserve_is_taken_and_given_up_once() {
        let home = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(home.path());
        assert!(!reserve.give_up());
        reserve.take().unwrap();
        reserve.take().unwrap();
        assert_eq!(std::fs::metadata(home.path().join("ballast")).unwrap().len(), RESERVE);
        assert!(reserve.give_up() && !reserve.give_up());
    }
}
