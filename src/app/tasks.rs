//! Every background task of the process, so that the end of the process can wait for them.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::call::Spawner;

/// Starts tasks and knows which still run.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    /// Where tasks run, whoever starts them: a guest's thread has neither network nor files.
    runtime: Option<Handle>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self { tracker: TaskTracker::new(), runtime: Handle::try_current().ok() }
    }
}

impl Tasks {
    /// Waits for all tasks to end, at most `patience`; whether all did.
    pub async fn finish(&self, patience: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}

impl Spawner for Tasks {
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        tracing::trace!(task = name, "spawn");
        // What is begun for a call belongs to it, also in the log.
        let task = task.in_current_span();
        // The handle is not needed: the tracker knows the task, and nobody aborts it from outside.
        drop(match &self.runtime {
            Some(runtime) => self.tracker.spawn_on(task, runtime),
            None => self.tracker.spawn(task),
        });
    }
}
