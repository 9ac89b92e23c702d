//! Carries the progress of a run's steps to whoever watches that run on the terminal, and messages to whoever sits before it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::call::{NoProgress, Progress};
use crate::cli::ports::StepNotes;
use crate::cli::text::printable;
use crate::domain::{RunId, StepId};
use crate::engine::ProgressOf;
use crate::tools::notify::{Notice, Sink};

/// Who watches which run.
#[derive(Default)]
pub(super) struct StepNotesOf {
    watchers: Mutex<HashMap<RunId, Arc<dyn StepNotes>>>,
}

/// Ends the watching when it goes.
pub(super) struct Watching {
    notes: Arc<StepNotesOf>,
    run: RunId,
}

impl StepNotesOf {
    /// Sends the notes of `run` to `watcher` until the guard is dropped.
    pub(super) fn watch(self: &Arc<Self>, run: RunId, watcher: Arc<dyn StepNotes>) -> Watching {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).insert(run, watcher);
        Watching { notes: self.clone(), run }
    }

    /// The port that the driver asks for a step's progress.
    pub(super) fn port(self: Arc<Self>) -> ProgressOf {
        Arc::new(move |run, step| match self.watchers.lock().unwrap_or_else(PoisonError::into_inner).get(run) {
            Some(watcher) => Arc::new(OfStep { watcher: watcher.clone(), step: step.clone() }),
            None => Arc::new(NoProgress),
        })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.notes.watchers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.run);
    }
}

struct OfStep {
    watcher: Arc<dyn StepNotes>,
    step: StepId,
}

impl Progress for OfStep {
    fn note(&self, message: &str, done: Option<f64>, total: Option<f64>) {
        self.watcher.note(&self.step, message, done, total);
    }
}

/// Shows messages where a person reads, with nothing in them that does something other than appear.
pub(super) struct OnTerminal<S>(pub(super) S);

#[async_trait]
impl<S: Sink> Sink for OnTerminal<S> {
    async fn show(&self, notice: &Notice) -> bool {
        let lines = |text: &String| text.split('\n').map(printable).collect::<Vec<_>>().join("\n");
        let title = notice.title.as_deref().map(printable);
        self.0.show(&Notice { title, message: lines(&notice.message), ..notice.clone() }).await
    }
}
