//! Counts of a day that all processes of a home share, in a small file beside the database: nobody has to prove them, so they are no records.
//!
//! INVARIANT: two processes cannot take the same last one. Counts that cannot be read begin anew; one that cannot be written is an error.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::Fault;

/// Longest file that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// The counts in one file.
#[derive(Debug, Clone)]
pub struct Tally {
    file: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Used {
    day: String,
    counts: BTreeMap<String, u32>,
}

impl Tally {
    /// The counts in this file, which need not be there yet.
    #[must_use]
    pub fn of(file: PathBuf) -> Self {
        Self { file }
    }

    /// Counts one more of `what` on this day, where fewer than `most` were counted; whether it was.
    ///
    /// # Errors
    /// `INTERNAL` where the file cannot be written.
    pub async fn take(&self, what: &str, day: &str, most: u32) -> Result<bool, Fault> {
        let (tally, what, day) = (self.clone(), what.to_owned(), day.to_owned());
        let taken = tokio::task::spawn_blocking(move || tally.take_now(&what, &day, most));
        let taken = taken.await.map_err(|_| Fault::internal("counting was broken off"))?;
        taken.map_err(|error| Fault::internal(format!("nothing can be counted in `{}`: {error}", self.file.display())))
    }

    fn take_now(&self, what: &str, day: &str, most: u32) -> std::io::Result<bool> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.file)?;
        // Held until the file is closed.
        file.lock()?;
        let mut text = String::new();
        let read = (&mut file).take(LONGEST).read_to_string(&mut text);
        let mut used: Used = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
        if used.day != day {
            used = Used { day: day.to_owned(), counts: BTreeMap::new() };
        }
        let count = used.counts.entry(what.to_owned()).or_default();
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
    use super::*;

    #[tokio::test]
    async fn a_day_s_counts_are_shared_and_begin_anew_tomorrow() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/count.json");
        // Each as of another process.
        let take = async |what: &str, day: &str| Tally::of(file.clone()).take(what, day, 2).await.unwrap();
        assert_eq!((take("x", "1").await, take("x", "1").await, take("x", "1").await), (true, true, false));
        assert!(take("y", "1").await && take("x", "2").await);
        std::fs::write(&file, "{broken").unwrap();
        assert!(take("x", "2").await && take("x", "2").await && !take("x", "2").await);
    }

    #[test]
    fn the_last_one_goes_to_one_of_many() {
        let folder = tempfile::tempdir().unwrap();
        let tally = Tally::of(folder.path().join("count.json"));
        let taken: usize = std::thread::scope(|scope| {
            let tries: Vec<_> =
                (0..16).map(|_| scope.spawn(|| (0..10).filter(|_| tally.take_now("x", "1", 50).unwrap()).count())).collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(taken, 50);
    }
}
