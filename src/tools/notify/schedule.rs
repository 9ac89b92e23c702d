//! When a letter is tried again. Pure.
//!
//! INVARIANT: attempts are bounded; who asks for time is not asked before it is over.

use crate::domain::{Millis, Timestamp};

/// The first pause, doubled from attempt to attempt, and the longest.
const FIRST: Millis = Millis(1_000);
const LONGEST: Millis = Millis(300_000);
/// Who asks for more time than this does not want the letter.
const MOST_ASKED: Millis = Millis(24 * 3_600_000);

/// When the next attempt is due, after `made` of `most`; `None` where there is none.
#[must_use]
pub fn next(made: u32, most: u32, asked: Option<Millis>, now: Timestamp) -> Option<Timestamp> {
    if made >= most || asked.is_some_and(|asked| asked > MOST_ASKED) {
        return None;
    }
    let doubled = FIRST.0.saturating_mul(1_u64.checked_shl(made.saturating_sub(1)).unwrap_or(u64::MAX));
    let pause = doubled.min(LONGEST.0).max(asked.map_or(0, |asked| asked.0));
    Some(now.plus(Millis(pause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_heed_what_is_asked_and_end() {
        let now = Timestamp::from_unix_millis(1_000_000);
        let pause = |made, asked: Option<u64>| next(made, 10, asked.map(Millis), now).map(|at| at.since(now).0);
        assert_eq!([1, 2, 3, 9].map(|made| pause(made, None)), [Some(1_000), Some(2_000), Some(4_000), Some(256_000)]);
        assert_eq!((pause(10, None), pause(70, None)), (None, None));
        assert_eq!(next(80, 100, None, now).unwrap().since(now), LONGEST);
        assert_eq!((pause(1, Some(7_000)), pause(9, Some(7_000))), (Some(7_000), Some(256_000)));
        assert_eq!(pause(1, Some(3_600_000)), Some(3_600_000), "also where it asks for more than the longest of ours");
        assert_eq!(pause(1, Some(MOST_ASKED.0 + 1)), None);
    }
}
