//! The tape of a program: everything it saw that was not in its specification, so that it can be brought to the same point again.
//!
//! A program's run is fixed by its specification, one seed for all randomness, the readings of its clocks and the order in which finished
//! operations were handed to it. What it saw since its last operation is recorded with the next one ([`Seen`]); played back, the same
//! program asks for the same operations, and one that does not has diverged.
//!
//! INVARIANT: while recorded readings are left they are given, in order; after that live ones, which never go back behind the recorded.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::domain::{Digest, Timestamp};

use super::Answer;

/// The most readings and hand-overs that are kept for one operation; a program that looks at the clock more often cannot be played back.
const MOST: usize = 50_000;

/// What a program saw between two operations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The seed of its randomness; with the first operation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<[u8; 32]>,
    /// Readings of the monotonic clock: nanoseconds, each but the first as the difference to the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticks: Vec<u64>,
    /// Readings of the wall clock: nanoseconds since 1970, each but the first as the difference to the one before (which may be negative).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<i64>,
    /// The operations handed over as finished, in order; `null` where the program was told that none had finished in time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed: Vec<Option<u32>>,
    /// HTTP exchanges: no other record holds their answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<SeenHttp>,
    /// More was seen than is kept: the program cannot be played back beyond this point.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overflow: bool,
}

/// An HTTP exchange that a program had the answer of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenHttp {
    /// The operation's number.
    pub number: u32,
    /// [`super::Operation::digest`] of what was asked.
    pub digest: Digest,
    /// What came back.
    pub answer: super::HttpAnswer,
}

/// An operation of an earlier run of the same program.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// [`super::Operation::digest`] of what was asked, where that is known.
    pub digest: Option<Digest>,
    /// What came of it; `None` where it must be asked anew.
    pub answer: Option<Answer>,
}

/// An earlier run of the same program, up to where it was interrupted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recording {
    /// What it saw, all of it.
    pub seen: Seen,
    /// What it asked for, by number.
    pub operations: Vec<Recorded>,
}

/// Gives a program its randomness and time, from a recording where there is one, and records what it gives.
#[derive(Debug)]
pub struct Tape {
    seed: [u8; 32],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: Seen,
    ticks: Track<u64>,
    times: Track<i64>,
    handed: VecDeque<Option<u32>>,
    begun: Instant,
    /// The wall clock when the tape was made, and that moment.
    start: (Timestamp, Instant),
    /// Added to the live monotonic clock, so that it goes on where the recorded one ended.
    ahead: u64,
}

/// One clock: what is left to play, the last reading, and the last reading since the record was taken.
#[derive(Debug, Default)]
struct Track<T> {
    left: VecDeque<T>,
    played: T,
    recorded: T,
}

impl Tape {
    /// A tape that plays `recording` first, if there is one. `now` is the wall clock's time.
    #[must_use]
    pub fn new(recording: Option<&Recording>, now: Timestamp) -> Self {
        let seen = recording.map(|recording| recording.seen.clone()).unwrap_or_default();
        let seed = seen.seed.unwrap_or_else(rand::random);
        let state = State {
            seen: Seen { seed: seen.seed.is_none().then_some(seed), ..Seen::default() },
            ticks: Track { left: seen.ticks.into(), played: 0, recorded: 0 },
            times: Track { left: seen.times.into(), played: 0, recorded: 0 },
            handed: seen.handed.into(),
            begun: Instant::now(),
            start: (now, Instant::now()),
            ahead: 0,
        };
        Self { seed, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seed of all randomness.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.seed
    }

    /// A reading of the monotonic clock, in nanoseconds.
    pub fn tick(&self) -> u64 {
        let state = &mut *self.state();
        if let Some(difference) = state.ticks.left.pop_front() {
            state.ticks.played = state.ticks.played.saturating_add(difference);
            state.ticks.recorded = state.ticks.played;
            state.begun = Instant::now();
            state.ahead = state.ticks.played;
            return state.ticks.played;
        }
        let now = state.ahead.saturating_add(u64::try_from(state.begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        if state.seen.ticks.len() < MOST {
            state.seen.ticks.push(now.saturating_sub(state.ticks.recorded));
        } else {
            state.seen.overflow = true;
        }
        state.ticks.recorded = now;
        now
    }

    /// A reading of the wall clock: time since 1970.
    pub fn time(&self) -> Duration {
        let state = &mut *self.state();
        if let Some(difference) = state.times.left.pop_front() {
            state.times.played = state.times.played.saturating_add(difference);
            state.times.recorded = state.times.played;
            return Duration::from_nanos(u64::try_from(state.times.played).unwrap_or(0));
        }
        let (start, since) = state.start;
        let now = Duration::from_millis(start.unix_millis()) + since.elapsed();
        let nanos = i64::try_from(now.as_nanos()).unwrap_or(i64::MAX).max(state.times.played);
        if state.seen.times.len() < MOST {
            state.seen.times.push(nanos.saturating_sub(state.times.recorded));
        } else {
            state.seen.overflow = true;
        }
        state.times.recorded = nanos;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
    }

    /// What must be handed to the program next; `None` once the recording is played to its end.
    pub(super) fn due(&self) -> Option<Option<u32>> {
        self.state().handed.pop_front()
    }

    /// Notes what was handed to the program.
    pub(super) fn handed(&self, number: Option<u32>) {
        let state = &mut *self.state();
        if state.seen.handed.len() < MOST {
            state.seen.handed.push(number);
        } else {
            state.seen.overflow = true;
        }
    }

    /// Notes an HTTP answer that the program has now.
    pub(super) fn http(&self, number: u32, digest: Digest, answer: &super::HttpAnswer) {
        let state = &mut *self.state();
        let kept: usize = state.seen.http.iter().map(|seen| seen.answer.body.len()).sum();
        if kept + answer.body.len() <= MOST_BODIES {
            state.seen.http.push(SeenHttp { number, digest, answer: answer.clone() });
        } else {
            state.seen.overflow = true;
        }
    }

    /// Takes what the program saw since this was last asked.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut self.state().seen)
    }
}

/// The most bytes of HTTP bodies that are kept for one operation.
const MOST_BODIES: usize = 4 << 20;

impl Seen {
    /// Joins what was seen later to what was seen before.
    pub fn extend(&mut self, later: Self) {
        self.seed = self.seed.or(later.seed);
        self.ticks.extend(later.ticks);
        self.times.extend(later.times);
        self.handed.extend(later.handed);
        self.http.extend(later.http);
        self.overflow |= later.overflow;
    }
}

/// Bytes as base64 text.
pub(super) mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in crate::sandbox) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(in crate::sandbox) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(recording: Option<&Recording>) -> Tape {
        Tape::new(recording, Timestamp::from_unix_millis(1_700_000_000_000))
    }

    fn recorded() -> (Recording, Vec<u64>, Vec<Duration>) {
        let tape = fresh(None);
        let ticks: Vec<u64> = (0..5).map(|_| tape.tick()).collect();
        let times: Vec<Duration> = (0..3).map(|_| tape.time()).collect();
        let mut seen = tape.take();
        seen.extend(tape.take());
        (Recording { seen, operations: Vec::new() }, ticks, times)
    }

    #[test]
    fn what_was_recorded_is_played_and_time_goes_on_from_there() {
        let (recording, ticks, times) = recorded();
        let tape = fresh(Some(&recording));
        assert_eq!(Some(tape.seed()), recording.seen.seed);
        assert_eq!((0..5).map(|_| tape.tick()).collect::<Vec<_>>(), ticks);
        assert_eq!((0..3).map(|_| tape.time()).collect::<Vec<_>>(), times);
        assert!(tape.tick() >= *ticks.last().unwrap());
        assert!(tape.time() >= *times.last().unwrap());
    }

    #[test]
    fn a_recording_of_a_played_tape_joins_the_first() {
        let (mut recording, ..) = recorded();
        let tape = fresh(Some(&recording));
        let all: Vec<u64> = (0..8).map(|_| tape.tick()).collect();
        let later = tape.take();
        assert_eq!((later.ticks.len(), later.seed), (3, None));
        recording.seen.extend(later);
        let again = fresh(Some(&recording));
        assert_eq!((0..8).map(|_| again.tick()).collect::<Vec<_>>(), all);
    }

    #[test]
    fn tapes_differ_in_their_seed_and_survive_json() {
        assert_ne!(fresh(None).seed(), fresh(None).seed());
        let (recording, ..) = recorded();
        let text = serde_json::to_string(&recording.seen).unwrap();
        assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), recording.seen);
    }
}
