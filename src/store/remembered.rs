//! Reads which call is remembered under a key.

use sqlx::Row as _;

use crate::domain::{CallId, Digest, Fault, RunId};

use super::fault::{Doing as _, unreadable};
use super::open::Reading;

pub(super) async fn one(mut connection: Reading, key: &Digest) -> Result<Option<(CallId, RunId)>, Fault> {
    let row = sqlx::query("SELECT call_id, run_id FROM remembered WHERE key = ?1")
        .bind(key.to_string())
        .fetch_optional(&mut *connection)
        .await
        .doing("reading a remembered call")?;
    let Some(row) = row else { return Ok(None) };
    let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading a remembered call");
    let bad = || unreadable("a remembered call with an id");
    Ok(Some((text("call_id")?.parse().map_err(|_| bad())?, text("run_id")?.parse().map_err(|_| bad())?)))
}
