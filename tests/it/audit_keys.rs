//! The key that signs the log: where it lies, who may read it, how it is exchanged, and what a witness sees that the home cannot.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;
use toolgate_evidence::checkpoint::{PublicKey, open, peek};
use toolgate_evidence::tree::verify_inclusion;

use crate::audit_attacks::{call, copy, copy_folder, database, home, named, refused};
use crate::main_job::answer;
use crate::support::{Ran, Toolgate};

const PHRASE: &str = "a long passphrase";

fn audit(toolgate: &Toolgate, file: &str) -> PathBuf {
    toolgate.data().join("audit").join(file)
}

fn read(toolgate: &Toolgate, file: &str) -> String {
    std::fs::read_to_string(audit(toolgate, file)).unwrap()
}

fn sound(toolgate: &Toolgate) -> Value {
    toolgate.json(0, &["audit", "verify", "--json"])
}

fn hash(value: &Value) -> [u8; 32] {
    *value.as_str().unwrap().parse::<toolgate::domain::Digest>().unwrap().as_bytes()
}

/// With a witness, whose folder outlives the home.
fn with_witness(required: bool) -> (Toolgate, PathBuf) {
    let toolgate = Toolgate::new();
    let witness = toolgate.home().join("witness");
    std::fs::create_dir(&witness).unwrap();
    std::fs::create_dir_all(toolgate.data()).unwrap();
    let required = if required { "yes" } else { "no" };
    let settings = format!("[audit]\nwitness = {:?}\nwitness_required = \"{required}\"\n", witness.display().to_string());
    std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
    (0..2).for_each(|n| call(&toolgate, n));
    (toolgate, witness)
}

fn lines(witness: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(witness.join("toolgate.checkpoints")).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_key_is_the_owners_and_its_public_half_verifies_the_newest_checkpoint() {
    let toolgate = home(1);
    assert_eq!(std::fs::metadata(audit(&toolgate, "key")).unwrap().permissions().mode() & 0o777, 0o600);
    let key: PublicKey = read(&toolgate, "key.pub").trim().parse().unwrap();
    let newest = open(&read(&toolgate, "checkpoint"), &key).unwrap();
    let head = toolgate.json(0, &["audit", "head", "--json"]);
    assert_eq!(newest.size, head["checkpoint"]["size"].as_u64().unwrap());
    assert_eq!(newest.size, head["index"].as_u64().unwrap(), "all but the checkpoint's own event is covered");
    let name = newest.origin.strip_prefix("toolgate/").unwrap();
    assert!(name.len() == 32 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let private = read(&toolgate, "key");
    let secret = private.trim().rsplit('+').next().unwrap();
    let database = std::fs::read(toolgate.data().join("toolgate.db")).unwrap();
    assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()), "the key lies in the database");
}

#[test]
fn a_key_that_others_can_reach_is_refused() {
    let toolgate = home(1);
    let key = audit(&toolgate, "key");
    let refused = |told: Ran| assert!(told.stderr.contains("AUDIT_KEY_REFUSED"), "{}", told.stderr);
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
    refused(toolgate.run(&["runs", "list"]).exits(1));
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    toolgate.run(&["runs", "list"]).exits(0);
    let elsewhere = toolgate.home().join("elsewhere");
    std::fs::rename(&key, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &key).unwrap();
    refused(toolgate.run(&["runs", "list"]).exits(1));
    std::fs::remove_file(&key).unwrap();
    refused(toolgate.run(&["runs", "list"]).exits(1));
    assert!(!key.exists(), "no new key is made in the place of one that is missing");
    // Named by the settings it may lie there.
    let mut command = toolgate.command(&["runs", "list"]);
    let ran = Ran::of(command.env("TOOLGATE_AUDIT_KEY_FILE", &elsewhere).output().unwrap());
    ran.exits(0);
    // To look at the log no private key is needed.
    sound(&toolgate);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_proven_without_the_database() {
    let toolgate = home(2);
    let key: PublicKey = read(&toolgate, "key.pub").trim().parse().unwrap();
    let last = toolgate.json(0, &["audit", "head", "--json"])["index"].as_u64().unwrap();
    for index in 0..last {
        let proof = toolgate.json(0, &["audit", "proof", &index.to_string()]);
        let checkpoint = open(proof["checkpoint"]["note"].as_str().unwrap(), &key).unwrap();
        let leaf = toolgate_evidence::tree::leaf(proof["record"].as_str().unwrap().as_bytes());
        let path: Vec<[u8; 32]> = proof["path"].as_array().unwrap().iter().map(hash).collect();
        verify_inclusion(index, checkpoint.size, &leaf, &path, &checkpoint.root).unwrap();
        assert_eq!(hash(&proof["leaf"]), leaf);
    }
    // The checkpoint's own event is covered by the next one.
    let told = toolgate.run(&["audit", "proof", &last.to_string()]).exits(2);
    assert!(told.stdout.contains("NOT_FOUND") || told.stderr.contains("NOT_FOUND"), "{}{}", told.stdout, told.stderr);
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let run = runs.as_array().unwrap().iter().find(|run| run["principal"] == "operator").unwrap()["id"].as_str().unwrap();
    let proof = toolgate.json(0, &["audit", "proof", "2", "--run", run]);
    let record: Value = serde_json::from_str(proof["record"].as_str().unwrap()).unwrap();
    assert_eq!((record["run_id"].as_str(), record["seq"].as_u64()), (Some(run), Some(2)));
    // A record that was changed is not proven.
    let change = "UPDATE journal SET record = CAST(replace(CAST(record AS TEXT), 'run_created', 'run_createD') AS BLOB) WHERE idx = 0";
    sqlx::query(change).execute(&mut database(&toolgate).await).await.unwrap();
    let told = toolgate.run(&["audit", "proof", "0"]).exits(1);
    assert!(format!("{}{}", told.stdout, told.stderr).contains("AUDIT_BROKEN"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_is_rotated_and_the_old_one_vouches_for_the_new() {
    let toolgate = home(1);
    let (old_key, old_pub) = (read(&toolgate, "key"), read(&toolgate, "key.pub"));
    let before = copy(&toolgate);
    answer(&toolgate, &["audit", "rotate-key"], PHRASE).exits(0);
    let wrong = answer(&toolgate, &["audit", "rotate-key"], "not the passphrase").exits(3);
    assert!(wrong.stderr.contains("OPERATOR_LOCKED"));
    let new: PublicKey = read(&toolgate, "key.pub").trim().parse().unwrap();
    assert_ne!(read(&toolgate, "key"), old_key);
    assert_eq!(std::fs::metadata(audit(&toolgate, "key")).unwrap().permissions().mode() & 0o777, 0o600);
    open(&read(&toolgate, "checkpoint"), &new).unwrap();
    call(&toolgate, 2);
    assert_eq!(sound(&toolgate)["proven"]["key"], new.id());
    // What was proven by the old key still is.
    let proof = toolgate.json(0, &["audit", "proof", "0"]);
    assert_eq!(proof["public_key"], old_pub.trim());

    // The old key signs no more: put back, it is an exchanged key.
    let stolen = copy(&toolgate);
    std::fs::write(audit(&stolen, "key"), &old_key).unwrap();
    std::fs::write(audit(&stolen, "key.pub"), &old_pub).unwrap();
    refused(&stolen);
    named(&stolen);

    // Without the note of the old key the new one has no standing.
    let orphan = copy(&toolgate);
    let rotated = "DELETE FROM checkpoints WHERE size = (SELECT since FROM audit_keys WHERE number = 2) AND key = ?";
    let old: PublicKey = old_pub.trim().parse().unwrap();
    sqlx::query(rotated).bind(old.id()).execute(&mut database(&orphan).await).await.unwrap();
    refused(&orphan);
    named(&orphan);

    // A process that died between the record and the file: the next start puts the key in its place.
    let died = copy(&toolgate);
    std::fs::rename(audit(&died, "key"), audit(&died, "key.next")).unwrap();
    std::fs::write(audit(&died, "key"), &old_key).unwrap();
    std::fs::set_permissions(audit(&died, "key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    call(&died, 3);
    assert_eq!(read(&died, "key"), read(&toolgate, "key"));
    sound(&died);
    // And one that died before the record: the old key goes on.
    std::fs::copy(audit(&toolgate, "key"), audit(&before, "key.next")).unwrap();
    call(&before, 3);
    assert_eq!(read(&before, "key"), old_key);
    sound(&before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchanged_key_is_found() {
    let toolgate = home(2);
    let stranger = home(1);
    for file in ["key", "key.pub"] {
        std::fs::copy(audit(&stranger, file), audit(&toolgate, file)).unwrap();
    }
    refused(&toolgate);
    named(&toolgate);
    // Also where the database is told of it, as no old key signed for it.
    let key = read(&stranger, "key.pub");
    let update = "INSERT INTO audit_keys (verifier, since, why) VALUES (?, 3, 'rotated')";
    sqlx::query(update).bind(key.trim()).execute(&mut database(&toolgate).await).await.unwrap();
    refused(&toolgate);
    named(&toolgate);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_accepts_a_database_that_was_put_back_and_the_log_says_so() {
    let toolgate = home(1);
    let older = copy(&toolgate);
    call(&toolgate, 5);
    std::fs::copy(older.data().join("toolgate.db"), toolgate.data().join("toolgate.db")).unwrap();
    let missing = refused(&toolgate);
    answer(&toolgate, &["audit", "accept", "--reason", "the disk was exchanged"], PHRASE).exits(0);
    call(&toolgate, 6);
    sound(&toolgate);
    let export = toolgate.run(&["audit", "export", "--from", &missing.to_string()]).exits(0);
    let records: Vec<Value> = export.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let accepted: Value = serde_json::from_str(records[0]["record"].as_str().unwrap()).unwrap();
    assert_eq!(accepted["payload"]["event"], "audit_accepted");
    assert_eq!(accepted["actor"]["role"], "operator");
    // The checkpoint that was given up stands in the record, whole.
    let given_up = accepted["payload"]["given_up"][0]["note"].as_str().unwrap();
    assert!(peek(given_up).unwrap().size > missing);
    assert!(records[0]["sealed"].as_str().unwrap().contains("the disk was exchanged"));
}

#[test]
fn a_lost_key_is_replaced_by_the_operators_word() {
    let toolgate = home(1);
    std::fs::remove_file(audit(&toolgate, "key")).unwrap();
    toolgate.run(&["runs", "list"]).exits(1);
    let guess = toolgate.run(&["audit", "accept", "--reason", "an agent would like to"]).exits(3);
    assert!(guess.stderr.contains("OPERATOR_LOCKED"), "{}", guess.stderr);
    answer(&toolgate, &["audit", "accept", "--reason", "lost"], PHRASE).exits(0);
    call(&toolgate, 1);
    sound(&toolgate);
}

/// Who can write all of the home, its file of the newest checkpoint too, rolls both back: the home cannot tell, the witness can.
#[test]
fn a_home_that_was_rolled_back_as_a_whole_is_found_by_the_witness() {
    let (toolgate, witness) = with_witness(false);
    assert_eq!(
        lines(&witness).len() as u64,
        sound(&toolgate)["checkpoints"].as_u64().unwrap() - 2,
        "every one, and two that are found twice"
    );
    let older = copy(&toolgate);
    call(&toolgate, 5);
    std::fs::remove_dir_all(toolgate.data()).unwrap();
    copy_folder(&older.data(), &toolgate.data());
    // Without its witness the home looks whole.
    let alone = copy(&toolgate);
    std::fs::remove_file(alone.data().join("toolgate.toml")).unwrap();
    assert_eq!(sound(&alone)["ok"], true);
    assert_eq!(refused(&toolgate), named(&toolgate));

    // A key of the attacker's own, with the operator's word forged in the log, deceives the home as well, and the witness not.
    std::fs::remove_file(audit(&alone, "key")).unwrap();
    answer(&alone, &["audit", "accept", "--reason", "not the operator"], "set by the attacker").exits(0);
    assert_eq!(sound(&alone)["ok"], true);
    let settings = std::fs::read(toolgate.data().join("toolgate.toml")).unwrap();
    std::fs::remove_dir_all(toolgate.data()).unwrap();
    copy_folder(&alone.data(), &toolgate.data());
    std::fs::write(toolgate.data().join("toolgate.toml"), settings).unwrap();
    refused(&toolgate);
    named(&toolgate);
    // Nor does a home that never had a key.
    std::fs::remove_dir_all(toolgate.data().join("audit")).unwrap();
    std::fs::remove_file(toolgate.data().join("toolgate.db")).unwrap();
    toolgate.run(&["runs", "list"]).exits(1);
}

#[test]
fn a_witness_that_cannot_be_reached_is_told_and_refuses_calls_where_it_is_required() {
    for required in [false, true] {
        let (toolgate, witness) = with_witness(required);
        let before = lines(&witness).len();
        let away = witness.with_extension("away");
        std::fs::rename(&witness, &away).unwrap();
        let told = toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#]);
        assert!(told.stderr.contains("witness"), "{}", told.stderr);
        assert_eq!(told.code, i32::from(required), "{}", told.stderr);
        std::fs::rename(&away, &witness).unwrap();
        call(&toolgate, 9);
        assert!(lines(&witness).len() > before, "what came in between follows");
        sound(&toolgate);
    }
}

#[test]
fn a_line_that_a_crash_broke_off_at_the_witness_is_none() {
    let (toolgate, witness) = with_witness(true);
    let path = witness.join("toolgate.checkpoints");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{}", &text[..text.len() / 3])).unwrap();
    call(&toolgate, 5);
    sound(&toolgate);
}
