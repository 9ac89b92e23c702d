use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::checkpoint::{Checkpoint, PublicKey, Signer};
use crate::tree;

const LOG: &str = "toolgate/00112233445566778899aabbccddeeff";
const RUN: &str = "run_019aa000000070008000000000000001";
const OTHER: &str = "run_019aa000000070008000000000000002";

fn signer() -> Signer {
    Signer::new(LOG, &[42; 32]).unwrap()
}

/// A log as toolgate writes one, small and without chance.
#[derive(Default)]
struct Log {
    records: Vec<String>,
    values: Vec<BTreeMap<String, Opening>>,
}

impl Log {
    fn add(&mut self, run: &str, kind: &str, (call, by): (Option<&str>, &str), payload: &Value, sealed: &Value) {
        let index = self.records.len();
        let seq = self.records.iter().filter(|record| record.contains(&format!("\"run_id\":\"{run}\""))).count() + 1;
        let mut values = BTreeMap::new();
        let mut commitments = serde_json::Map::new();
        for (n, (name, value)) in sealed.as_object().unwrap().iter().enumerate() {
            let salt = tree::leaf(format!("salt {index} {n}").as_bytes());
            let value = serde_json_canonicalizer::to_string(value).unwrap();
            commitments.insert(name.clone(), hex(&commitment(&salt, &value)).into());
            values.insert(name.clone(), Opening { salt: hex(&salt), value });
        }
        let mut record = json!({
            "v": 1, "index": index, "run_id": run, "seq": seq, "ts": format!("2026-01-02T03:04:05.{index:03}Z"), "kind": kind,
            "actor": {"principal": by, "role": if by == "operator" { "operator" } else { "agent" }}, "payload": payload,
            "prev_hash": self.records.last().map_or_else(|| "0".repeat(64), |record| hex(&record_hash(record.as_bytes()))),
        });
        if let Some(call) = call {
            record["call_id"] = call.into();
        }
        if !commitments.is_empty() {
            record["sealed"] = Value::Object(commitments);
        }
        self.records.push(serde_json_canonicalizer::to_string(&record).unwrap());
        self.values.push(values);
    }

    fn leaves(&self) -> Vec<tree::Hash> {
        self.records.iter().map(|record| tree::leaf(record.as_bytes())).collect()
    }

    fn note(&self, size: usize, signer: &Signer) -> String {
        let root = tree::root(&self.leaves()[..size]);
        signer.sign(&Checkpoint { origin: LOG.to_owned(), size: size as u64, root, extensions: Vec::new() }).unwrap()
    }

    /// What an honest exporter makes of it, with only the run's first `most` events.
    fn bundle(&self, size: usize, most: usize, signer: &Signer) -> Bundle {
        let leaves = self.leaves();
        let mine: Vec<usize> = (0..size).filter(|n| self.records[*n].contains(&format!("\"run_id\":\"{RUN}\""))).take(most).collect();
        let events: Vec<Entry> = mine
            .iter()
            .map(|n| Entry { leaf: hex(&leaves[*n]), record: self.records[*n].clone(), values: self.values[*n].clone() })
            .collect();
        let places: Vec<u64> = mine.iter().map(|n| *n as u64).collect();
        let of = |subtree: tree::Subtree| subtree.of(&leaves);
        let proof = tree::many(&places, size as u64, of).unwrap().iter().map(hex).collect();
        let newest = (size < leaves.len()).then(|| Newest {
            checkpoint: self.note(leaves.len(), signer),
            consistency: tree::consistency(size as u64, leaves.len() as u64, of).unwrap().iter().map(hex).collect(),
        });
        let told = claims_of(&events);
        let Claims { status, plan, pins, approvals, artifacts } = told;
        Bundle {
            format: FORMAT.to_owned(),
            run: RUN.to_owned(),
            status,
            plan,
            pins,
            approvals,
            artifacts,
            events,
            checkpoint: self.note(size, signer),
            proof,
            newest,
            keys: vec![signer.public().to_string()],
        }
    }
}

fn claims_of(events: &[Entry]) -> Claims {
    let read: Vec<(Record, BTreeMap<&str, Value>)> = events
        .iter()
        .map(|entry| {
            let values = entry.values.iter().map(|(name, opening)| (name.as_str(), serde_json::from_str(&opening.value).unwrap()));
            (Record::read(&entry.record).unwrap(), values.collect())
        })
        .collect();
    claims(read.iter().map(|(record, values)| (record, values.clone())))
}

fn log() -> Log {
    let digest = |text: &str| hex(&tree::leaf(text.as_bytes()));
    let call = "call_019aa000000070008000000000000003";
    let none = json!({});
    let mut log = Log::default();
    log.add(OTHER, "run_created", (None, "agent:a"), &json!({"kind": "adhoc", "policy": digest("p"), "version": "0.1.0"}), &none);
    log.add(
        RUN,
        "run_created",
        (None, "operator"),
        &json!({"kind": "workflow", "workflow": "demo", "workflow_version": "1.0.0", "workflow_digest": digest("w"), "policy": digest("p"),
                "version": "0.1.0", "started_by": "operator"}),
        &json!({"definition": {"name": "demo", "steps": ["a"]}, "inputs": {"text": "línea \u{1f600}\n\u{7}", "big": {"$json": "9007199254740993"}}}),
    );
    log.add(
        RUN,
        "system_event",
        (Some(call), "operator"),
        &json!({"event": "approval_requested", "approval_id": "apr_1", "tool": "demo.write", "digest": digest("c"), "expires_at": "2026-01-02T04:04:05.000Z"}),
        &json!({"reason": "writes a file"}),
    );
    log.add(OTHER, "tool_error", (None, "agent:a"), &json!({"code": "UNKNOWN_TOOL"}), &json!({"error": {"code": "UNKNOWN_TOOL"}}));
    log.add(
        RUN,
        "system_event",
        (None, "operator"),
        &json!({"event": "approval_granted", "approval_id": "apr_1", "digest": digest("c")}),
        &json!({"reason": ""}),
    );
    log.add(
        RUN,
        "tool_call",
        (Some(call), "operator"),
        &json!({"tool": "demo.write", "version": "1.2.3", "manifest": digest("m"), "digest": digest("c"), "verdict": "ask", "rules": ["r1"]}),
        &json!({"arguments": {"path": "a.txt", "content": {"artifact": digest("a"), "size": 70000}}}),
    );
    log.add(
        RUN,
        "tool_result",
        (Some(call), "operator"),
        &json!({"tool": "demo.write", "duration_ms": 12}),
        &json!({"output": {"ratio": 0.1, "n": 1e21}}),
    );
    log.add(RUN, "system_event", (None, "system"), &json!({"event": "run_succeeded"}), &none);
    log.add(OTHER, "system_event", (None, "system"), &json!({"event": "run_closed"}), &none);
    log.add(OTHER, "system_event", (None, "system"), &json!({"event": "checkpoint"}), &none);
    log
}

/// A bundle after something was done to it, and what is said then: nothing where it holds.
struct Vector {
    name: &'static str,
    text: String,
    says: Option<&'static str>,
}

/// Every vector that is shipped. The first two hold.
fn vectors() -> Vec<Vector> {
    let log = log();
    let good = log.bundle(9, 99, &signer());
    let mut all = vec![
        Vector { name: "good", text: good.to_text().unwrap(), says: None },
        Vector { name: "good-without-values", text: without_values(&good).to_text().unwrap(), says: None },
        // Honest in all that it says; it says that no end is among its events.
        Vector { name: "good-cut-tail", text: log.bundle(9, 3, &signer()).to_text().unwrap(), says: None },
    ];
    let mut bad = |name: &'static str, says: &'static str, change: &dyn Fn(&mut Bundle)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        all.push(Vector { name, text: bundle.to_text().unwrap(), says: Some(says) });
    };
    let changed = |entry: &mut Entry| entry.record = entry.record.replace("1.2.3", "1.2.4");
    bad("changed-record", "event 4: the record does not have the hash that its leaf says", &|b| changed(&mut b.events[3]));
    bad("changed-record-and-leaf", "the tree: the records and the proof lead to another root than the signed one", &|b| {
        changed(&mut b.events[3]);
        b.events[3].leaf = hex(&tree::leaf(b.events[3].record.as_bytes()));
        b.events[4].record = b.events[4]
            .record
            .replace(&hex(&record_hash(good.events[3].record.as_bytes())), &hex(&record_hash(b.events[3].record.as_bytes())));
        b.events[4].leaf = hex(&tree::leaf(b.events[4].record.as_bytes()));
        b.events[5].record = b.events[5]
            .record
            .replace(&hex(&record_hash(good.events[4].record.as_bytes())), &hex(&record_hash(b.events[4].record.as_bytes())));
        b.events[5].leaf = hex(&tree::leaf(b.events[5].record.as_bytes()));
        b.pins.manifests[0].version = "1.2.4".to_owned();
    });
    bad("missing-event", "event 3 (record 5): it is the run's event 4", &|b| drop(b.events.remove(2)));
    bad("swapped-events", "event 3 (record 5): it is the run's event 4", &|b| b.events.swap(2, 3));
    bad("event-of-another-run", "event 7 (record 8): it belongs to `run_019aa000000070008000000000000002`", &|b| {
        let record = log.records[8].clone();
        b.events.push(Entry { leaf: hex(&tree::leaf(record.as_bytes())), record, values: BTreeMap::new() });
    });
    bad("changed-value", "event 5 (record 6): the value of `output` is not the one the record commits to", &|b| {
        b.events[4].values.get_mut("output").unwrap().value = r#"{"n":1e+21,"ratio":0.2}"#.to_owned();
    });
    bad("added-value", "event 6 (record 7): the record does not commit to a value `note`", &|b| {
        let opening = b.events[0].values["inputs"].clone();
        b.events[5].values.insert("note".to_owned(), opening);
    });
    bad("changed-proof", "the tree: the records and the proof lead to another root than the signed one", &|b| {
        b.proof[0] = hex(&tree::empty());
    });
    bad("short-proof", "the tree: the proof has 2 hashes, not the 3 that its place needs", &|b| drop(b.proof.pop()));
    bad("changed-checkpoint", "the checkpoint: the checkpoint's signature by the key", &|b| {
        b.checkpoint = b.checkpoint.replacen("\n9\n", "\n8\n", 1);
    });
    bad("older-checkpoint", "the checkpoint: it covers 7 records, and record 7 is not among them", &|b| {
        b.checkpoint = log.note(7, &signer());
        b.newest = None;
    });
    bad(
        "forked-newest",
        "the newest checkpoint: the log did not only grow since the first checkpoint: the proof leads to another root",
        &|b| {
            let forked = Checkpoint { origin: LOG.to_owned(), size: 10, root: [1; 32], extensions: Vec::new() };
            b.newest.as_mut().unwrap().checkpoint = signer().sign(&forked).unwrap();
        },
    );
    bad("changed-pin", "the pins: not what the events say", &|b| b.pins.policies[0] = hex(&tree::empty()));
    bad("hidden-approval", "the approvals: not what the events say", &|b| b.approvals.clear());
    bad("changed-artifact", "the artifacts: not what the events say", &|b| b.artifacts[0].size = 1);
    bad("changed-status", "the status: not what the events say", &|b| b.status = "failed".to_owned());
    bad("changed-plan", "the plan: not what the events say", &|b| b.plan = json!({"name": "demo", "steps": []}));
    let text = good.to_text().unwrap();
    let shadowed = text.replacen("{\"approvals\"", "{\"approvals\":[],\"approvals\"", 1);
    all.push(Vector {
        name: "repeated-member",
        text: shadowed,
        says: Some("the document: it is not canonical at byte 16: members are out of order or repeated"),
    });
    let spaced = text.replacen("{\"approvals\":", "{\"approvals\": ", 1);
    all.push(Vector {
        name: "not-canonical",
        text: spaced,
        says: Some("the document: it is not canonical at byte 13: a value is missing"),
    });
    // Whoever has no key but his own: holds by the key that came with it, and by no other.
    let forger = Signer::new(LOG, &[66; 32]).unwrap();
    all.push(Vector { name: "forged-with-another-key", text: log.bundle(9, 99, &forger).to_text().unwrap(), says: None });
    all
}

fn without_values(bundle: &Bundle) -> Bundle {
    let mut bare = bundle.clone();
    bare.events.iter_mut().for_each(|entry| entry.values.clear());
    let Claims { status, plan, pins, approvals, artifacts } = claims_of(&bare.events);
    Bundle { status, plan, pins, approvals, artifacts, ..bare }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

#[test]
fn each_vector_holds_or_says_what_is_wrong() {
    for vector in vectors() {
        let found = verify(&vector.text, &[]);
        match (vector.says, found) {
            (None, Ok(_)) => {}
            (Some(says), Err(wrong)) => assert!(wrong.to_string().starts_with(says), "{}: {wrong}", vector.name),
            (_, found) => panic!("{}: {found:?}", vector.name),
        }
        let pinned = verify(&vector.text, &[signer().public().clone()]);
        assert_eq!(pinned.is_ok(), vector.says.is_none() && vector.name.starts_with("good"), "{}: {pinned:?}", vector.name);
    }
    let report = verify(&vectors()[0].text, &[signer().public().clone()]).unwrap();
    assert_eq!((report.events, report.values, report.absent, report.trust), (6, 6, 0, Trust::Given));
    assert_eq!((report.size, report.newest, report.approvals, report.artifacts), (9, Some(10), (1, 1), 1));
    assert_eq!(report.status, "succeeded");
    let cut = verify(&vectors()[2].text, &[]).unwrap();
    assert_eq!((cut.status.as_str(), cut.events), ("open", 3));
    assert!(cut.to_string().contains("no end among them") && cut.to_string().contains("came with the bundle"), "{cut}");
}

/// The files that are shipped are these vectors; `UPDATE_VECTORS=1` writes them.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of the test itself")]
fn the_shipped_vectors_are_these() {
    let update = std::env::var("UPDATE_VECTORS").is_ok();
    let listed: Vec<Value> =
        vectors().iter().map(|vector| json!({"file": format!("{}.json", vector.name), "wrong": vector.says})).collect();
    let mut files = vec![
        ("vectors.json".to_owned(), serde_json::to_string_pretty(&listed).unwrap() + "\n"),
        ("log.pub".to_owned(), format!("{}\n", signer().public())),
    ];
    files.extend(vectors().into_iter().map(|vector| (format!("{}.json", vector.name), vector.text)));
    for (name, text) in &files {
        let path = folder().join(name);
        if update {
            std::fs::write(&path, text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), *text, "{name}: UPDATE_VECTORS=1 writes it anew");
    }
    let there =
        std::fs::read_dir(folder()).unwrap().filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "json"));
    assert_eq!(there.count(), files.len() - 1, "a file that is no vector");
}

/// A verifier that only follows `seq` and hashes without a signed root takes a log that was written anew; this one does not.
#[test]
fn a_log_written_anew_without_the_key_is_refused() {
    let mut rewritten = Log::default();
    let old = log();
    for (record, values) in old.records.iter().zip(&old.values) {
        let read = Record::read(record).unwrap();
        let sealed: serde_json::Map<String, Value> =
            values.iter().map(|(name, opening)| (name.clone(), serde_json::from_str(&opening.value).unwrap())).collect();
        let mut payload = Value::Object(read.payload.clone());
        if read.word() == Some("approval_granted") {
            payload["event"] = "approval_denied".into();
        }
        rewritten.add(&read.run_id, &read.kind, (read.call_id.as_deref(), &read.actor.principal), &payload, &Value::Object(sealed));
    }
    let mut forged = rewritten.bundle(9, 99, &signer());
    forged.newest = None;
    // The naive check: every hash and link of the forgery is in order.
    for pair in rewritten.records.windows(2) {
        assert_eq!(Record::read(&pair[1]).unwrap().prev_hash, hex(&record_hash(pair[0].as_bytes())));
    }
    // The forger has a checkpoint that the key signed, but not the key.
    forged.checkpoint = old.note(9, &signer());
    assert_eq!(verify(&forged.to_text().unwrap(), &[]).unwrap_err().place, "the tree");
}

#[test]
fn a_key_that_followed_another_vouches_for_what_that_one_signed() {
    let log = log();
    let old = Signer::new(LOG, &[1; 32]).unwrap();
    let mut bundle = log.bundle(9, 99, &old);
    bundle.newest.as_mut().unwrap().checkpoint = log.note(10, &signer());
    bundle.keys.push(signer().public().to_string());
    let text = bundle.to_text().unwrap();
    for given in [vec![], vec![signer().public().clone()], vec![old.public().clone()]] {
        verify(&text, &given).unwrap();
    }
    let stranger = Signer::new(LOG, &[3; 32]).unwrap();
    assert_eq!(verify(&text, &[stranger.public().clone()]).unwrap_err().to_string(), "the checkpoint: none of the keys signed it");
}

#[test]
fn ten_thousand_events_verify() {
    let mut log = Log::default();
    let nothing = json!({});
    // The helper that counts a run's records is quadratic, so the records are made here.
    log.add(RUN, "run_created", (None, "operator"), &json!({"kind": "adhoc", "version": "0.1.0"}), &nothing);
    for n in 1..10_000_u64 {
        let value = serde_json_canonicalizer::to_string(&json!({"text": "x".repeat(200), "n": n})).unwrap();
        let salt = tree::leaf(&n.to_be_bytes());
        let record = json!({
            "v": 1, "index": n, "run_id": RUN, "seq": n + 1, "ts": "2026-01-02T03:04:05.999Z", "kind": "tool_result",
            "actor": {"principal": "operator", "role": "operator"}, "payload": {"tool": "demo.read", "duration_ms": n},
            "sealed": {"output": hex(&commitment(&salt, &value))},
            "prev_hash": hex(&record_hash(log.records.last().unwrap().as_bytes())),
        });
        log.records.push(serde_json_canonicalizer::to_string(&record).unwrap());
        log.values.push(BTreeMap::from([("output".to_owned(), Opening { salt: hex(&salt), value })]));
    }
    let text = log.bundle(10_000, 20_000, &signer()).to_text().unwrap();
    let begun = std::time::Instant::now();
    let report = verify(&text, &[signer().public().clone()]).unwrap();
    tell_figure(text.len(), begun.elapsed());
    assert_eq!((report.events, report.values), (10_000, 9_999));
}

#[expect(clippy::print_stderr, reason = "a figure for whoever asks with --nocapture; nothing depends on it")]
fn tell_figure(bytes: usize, took: std::time::Duration) {
    eprintln!("10,000 events, {bytes} bytes, verified in {took:?}");
}

/// Text of the values cannot write lines of the report.
#[test]
fn a_report_shows_hostile_text_escaped() {
    let mut log = Log::default();
    log.add(
        RUN,
        "run_created",
        (None, "operator"),
        &json!({"workflow": "x\u{1b}[2J\n  key  trusted\u{202e}", "workflow_version": "1", "workflow_digest": "d", "version": "0"}),
        &json!({}),
    );
    let shown = verify(&log.bundle(1, 1, &signer()).to_text().unwrap(), &[]).unwrap().to_string();
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    assert!(shown.contains("x\\u{1b}[2J\\n  key  trusted\\u{202e}"), "{shown}");
}

#[test]
fn keys_are_read_from_files() {
    let key = signer().public().to_string();
    assert_eq!(PublicKey::list(&format!("# the log's\n\n{key}\n")).unwrap().len(), 1);
    assert!(PublicKey::list("").is_err());
    assert!(PublicKey::list(&format!("{key}\nx\n")).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever byte of a bundle is changed, it does not verify with the log's key.
    #[test]
    fn every_byte_counts(at: prop::sample::Index, byte in 0x20_u8..0x7f) {
        let good = &vectors()[0].text;
        let mut bent = good.clone().into_bytes();
        let at = at.index(bent.len());
        if bent[at] != byte {
            bent[at] = byte;
            if let Ok(bent) = String::from_utf8(bent) {
                let found = verify(&bent, &[signer().public().clone()]);
                prop_assert!(found.is_err(), "byte {} holds: {:?}", at, found);
            }
        }
    }

    #[test]
    fn no_text_panics(text: String, at: prop::sample::Index, cut: prop::sample::Index) {
        let _ = verify(&text, &[]);
        let good = &vectors()[0].text;
        let (at, cut) = (at.index(good.len()), cut.index(good.len()));
        if let (Some(head), Some(tail)) = (good.get(..at), good.get(cut..)) {
            let _ = verify(&format!("{head}{text}{tail}"), &[]);
        }
    }
}
