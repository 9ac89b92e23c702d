//! What SQLite says, as faults of ours.
//!
//! INVARIANT: no text of the database's content leaves with an error. Does not decide what an error means for the writer beyond
//! its kind.

use crate::domain::{ErrorCode, Fault};

/// What kind of failure an error of the database is, as far as callers act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Another process held the lock for too long; nothing was done.
    Busy,
    /// The disk is full; what was being written is not there.
    Full,
    /// A uniqueness or check that the schema states.
    Constraint,
    /// The file's content is damaged.
    Corrupt,
    /// Anything else: the disk, the system, a mistake of ours.
    Other,
}

/// SQLite's primary result codes.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;
/// Extended: no room for the index of the write-ahead log.
const NO_ROOM_FOR_INDEX: i32 = 4874;
/// Extended: the file ends inside a page.
const SHORT_READ: i32 = 522;

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    let Some(code) = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok()) else {
        return Kind::Other;
    };
    match (code, code & 0xff) {
        (SHORT_READ, _) | (_, CORRUPT | NOT_A_DATABASE) => Kind::Corrupt,
        (_, BUSY | LOCKED) => Kind::Busy,
        (NO_ROOM_FOR_INDEX, _) | (_, FULL) => Kind::Full,
        (_, CONSTRAINT) => Kind::Constraint,
        _ => Kind::Other,
    }
}

/// What to do about a full disk.
pub(super) const FREE_ROOM: &str =
    "make room on the home's disk (`toolgate runs archive`, `toolgate storage collect`); calls are taken again then";

/// The fault of a failure while doing `what`.
pub(super) fn failed(what: &str, error: &sqlx::Error) -> Fault {
    let kind = kind(error);
    let code = if kind == Kind::Full { ErrorCode::StorageFull } else { ErrorCode::StoreFailed };
    Fault::new(code, format!("the database failed while {what}: {error}")).hint(match kind {
        Kind::Busy => "another process is holding the database; try again, and look for a toolgate process that hangs",
        Kind::Full => FREE_ROOM,
        Kind::Corrupt => "the file is damaged; stop all toolgate processes and restore the home from a backup",
        Kind::Constraint | Kind::Other => "look at free space and permissions of the home folder; `toolgate doctor` checks both",
    })
}

/// Turns failures into faults that say what was being done.
pub(super) trait Doing<T> {
    /// The fault of a failure while doing `what`.
    fn doing(self, what: &str) -> Result<T, Fault>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| failed(what, &error))
    }
}

impl<T> Doing<T> for Result<T, std::io::Error> {
    fn doing(self, what: &str) -> Result<T, Fault> {
        self.map_err(|error| {
            if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
                return Fault::new(ErrorCode::StorageFull, format!("{what} failed: {error}")).hint(FREE_ROOM);
            }
            Fault::new(ErrorCode::StoreFailed, format!("{what} failed: {error}"))
                .hint("look at free space and permissions of the home folder; `toolgate doctor` checks both")
        })
    }
}

/// A stored text that does not read as what it should be.
pub(super) fn unreadable(what: &str) -> Fault {
    Fault::new(ErrorCode::StoreFailed, format!("the database holds {what} that cannot be read"))
        .hint("the file was changed by something else; run `toolgate audit verify`, or restore the home from a backup")
}

/// SQLite's integers are signed; none of ours comes near the difference.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The other way; a negative number was not written by us and reads as 0.
pub(super) fn uint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
