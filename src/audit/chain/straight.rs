//! Checks a record that is as the writer puts records together, in one go: nearly all are.
//!
//! INVARIANT: what passes here passes the thorough check as well, with the same link; a test holds the two together. Says nothing of a
//! record that does not pass: the thorough check does.

use toolgate_evidence::canonical::Reader;

use crate::audit::record;
use crate::domain::Digest;

use super::{Link, View, run_number};

/// How a time is written.
const TIME: &[u8; 24] = b"0000-00-00T00:00:00.000Z";

/// The link of a record with these columns, this text and this hash; `None` where it is not sound beyond doubt.
pub(super) fn check(view: &View<'_>, text: &str, hash: Digest) -> Option<Link> {
    let run = run_number(view.run_id)?;
    let mut at = Reader::new(text);
    at.pass("{\"actor\":{\"principal\":")?;
    at.text()?;
    at.pass(",\"role\":")?;
    at.text()?;
    at.pass("},")?;
    if let Some(call) = view.call_id {
        at.pass("\"call_id\":")?;
        same(at.plain()?, call)?;
        at.pass(",")?;
    }
    at.pass("\"index\":")?;
    same(at.whole()?, view.index)?;
    at.pass(",\"kind\":")?;
    same(at.plain()?, view.kind)?;
    at.pass(",\"payload\":")?;
    same(at.is_at("{"), true)?;
    at.any(1)?;
    at.pass(",\"prev_hash\":")?;
    let prev = Digest::from_bytes(at.hash()?);
    at.pass(",\"run_id\":")?;
    same(at.plain()?, view.run_id)?;
    at.pass(",")?;
    let redacted = if at.pass("\"sealed\":").is_some() {
        let redacted = sealed(&mut at, view.sealed)?;
        at.pass(",")?;
        redacted
    } else {
        same(view.sealed, None)?;
        0
    };
    at.pass("\"seq\":")?;
    same(at.whole()?, view.seq)?;
    if let Some(step) = view.step_id {
        at.pass(",\"step_id\":")?;
        same(at.plain()?, step)?;
    }
    at.pass(",\"ts\":")?;
    at.shaped(TIME)?;
    at.pass(",\"v\":1}")?;
    at.is_done().then_some(Link { index: view.index, run, seq: view.seq, prev, hash, redacted })
}

fn same<T: PartialEq>(found: T, expected: T) -> Option<()> {
    (found == expected).then_some(())
}

/// Passes the commitments, each beside the value it is for, and counts those that were taken away; the values have the order of the
/// commitments, as both are in the order of their names.
fn sealed(at: &mut Reader<'_>, values: Option<&str>) -> Option<u32> {
    let mut values = values.map(Reader::new);
    let mut count = 0_u32;
    at.each(1, |at, name| {
        let commitment = at.hash()?;
        count += 1;
        let Some(values) = &mut values else { return Some(()) };
        values.pass(if count == 1 { "{\"" } else { ",\"" })?;
        values.pass(name)?;
        values.pass("\":{\"salt\":")?;
        let salt = values.hash()?;
        values.pass(",\"value\":")?;
        let value = values.any(2)?;
        values.pass("}")?;
        same(*record::commitment(&salt, value).as_bytes(), commitment)
    })?;
    match values {
        _ if count == 0 => None,
        None => Some(count),
        Some(mut values) => {
            values.pass("}")?;
            values.is_done().then_some(0)
        }
    }
}
