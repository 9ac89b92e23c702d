//! Reads one run's evidence: its records, the checkpoints over them, the proofs, and the keys that signed.
//!
//! INVARIANT: all of it is of one moment of the database. Copies what is stored: whether it holds is for whoever verifies the bundle.

use std::collections::BTreeMap;

use sqlx::{Connection as _, Row as _, SqliteConnection};
use toolgate_evidence::bundle::{self, Bundle, Claims, Entry, FORMAT, Newest, Opening, Record, hex};
use toolgate_evidence::canonical;
use toolgate_evidence::tree;

use crate::domain::{ErrorCode, Fault, RunId};

use super::fault::{Doing as _, uint};
use super::state::broken;
use super::{proof, tree as stored};

/// A record as it is exported, and its place.
struct Row {
    index: u64,
    entry: Entry,
}

/// The run's bundle; without the sealed values where they are not wanted.
pub(super) async fn of_run(connection: &mut SqliteConnection, run: &RunId, with_values: bool) -> Result<Bundle, Fault> {
    let mut snapshot = connection.begin().await.doing("beginning to read")?;
    let rows = rows(&mut snapshot, run, with_values).await?;
    let Some(last) = rows.last() else {
        return Err(Fault::new(ErrorCode::UnknownRun, format!("no run `{run}`")).hint("`toolgate runs list` shows the runs there are"));
    };
    let first = proof::covering(&mut snapshot, last.index + 1).await?.ok_or_else(|| {
        Fault::new(ErrorCode::AuditBroken, format!("no checkpoint covers record {}", last.index))
            .hint("the home has no audit key, or was opened to look only; `toolgate audit verify` tells more")
    })?;
    let newest = proof::newest(&mut snapshot).await?.filter(|newest| newest.size > first.size);
    let places: Vec<u64> = rows.iter().map(|row| row.index).collect();
    let mut needs = tree::many_needs(&places, first.size);
    if let Some(newest) = &newest {
        needs.extend(tree::consistency_needs(first.size, newest.size));
    }
    let hashes = stored::hashes(&mut snapshot, &needs).await?;
    let keys = proof::keys(&mut snapshot).await?;
    snapshot.rollback().await.doing("ending to read")?;

    let of = |subtree: tree::Subtree| hashes.get(&subtree).copied();
    let torn = || broken(&format!("the tree over run `{run}` is not whole"));
    let proof = tree::many(&places, first.size, of).ok_or_else(torn)?.iter().map(hex).collect();
    let newest = match newest {
        Some(newest) => {
            let consistency = tree::consistency(first.size, newest.size, of).ok_or_else(torn)?.iter().map(hex).collect();
            Some(Newest { checkpoint: newest.note, consistency })
        }
        None => None,
    };
    let events: Vec<Entry> = rows.into_iter().map(|row| row.entry).collect();
    let Claims { status, plan, pins, approvals, artifacts } = claims(&events)?;
    Ok(Bundle {
        format: FORMAT.to_owned(),
        run: run.to_string(),
        status,
        plan,
        pins,
        approvals,
        artifacts,
        events,
        checkpoint: first.note,
        proof,
        newest,
        keys: keys.iter().map(|key| key.public.to_string()).collect(),
    })
}

async fn rows(connection: &mut SqliteConnection, run: &RunId, with_values: bool) -> Result<Vec<Row>, Fault> {
    let found = sqlx::query("SELECT idx, record, sealed FROM journal WHERE run_id = ?1 ORDER BY seq")
        .bind(run.to_string())
        .fetch_all(connection)
        .await
        .doing("reading a run's records")?;
    found
        .iter()
        .map(|row| {
            let index = uint(row.try_get(0).doing("reading a record")?);
            let unreadable = |what: &str| broken(&format!("record {index} of the journal cannot be read: {what}"));
            let record: Vec<u8> = row.try_get(1).doing("reading a record")?;
            let record = String::from_utf8(record).map_err(|_| unreadable("not UTF-8"))?;
            let sealed: Option<String> = row.try_get(2).map_err(|_| unreadable("its values"))?;
            let values = match sealed.filter(|_| with_values) {
                Some(sealed) => openings(&sealed).ok_or_else(|| unreadable("its values"))?,
                None => BTreeMap::new(),
            };
            let leaf = hex(&tree::leaf(record.as_bytes()));
            Ok(Row { index, entry: Entry { leaf, record, values } })
        })
        .collect()
}

/// The sealed values beside a record, each as the text that was hashed.
pub(super) fn openings(sealed: &str) -> Option<BTreeMap<String, Opening>> {
    let members = canonical::members(sealed).ok()?;
    members.into_iter().map(|(name, text)| Some((serde_json::from_str(&format!("\"{name}\"")).ok()?, opening(text)?))).collect()
}

/// `{"salt":"…","value":…}`, exactly.
fn opening(text: &str) -> Option<Opening> {
    let (salt, rest) = text.strip_prefix("{\"salt\":\"")?.split_at_checked(64)?;
    let value = rest.strip_prefix("\",\"value\":")?.strip_suffix('}')?;
    Some(Opening { salt: salt.to_owned(), value: value.to_owned() })
}

/// What stands beside a record that holds only these values; `None` where there are none left.
pub(super) fn sealed_text(values: &BTreeMap<String, Opening>) -> Result<Option<String>, Fault> {
    if values.is_empty() {
        return Ok(None);
    }
    let mut members: Vec<(&String, &Opening)> = values.iter().collect();
    members.sort_by_cached_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
    let member = |(name, Opening { salt, value }): (&String, &Opening)| {
        let name =
            serde_json_canonicalizer::to_string(name).map_err(|error| Fault::internal(format!("a name has no canonical form: {error}")))?;
        Ok(format!("{name}:{{\"salt\":\"{salt}\",\"value\":{value}}}"))
    };
    let members = members.into_iter().map(member).collect::<Result<Vec<String>, Fault>>()?;
    Ok(Some(format!("{{{}}}", members.join(","))))
}

fn claims(events: &[Entry]) -> Result<Claims, Fault> {
    let mut read = Vec::with_capacity(events.len());
    for entry in events {
        let record = Record::read(&entry.record).map_err(|what| broken(&what))?;
        let value = |opening: &Opening| serde_json::from_str(&opening.value).map_err(|error| broken(&format!("a sealed value: {error}")));
        let values =
            entry.values.iter().map(|(name, opening)| Ok((name.as_str(), value(opening)?))).collect::<Result<BTreeMap<_, _>, Fault>>()?;
        read.push((record, values));
    }
    Ok(bundle::claims(read.iter().map(|(record, values)| (record, values.clone()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_apart_and_put_together_to_the_byte() {
        let salt = "ab".repeat(32);
        let text = format!(
            "{{\"\\n\u{e9}\":{{\"salt\":\"{salt}\",\"value\":1e+21}},\"a\":{{\"salt\":\"{salt}\",\"value\":{{\"value\":\"}}\"}}}}}}"
        );
        let values = openings(&text).unwrap();
        assert_eq!(values["a"].value, "{\"value\":\"}\"}");
        assert_eq!(sealed_text(&values).unwrap().as_deref(), Some(text.as_str()));
        assert_eq!(sealed_text(&BTreeMap::new()).unwrap(), None);
        assert!(openings("{\"a\":1}").is_none() && openings("").is_none());
    }
}
