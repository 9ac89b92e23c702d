//! Which hosts a job may reach: learned from an index that lies on this machine, through the box's proxy.

use std::fs;
use std::path::Path;

use super::index::Index;
use super::lab::{House, Lab, house, run_in, step, usable, uv_folder};
use super::making::wheels;
use crate::domain::ErrorCode;
use crate::packages::InstallerOptions;
use crate::packages::environment::address::Address;
use crate::packages::environment::hosts::learned;

const PIN: [&str; 1] = ["other==2.0"];

/// Set up for an index, with a login.
fn installer(index: &str, uv: bool) -> InstallerOptions {
    let mut environment: Vec<_> = [("UV_NO_CONFIG", "1"), ("PIP_CONFIG_FILE", "/dev/null"), ("PIP_RETRIES", "0"), ("UV_HTTP_RETRIES", "0")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    environment.extend(["PIP_INDEX_URL", "UV_DEFAULT_INDEX"].map(|name| (name.into(), index.into())));
    InstallerOptions { path: uv.then(uv_folder).flatten().map(Into::into).unwrap_or_default(), environment }
}

fn ways() -> Vec<bool> {
    match (usable(), uv_folder().is_some()) {
        (false, _) => Vec::new(),
        (true, false) => vec![false],
        (true, true) => vec![false, true],
    }
}

fn hosts_of(house: &House, wanted: &str) -> (Vec<String>, Vec<String>) {
    let jobs = house.lab.jobs.lock().unwrap();
    let job = jobs.iter().find(|job| step(job) == wanted).unwrap();
    (job.hosts.clone(), job.linked.clone())
}

fn links(folder: &Path) -> std::path::PathBuf {
    let links = folder.join("links");
    fs::create_dir(&links).unwrap();
    wheels(&links);
    links
}

#[tokio::test]
async fn hosts_that_pages_link_to_and_redirects_lead_to_are_reached_and_no_others() {
    for uv in ways() {
        let place = tempfile::tempdir().unwrap();
        let links = links(place.path());
        // Pages on one host, files on a second, which sends on to a third.
        let store = Index::files(&links);
        let files = Index::redirecting(&store.place());
        let pages = Index::pages(&links, &files.place(), None);
        let house = house(&place.path().join("cache"), installer(&pages.url(""), uv), Lab::default());
        let made = house.get(&PIN).await.unwrap();
        assert_eq!(run_in(&made, &["/env/bin/pkg-run"]).stdout, "pkg runs\n", "uv: {uv}");
        let mut linked = vec![files.place(), store.place()];
        linked.sort();
        assert_eq!(hosts_of(&house, "resolve"), (vec![pages.place()], linked.clone()));
        // What pip has fetched it installs without anybody.
        let expected = if uv { (vec![pages.place()], linked) } else { (Vec::new(), Vec::new()) };
        assert_eq!(hosts_of(&house, "make"), expected);
        assert_eq!(hosts_of(&house, "survey"), (Vec::new(), Vec::new()));
        let refused = house.lab.refused.lock().unwrap().clone();
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[test]
fn a_public_index_does_not_lead_into_this_network() {
    let inward =
        ["http://169.254.169.254/x", "https://127.0.0.1/x", "https://[::1]/", "https://0x7f.1/", "https://wiki/x", "https://db.internal/"];
    let outward = ["https://files.example/x", "http://plain.example/x", "ftp://other.example/x"];
    let all: Vec<&str> = inward.into_iter().chain(outward).collect();
    // Whoever takes each link's host would have gone there.
    assert!(inward.iter().all(|url| Address::parse(url).is_some()));
    assert_eq!(learned(&["https://index.example/simple"], "https://index.example/simple/a/", &all), ["files.example:443"]);
    let plain = learned(&["http://index.example/simple"], "http://index.example/simple/a/", &all);
    assert_eq!(plain, ["files.example:443", "plain.example:80"]);
    // One that lies in this network itself may.
    let own = learned(
        &["https://index.internal/simple"],
        "https://index.internal/simple/a/",
        &["https://files.internal/x", "https://10.0.0.7:8443/"],
    );
    assert_eq!(own, ["files.internal:443", "10.0.0.7:8443"]);
    let many: Vec<String> = (0..99).map(|at| format!("https://h{at}.example/")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(learned(&["https://index.example/simple"], "https://index.example/simple/a/", &many).len(), 24);
}

#[tokio::test]
async fn logins_are_used_and_never_told() {
    for uv in ways() {
        let place = tempfile::tempdir().unwrap();
        let links = links(place.path());
        let pages = Index::pages(&links, "", Some("robot:hush-hush"));
        let good = house(&place.path().join("good"), installer(&pages.url("robot:hush-hush@"), uv), Lab::default());
        let made = good.get(&PIN).await.unwrap();
        assert!(!made.lock.contains("hush") && good.lab.steps().contains(&"make".to_owned()));
        let mut everything = String::new();
        read_all(&place.path().join("good"), &mut everything);
        assert!(everything.contains("pkg") && !everything.contains("hush-hush"), "nothing on disk has it");

        let netrc = place.path().join("netrc");
        fs::write(&netrc, "machine 127.0.0.1 login robot password hush-hush\n").unwrap();
        let mut by_file = installer(&pages.url(""), uv);
        by_file.environment.push(("NETRC".into(), netrc.into()));
        house(&place.path().join("netrc-cache"), by_file, Lab::default()).get(&PIN).await.unwrap();

        let wrong = house(&place.path().join("wrong"), installer(&pages.url("robot:wrong-word@"), uv), Lab::default());
        let fault = wrong.get(&PIN).await.unwrap_err();
        assert_eq!(fault.code, ErrorCode::RequirementsUnresolved, "{fault:?}");
        assert!(!format!("{fault:?}").contains("wrong-word"), "{fault:?}");
    }
}

fn read_all(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => read_all(&entry.path(), text),
            kind if kind.is_file() => text.push_str(&String::from_utf8_lossy(&fs::read(entry.path()).unwrap())),
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_index_that_does_not_answer_is_said_to_be_so() {
    for uv in ways() {
        let place = tempfile::tempdir().unwrap();
        let house = house(place.path(), installer("http://me:hush-hush@127.0.0.1:9/simple", uv), Lab::default());
        let fault = house.get(&PIN).await.unwrap_err();
        assert!(fault.code == ErrorCode::RequirementsUnresolved && fault.message.contains("cannot be reached"), "{fault:?}");
        assert!(!format!("{fault:?}").contains("hush"), "{fault:?}");
        assert!(!house.lab.steps().contains(&"resolve".to_owned()), "an installer would try again and again");
    }
}
