use serde_json::json;

use super::*;

const FIXTURE: &str = include_str!("fixture.json");

fn draft() -> Draft {
    Draft {
        kind: "tool_call".into(),
        step: Some("eval_2".parse().unwrap()),
        call: Some("call_018bcfe56800700080000000000000c1".parse().unwrap()),
        actor: Actor::agent(crate::domain::Principal::new("local \"x\" é")),
        payload: json!({ "tool": "python.run", "z": 1.5, "a": [true, null, "\u{2028}\n"], "wide": u64::MAX, "€": 1, "\u{1f600}": 2, "\u{ffee}": 3 })
            .as_object()
            .unwrap()
            .clone(),
        sealed: BTreeMap::from([
            ("arguments".to_owned(), json!({ "code": "print('hi')", "b": 0.1, "large": [1_u64 << 60] })),
            ("\u{1f680}".to_owned(), json!(null)),
            ("\u{ffed}".to_owned(), json!("after the one before")),
        ]),
    }
}

fn place() -> Place {
    Place {
        index: 7,
        run: "run_018bcfe56800700080000000000000a1".parse().unwrap(),
        seq: 3,
        ts: Timestamp::from_unix_millis(1_700_000_000_001),
        prev: Digest::of(b"before"),
    }
}

fn sealed() -> Sealed {
    let mut next = 0;
    let salts = |salt: &mut [u8; 32]| {
        next += 1;
        salt.fill(next);
    };
    prepare_with(draft(), salts).unwrap().seal(&place())
}

/// The format can never change unnoticed: these bytes were written by the first release and must be written for ever.
#[test]
fn the_record_of_version_1_is_byte_for_byte_the_fixture() {
    let sealed = sealed();
    let written = json!({ "record": sealed.record, "hash": sealed.hash, "values": sealed.values });
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    assert_eq!(written, fixture);
}

#[test]
fn the_members_stand_as_the_canonicaliser_puts_them() {
    let sealed = sealed();
    assert_eq!(serde_json_canonicalizer::pipe(&sealed.record).unwrap(), sealed.record);
    let values = sealed.values.unwrap();
    assert_eq!(serde_json_canonicalizer::pipe(&values).unwrap(), values);
    let mut bare = draft();
    bare.sealed.clear();
    bare.step = None;
    bare.call = None;
    let sealed = prepare(bare).unwrap().seal(&place());
    assert_eq!(serde_json_canonicalizer::pipe(&sealed.record).unwrap(), sealed.record);
    assert_eq!(sealed.values, None);
}

#[test]
fn a_record_reads_back_with_its_sealed_values() {
    let sealed = sealed();
    let opened = open(sealed.record.as_bytes(), sealed.values.as_deref()).unwrap();
    let draft = draft();
    let mut payload = draft.payload.clone();
    payload.extend(draft.sealed.clone());
    assert_eq!(opened.payload, payload);
    assert_eq!(
        (opened.place, opened.kind, opened.step, opened.call, opened.actor),
        (place(), draft.kind, draft.step, draft.call, draft.actor)
    );
}

#[test]
fn a_value_that_was_taken_away_reads_as_its_commitment() {
    let sealed = sealed();
    let opened = open(sealed.record.as_bytes(), None).unwrap();
    let commitment = opened.payload["arguments"]["redacted"].as_str().unwrap();
    assert!(sealed.record.contains(commitment));
}

#[test]
fn equal_values_have_unequal_commitments() {
    let of = || prepare(draft()).unwrap().seal(&place()).record;
    assert_ne!(of(), of());
}

#[test]
fn a_name_cannot_be_plain_and_sealed() {
    let mut both = draft();
    both.payload.insert("arguments".into(), json!(1));
    assert!(prepare(both).is_err());
}

#[test]
fn what_is_too_large_is_refused() {
    let mut large = draft();
    large.payload.insert("text".into(), Value::String("x".repeat(MAX_BYTES)));
    assert_eq!(prepare(large).unwrap_err().code, ErrorCode::LimitExceeded);
}
