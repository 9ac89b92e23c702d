//! The machine's clock behind the port.

use crate::domain::{Clock, Timestamp};

/// Reads the system's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port's one implementation")]
    fn now(&self) -> Timestamp {
        let millis = jiff::Timestamp::now().as_millisecond();
        Timestamp::from_unix_millis(u64::try_from(millis).unwrap_or_default())
    }
}
