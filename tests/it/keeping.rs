//! Keeping house, with the binary on a real home: what leaves it, what is taken away, and what still holds then.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use toolgate_evidence::bundle::{self, Bundle};

use crate::support::{Ran, Toolgate, files};

pub const PASSPHRASE: &str = "correct horse battery";
/// Stands in values that are to be gone.
const CANARY: &str = "canary-2f61b0d97c";

/// Runs a verb as the operator, whose passphrase comes by standard input.
pub fn operator(toolgate: &Toolgate, args: &[&str]) -> Ran {
    let args: Vec<&str> = args.iter().copied().chain(["--passphrase-fd", "0"]).collect();
    let mut child = toolgate.command(&args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A verb that ends before it asks does not read it.
    let _ = child.stdin.take().unwrap().write_all(format!("{PASSPHRASE}\n{PASSPHRASE}\n").as_bytes());
    Ran::of(child.wait_with_output().unwrap())
}

pub fn json(ran: Ran) -> Value {
    let ran = ran.exits(0);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
}

/// A home with some calls; gives the run whose call has the canary in argument and output.
fn home_with_canary(big: bool) -> (Toolgate, String) {
    let toolgate = Toolgate::new();
    operator(&toolgate, &["init"]).exits(0);
    let text = if big { format!("{CANARY} {}", "x".repeat(40_000)) } else { CANARY.to_owned() };
    let argument = serde_json::json!({"filter": ".a", "input": {"a": text}}).to_string();
    let file = toolgate.home().join("argument.json");
    std::fs::write(&file, argument).unwrap();
    toolgate.run(&["tools", "call", "transform.jq", &format!("@{}", file.display())]).exits(0);
    std::fs::remove_file(file).unwrap();
    let run = newest_run(&toolgate);
    toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".a", "input": {"a": 2}}"#]).exits(0);
    (toolgate, run)
}

fn newest_run(toolgate: &Toolgate) -> String {
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let of_calls = |run: &&Value| run["principal"] != "toolgate";
    runs.as_array().unwrap().iter().find(of_calls).unwrap()["id"].as_str().unwrap().to_owned()
}

fn export(toolgate: &Toolgate, run: &str) -> (PathBuf, Bundle) {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = toolgate.home().join(format!("{run}-{number}.json"));
    toolgate.run(&["runs", "export", run, "-o", path.to_str().unwrap()]).exits(0);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, serde_json::from_str(&text).unwrap())
}

/// Files of the home that hold the canary, raw.
fn holding(folder: &Path) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| std::fs::read(path).unwrap().windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
    files(folder).into_iter().filter(holds).collect()
}

fn key(toolgate: &Toolgate) -> String {
    toolgate.data().join("audit/key.pub").display().to_string()
}

#[test]
fn a_runs_evidence_holds_for_a_stranger() {
    let (toolgate, run) = home_with_canary(false);
    let (path, whole) = export(&toolgate, &run);
    let stranger = Toolgate::new();
    let report = stranger.json(0, &["verify-bundle", path.to_str().unwrap(), "--key", &key(&toolgate), "--json"]);
    assert_eq!((report["trust"].as_str(), report["status"].as_str(), report["absent"].as_u64()), (Some("given"), Some("closed"), Some(0)));
    assert_eq!(report["events"].as_u64(), Some(whole.events.len() as u64));
    assert_eq!(whole.pins.manifests[0].tool, "transform.jq");
    // The script that shares no code says so too.
    let ran = crate::evidence::script(&path, &PathBuf::from(key(&toolgate)));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    // The same run again is the same evidence, but for newer checkpoints.
    let (_, again) = export(&toolgate, &run);
    assert_eq!((again.events, again.proof, again.checkpoint), (whole.events.clone(), whole.proof.clone(), whole.checkpoint.clone()));

    let bare = toolgate.run(&["runs", "export", &run, "--without-values"]).exits(0).stdout;
    assert!(!bare.contains(CANARY), "a value that was to be left out");
    assert!(bundle::verify(&bare, &[]).unwrap().absent > 0);
    // A file that is there is not written over, and an unknown run is told.
    toolgate.run(&["runs", "export", &run, "-o", path.to_str().unwrap()]).exits(2);
    toolgate.run(&["runs", "export", "run_019aa000000070008000000000000001"]).exits(2);
}

#[test]
fn a_value_that_was_taken_away_is_gone_and_every_proof_holds() {
    let (toolgate, run) = home_with_canary(true);
    let (before, whole) = export(&toolgate, &run);
    assert!(!holding(&toolgate.data()).is_empty(), "the canary is not there to begin with");
    let at = |field: &str| {
        let entry = whole.events.iter().position(|entry| entry.values.contains_key(field)).unwrap();
        (entry + 1).to_string()
    };
    // Without the operator nothing is taken.
    let refused = toolgate.run(&["runs", "redact", &run, "--event", &at("arguments"), "--field", "arguments", "--reason", "x"]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert_eq!(export(&toolgate, &run).1.events, whole.events);

    let mut gone = 0;
    for field in ["arguments", "output"] {
        let ask = ["runs", "redact", &run, "--event", &at(field), "--field", field, "--reason", "a person asked", "--json"];
        let done = json(operator(&toolgate, &ask));
        assert_eq!(done["scrubbed"], true, "{done}");
        gone += done["artifacts"].as_array().unwrap().len();
        operator(&toolgate, &ask).exits(2);
    }
    assert!(gone >= 1, "large values lie in artifacts, which go with them");
    assert_eq!(holding(&toolgate.data()), Vec::<PathBuf>::new(), "bytes of the value are left");

    // The log, what was exported before, and what is exported now: all hold.
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    toolgate.run(&["verify-bundle", before.to_str().unwrap(), "--key", &key(&toolgate)]).exits(0);
    let (after, redacted) = export(&toolgate, &run);
    let report = toolgate.json(0, &["verify-bundle", after.to_str().unwrap(), "--key", &key(&toolgate), "--json"]);
    assert_eq!(report["absent"].as_u64(), Some(2));
    for (old, new) in whole.events.iter().zip(&redacted.events) {
        assert_eq!((&old.record, &old.leaf), (&new.record, &new.leaf), "a record changed");
    }
    let told = &redacted.events.last().unwrap();
    assert!(told.record.contains("value_redacted") && told.values["reason"].value.contains("a person asked"), "{}", told.record);
    // A value put back that is not the one is found: the commitment stayed.
    let mut forged = redacted.clone();
    let opening = whole.events.iter().find_map(|entry| entry.values.get("output")).unwrap().clone();
    let at: usize = at("output").parse().unwrap();
    forged.events[at - 1].values.insert("output".into(), bundle::Opening { value: "42".into(), ..opening.clone() });
    let wrong = bundle::verify(&forged.to_text().unwrap(), &[]).unwrap_err();
    assert!(wrong.what.contains("not the one the record commits to"), "{wrong}");
    // And the true one still opens it.
    forged.events[at - 1].values.insert("output".into(), opening);
    forged.artifacts = whole.artifacts.clone();
    let held = bundle::verify(&forged.to_text().unwrap(), &[]);
    assert!(held.is_ok() || held.as_ref().unwrap_err().place == "the artifacts", "{held:?}");
}

#[test]
fn an_artifact_that_another_run_holds_stays() {
    let (toolgate, first) = home_with_canary(true);
    let argument = serde_json::json!({"filter": ".a", "input": {"a": format!("{CANARY} {}", "x".repeat(40_000))}}).to_string();
    let file = toolgate.home().join("argument.json");
    std::fs::write(&file, argument).unwrap();
    toolgate.run(&["tools", "call", "transform.jq", &format!("@{}", file.display())]).exits(0);
    let (_, whole) = export(&toolgate, &first);
    let at = (whole.events.iter().position(|entry| entry.values.contains_key("output")).unwrap() + 1).to_string();
    let done = json(operator(&toolgate, &["runs", "redact", &first, "--event", &at, "--field", "output", "--reason", "x", "--json"]));
    assert_eq!((done["artifacts"].as_array().unwrap().len(), done["kept"].as_array().unwrap().len()), (0, 1), "{done}");
    let second = newest_run(&toolgate);
    let artifact = export(&toolgate, &second).1.artifacts[0].artifact.clone();
    assert!(toolgate.data().join("artifacts").join(&artifact[..2]).join(&artifact[2..]).is_file());
}

#[test]
fn old_runs_are_put_aside_and_proofs_hold() {
    let (toolgate, run) = home_with_canary(true);
    let (_, whole) = export(&toolgate, &run);
    let none = json(operator(&toolgate, &["runs", "archive", "--older-than", "1d", "--json"]));
    assert_eq!(none.as_array().unwrap().len(), 0);
    let done = json(operator(&toolgate, &["runs", "archive", "--older-than", "0s", "--json"]));
    assert_eq!(done.as_array().unwrap().len(), 2, "{done}");
    let folder = toolgate.data().join("archive").join(&run);
    let kept = std::fs::read_to_string(folder.join("bundle.json")).unwrap();
    let archived: Bundle = serde_json::from_str(&kept).unwrap();
    assert_eq!(archived.events, whole.events);
    assert!(bundle::verify(&kept, &[]).is_ok());
    for artifact in &archived.artifacts {
        let bytes = std::fs::read(folder.join(&artifact.artifact)).unwrap();
        assert_eq!(bytes.len() as u64, artifact.size);
    }
    // The database no longer has the values; the log and a new export hold.
    let database = std::fs::read(toolgate.data().join("toolgate.db")).unwrap();
    assert!(!database.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    let bare = toolgate.run(&["runs", "export", &run]).exits(0).stdout;
    assert_eq!(bundle::verify(&bare, &[]).unwrap().values, 0);
    toolgate.run(&["runs", "show", &run]).exits(0);
    // Doing it again finds nothing to do.
    assert_eq!(json(operator(&toolgate, &["runs", "archive", "--older-than", "0s", "--json"])).as_array().unwrap().len(), 0);
    // What nothing names goes with the next collection, once it is a day old.
    let young = toolgate.json(0, &["storage", "collect", "--json"]);
    assert_eq!(young["artifacts"], 0, "{young}");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    let stored = |toolgate: &Toolgate| {
        let all = files(&toolgate.data().join("artifacts"));
        all.into_iter().filter(|path| path.file_name().unwrap().len() == 62).collect::<Vec<_>>()
    };
    assert!(!stored(&toolgate).is_empty());
    for path in stored(&toolgate) {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    assert!(toolgate.json(0, &["storage", "collect", "--dry-run", "--json"])["artifacts"].as_u64().unwrap() > 0);
    assert!(!stored(&toolgate).is_empty());
    toolgate.run(&["storage", "collect"]).exits(0);
    assert!(stored(&toolgate).is_empty(), "{:?}", stored(&toolgate));
}

#[test]
fn an_artifact_in_use_is_never_collected() {
    let (toolgate, run) = home_with_canary(true);
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    for path in files(&toolgate.data().join("artifacts")) {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let done = toolgate.json(0, &["storage", "collect", "--json"]);
    assert!(done["seen"].as_u64().unwrap() > 0 && done["artifacts"] == 0, "{done}");
    let (_, whole) = export(&toolgate, &run);
    assert!(!whole.artifacts.is_empty());
}

#[test]
fn a_copy_comes_back_by_the_operators_word_and_in_no_other_way() {
    let (toolgate, run) = home_with_canary(true);
    let copy = toolgate.home().join("copy");
    let at = copy.to_str().unwrap();
    toolgate.run(&["tools", "call", "drive.search", r#"{"query": "x"}"#]).exits(0);
    assert!(toolgate.data().join("drive-index.db").exists());
    let made = toolgate.json(0, &["backup", at, "--json"]);
    assert_eq!(made["keys"], false);
    assert!(!copy.join("drive-index.db").exists(), "what is made again is not copied");
    assert!(!copy.join("audit/key").exists() && !copy.join("operator.json").exists(), "secrets were copied unasked");
    assert!(copy.join("audit/key.pub").exists());
    toolgate.run(&["backup", at]).exits(2);
    toolgate.run(&["backup", toolgate.data().join("inside").to_str().unwrap()]).exits(2);

    // The home goes on.
    toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".a", "input": {"a": "after the copy"}}"#]).exits(0);
    let later = newest_run(&toolgate);
    let records = toolgate.json(0, &["audit", "verify", "--json"])["records"].as_u64().unwrap();

    // Whoever merely puts the old file back is found: every record in it is sound, and a chain by itself says nothing.
    let database = toolgate.data().join("toolgate.db");
    let now = std::fs::read(&database).unwrap();
    for beside in ["toolgate.db-wal", "toolgate.db-shm"] {
        let _ = std::fs::remove_file(toolgate.data().join(beside));
    }
    std::fs::copy(copy.join("toolgate.db"), &database).unwrap();
    let refused = toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#]).exits(1);
    assert!(refused.stderr.contains("AUDIT_BROKEN"), "{}", refused.stderr);
    std::fs::write(&database, now).unwrap();
    assert_eq!(toolgate.json(0, &["audit", "verify", "--json"])["records"].as_u64(), Some(records));

    // Without the operator's passphrase nothing is put back.
    assert_eq!(toolgate.run(&["restore", at, "--reason", "x"]).code, 3);
    // A copy that was changed is refused before anything is touched.
    let artifact = files(&copy.join("artifacts")).into_iter().find(|path| path.file_name().unwrap().len() == 62).unwrap();
    let bytes = std::fs::read(&artifact).unwrap();
    std::fs::write(&artifact, b"other").unwrap();
    let refused = operator(&toolgate, &["restore", at, "--reason", "x"]).exits(2);
    assert!(refused.stderr.contains("not as the manifest says"), "{}", refused.stderr);
    std::fs::write(&artifact, bytes).unwrap();
    assert_eq!(toolgate.json(0, &["audit", "verify", "--json"])["records"].as_u64(), Some(records));

    let done = json(operator(&toolgate, &["restore", at, "--reason", "the disk died", "--json"]));
    assert!(done["records"].as_u64().unwrap() < records, "{done}");
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    toolgate.run(&["runs", "show", &later]).exits(2);
    // It is an event, in the operator's words, and names what was given up.
    let told = toolgate.run(&["audit", "export"]).exits(0).stdout;
    let event = told.lines().find(|line| line.contains("home_restored")).unwrap_or_else(|| panic!("no event: {told}"));
    assert!(event.contains("the disk died") || told.contains("the disk died"), "{event}");
    // The home works, and the old run proves itself under the new checkpoints.
    toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#]).exits(0);
    let (bundle, _) = export(&toolgate, &run);
    toolgate.run(&["verify-bundle", bundle.to_str().unwrap(), "--key", &key(&toolgate)]).exits(0);
    assert!(Path::new(done["aside"].as_str().unwrap()).join("toolgate.db").is_file());
}

#[test]
fn a_copy_whose_log_was_changed_is_refused_whatever_its_manifest_says() {
    let (toolgate, _) = home_with_canary(false);
    let copy = toolgate.home().join("copy");
    let at = copy.to_str().unwrap();
    toolgate.run(&["backup", at]).exits(0);
    let (database, manifest) = (copy.join("toolgate.db"), copy.join("backup.json"));
    let (real, other) = (b"\"tool\":\"transform.jq\"", b"\"tool\":\"transform.jo\"");
    let mut bytes = std::fs::read(&database).unwrap();
    let places: Vec<usize> = (0..bytes.len() - real.len()).filter(|at| bytes[*at..].starts_with(real)).collect();
    assert!(!places.is_empty(), "the log names its tools");
    for place in places {
        bytes[place..place + other.len()].copy_from_slice(other);
    }
    std::fs::write(&database, &bytes).unwrap();
    // Whoever can change the copy can change its manifest.
    let mut told: Value = serde_json::from_slice(&std::fs::read(&manifest).unwrap()).unwrap();
    told["files"]["toolgate.db"]["sha256"] = toolgate::domain::Digest::of(&bytes).to_string().into();
    std::fs::write(&manifest, told.to_string()).unwrap();

    let before = toolgate.json(0, &["audit", "verify", "--json"]);
    let refused = operator(&toolgate, &["restore", at, "--reason", "x"]).exits(1);
    assert!(refused.stderr.contains("AUDIT_BROKEN") && refused.stderr.contains("of the copy does not verify"), "{}", refused.stderr);
    assert_eq!(toolgate.json(0, &["audit", "verify", "--json"]), before, "the home is as it was");
    let aside =
        std::fs::read_dir(toolgate.data()).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with("before-restore"));
    assert!(!aside, "nothing was moved");
}

#[test]
fn a_copy_with_its_keys_makes_a_home_elsewhere() {
    let (toolgate, run) = home_with_canary(true);
    let copy = toolgate.home().join("copy");
    assert_eq!(toolgate.run(&["backup", copy.to_str().unwrap(), "--with-keys"]).code, 3, "secrets without the operator");
    operator(&toolgate, &["backup", copy.to_str().unwrap(), "--with-keys"]).exits(0);
    let elsewhere = Toolgate::new();
    operator(&elsewhere, &["restore", copy.to_str().unwrap(), "--reason", "a new machine"]).exits(0);
    assert_eq!(std::fs::read(elsewhere.data().join("audit/key")).unwrap(), std::fs::read(toolgate.data().join("audit/key")).unwrap());
    let (bundle, _) = export(&elsewhere, &run);
    toolgate.run(&["verify-bundle", bundle.to_str().unwrap(), "--key", &key(&toolgate)]).exits(0);
}
