//! The folder of each run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::confine::Folder;
use crate::domain::{Fault, RunId};

/// Open workspaces kept at hand; more than this and the ones nobody uses are let go.
const KEPT: usize = 64;

/// `<home>/runs/<run>/workspace` for every run, opened once.
pub(super) struct Workspaces {
    runs: PathBuf,
    open: Mutex<HashMap<RunId, Arc<Folder>>>,
}

impl Workspaces {
    pub(super) fn new(runs: PathBuf) -> Self {
        Self { runs, open: Mutex::default() }
    }

    /// The run's workspace, made where it is not there yet.
    pub(super) fn of(&self, run: RunId) -> Result<Arc<Folder>, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = open.get(&run) {
            return Ok(folder.clone());
        }
        if open.len() >= KEPT {
            open.retain(|_, folder| Arc::strong_count(folder) > 1);
        }
        let folder = Arc::new(Folder::create(&self.path(run))?);
        open.insert(run, folder.clone());
        Ok(folder)
    }

    /// Takes back a workspace that was made for a run that never began.
    pub(super) fn forget(&self, run: RunId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&run);
        // Only empty folders go; one that somebody wrote to stays.
        let _ = std::fs::remove_dir(self.path(run)).and_then(|()| std::fs::remove_dir(self.runs.join(run.to_string())));
    }

    /// Where the run's workspace is, whether it exists or not.
    pub(super) fn path(&self, run: RunId) -> PathBuf {
        self.runs.join(run.to_string()).join("workspace")
    }
}
