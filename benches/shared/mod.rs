//! What several benchmarks measure with: the disk's floor, processor time, medians.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, SqliteConnection};

/// What a benchmark comes to, or why it stopped.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What the disk costs by itself: one row, one `synchronous=FULL` commit.
pub struct Committer(SqliteConnection);

impl Committer {
    /// In a new database.
    pub async fn open(path: &std::path::Path) -> Outcome<Self> {
        let mut database = SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await?;
        for pragma in ["PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (x BLOB) STRICT"] {
            database.execute(pragma).await?;
        }
        Ok(Self(database))
    }

    /// One commit, and how long it took.
    pub async fn one(&mut self) -> Outcome<Duration> {
        let begun = Instant::now();
        sqlx::query("INSERT INTO t VALUES (?)").bind(vec![7_u8; 800]).execute(&mut self.0).await?;
        Ok(begun.elapsed())
    }
}

/// Processor time that this process used so far.
pub fn used_here() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// The middle one.
pub fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    at(&spans, 50)
}

/// The one that so many of a hundred are not above; `spans` is sorted.
pub fn at(spans: &[Duration], percent: usize) -> Duration {
    spans.get(spans.len() * percent / 100).or(spans.last()).copied().unwrap_or_default()
}

/// In milliseconds.
pub fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}
