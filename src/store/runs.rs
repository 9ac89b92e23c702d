//! Reads runs, the artifacts linked to them, and calls whose process died.
//!
//! INVARIANT: reads only. Does not write: runs change with the events that change them.

use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as WordError, StrDeserializer};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use crate::call::ArtifactRef;
use crate::domain::{ArtifactId, Fault, Labels, Principal, RunId, Timestamp};

use super::fault::{Doing as _, uint, unreadable};
use super::open::Reading;
use super::{OpenCall, RunFilter, RunRow};

/// One of our enums from the word it is stored as.
pub(super) fn word<T: serde::de::DeserializeOwned>(text: &str, what: &str) -> Result<T, Fault> {
    let deserializer: StrDeserializer<'_, WordError> = text.into_deserializer();
    T::deserialize(deserializer).map_err(|_| unreadable(what))
}

pub(super) fn run_row(row: &SqliteRow) -> Result<RunRow, Fault> {
    let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading a run");
    let number = |column: &'static str| row.try_get::<i64, _>(column).doing("reading a run").map(uint);
    Ok(RunRow {
        id: text("id")?.parse().map_err(|_| unreadable("a run with an id"))?,
        kind: word(&text("kind")?, "a run of a kind")?,
        workflow: row.try_get("workflow").doing("reading a run")?,
        principal: Principal::new(text("principal")?),
        status: word(&text("status")?, "a run in a state")?,
        created: Timestamp::from_unix_millis(number("created")?),
        updated: Timestamp::from_unix_millis(number("updated")?),
        last_seq: number("last_seq")?,
        labels: Labels { untrusted: number("untrusted")? != 0, private: number("private")? != 0 },
    })
}

pub(super) async fn one(mut connection: Reading, run: &RunId) -> Result<Option<RunRow>, Fault> {
    let row = sqlx::query("SELECT * FROM runs WHERE id = ?1").bind(run.to_string()).fetch_optional(&mut *connection).await;
    row.doing("reading a run")?.as_ref().map(run_row).transpose()
}

pub(super) async fn list(mut connection: Reading, filter: &RunFilter) -> Result<Vec<RunRow>, Fault> {
    let sql = "SELECT * FROM runs WHERE (?1 IS NULL OR principal = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR status = ?3) \
               AND (?4 = 0 OR status IN ('running', 'waiting')) AND (?5 IS NULL OR principal <> ?5) ORDER BY id DESC LIMIT ?6";
    let kind = filter.kind.map(|kind| match kind {
        crate::run::RunKind::Workflow => "workflow",
        crate::run::RunKind::Adhoc => "adhoc",
    });
    let rows = sqlx::query(sql)
        .bind(filter.principal.as_ref().map(|principal| principal.as_str().to_owned()))
        .bind(kind)
        .bind(filter.status.map(crate::run::RunStatus::as_str))
        .bind(i64::from(filter.open))
        .bind(filter.without.as_ref().map(|principal| principal.as_str().to_owned()))
        .bind(limit(filter.limit))
        .fetch_all(&mut *connection)
        .await
        .doing("listing runs")?;
    rows.iter().map(run_row).collect()
}

/// SQLite reads a negative limit as none.
pub(super) fn limit(limit: u32) -> i64 {
    if limit == 0 { -1 } else { i64::from(limit) }
}

/// Open calls with their owners.
pub(super) async fn open_calls(mut connection: Reading) -> Result<Vec<(String, OpenCall)>, Fault> {
    let rows = sqlx::query("SELECT owner, call_id, run_id, step_id, idempotent FROM open_calls ORDER BY call_id")
        .fetch_all(&mut *connection)
        .await
        .doing("reading open calls")?;
    rows.iter()
        .map(|row| {
            let text = |column: &'static str| row.try_get::<String, _>(column).doing("reading an open call");
            let step: Option<String> = row.try_get("step_id").doing("reading an open call")?;
            let bad = || unreadable("an open call with an id");
            let call = OpenCall {
                call: text("call_id")?.parse().map_err(|_| bad())?,
                run: text("run_id")?.parse().map_err(|_| bad())?,
                step: step.map(|step| step.parse().map_err(|_| bad())).transpose()?,
                idempotent: row.try_get::<i64, _>("idempotent").doing("reading an open call")? != 0,
            };
            Ok((text("owner")?, call))
        })
        .collect()
}

/// Whether a run of this principal stored this artifact. Finding that it did not takes the same way for every artifact.
pub(super) async fn may_read(mut connection: Reading, principal: &Principal, artifact: &ArtifactId) -> Result<bool, Fault> {
    let sql = "SELECT EXISTS (SELECT 1 FROM run_artifacts WHERE owner = ?1 AND artifact = ?2) \
               OR (?1 = 'local' AND EXISTS (SELECT 1 FROM artifacts_before WHERE artifact = ?2))";
    let found: i64 = sqlx::query_scalar(sql)
        .bind(principal.as_str().to_owned())
        .bind(artifact.to_string())
        .fetch_one(&mut *connection)
        .await
        .doing("looking whose an artifact is")?;
    Ok(found != 0)
}

/// The labels of all runs (of this principal, where one is named) that these artifacts are from.
pub(super) async fn labels_of_artifacts(
    mut connection: Reading,
    principal: Option<&Principal>,
    artifacts: &[ArtifactId],
) -> Result<Labels, Fault> {
    let ids = serde_json::to_string(artifacts).map_err(|error| Fault::internal(format!("ids have no JSON form: {error}")))?;
    let sql = "SELECT coalesce(max(untrusted), 0), coalesce(max(private), 0) FROM runs WHERE id IN \
               (SELECT run_id FROM run_artifacts WHERE artifact IN (SELECT value FROM json_each(?1))) AND (?2 IS NULL OR principal = ?2)";
    let whose = principal.map(|principal| principal.as_str().to_owned());
    let row = sqlx::query(sql).bind(ids).bind(whose).fetch_one(&mut *connection).await.doing("reading the labels of artifacts")?;
    let flag = |column: usize| row.try_get::<i64, _>(column).doing("reading the labels of artifacts").map(|flag| flag != 0);
    Ok(Labels { untrusted: flag(0)?, private: flag(1)? })
}

/// The artifacts linked to a run, in the order they came.
pub(super) async fn artifacts(mut connection: Reading, run: &RunId) -> Result<Vec<ArtifactRef>, Fault> {
    let rows = sqlx::query("SELECT artifact, size, media_type FROM run_artifacts WHERE run_id = ?1 ORDER BY linked, artifact")
        .bind(run.to_string())
        .fetch_all(&mut *connection)
        .await
        .doing("listing a run's artifacts")?;
    rows.iter()
        .map(|row| {
            let artifact: &str = row.try_get("artifact").doing("reading an artifact's row")?;
            Ok(ArtifactRef {
                artifact: artifact.parse().map_err(|_| unreadable("an artifact with an id"))?,
                size: uint(row.try_get("size").doing("reading an artifact's row")?),
                media_type: row.try_get("media_type").doing("reading an artifact's row")?,
            })
        })
        .collect()
}
