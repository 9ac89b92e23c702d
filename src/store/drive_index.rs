//! The index of the local drive and the uploads under way: a file of its own beside the database, as all in it can be made again.
//!
//! INVARIANT: it is no record. A file that is damaged or of another format is thrown away and made anew. Words go in, and only places
//! come out: the text of a document is not kept. What is searched for is bound, and each word is a quoted string of the index's own
//! language.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};

use crate::domain::{Digest, DriveChange, DriveFile, DriveHit, Fault};

use super::fault::{Doing as _, Kind, int, kind, uint};
use super::home;

/// The file's name inside a home.
const FILE: &str = "drive-index.db";
/// Its format; another one is thrown away.
const VERSION: i64 = 1;
/// How long one process waits for another.
const BUSY: std::time::Duration = std::time::Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL, stamp INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;
CREATE VIRTUAL TABLE words USING fts5(name, path, body, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 2');
INSERT INTO words(words, rank) VALUES('rank', 'bm25(10.0, 3.0, 1.0)');
CREATE TABLE uploads (key TEXT PRIMARY KEY, state TEXT NOT NULL, updated INTEGER NOT NULL) STRICT;
PRAGMA user_version = 1;
";

/// The index of one home; opened when it is first used. Clones share it.
#[derive(Clone)]
pub struct DriveIndex {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    connection: Mutex<Option<SqliteConnection>>,
}

/// The connection, while nobody else uses it.
struct Held<'a>(MutexGuard<'a, Option<SqliteConnection>>);

impl Held<'_> {
    fn connection(&mut self) -> Result<&mut SqliteConnection, Fault> {
        self.0.as_mut().ok_or_else(|| Fault::internal("the drive's index is not open"))
    }
}

impl DriveIndex {
    /// That of this home. Nothing is opened yet.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self { inner: Arc::new(Inner { path: home.join(FILE), connection: Mutex::default() }) }
    }

    async fn open(&self) -> Result<Held<'_>, Fault> {
        let mut held = self.inner.connection.lock().await;
        if held.is_none() {
            let connection = match connect(&self.inner.path).await {
                Ok(connection) => connection,
                Err(Broken::Content) => {
                    tracing::warn!("the drive's index was damaged or of another format; it is made anew");
                    discard(&self.inner.path);
                    connect(&self.inner.path).await.map_err(Broken::fault)?
                }
                Err(broken) => return Err(broken.fault()),
            };
            *held = Some(connection);
        }
        Ok(Held(held))
    }

    /// Everything that is known, by path: of one path and all beneath it, or of all.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn known(&self, under: Option<&str>) -> Result<Vec<(String, DriveFile)>, Fault> {
        const WHAT: &str = "reading the drive's index";
        let mut held = self.open().await?;
        let (from, to) = bounds(under);
        let sql = "SELECT path, size, stamp, digest FROM files WHERE path = ?3 OR (path >= ?1 AND (?2 = '' OR path < ?2)) ORDER BY path";
        let rows = sqlx::query(sql).bind(from).bind(to).bind(under).fetch_all(held.connection()?).await;
        let rows = self.looked(held, rows, WHAT).await?;
        rows.iter()
            .map(|row| {
                let digest: Vec<u8> = row.try_get(3).doing(WHAT)?;
                let digest = <[u8; 32]>::try_from(digest.as_slice()).map_or(Digest::ZERO, Digest::from_bytes);
                let file = DriveFile { size: uint(row.try_get(1).doing(WHAT)?), stamp: row.try_get(2).doing(WHAT)?, digest };
                Ok((row.try_get(0).doing(WHAT)?, file))
            })
            .collect()
    }

    /// Makes these changes, all or none.
    ///
    /// # Errors
    /// `STORE_FAILED`, `STORAGE_FULL`.
    pub async fn apply(&self, changes: &[DriveChange]) -> Result<(), Fault> {
        let mut held = self.open().await?;
        let done = apply(held.connection()?, changes).await;
        self.looked(held, done, "changing the drive's index").await
    }

    /// The files that hold all of these words, each as the beginning of one of theirs, the best first.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn find(&self, words: &[String], under: Option<&str>, limit: usize) -> Result<Vec<DriveHit>, Fault> {
        const WHAT: &str = "searching the drive's index";
        let mut held = self.open().await?;
        let (from, to) = bounds(under);
        let sql = "SELECT files.path, files.size, words.rank FROM words JOIN files ON files.id = words.rowid
                   WHERE words MATCH ?1 AND files.path >= ?2 AND (?3 = '' OR files.path < ?3) ORDER BY words.rank LIMIT ?4";
        let asked = sqlx::query(sql).bind(expression(words)).bind(from).bind(to).bind(int(limit as u64));
        let rows = asked.fetch_all(held.connection()?).await;
        let rows = self.looked(held, rows, WHAT).await?;
        rows.iter()
            .map(|row| {
                let rank: f64 = row.try_get(2).doing(WHAT)?;
                Ok(DriveHit { path: row.try_get(0).doing(WHAT)?, size: uint(row.try_get(1).doing(WHAT)?), score: -rank })
            })
            .collect()
    }

    /// What was kept of an upload.
    ///
    /// # Errors
    /// `STORE_FAILED`.
    pub async fn upload(&self, key: &str) -> Result<Option<String>, Fault> {
        let mut held = self.open().await?;
        let sql = "SELECT state FROM uploads WHERE key = ?1";
        let state = sqlx::query_scalar(sql).bind(key).fetch_optional(held.connection()?).await;
        self.looked(held, state, "reading of an upload").await
    }

    /// Keeps how far an upload is, or with `None` forgets it. What was kept before `old` (seconds since 1970) is forgotten as well.
    ///
    /// # Errors
    /// `STORE_FAILED`, `STORAGE_FULL`.
    pub async fn keep_upload(&self, key: &str, state: Option<&str>, now: u64, old: u64) -> Result<(), Fault> {
        let mut held = self.open().await?;
        let connection = held.connection()?;
        let done = match state {
            Some(state) => {
                let sql = "INSERT INTO uploads (key, state, updated) VALUES (?1, ?2, ?3)
                           ON CONFLICT (key) DO UPDATE SET state = excluded.state, updated = excluded.updated";
                sqlx::query(sql).bind(key).bind(state).bind(int(now)).execute(&mut *connection).await
            }
            None => sqlx::query("DELETE FROM uploads WHERE key = ?1").bind(key).execute(&mut *connection).await,
        };
        let done = match done {
            Ok(_) => sqlx::query("DELETE FROM uploads WHERE updated < ?1").bind(int(old)).execute(connection).await.map(drop),
            Err(error) => Err(error),
        };
        self.looked(held, done, "keeping how far an upload is").await
    }

    /// A damaged file is thrown away, so that the next use makes it anew.
    async fn looked<T>(&self, mut held: Held<'_>, done: Result<T, sqlx::Error>, what: &str) -> Result<T, Fault> {
        if let Err(error) = &done
            && kind(error) == Kind::Corrupt
        {
            if let Some(connection) = held.0.take() {
                let _ = connection.close().await;
            }
            discard(&self.inner.path);
        }
        done.doing(what)
    }
}

/// Why it cannot be opened.
enum Broken {
    /// It holds something else.
    Content,
    /// The disk, the system, another process.
    Other(Fault),
}

impl Broken {
    fn of(error: &sqlx::Error) -> Self {
        if kind(error) == Kind::Corrupt { Self::Content } else { Self::Other(super::fault::failed("opening the drive's index", error)) }
    }

    fn fault(self) -> Fault {
        match self {
            Self::Content => Fault::new(crate::domain::ErrorCode::StoreFailed, "the drive's index cannot be made anew"),
            Self::Other(fault) => fault,
        }
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, Broken> {
    home::open_private(path).doing("making the drive's index").map_err(Broken::Other)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "67108864")
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(|error| Broken::of(&error))?;
    let made = prepare(&mut connection).await.map_err(|error| Broken::of(&error))?;
    if made { Ok(connection) } else { Err(Broken::Content) }
}

/// Makes the tables where there are none; false where there are others.
async fn prepare(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let mut at_once = connection.begin_with("BEGIN IMMEDIATE").await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *at_once).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *at_once).await?;
    if version == 0 && tables == 0 {
        sqlx::raw_sql(SCHEMA).execute(&mut *at_once).await?;
    }
    at_once.commit().await?;
    Ok(version == VERSION || (version == 0 && tables == 0))
}

/// Removes the file with what belongs to it.
fn discard(path: &Path) {
    for ending in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        let _ = std::fs::remove_file(name);
    }
}

async fn apply(connection: &mut SqliteConnection, changes: &[DriveChange]) -> Result<(), sqlx::Error> {
    let mut at_once = connection.begin_with("BEGIN IMMEDIATE").await?;
    for change in changes {
        match change {
            DriveChange::Put { path, file, text } => {
                forget(&mut at_once, path).await?;
                let sql = "INSERT INTO files (path, size, stamp, digest) VALUES (?1, ?2, ?3, ?4) RETURNING id";
                let row = sqlx::query_scalar(sql).bind(path).bind(int(file.size)).bind(file.stamp).bind(file.digest.as_bytes().as_slice());
                let id: i64 = row.fetch_one(&mut *at_once).await?;
                let name = path.rsplit('/').next().unwrap_or(path);
                let sql = "INSERT INTO words (rowid, name, path, body) VALUES (?1, ?2, ?3, ?4)";
                sqlx::query(sql).bind(id).bind(spread(name)).bind(spread(path)).bind(spread(text)).execute(&mut *at_once).await?;
            }
            DriveChange::Touch { path, file } => {
                let sql = "UPDATE files SET size = ?2, stamp = ?3 WHERE path = ?1";
                sqlx::query(sql).bind(path).bind(int(file.size)).bind(file.stamp).execute(&mut *at_once).await?;
            }
            DriveChange::Remove { path } => forget(&mut at_once, path).await?,
        }
    }
    at_once.commit().await
}

async fn forget(connection: &mut SqliteConnection, path: &str) -> Result<(), sqlx::Error> {
    let gone: Option<i64> =
        sqlx::query_scalar("DELETE FROM files WHERE path = ?1 RETURNING id").bind(path).fetch_optional(&mut *connection).await?;
    if let Some(id) = gone {
        sqlx::query("DELETE FROM words WHERE rowid = ?1").bind(id).execute(connection).await?;
    }
    Ok(())
}

/// The paths of a folder lie between `x/` and `x0`, as `0` follows `/`.
fn bounds(under: Option<&str>) -> (String, String) {
    under.map_or_else(Default::default, |folder| (format!("{folder}/"), format!("{folder}0")))
}

/// Each word a quoted string that may go on; all of them are wanted.
fn expression(words: &[String]) -> String {
    let clean = |word: &str| word.replace(char::is_control, " ");
    let quoted = words.iter().map(|word| format!("\"{}\"*", spread(&clean(word)).replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(" ")
}

/// Scripts without blanks between words are searched character by character: each becomes a word of its own.
fn spread(text: &str) -> std::borrow::Cow<'_, str> {
    let runs_on = |c: char| matches!(u32::from(c), 0x2E80..=0x2FDF | 0x3040..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x3FFFF);
    if !text.chars().any(runs_on) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() * 2);
    for c in text.chars() {
        if runs_on(c) {
            out.extend([' ', c, ' ']);
        } else {
            out.push(c);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests;
