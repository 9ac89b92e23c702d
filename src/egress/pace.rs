//! How many requests a second one host gets from this process, whoever asks.
//!
//! INVARIANT: a hop waits for its turn before anything is sent; who waits may stop waiting. Memory is bounded by the hosts of late.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::Origin;

/// Hosts remembered before those that are at rest are forgotten.
const MOST_HOSTS: usize = 4096;

/// A bound on the requests to each host.
#[derive(Clone)]
pub struct Pace {
    limiter: Arc<DefaultKeyedRateLimiter<String>>,
}

impl Pace {
    /// So many requests a second for each host, and so many at once after a rest.
    #[must_use]
    pub fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { limiter: Arc::new(RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst))) }
    }

    /// Returns when it is this host's turn again.
    pub(super) async fn turn(&self, origin: &Origin) {
        if self.limiter.len() > MOST_HOSTS {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.until_key_ready(&origin.to_string()).await;
    }
}
