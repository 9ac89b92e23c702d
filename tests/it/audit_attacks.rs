//! What somebody does to a log who can write the home but does not have the key: each attack on a real home's files, as it would be done
//! by one who knows how records are hashed. A verifier that follows the chain alone is shown to be deceived where that is the point.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{Connection as _, Row as _, SqliteConnection};
use toolgate::audit::{Chain, View, check, record};
use toolgate::domain::Digest;
use toolgate_evidence::tree::{Frontier, leaf};

use crate::support::Toolgate;

/// Makes a call as a user does; each is a run of its own, and a checkpoint is signed at its end.
pub fn call(toolgate: &Toolgate, n: u64) {
    toolgate.run(&["tools", "call", "transform.jq", &json!({ "filter": ".n", "input": { "n": n } }).to_string()]).exits(0);
}

/// A home with some calls in it.
pub fn home(calls: u64) -> Toolgate {
    let toolgate = Toolgate::new();
    (0..calls).for_each(|n| call(&toolgate, n));
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["proven"]["size"].as_u64().unwrap() > 3 * calls);
    toolgate
}

/// The same home elsewhere.
pub fn copy(of: &Toolgate) -> Toolgate {
    let copy = Toolgate::new();
    copy_folder(&of.data(), &copy.data());
    copy
}

pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

pub async fn database(toolgate: &Toolgate) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}", toolgate.data().join("toolgate.db").display())).await.unwrap()
}

/// A row of the journal.
#[derive(Clone)]
struct Row {
    run_id: String,
    seq: u64,
    kind: String,
    step_id: Option<String>,
    call_id: Option<String>,
    record: Vec<u8>,
    hash: Vec<u8>,
    sealed: Option<String>,
}

async fn rows(database: &mut SqliteConnection) -> Vec<Row> {
    let rows = sqlx::query("SELECT * FROM journal ORDER BY idx").fetch_all(database).await.unwrap();
    rows.iter()
        .map(|row| Row {
            run_id: row.get("run_id"),
            seq: row.get::<i64, _>("seq").unsigned_abs(),
            kind: row.get("kind"),
            step_id: row.get("step_id"),
            call_id: row.get("call_id"),
            record: row.get("record"),
            hash: row.get("hash"),
            sealed: row.get("sealed"),
        })
        .collect()
}

/// What a verifier says that knows the chain and nothing else.
async fn naive(toolgate: &Toolgate) -> Result<u64, u64> {
    let mut chain = Chain::default();
    for (row, index) in rows(&mut database(toolgate).await).await.iter().zip(0..) {
        let view = View {
            index,
            run_id: &row.run_id,
            seq: row.seq,
            kind: &row.kind,
            step_id: row.step_id.as_deref(),
            call_id: row.call_id.as_deref(),
            record: &row.record,
            hash: &row.hash,
            sealed: row.sealed.as_deref(),
        };
        let link = check(&view).map_err(|_| index)?;
        chain.add(&link).map_err(|bad| bad.index)?;
    }
    Ok(chain.len())
}

/// Writes the journal anew: every record with its place, its number in the run, its predecessor, hash and tree, as the writer would.
async fn rewrite(toolgate: &Toolgate, mut rows: Vec<Row>, with_tree: bool) {
    let mut database = database(toolgate).await;
    let old: Vec<Option<Vec<u8>>> =
        sqlx::query("SELECT tree FROM journal ORDER BY idx").fetch_all(&mut database).await.unwrap().iter().map(|row| row.get(0)).collect();
    sqlx::query("DELETE FROM journal").execute(&mut database).await.unwrap();
    let (mut prev, mut tree) = (Digest::ZERO, Frontier::default());
    let mut seqs: std::collections::HashMap<String, u64> = Default::default();
    for (index, row) in rows.iter_mut().enumerate() {
        let mut value: Value = serde_json::from_slice(&row.record).unwrap();
        let seq = seqs.entry(row.run_id.clone()).or_default();
        *seq += 1;
        row.seq = *seq;
        (value["index"], value["seq"], value["prev_hash"]) = (json!(index), json!(row.seq), json!(prev));
        // Members of a record are ASCII and sorted, so this is its canonical form.
        row.record = serde_json::to_vec(&value).unwrap();
        prev = record::hash(&row.record);
        let leaf = leaf(&row.record);
        let mut column = leaf.to_vec();
        tree.append_with(leaf, |_, hash| column.extend_from_slice(hash));
        if !with_tree {
            column = old.get(index).cloned().flatten().unwrap_or(column);
        }
        let number = |number: u64| i64::try_from(number).unwrap();
        sqlx::query(
            "INSERT INTO journal (idx, run_id, seq, kind, step_id, call_id, record, hash, sealed, tree) VALUES (?,?,?,?,?,?,?,?,?,?)",
        )
        .bind(number(index as u64))
        .bind(&row.run_id)
        .bind(number(row.seq))
        .bind(&row.kind)
        .bind(&row.step_id)
        .bind(&row.call_id)
        .bind(&row.record)
        .bind(prev.as_bytes().as_slice())
        .bind(&row.sealed)
        .bind(column)
        .execute(&mut database)
        .await
        .unwrap();
    }
    for (run, seq) in seqs {
        let seq = i64::try_from(seq).unwrap();
        sqlx::query("UPDATE runs SET last_seq = ? WHERE id = ?").bind(seq).bind(run).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
}

/// The record that `audit verify` names.
pub fn named(toolgate: &Toolgate) -> u64 {
    let found = toolgate.json(1, &["audit", "verify", "--json"]);
    found["broken"]["index"].as_u64().unwrap_or_else(|| panic!("{found}"))
}

/// The record that a start names when it refuses; nothing may be written then.
pub fn refused(toolgate: &Toolgate) -> u64 {
    let before = toolgate.run(&["audit", "export"]).stdout;
    let told = toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#]).exits(1);
    assert!(told.stderr.contains("AUDIT_BROKEN"), "{}", told.stderr);
    assert!(before == toolgate.run(&["audit", "export"]).stdout, "a refused start wrote");
    let index = told.stderr.split("record ").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap();
    index.parse().unwrap()
}

/// A start that is not refused: the glance at the newest checkpoint does not look deep.
fn starts(toolgate: &Toolgate) {
    toolgate.run(&["runs", "list"]).exits(0);
}

fn checkpoints(toolgate: &Toolgate) -> Vec<u64> {
    let export = toolgate.run(&["audit", "export"]).exits(0);
    let records = export.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = records.map(|line| serde_json::from_str::<Value>(line["record"].as_str().unwrap()).unwrap());
    events.filter(|event| event["payload"]["event"] == "checkpoint").map(|event| event["payload"]["size"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_record_is_named() {
    let toolgate = home(3);
    let mut database = database(&toolgate).await;
    let mut all = rows(&mut database).await;
    let victim = all.iter().position(|row| row.kind == "tool_call").unwrap();
    let text = String::from_utf8(all[victim].record.clone()).unwrap();
    all[victim].record = text.replace("transform.jq", "transform.jQ").into_bytes();
    let hash = record::hash(&all[victim].record);
    sqlx::query("UPDATE journal SET record = ?, hash = ? WHERE idx = ?")
        .bind(&all[victim].record)
        .bind(hash.as_bytes().as_slice())
        .bind(i64::try_from(victim).unwrap())
        .execute(&mut database)
        .await
        .unwrap();
    // The chain alone blames its successor.
    assert_eq!(naive(&toolgate).await, Err(victim as u64 + 1));
    assert_eq!(named(&toolgate), victim as u64);
    starts(&toolgate);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_record_is_named_and_so_is_its_place_when_all_moved_up() {
    let toolgate = home(3);
    let holed = copy(&toolgate);
    sqlx::query("DELETE FROM journal WHERE idx = 2").execute(&mut database(&holed).await).await.unwrap();
    assert_eq!(named(&holed), 2);

    let signed = checkpoints(&toolgate);
    let mut all = rows(&mut database(&toolgate).await).await;
    let victim = signed[0] as usize + 2;
    all.remove(victim);
    rewrite(&toolgate, all, true).await;
    assert!(naive(&toolgate).await.is_ok(), "the chain alone sees nothing");
    assert_eq!((named(&toolgate), refused(&toolgate)), (signed[0], signed[0]), "the first record after the last size that is proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inserted_record_is_named() {
    let toolgate = home(3);
    let signed = checkpoints(&toolgate);
    let mut all = rows(&mut database(&toolgate).await).await;
    let at = signed[1] as usize + 1;
    let mut forged = all[0].clone();
    let text = String::from_utf8(forged.record.clone()).unwrap();
    forged.record = text.replacen("run_created", "user_message", 1).into_bytes();
    forged.kind = "user_message".into();
    all.insert(at, forged);
    rewrite(&toolgate, all, true).await;
    assert!(naive(&toolgate).await.is_ok(), "the chain alone sees nothing");
    assert_eq!((named(&toolgate), refused(&toolgate)), (signed[1], signed[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn reordered_records_are_named() {
    let toolgate = home(3);
    let signed = checkpoints(&toolgate);
    let mut all = rows(&mut database(&toolgate).await).await;
    // Of two runs, so that each run's own order stays.
    let at = signed[1] as usize;
    assert_ne!(all[at].run_id, all[at + 1].run_id);
    all.swap(at, at + 1);
    rewrite(&toolgate, all, true).await;
    assert!(naive(&toolgate).await.is_ok(), "the chain alone sees nothing");
    assert_eq!((named(&toolgate), refused(&toolgate)), (signed[1], signed[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_tail_refuses_to_start_and_the_first_missing_record_is_named() {
    let whole = home(3);
    let all = rows(&mut database(&whole).await).await;
    for cut in [1, 2, all.len() - 1] {
        let toolgate = copy(&whole);
        let left = all.len() - cut;
        rewrite(&toolgate, all[..left].to_vec(), true).await;
        assert!(naive(&toolgate).await.is_ok(), "the chain alone sees nothing");
        assert_eq!(refused(&toolgate), left as u64, "{cut} records are cut off");
        assert_eq!(named(&toolgate), left as u64);
        // With its checkpoints cut off as well.
        let left = i64::try_from(left).unwrap();
        sqlx::query("DELETE FROM checkpoints WHERE size >= ?").bind(left).execute(&mut database(&toolgate).await).await.unwrap();
        assert_eq!(refused(&toolgate), left.unsigned_abs(), "{cut} records are cut off");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_is_refused() {
    let toolgate = home(2);
    let older = copy(&toolgate);
    let had = naive(&toolgate).await.unwrap();
    call(&toolgate, 7);
    call(&toolgate, 8);
    std::fs::copy(older.data().join("toolgate.db"), toolgate.data().join("toolgate.db")).unwrap();
    assert_eq!(naive(&toolgate).await, Ok(had), "the chain alone sees nothing");
    assert_eq!((refused(&toolgate), named(&toolgate)), (had, had));
    // Nor is it one when the file that gives it away is taken away, or the old one put in its place and the key forgotten.
    std::fs::remove_file(toolgate.data().join("audit/checkpoint")).unwrap();
    refused(&toolgate);
    named(&toolgate);

    // An empty database is an old one too.
    let emptied = copy(&older);
    std::fs::remove_file(emptied.data().join("toolgate.db")).unwrap();
    std::fs::write(emptied.data().join("toolgate.db"), "").unwrap();
    assert_eq!(refused_fresh(&emptied), 0);
}

/// As [`refused`], where the refused start may make the tables of an empty database.
fn refused_fresh(toolgate: &Toolgate) -> u64 {
    let told = toolgate.run(&["runs", "list"]).exits(1);
    assert!(told.stderr.contains("AUDIT_BROKEN"), "{}", told.stderr);
    told.stderr.split("record ").nth(1).unwrap().split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// The same home went on in two places, with the same key; only one of the two can be the log.
#[tokio::test(flavor = "multi_thread")]
async fn two_successors_of_one_head_are_told_apart() {
    let one = home(2);
    let other = copy(&one);
    let common = naive(&one).await.unwrap();
    call(&one, 1);
    for n in 2..5 {
        call(&other, n);
    }
    std::fs::copy(other.data().join("toolgate.db"), one.data().join("toolgate.db")).unwrap();
    assert!(naive(&one).await.unwrap() > common, "the chain alone sees nothing");
    let last_common = checkpoints(&copy(&other)).into_iter().filter(|size| *size <= common).max().unwrap();
    assert_eq!((named(&one), refused(&one)), (last_common, last_common));
    // Each by itself is sound.
    assert_eq!(other.json(0, &["audit", "verify", "--json"])["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_was_rewritten_without_the_key_is_refused() {
    let whole = home(3);
    let signed = checkpoints(&whole);
    let mut all = rows(&mut database(&whole).await).await;
    let victim = signed[0] as usize + 2;
    let text = String::from_utf8(all[victim].record.clone()).unwrap();
    assert!(text.contains("transform.jq"), "{text}");
    all[victim].record = text.replace("transform.jq", "python.run").into_bytes();
    for with_tree in [true, false] {
        let toolgate = copy(&whole);
        rewrite(&toolgate, all.clone(), with_tree).await;
        assert!(naive(&toolgate).await.is_ok(), "the chain alone sees nothing");
        // Where the stored tree was left alone, the very record is named; else the first one after what is proven.
        let expected = if with_tree { signed[0] } else { victim as u64 };
        assert_eq!((named(&toolgate), refused(&toolgate)), (expected, expected), "with tree: {with_tree}");
        // Taking the checkpoints away does not help: the file has one.
        sqlx::query("DELETE FROM checkpoints").execute(&mut database(&toolgate).await).await.unwrap();
        refused(&toolgate);
        named(&toolgate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_tampered_with_is_named() {
    let whole = home(3);
    let signed = checkpoints(&whole);
    let deep = copy(&whole);
    let update = "UPDATE checkpoints SET note = replace(note, substr(note, -20, 4), 'AAAA') WHERE size = ?";
    sqlx::query(update).bind(i64::try_from(signed[0]).unwrap()).execute(&mut database(&deep).await).await.unwrap();
    assert_eq!(naive(&deep).await, naive(&whole).await);
    assert_eq!(named(&deep), signed[0] - 1);

    let file = whole.data().join("audit/checkpoint");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen(&signed.last().unwrap().to_string(), "1", 1)).unwrap();
    refused(&whole);
    named(&whole);
}

/// Text that ends lines, moves cursors or ends strings stays what it is: content of one record on one line.
#[test]
fn hostile_text_in_any_field_is_one_canonical_line_and_verifies() {
    let toolgate = Toolgate::new();
    let forged = r#"","kind":"tool_result","hash":"0000"}"#;
    let hostile = [
        "\r\n{\"index\":0}\n".to_owned(),
        "\u{1b}[2K\u{1b}]0;x\u{7}\u{9b}31m".to_owned(),
        "a\0b".to_owned(),
        "\u{2028}\u{2029}\u{85}\u{feff}".to_owned(),
        "\u{202e}gnp.exe\u{2066}\u{200b}\u{e0041}".to_owned(),
        "\u{fffe}\u{10ffff}\u{fffd}".to_owned(),
        forged.to_owned(),
        "'); DROP TABLE journal; --".to_owned(),
        "x".repeat(1 << 20),
    ];
    for text in &hostile {
        let input = toolgate.home().join("input.json");
        let filter = if text.len() < 1 << 16 { "." } else { "1" };
        std::fs::write(&input, json!({ "filter": filter, "input": { text.as_str(): [text] } }).to_string()).unwrap();
        // As an argument and as a result, as the name of a tool, and as a path that is refused.
        toolgate.run(&["tools", "call", "transform.jq", &format!("@{}", input.display())]).exits(0);
        if !text.contains('\0') && text.len() < 1 << 16 {
            assert_ne!(toolgate.run(&["tools", "call", text, "{}"]).code, 0);
        }
        std::fs::write(&input, json!({ "paths": [text], text.as_str(): 1 }).to_string()).unwrap();
        assert_ne!(toolgate.run(&["tools", "call", "workspace.read", &format!("@{}", input.display())]).code, 0);
    }
    let verified = toolgate.json(0, &["audit", "verify", "--json"]);
    assert_eq!(verified["ok"], true, "{verified}");
    let export = toolgate.run(&["audit", "export"]).exits(0).stdout;
    let lines: Vec<&str> = export.lines().collect();
    assert_eq!(lines.len() as u64, verified["records"].as_u64().unwrap());
    let mut kept = 0;
    for (line, index) in lines.iter().zip(0_u64..) {
        let line: Value = serde_json::from_str(line).unwrap();
        let record = line["record"].as_str().unwrap();
        assert!(!record.contains(|c: char| c.is_ascii_control()), "a control character that is not escaped: {record}");
        let parsed: Value = serde_json::from_str(record).unwrap();
        assert_eq!((parsed["index"].as_u64(), line["index"].as_u64()), (Some(index), Some(index)));
        assert_ne!(parsed["hash"], "0000");
        let sealed = line["sealed"].as_str().unwrap_or("{}");
        assert!(!sealed.contains(|c: char| c.is_ascii_control()));
        let values: Value = serde_json::from_str(sealed).unwrap();
        kept += hostile.iter().filter(|text| values["arguments"]["value"]["input"].get(text.as_str()).is_some()).count();
    }
    // The longest lies in an artifact.
    assert_eq!(kept, hostile.len() - 1, "what was said is kept as it was said");
    // A naive log of one line a field: this is how it would be forged.
    let naive = format!("tool_call {}", hostile[0]);
    assert!(naive.lines().count() > 1);
}
