//! Randomness and time of one guest, from its tape.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _, TryRng};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};

use crate::domain::{Clock, Timestamp};
use crate::sandbox::Tape;

/// Where one guest's randomness and time come from. Clones share it.
#[derive(Clone)]
pub(super) struct Chance(Arc<Source>);

struct Source {
    tape: Arc<Tape>,
    generator: Mutex<StdRng>,
}

impl Chance {
    pub(super) fn new(tape: Arc<Tape>) -> Self {
        // A cryptographic generator, seeded by the system's (or, when played back, as before).
        let generator = Mutex::new(StdRng::from_seed(tape.seed()));
        Self(Arc::new(Source { tape, generator }))
    }

    fn with<T>(&self, act: impl FnOnce(&mut StdRng) -> T) -> T {
        act(&mut self.0.generator.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TryRng for Chance {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.with(|generator| generator.next_u32()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.with(|generator| generator.next_u64()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.with(|generator| generator.fill_bytes(bytes));
        Ok(())
    }
}

impl HostMonotonicClock for Chance {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        self.0.tape.tick()
    }
}

impl HostWallClock for Chance {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }
    fn now(&self) -> Duration {
        self.0.tape.time()
    }
}

/// The times of the guest's files, which it can see as well.
impl Clock for Chance {
    fn now(&self) -> Timestamp {
        let time = self.0.tape.time();
        Timestamp::from_unix_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}
