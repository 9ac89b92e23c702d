//! Opens a home's database: settings that durability and safety rest on, set and read back; the schema brought up to date.
//!
//! INVARIANT: a database is changed only once it is known to be ours and not newer than we are; a setting that does not hold is an
//! error, never a warning. Does not write rows.

use std::path::Path;
use std::sync::Arc;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, Sqlite, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::domain::{ErrorCode, Fault};

use super::fault::Doing as _;
use super::{Durability, artifacts, home, tree};

/// The database's name inside a home.
pub(super) const FILE: &str = "toolgate.db";
/// Each file once, in order; a file that was released is never edited. Their number is the database's `user_version`.
const MIGRATIONS: &[&str] = &[
    include_str!("../../migrations/0001_journal.sql"),
    include_str!("../../migrations/0002_remembered.sql"),
    include_str!("../../migrations/0003_labels.sql"),
    include_str!("../../migrations/0004_proofs.sql"),
    include_str!("../../migrations/0005_vault.sql"),
    include_str!("../../migrations/0006_questions.sql"),
    include_str!("../../migrations/0007_budgets.sql"),
    include_str!("../../migrations/0008_owners.sql"),
    include_str!("../../migrations/0009_outbox.sql"),
];
/// The format from which on records have their place in the tree.
const TREE: u32 = 4;
/// The format from which on it is written down who stored an artifact.
const OWNERS: u32 = 8;
/// How long SQLite waits for another process's lock.
const BUSY_MILLIS: u32 = 5000;
/// Connections that read beside the writer.
const READERS: u32 = 4;

/// The format this release writes.
pub(super) fn version() -> u32 {
    u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX)
}

/// The one connection that writes. In memory it is also the one that reads, hence the lock.
pub(super) type Writing = Arc<Mutex<SqliteConnection>>;

/// Where reads go.
#[derive(Clone)]
pub(super) enum Readers {
    /// To read-only connections of a file.
    Pool(SqlitePool),
    /// To the writer's own, as nothing else can see a database in memory.
    Shared(Writing),
}

/// A connection to read from.
pub(super) enum Reading {
    Pooled(PoolConnection<Sqlite>),
    Shared(OwnedMutexGuard<SqliteConnection>),
}

impl std::ops::Deref for Reading {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Shared(connection) => connection,
        }
    }
}

impl std::ops::DerefMut for Reading {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        match self {
            Self::Pooled(connection) => connection,
            Self::Shared(connection) => connection,
        }
    }
}

impl Readers {
    /// A connection, as soon as one is free.
    pub(super) async fn get(&self) -> Result<Reading, Fault> {
        Ok(match self {
            Self::Pool(pool) => Reading::Pooled(pool.acquire().await.doing("opening a connection")?),
            Self::Shared(connection) => Reading::Shared(Arc::clone(connection).lock_owned().await),
        })
    }

    pub(super) async fn close(&self) {
        if let Self::Pool(pool) = self {
            pool.close().await;
        }
    }
}

/// Opens the database of `home`, or one in memory.
pub(super) async fn open(home: Option<&Path>, durability: Durability) -> Result<(Writing, Readers), Fault> {
    let Some(home) = home else {
        let mut connection = connect(SqliteConnectOptions::new().in_memory(true), durability, false).await?;
        migrate(&mut connection, Path::new(":memory:")).await?;
        let connection = Arc::new(Mutex::new(connection));
        return Ok((Arc::clone(&connection), Readers::Shared(connection)));
    };
    let path = home.join(FILE);
    home::inspect(&path, version())?;
    home::open_private(&path).doing("making the database file")?;
    let file = SqliteConnectOptions::new().filename(&path).create_if_missing(false);
    let mut connection = connect(file.clone(), durability, true).await?;
    migrate(&mut connection, &path).await?;
    // Read-only by the way it is opened; the settings of a reader are those that guard against a hostile file.
    let readers = settings(file, durability).read_only(true).pragma("query_only", "ON");
    let pool = SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(readers);
    Ok((Arc::new(Mutex::new(connection)), Readers::Pool(pool)))
}

fn settings(options: SqliteConnectOptions, durability: Durability) -> SqliteConnectOptions {
    options
        .busy_timeout(std::time::Duration::from_millis(u64::from(BUSY_MILLIS)))
        .foreign_keys(true)
        .synchronous(match durability {
            Durability::Full => SqliteSynchronous::Full,
            Durability::Relaxed => SqliteSynchronous::Normal,
        })
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0")
        // What is taken away is overwritten in the file, not only forgotten.
        .pragma("secure_delete", "ON")
        .pragma("temp_store", "MEMORY")
        .pragma("wal_autocheckpoint", "1000")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(200)
        .disable_statement_logging()
}

async fn connect(options: SqliteConnectOptions, durability: Durability, file: bool) -> Result<SqliteConnection, Fault> {
    let options = settings(options, durability);
    let options = if file { options.journal_mode(SqliteJournalMode::Wal) } else { options };
    let mut connection = options.connect().await.doing("opening it")?;
    let synchronous = match durability {
        Durability::Full => "2",
        Durability::Relaxed => "1",
    };
    let busy = BUSY_MILLIS.to_string();
    let expected = [
        ("journal_mode", if file { "wal" } else { "memory" }),
        ("synchronous", synchronous),
        ("foreign_keys", "1"),
        ("busy_timeout", busy.as_str()),
        ("trusted_schema", "0"),
        ("cell_size_check", "1"),
        ("mmap_size", "0"),
        ("secure_delete", "1"),
        ("temp_store", "2"),
        ("wal_autocheckpoint", "1000"),
        ("journal_size_limit", "67108864"),
    ];
    for (name, expected) in expected {
        let found = pragma(&mut connection, name).await?;
        // A database in memory has no file to map, and says nothing about it.
        let holds = found.as_deref() == Some(expected) || (name == "mmap_size" && !file && found.is_none());
        if !holds {
            return Err(Fault::new(
                ErrorCode::StoreFailed,
                format!("setting `{name}` of the database is {found:?} and should be {expected}"),
            )
            .hint("the home must be on a local file system; `toolgate doctor` checks it"));
        }
    }
    Ok(connection)
}

/// A connection of its own that may write, for work that the writer's queue should not wait for.
pub(super) async fn beside(home: &Path) -> Result<SqliteConnection, Fault> {
    connect(SqliteConnectOptions::new().filename(home.join(FILE)).create_if_missing(false), Durability::Full, true).await
}

/// A setting's value as text. `name` is one of ours.
async fn pragma(connection: &mut SqliteConnection, name: &'static str) -> Result<Option<String>, Fault> {
    let row = sqlx::query(AssertSqlSafe(format!("PRAGMA {name}"))).fetch_optional(connection).await.doing("reading a setting")?;
    Ok(row.and_then(|row| row.try_get::<String, _>(0).ok().or_else(|| row.try_get::<i64, _>(0).ok().map(|number| number.to_string()))))
}

async fn number(connection: &mut SqliteConnection, sql: &'static str) -> Result<u32, Fault> {
    let number: i64 = sqlx::query_scalar(sql).fetch_one(connection).await.doing("reading its format")?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

/// Brings the schema up to date, in one transaction.
async fn migrate(connection: &mut SqliteConnection, path: &Path) -> Result<(), Fault> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await.doing("waiting for its lock")?;
    let done = migrate_inside(connection, path).await;
    let end = if done.is_ok() { "COMMIT" } else { "ROLLBACK" };
    sqlx::query(end).execute(&mut *connection).await.doing("bringing its format up to date")?;
    done
}

async fn migrate_inside(connection: &mut SqliteConnection, path: &Path) -> Result<(), Fault> {
    let application = number(connection, "PRAGMA application_id").await?;
    let found = number(connection, "PRAGMA user_version").await?;
    let tables = number(connection, "SELECT count(*) FROM sqlite_schema").await?;
    let is_new = application == 0 && found == 0 && tables == 0;
    if !is_new && application != home::APPLICATION_ID {
        return Err(home::foreign(path));
    }
    if found > version() {
        return Err(home::too_new(found, version()));
    }
    if found == version() {
        return Ok(());
    }
    let done = usize::try_from(found).unwrap_or(usize::MAX);
    for sql in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(*sql).execute(&mut *connection).await.doing("bringing its format up to date")?;
    }
    if found < TREE {
        tree::fill(connection).await?;
    }
    if found > 0 && found < OWNERS {
        note_artifacts_before(connection, path).await?;
    }
    let marks = format!("PRAGMA application_id = {}; PRAGMA user_version = {}", home::APPLICATION_ID, version());
    sqlx::raw_sql(AssertSqlSafe(marks)).execute(&mut *connection).await.doing("marking its format")?;
    Ok(())
}

/// Writes down which artifacts lie in the home, as nothing tells who stored them.
async fn note_artifacts_before(connection: &mut SqliteConnection, path: &Path) -> Result<(), Fault> {
    let there = path.parent().map(artifacts::listed).transpose()?.unwrap_or_default();
    let names: Vec<String> = there.iter().map(|stored| stored.id.to_string()).collect();
    let names = serde_json::to_string(&names).map_err(|error| Fault::internal(format!("names have no JSON form: {error}")))?;
    let sql = "INSERT OR IGNORE INTO artifacts_before (artifact) SELECT value FROM json_each(?1)";
    sqlx::query(sql).bind(names).execute(connection).await.map(drop).doing("writing down whose artifacts there are")
}

#[cfg(test)]
mod tests;
