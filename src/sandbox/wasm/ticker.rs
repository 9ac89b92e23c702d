//! The pulse that lets a busy guest be interrupted: a thread of its own, as the guests' threads may all be busy.
//!
//! INVARIANT: while at least one guest lives, the engine's epoch grows every [`PERIOD`]; while none lives, the thread sleeps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

/// How long a guest can go on at most before it is looked at.
const PERIOD: Duration = Duration::from_millis(10);

/// The pulse. It ends when this is dropped.
pub(super) struct Ticker(Arc<Shared>);

/// Keeps the pulse going.
pub(super) struct Beat(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    guests: usize,
    ended: bool,
}

impl Shared {
    fn change(&self, act: impl FnOnce(&mut State)) {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() });
        let (ours, engine) = (shared.clone(), engine.weak());
        std::thread::Builder::new().name("toolgate-epoch".into()).spawn(move || {
            loop {
                let state = ours.state.lock().unwrap_or_else(PoisonError::into_inner);
                let state = ours.wake.wait_while(state, |state| state.guests == 0 && !state.ended).unwrap_or_else(PoisonError::into_inner);
                let ended = state.ended;
                drop(state);
                match engine.upgrade() {
                    Some(engine) if !ended => engine.increment_epoch(),
                    _ => return,
                }
                std::thread::sleep(PERIOD);
            }
        })?;
        Ok(Self(shared))
    }

    /// For as long as a guest lives.
    pub(super) fn beat(&self) -> Beat {
        self.0.change(|state| state.guests += 1);
        Beat(self.0.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.change(|state| state.ended = true);
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.change(|state| state.guests = state.guests.saturating_sub(1));
    }
}
