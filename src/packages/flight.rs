//! Work that several callers wait for at once, and that is done once.
//!
//! INVARIANT: work goes on as long as one of its callers waits for it, whichever of them began it, and is dropped when the last one has
//! given up. A failure is shared by those who waited; a later caller tries anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::domain::{Digest, ErrorCode, Fault};

/// How many notes may wait to be told; older ones are left out.
const NOTES: usize = 64;

type Outcome<T> = Result<Arc<T>, Fault>;
type Work<T> = Shared<BoxFuture<'static, Outcome<T>>>;

/// Work under way, by what it is about.
pub(super) struct Flights<T> {
    flying: Mutex<HashMap<Digest, Flight<T>>>,
}

struct Flight<T> {
    work: WeakShared<BoxFuture<'static, Outcome<T>>>,
    notes: Notes,
}

/// Where work tells what it is doing, to everybody who waits for it.
#[derive(Clone)]
pub(super) struct Notes(broadcast::Sender<String>);

impl Notes {
    /// Tells it; nobody need listen.
    pub(super) fn tell(&self, text: &str) {
        drop(self.0.send(text.to_owned()));
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { flying: Mutex::default() }
    }
}

impl<T: Send + Sync + 'static> Flights<T> {
    /// Waits for the work on `key`, which is begun with `start` if nobody is at it. `note` is told what it is doing.
    ///
    /// # Errors
    /// The work's own; `CANCELLED` where this caller gave up.
    pub(super) async fn join<F>(
        &self,
        key: Digest,
        cancel: &CancellationToken,
        note: &(dyn Fn(&str) + Send + Sync),
        start: impl FnOnce(Notes) -> F + Send,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let (mut work, mut told) = self.board(key, start);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    return Err(Fault::new(ErrorCode::Cancelled, "the call was cancelled while it waited for its packages"));
                }
                Ok(text) = told.recv() => note(&text),
                outcome = &mut work => {
                    // What was told with its last step.
                    while let Ok(text) = told.try_recv() {
                        note(&text);
                    }
                    return outcome;
                }
            }
        }
    }

    fn board<F>(&self, key: Digest, start: impl FnOnce(Notes) -> F) -> (Work<T>, broadcast::Receiver<String>)
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = flying.get(&key).and_then(|flight| Some((flight.work.upgrade()?, flight.notes.0.subscribe())));
        if let Some(found) = under_way {
            return found;
        }
        flying.retain(|_, flight| flight.work.upgrade().is_some());
        let (sender, told) = broadcast::channel(NOTES);
        let notes = Notes(sender);
        let work = start(notes.clone()).boxed().shared();
        if let Some(weak) = work.downgrade() {
            flying.insert(key, Flight { work: weak, notes });
        }
        (work, told)
    }
}
