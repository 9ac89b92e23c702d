//! How often each service may be searched in a day (UTC), counted for all processes of a home.
//!
//! INVARIANT: a search is counted before it is sent; one that cannot be counted is not sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{Clock, ErrorCode, Fault};

/// Counts what was done on a day.
#[async_trait]
pub trait Tally: Send + Sync {
    /// Counts one more, where fewer than `most` were counted on that day; whether it was.
    ///
    /// # Errors
    /// Where it cannot be counted.
    async fn take(&self, what: &str, day: &str, most: u32) -> Result<bool, Fault>;
}

/// The limits and the count.
#[derive(Clone)]
pub struct Quotas {
    /// Searches of each service in a day; those that are not named have no limit.
    pub daily: BTreeMap<String, u32>,
    /// Where they are counted.
    pub tally: Arc<dyn Tally>,
    /// Tells the day.
    pub clock: Arc<dyn Clock>,
}

impl Quotas {
    /// Counts one search of a service.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED` where the day's are used up; `INTERNAL` where they cannot be counted.
    pub(super) async fn count(&self, provider: &str) -> Result<(), Fault> {
        let Some(most) = self.daily.get(provider).copied() else { return Ok(()) };
        let today: String = self.clock.now().to_string().chars().take(10).collect();
        if self.tally.take(provider, &today, most).await? {
            return Ok(());
        }
        let said = format!("`{provider}` was searched {most} times today, as often as the settings allow");
        Err(Fault::new(ErrorCode::LimitExceeded, said).hint("wait until tomorrow (UTC), or the operator raises `web.daily`"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::domain::Timestamp;

    struct At(Mutex<Timestamp>);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    #[derive(Default)]
    struct Counts(Mutex<BTreeMap<(String, String), u32>>);

    #[async_trait]
    impl Tally for Counts {
        async fn take(&self, what: &str, day: &str, most: u32) -> Result<bool, Fault> {
            let mut counts = self.0.lock().unwrap();
            let count = counts.entry((what.to_owned(), day.to_owned())).or_default();
            *count += 1;
            Ok(*count <= most)
        }
    }

    #[tokio::test]
    async fn a_service_is_searched_as_often_as_the_settings_allow_on_each_day() {
        let clock = Arc::new(At(Mutex::new("2026-01-31T23:59:00.000Z".parse().unwrap())));
        let quotas = Quotas { daily: BTreeMap::from([("brave".to_owned(), 2)]), tally: Arc::new(Counts::default()), clock: clock.clone() };
        for _ in 0..2 {
            quotas.count("brave").await.unwrap();
        }
        assert_eq!(quotas.count("brave").await.unwrap_err().code, ErrorCode::LimitExceeded);
        quotas.count("wikipedia").await.unwrap();
        *clock.0.lock().unwrap() = "2026-02-01T00:00:00.000Z".parse().unwrap();
        quotas.count("brave").await.unwrap();
    }
}
