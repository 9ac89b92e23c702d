//! How often each service may be searched in a day, counted for all processes of a home.
//!
//! INVARIANT: a search is counted before it is sent; two processes cannot take the same last one. A count that cannot be read begins anew,
//! one that cannot be written refuses the search.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::{Clock, ErrorCode, Fault};

/// Longest count that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// The limits and the count.
#[derive(Clone)]
pub struct Quotas {
    /// Searches of each service in a day (UTC); those that are not named have no limit.
    pub daily: BTreeMap<String, u32>,
    /// Where they are counted.
    pub file: PathBuf,
    /// Tells the day.
    pub clock: Arc<dyn Clock>,
}

#[derive(Default, Serialize, Deserialize)]
struct Used {
    day: String,
    searches: BTreeMap<String, u32>,
}

impl Quotas {
    /// Counts one search of a service.
    ///
    /// # Errors
    /// `LIMIT_EXCEEDED` where the day's are used up; `INTERNAL` where they cannot be counted.
    pub(super) async fn count(&self, provider: &'static str) -> Result<(), Fault> {
        let Some(most) = self.daily.get(provider).copied() else { return Ok(()) };
        let quotas = self.clone();
        let counted = tokio::task::spawn_blocking(move || quotas.count_now(provider, most));
        let counted = counted.await.map_err(|_| Fault::internal("counting a search was broken off"))?;
        match counted {
            Ok(true) => Ok(()),
            Ok(false) => Err(Fault::new(
                ErrorCode::LimitExceeded,
                format!("`{provider}` was searched {most} times today, as often as the settings allow"),
            )
            .hint("wait until tomorrow (UTC), or the operator raises `web.daily`")),
            Err(error) => Err(Fault::internal(format!("searches cannot be counted in `{}`: {error}", self.file.display()))),
        }
    }

    fn count_now(&self, provider: &str, most: u32) -> std::io::Result<bool> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.file)?;
        // Held until the file is closed.
        file.lock()?;
        let mut text = String::new();
        let read = (&mut file).take(LONGEST).read_to_string(&mut text);
        let mut used: Used = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        let today: String = self.clock.now().to_string().chars().take(10).collect();
        if used.day != today {
            used = Used { day: today, searches: BTreeMap::new() };
        }
        let count = used.searches.entry(provider.to_owned()).or_default();
        if *count >= most {
            return Ok(false);
        }
        *count += 1;
        write(&mut file, &serde_json::to_vec(&used)?)?;
        Ok(true)
    }
}

fn write(file: &mut File, text: &[u8]) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text)
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

    #[tokio::test]
    async fn a_day_s_searches_are_counted_for_all_processes_and_begin_anew_tomorrow() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(At(Mutex::new("2026-01-31T23:59:00.000Z".parse().unwrap())));
        let quotas =
            || Quotas { daily: BTreeMap::from([("brave".to_owned(), 2)]), file: folder.path().join("a/count.json"), clock: clock.clone() };
        for _ in 0..2 {
            // Each as of another process.
            quotas().count("brave").await.unwrap();
        }
        let fault = quotas().count("brave").await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::LimitExceeded);
        quotas().count("wikipedia").await.unwrap();
        *clock.0.lock().unwrap() = "2026-02-01T00:00:00.000Z".parse().unwrap();
        quotas().count("brave").await.unwrap();
        std::fs::write(folder.path().join("a/count.json"), "{broken").unwrap();
        quotas().count("brave").await.unwrap();
    }

    #[test]
    fn the_last_search_goes_to_one_of_many() {
        let folder = tempfile::tempdir().unwrap();
        let quotas = Quotas {
            daily: BTreeMap::new(),
            file: folder.path().join("count.json"),
            clock: Arc::new(At(Mutex::new("2026-01-31T12:00:00.000Z".parse().unwrap()))),
        };
        let let_through: usize = std::thread::scope(|scope| {
            let tries: Vec<_> =
                (0..16).map(|_| scope.spawn(|| (0..10).filter(|_| quotas.count_now("brave", 50).unwrap()).count())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(let_through, 50);
    }
}
