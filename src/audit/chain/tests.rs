use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::record::{Draft, Place, Sealed, prepare};
use crate::domain::{Actor, RunId, Timestamp};

const CALL: &str = "call_018bcfe56800700080000000000000c1";

#[derive(Clone)]
struct Row {
    index: u64,
    run_id: String,
    seq: u64,
    kind: String,
    step_id: Option<String>,
    call_id: Option<String>,
    record: Vec<u8>,
    hash: Vec<u8>,
    sealed: Option<String>,
}

impl Row {
    fn view(&self) -> View<'_> {
        View {
            index: self.index,
            run_id: &self.run_id,
            seq: self.seq,
            kind: &self.kind,
            step_id: self.step_id.as_deref(),
            call_id: self.call_id.as_deref(),
            record: &self.record,
            hash: &self.hash,
            sealed: self.sealed.as_deref(),
        }
    }

    /// What one does who rewrites a record and hides it as well as can be done in the row itself.
    fn rehash(&mut self) {
        self.hash = record::hash(&self.record).as_bytes().to_vec();
    }

    fn replace(&mut self, from: &str, to: &str) {
        let text = String::from_utf8(self.record.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        self.record = text.replacen(from, to, 1).into_bytes();
    }
}

type Spoil = fn(&mut Row);

fn log(length: u64) -> Vec<Row> {
    let runs = [1, 2].map(|n| RunId::mint(Timestamp::from_unix_millis(n)));
    let mut prev = Digest::ZERO;
    (0..length)
        .map(|index| {
            let run = runs[usize::try_from(index % 2).unwrap()];
            let draft = Draft {
                kind: "tool_call".into(),
                step: Some("build".parse().unwrap()),
                call: Some(CALL.parse().unwrap()),
                actor: Actor::operator(),
                payload: json!({ "n": index, "note": "é\n" }).as_object().unwrap().clone(),
                sealed: [("secret".to_owned(), json!({ "k": [1, "two"] }))].into(),
            };
            let seq = index / 2 + 1;
            let place = Place { index, run, seq, ts: Timestamp::from_unix_millis(1_700_000_000_000 + index), prev };
            let Sealed { record, hash, values } = prepare(draft).unwrap().seal(&place);
            prev = hash;
            Row {
                index,
                run_id: run.to_string(),
                seq,
                kind: "tool_call".into(),
                step_id: Some("build".into()),
                call_id: Some(CALL.into()),
                record: record.into_bytes(),
                hash: hash.as_bytes().to_vec(),
                sealed: values,
            }
        })
        .collect()
}

fn verify(rows: &[Row]) -> Result<Chain, Bad> {
    let mut chain = Chain::default();
    for row in rows {
        let link = check(&row.view()).map_err(|why| Bad { index: row.index, why })?;
        chain.add(&link)?;
    }
    Ok(chain)
}

fn bad(rows: &[Row]) -> (u64, Why) {
    let bad = verify(rows).unwrap_err();
    (bad.index, bad.why)
}

#[test]
fn a_sound_log_verifies() {
    let rows = log(9);
    let chain = verify(&rows).unwrap();
    assert_eq!((chain.len(), chain.redacted()), (9, 0));
    assert_eq!(chain.head().unwrap().1.as_bytes().as_slice(), rows[8].hash);
    assert_eq!(chain.last_seq(run_number(&rows[0].run_id).unwrap()), 5);
}

#[test]
fn names_the_first_record_that_is_missing_moved_or_twice() {
    let rows = log(9);
    let without: Vec<_> = rows.iter().filter(|row| row.index != 4).cloned().collect();
    assert_eq!(bad(&without), (4, Why::Gap));
    assert_eq!(bad(&rows[1..]), (0, Why::Gap));
    let mut swapped = rows.clone();
    swapped.swap(3, 5);
    (swapped[3].index, swapped[5].index) = (3, 5);
    assert_eq!(bad(&swapped), (3, Why::ColumnDiffers("index")));
    let mut twice = rows.clone();
    twice.insert(6, rows[5].clone());
    assert_eq!(bad(&twice), (5, Why::Duplicate));
}

#[test]
fn a_rewritten_record_breaks_its_successor() {
    let mut rows = log(9);
    rows[4].replace("\"n\":4", "\"n\":5");
    assert_eq!(bad(&rows), (4, Why::HashMismatch));
    rows[4].rehash();
    assert_eq!(bad(&rows), (5, Why::WrongPredecessor));
}

#[test]
fn numbers_of_a_run_are_without_gaps() {
    let mut rows = log(3);
    rows[2].replace("\"seq\":2", "\"seq\":3");
    rows[2].rehash();
    rows[2].seq = 3;
    assert_eq!(bad(&rows), (2, Why::SeqGap { expected: 2 }));
    rows[2].replace("\"seq\":3", "\"seq\":1");
    rows[2].rehash();
    rows[2].seq = 1;
    assert_eq!(bad(&rows), (2, Why::Duplicate));
}

#[test]
fn every_column_must_say_what_the_record_says() {
    let rows = log(1);
    let spoil: [(&str, Spoil); 7] = [
        ("index", |row| row.index = 1),
        ("run_id", |row| row.run_id.replace_range(35.., "z")),
        ("seq", |row| row.seq = 2),
        ("kind", |row| row.kind = "tool_result".into()),
        ("step_id", |row| row.step_id = None),
        ("call_id", |row| row.call_id = None),
        ("step_id", |row| row.step_id = Some(String::new())),
    ];
    for (column, spoil) in spoil {
        let mut row = rows[0].clone();
        spoil(&mut row);
        assert_eq!(check(&row.view()), Err(Why::ColumnDiffers(column)));
    }
}

#[test]
fn a_record_must_be_canonical_and_of_the_known_form() {
    let rows = log(1);
    let after = |from: &str, to: &str| {
        let mut row = rows[0].clone();
        row.replace(from, to);
        row.rehash();
        check(&row.view()).unwrap_err()
    };
    assert!(matches!(after("\"index\":0", "\"index\": 0"), Why::NotCanonical(_)));
    assert!(matches!(after("\"index\":0", "\"index\":0,\"index\":0"), Why::NotCanonical(_)));
    assert!(matches!(after("é", "\\u00e9"), Why::NotCanonical(_)));
    assert_eq!(after("\"v\":1", "\"v\":2"), Why::Malformed("v"));
    assert_eq!(after(",\"v\":1", ""), Why::Malformed("v"));
    assert_eq!(after("\"v\":1", "\"v\":1,\"w\":1"), Why::Malformed("member names"));
    assert_eq!(after("\"role\":\"operator\"", "\"roll\":\"operator\""), Why::Malformed("actor"));
    assert_eq!(after(".000Z", ".000z"), Why::Malformed("ts"));
}

#[test]
fn sealed_values_are_bound_and_may_be_taken_away() {
    let rows = log(1);
    let with = |sealed: Option<&str>| {
        let mut row = rows[0].clone();
        row.sealed = sealed.map(str::to_owned);
        check(&row.view())
    };
    let values = rows[0].sealed.clone().unwrap();
    assert_eq!(with(Some(&values)).unwrap().redacted, 0);
    assert_eq!(with(None).unwrap().redacted, 1);
    for bad in [
        values.replace("two", "tow"),
        values.replace("secret", "secrex"),
        String::new(),
        "{}".into(),
        values.replace("\"value\"", "\"valuf\""),
        values.replacen('{', "{\"another\":{},", 1),
        values.replacen("\"secret\":{", "\"other\":{\"salt\":\"00\"},\"secret\":{", 1),
        values.replace("\"value\"", "\"valua\":1,\"value\""),
        values.replacen("}}", "},\"z\":1}", 1),
    ] {
        assert_eq!(with(Some(&bad)), Err(Why::CommitmentMismatch), "{bad}");
    }
    let mut surplus = rows[0].clone();
    let start = String::from_utf8(surplus.record.clone()).unwrap();
    let (before, rest) = start.split_once(",\"sealed\":").unwrap();
    let (_, after) = rest.split_once('}').unwrap();
    surplus.record = format!("{before}{after}").into_bytes();
    surplus.rehash();
    assert_eq!(check(&surplus.view()), Err(Why::CommitmentMismatch));
}

/// One record of every form that the writer gives them.
fn forms() -> Vec<Row> {
    let sealed = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), json!({ "k": [1, "é\n"] }))).collect();
    let forms = [(true, true, sealed(&["arguments", "error"])), (true, false, sealed(&["a\n", "é"])), (false, true, sealed(&[]))];
    let mut rows: Vec<Row> = forms
        .into_iter()
        .map(|(has_step, has_call, sealed)| {
            let draft = Draft {
                kind: "tool_call".into(),
                step: has_step.then(|| "build".parse().unwrap()),
                call: has_call.then(|| CALL.parse().unwrap()),
                actor: Actor::operator(),
                payload: json!({ "n": 1.5, "note": "é\n", "deep": [{}, [null]] }).as_object().unwrap().clone(),
                sealed,
            };
            let place = Place {
                index: 0,
                run: RunId::mint(Timestamp::from_unix_millis(1)),
                seq: 1,
                ts: Timestamp::from_unix_millis(7),
                prev: Digest::ZERO,
            };
            let Sealed { record, hash, values } = prepare(draft).unwrap().seal(&place);
            Row {
                index: 0,
                run_id: place.run.to_string(),
                seq: 1,
                kind: "tool_call".into(),
                step_id: has_step.then(|| "build".into()),
                call_id: has_call.then(|| CALL.into()),
                record: record.into_bytes(),
                hash: hash.as_bytes().to_vec(),
                sealed: values,
            }
        })
        .collect();
    rows.push(Row { sealed: None, ..rows[0].clone() });
    rows
}

/// What both checks say of a row whose hash is right.
fn both(row: &Row) -> Option<(Option<Link>, Result<Link, Why>)> {
    let (text, hash) = (std::str::from_utf8(&row.record).ok()?, record::hash(&row.record));
    Some((straight::check(&row.view(), text, hash), thoroughly(&row.view(), text, hash)))
}

#[test]
fn what_the_writer_makes_is_read_straight() {
    for row in forms() {
        let (straight, thorough) = both(&row).unwrap();
        assert_eq!(straight, Some(thorough.unwrap()), "{}", String::from_utf8_lossy(&row.record));
    }
}

proptest! {
    #[test]
    fn what_is_read_straight_is_sound(form in 0..4_usize, place in 0..6_usize, at: prop::sample::Index, byte in 0x1f_u8..0x80, insert: bool) {
        let mut row = forms()[form].clone();
        let change = |bytes: &mut Vec<u8>| {
            let at = at.index(bytes.len().max(1));
            if insert || bytes.is_empty() { bytes.insert(at.min(bytes.len()), byte) } else { bytes[at] = byte }
        };
        let change_text = |text: &mut String| {
            let mut bytes = std::mem::take(text).into_bytes();
            change(&mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        };
        match place {
            0 | 1 => change(&mut row.record),
            2 => change_text(row.sealed.get_or_insert_default()),
            3 => change_text(&mut row.kind),
            4 => change_text(row.step_id.get_or_insert_default()),
            _ => change_text(row.call_id.get_or_insert_default()),
        }
        if let Some((Some(link), thorough)) = both(&row) {
            prop_assert_eq!(thorough, Ok(link));
        }
    }

    #[test]
    fn any_flipped_bit_in_record_hash_or_values_is_found(at: prop::sample::Index, bit in 0..8_u32) {
        let rows = log(1);
        let mut row = rows[0].clone();
        let values = row.sealed.clone().unwrap().into_bytes();
        let at = at.index(row.record.len() + row.hash.len() + values.len());
        let mut values = values;
        let (records, hashes) = (row.record.len(), row.hash.len());
        let byte = if at < records {
            &mut row.record[at]
        } else if at < records + hashes {
            &mut row.hash[at - records]
        } else {
            &mut values[at - records - hashes]
        };
        *byte ^= 1 << bit;
        let found = match String::from_utf8(values) {
            Ok(text) => {
                row.sealed = Some(text);
                check(&row.view()).is_err()
            }
            Err(_) => true,
        };
        prop_assert!(found);
    }
}
