//! Archive, collection and restore, killed at named points of their work: nothing is lost, every proof holds, and the act can be done again.
//!
//! A point is something that stands in the home's files, so a test waits for that and not for a time. Between two points the process may get
//! as far as it likes before it is dead: whatever it did must be as good.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use toolgate_evidence::bundle::{self, Bundle};

use crate::audit_attacks::copy;
use crate::keeping::{PASSPHRASE, json, operator};
use crate::mcp_stdio::Server;
use crate::support::{Toolgate, files};

/// Runs of the home, each with a value that lies in an artifact.
const RUNS: usize = 4;

/// A home with some runs that have ended.
fn home() -> (Toolgate, Vec<String>) {
    let toolgate = Toolgate::new();
    operator(&toolgate, &["init"]).exits(0);
    for n in 0..RUNS {
        call(&toolgate, n);
    }
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let runs: Vec<String> = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(runs.len(), RUNS);
    (toolgate, runs)
}

fn call(toolgate: &Toolgate, n: usize) {
    let argument = json!({"filter": ".a", "input": {"a": format!("value-{n} {}", "x".repeat(40_000))}}).to_string();
    let file = toolgate.home().join("argument.json");
    std::fs::write(&file, argument).unwrap();
    toolgate.run(&["tools", "call", "transform.jq", &format!("@{}", file.display())]).exits(0);
}

/// Begins an act as the operator and kills it as soon as `point` holds; whether it was still at work.
fn killed_at(toolgate: &Toolgate, args: &[&str], point: impl Fn() -> bool) -> bool {
    let args: Vec<&str> = args.iter().copied().chain(["--passphrase-fd", "0"]).collect();
    let mut child = toolgate.command(&args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(format!("{PASSPHRASE}\n").as_bytes());
    loop {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if point() {
            child.kill().unwrap();
            return !child.wait().unwrap().success();
        }
        std::thread::yield_now();
    }
}

fn export(toolgate: &Toolgate, run: &str) -> Bundle {
    let text = toolgate.run(&["runs", "export", run]).exits(0).stdout;
    bundle::verify(&text, &[]).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn values(bundle: &Bundle) -> usize {
    bundle.events.iter().map(|entry| entry.values.len()).sum()
}

fn is_sound(toolgate: &Toolgate) {
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

fn kept_artifact(folder: &Path, name: &str, size: u64) -> bool {
    std::fs::metadata(folder.join(name)).is_ok_and(|about| about.len() == size)
}

#[test]
fn an_archive_that_was_killed_lost_nothing_and_goes_on() {
    let (original, runs) = home();
    let wholes: Vec<Bundle> = runs.iter().map(|run| export(&original, run)).collect();
    let archive = ["runs", "archive", "--older-than", "0s"];
    let mut killed = 0;
    type Point = (&'static str, Box<dyn Fn(&Path, &str) -> bool>);
    let points: [Point; 5] = [
        ("a folder", Box::new(|home, run| home.join("archive").join(run).exists())),
        ("an artifact", Box::new(|home, run| std::fs::read_dir(home.join("archive").join(run)).is_ok_and(|mut all| all.next().is_some()))),
        ("a bundle that has no name yet", Box::new(|home, run| home.join("archive").join(run).join("bundle.new").exists())),
        ("a bundle", Box::new(|home, run| home.join("archive").join(run).join("bundle.json").exists())),
        ("the next run's folder", Box::new(|home, _| std::fs::read_dir(home.join("archive")).is_ok_and(|all| all.count() > 1))),
    ];
    for (name, point) in &points {
        for run in [runs.first().unwrap(), runs.last().unwrap()] {
            let toolgate = copy(&original);
            let home = toolgate.data();
            killed += usize::from(killed_at(&toolgate, &archive, || point(&home, run)));
            is_sound(&toolgate);
            // Each run's values are in the log, or whole in an archive that verifies.
            for (run, whole) in runs.iter().zip(&wholes) {
                let left = export(&toolgate, run);
                let folder = home.join("archive").join(run);
                // A bundle that has its name is whole, whatever it is needed for.
                if let Ok(text) = std::fs::read_to_string(folder.join("bundle.json")) {
                    bundle::verify(&text, &[]).unwrap_or_else(|wrong| panic!("{name}: half a bundle: {wrong}"));
                }
                if values(&left) < values(whole) {
                    let text = std::fs::read_to_string(folder.join("bundle.json")).unwrap_or_else(|error| panic!("{name}: {error}"));
                    bundle::verify(&text, &[]).unwrap();
                    let kept: Bundle = serde_json::from_str(&text).unwrap();
                    assert_eq!(kept.events, whole.events, "{name}");
                    assert!(kept.artifacts.iter().all(|one| kept_artifact(&folder, &one.artifact, one.size)), "{name}");
                }
            }
            json(operator(&toolgate, &[&archive[..], &["--json"]].concat()));
            is_sound(&toolgate);
            for (run, whole) in runs.iter().zip(&wholes) {
                assert_eq!(values(&export(&toolgate, run)), 0, "{name}: values are left in the log");
                let text = std::fs::read_to_string(home.join("archive").join(run).join("bundle.json")).unwrap();
                assert_eq!(serde_json::from_str::<Bundle>(&text).unwrap().events, whole.events, "{name}");
            }
            assert!(!files(&home.join("archive")).iter().any(|path| path.extension().is_some_and(|end| end == "new")), "{name}: leftovers");
        }
    }
    assert!(killed >= points.len(), "only {killed} were killed before their end");
}

/// The artifact files of a home, by the name they are stored under.
fn artifacts(home: &Path) -> BTreeSet<PathBuf> {
    files(&home.join("artifacts")).into_iter().filter(|path| path.file_name().unwrap().len() == 62).collect()
}

#[test]
fn a_collection_that_was_killed_removed_only_what_nothing_names() {
    let (toolgate, runs) = home();
    let home = toolgate.data();
    let wholes: Vec<Bundle> = runs.iter().map(|run| export(&toolgate, run)).collect();
    let named = artifacts(&home);
    assert!(named.len() >= RUNS);
    let mut killed = 0;
    for gone in [1, 10, 100, 300] {
        // What nobody names, old enough to go.
        let folder = home.join("artifacts").join("aa");
        std::fs::create_dir_all(&folder).unwrap();
        for n in 0..400 {
            std::fs::write(folder.join(format!("{n:062x}")), b"stray").unwrap();
        }
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        for path in artifacts(&home) {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        let left = || std::fs::read_dir(&folder).map_or(0, |all| all.count());
        let mut child = toolgate.command(&["storage", "collect"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() && left() > 400 - gone {}
        child.kill().unwrap();
        killed += usize::from(!child.wait().unwrap().success());
        assert!(artifacts(&home).is_superset(&named), "something that is named is gone");
        is_sound(&toolgate);
        for (run, whole) in runs.iter().zip(&wholes) {
            assert_eq!(&export(&toolgate, run).events, &whole.events);
        }
        toolgate.run(&["storage", "collect"]).exits(0);
        assert_eq!(artifacts(&home), named, "strays are left, or something that is named is gone");
    }
    assert!(killed >= 2, "only {killed} were killed before their end");
}

/// Copies of the log in a home that has been restored, or begun to be.
fn logs(home: &Path) -> Vec<PathBuf> {
    let asides = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let asides = asides.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("before-restore-"));
    asides.chain([home.to_owned()]).map(|folder| folder.join("toolgate.db")).filter(|path| path.is_file()).collect()
}

#[test]
fn a_restore_that_was_killed_lost_neither_log_and_can_be_done_again() {
    let (original, runs) = home();
    let copied = tempfile::tempdir().unwrap();
    let at = copied.path().join("copy");
    original.run(&["backup", at.to_str().unwrap()]).exits(0);
    // The home goes on, and its server dies: what it did last is in the write-ahead log alone.
    let mut server = Server::opened(&original.data());
    let arguments = json!({"filter": ".", "input": "after the copy"});
    server.send(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "transform_jq", "arguments": arguments}}));
    server.answer(2);
    server.kill();
    let broken_off = copy(&original);
    let later = original.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let holds_later = |path: &Path| std::fs::read(path).unwrap().windows(later.len()).any(|window| window == later.as_bytes());
    assert!(!holds_later(&broken_off.data().join("toolgate.db")) && holds_later(&broken_off.data().join("toolgate.db-wal")));
    let restore = ["restore", at.to_str().unwrap(), "--reason", "the disk died"];
    type Point = (&'static str, Box<dyn Fn(&Path) -> bool>);
    let aside = |home: &Path| {
        let found = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
        found.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("before-restore-"))
    };
    let points: [Point; 6] = [
        ("a stage", Box::new(|home| home.join("restoring").exists())),
        ("the copy in the stage", Box::new(|home| home.join("restoring/toolgate.db").exists())),
        ("a place for what was there", Box::new(move |home| aside(home).is_some())),
        ("the log moved aside", Box::new(move |home| aside(home).is_some_and(|aside| aside.join("toolgate.db").exists()))),
        ("the copy's log in its place", Box::new(move |home| aside(home).is_some() && !home.join("restoring/toolgate.db").exists())),
        ("no stage any more", Box::new(move |home| aside(home).is_some() && !home.join("restoring").exists())),
    ];
    let mut killed = 0;
    for (name, point) in &points {
        let toolgate = copy(&broken_off);
        let home = toolgate.data();
        killed += usize::from(killed_at(&toolgate, &restore, || point(&home)));
        // Both logs are somewhere: what was there, and the copy.
        assert!(!logs(&home).is_empty(), "{name}: no log is left");
        assert!(at.join("toolgate.db").is_file());
        // The newer one is whole in one file, or still beside the log that it belongs to.
        let (log, beside) = (home.join("toolgate.db"), home.join("toolgate.db-wal"));
        let is_untouched = log.is_file() && beside.is_file() && holds_later(&beside);
        assert!(is_untouched || logs(&home).iter().any(|log| holds_later(log)), "{name}: the newer log is lost");
        // Whatever is there now is either whole or refused: it is never taken for something else.
        let looked = toolgate.run(&["audit", "verify"]);
        assert!(looked.code == 0 || looked.stderr.contains("AUDIT_BROKEN") || looked.stdout.contains("broken"), "{name}: {looked:?}");

        json(operator(&toolgate, &[&restore[..], &["--json"]].concat()));
        is_sound(&toolgate);
        toolgate.run(&["runs", "show", &later]).exits(2);
        // Going back is told in the log, so that nobody takes it for an attack.
        let told = toolgate.run(&["audit", "export"]).exits(0).stdout;
        assert!(told.contains("home_restored") && told.contains("the disk died"), "{name}: going back is not in the log");
        for run in &runs {
            assert!(values(&export(&toolgate, run)) > 0, "{name}");
        }
        assert!(!home.join("restoring").exists(), "{name}: the stage is left");
        toolgate.run(&["tools", "call", "transform.jq", r#"{"filter": ".", "input": 1}"#]).exits(0);
        is_sound(&toolgate);
    }
    assert!(killed >= 4, "only {killed} were killed before their end");
}
