//! What keeping house needs of the database: values that may be taken away, what still refers to an artifact, a copy, and scrubbing.
//!
//! INVARIANT: reads only, but for scrubbing, which changes nothing that anybody reads. A text that looks like an artifact's name counts as
//! a reference wherever it stands: too much is kept rather than too little.

use std::collections::HashSet;
use std::path::Path;

use sqlx::{Row as _, SqliteConnection};

use crate::domain::{ArtifactId, Fault, RunId};

use super::fault::{Doing as _, uint};
use super::open::Reading;

/// Rows that are looked through at once.
const PIECE: i64 = 2_000;
/// Digits of an artifact's name.
const DIGITS: usize = 64;

/// A record with the values beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Its place in the journal.
    pub index: u64,
    /// Its place in the run.
    pub seq: u64,
    /// Its canonical JSON.
    pub record: String,
    /// The values as they are stored.
    pub sealed: Option<String>,
}

/// The records of a run with the values beside them.
pub(super) async fn sealed(mut connection: Reading, run: &RunId) -> Result<Vec<SealedRow>, Fault> {
    let rows = sqlx::query("SELECT idx, seq, CAST(record AS TEXT), sealed FROM journal WHERE run_id = ?1 ORDER BY seq")
        .bind(run.to_string())
        .fetch_all(&mut *connection)
        .await
        .doing("reading a run's values")?;
    rows.iter()
        .map(|row| {
            Ok(SealedRow {
                index: uint(row.try_get(0).doing("reading a record")?),
                seq: uint(row.try_get(1).doing("reading a record")?),
                record: row.try_get(2).doing("reading a record")?,
                sealed: row.try_get(3).doing("reading a record")?,
            })
        })
        .collect()
}

/// Of these artifacts, those that nothing in the database names: no record, value, question or run.
pub(super) async fn unnamed(mut connection: Reading, candidates: HashSet<ArtifactId>) -> Result<HashSet<ArtifactId>, Fault> {
    let mut left: HashSet<[u8; DIGITS]> = candidates.iter().filter_map(|id| id.to_string().as_bytes().try_into().ok()).collect();
    journal(&mut connection, &mut left).await?;
    beside(&mut connection, &mut left).await?;
    let names: HashSet<ArtifactId> =
        left.iter().filter_map(|name| std::str::from_utf8(name).ok().and_then(|name| name.parse().ok())).collect();
    Ok(candidates.intersection(&names).copied().collect())
}

async fn journal(connection: &mut SqliteConnection, left: &mut HashSet<[u8; DIGITS]>) -> Result<(), Fault> {
    let sql = "SELECT idx, record, CAST(sealed AS BLOB) FROM journal WHERE idx > ?1 ORDER BY idx LIMIT ?2";
    let mut after = -1_i64;
    while !left.is_empty() {
        let rows = sqlx::query(sql).bind(after).bind(PIECE).fetch_all(&mut *connection).await.doing("looking for references")?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.try_get(0).doing("looking for references")?;
        for row in &rows {
            for column in 1..=2 {
                let bytes: Option<&[u8]> = row.try_get(column).doing("looking for references")?;
                named(bytes.unwrap_or_default(), left);
            }
        }
    }
    Ok(())
}

/// Questions to humans, and what runs are linked to.
async fn beside(connection: &mut SqliteConnection, left: &mut HashSet<[u8; DIGITS]>) -> Result<(), Fault> {
    for sql in ["SELECT shown FROM approvals", "SELECT reason FROM approvals", "SELECT artifact FROM run_artifacts"] {
        let texts: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *connection).await.doing("looking for references")?;
        texts.iter().for_each(|text| named(text.as_bytes(), left));
    }
    Ok(())
}

/// Takes out every name that stands in a text.
fn named(text: &[u8], left: &mut HashSet<[u8; DIGITS]>) {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    for digits in text.split(|byte| !is_digit(byte)).filter(|digits| digits.len() >= DIGITS) {
        for name in digits.windows(DIGITS) {
            if let Ok(name) = <&[u8; DIGITS]>::try_from(name) {
                left.remove(name);
            }
        }
    }
}

/// Writes a copy of the database as it is at one moment, while others go on writing.
pub(super) async fn copy(connection: &mut SqliteConnection, to: &Path) -> Result<(), Fault> {
    let to = to.to_str().ok_or_else(|| Fault::internal("the copy's path is not UTF-8"))?;
    sqlx::query("VACUUM INTO ?1").bind(to).execute(connection).await.map(drop).doing("copying it")
}

/// Moves everything into the database's own file and empties the write-ahead log, so that what was taken away does not lie there.
/// `false` where another process is reading just now.
pub(super) async fn scrub(connection: &mut SqliteConnection) -> Result<bool, Fault> {
    let row = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await.doing("emptying the write-ahead log")?;
    Ok(row.try_get::<i64, _>(0).doing("emptying the write-ahead log")? == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        let [one, two, three] = [b"1", b"2", b"3"].map(|bytes| ArtifactId::of(bytes).to_string());
        let mut left: HashSet<[u8; DIGITS]> = [&one, &two, &three].into_iter().map(|id| id.as_bytes().try_into().unwrap()).collect();
        named(format!("{{\"artifact\":\"{one}\",\"x\":\"ff{two}\"}}").as_bytes(), &mut left);
        assert_eq!(left.len(), 1);
        named(three.to_uppercase().as_bytes(), &mut left);
        named(&three.as_bytes()[1..], &mut left);
        named(b"", &mut left);
        assert_eq!(left.len(), 1);
    }
}
