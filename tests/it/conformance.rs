//! The protocol's own conformance suite against the real binary, which serves fixtures for it and is reached with its token.
//!
//! `TOOLGATE_TEST_CONFORMANCE` names the suite's program (`conformance`, or `dist/index.js` of its package), `TOOLGATE_TEST_NODE` a Node of version 22 or newer. Where
//! one is missing the test says so and passes, unless `TOOLGATE_TEST_REQUIRE_CLIENTS` is set. `docs/conformance.md` tells more.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{Toolgate, files, root, token_proxy};

/// Node and the suite's program, or why there are none.
#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn suite() -> Result<(PathBuf, PathBuf), String> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set"));
    let (node, suite) = (named("TOOLGATE_TEST_NODE")?, named("TOOLGATE_TEST_CONFORMANCE")?);
    let version = Command::new(&node).arg("--version").output().map_err(|error| format!("{}: {error}", node.display()))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let major: u32 = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    if major < 22 {
        return Err(format!("{} is of version {version:?}; the suite needs 22", node.display()));
    }
    // Installers put a link to it where programs are; its lists lie beside the program itself.
    let suite = suite.canonicalize().map_err(|error| format!("{}: {error}", suite.display()))?;
    Ok((node, suite))
}

/// The binary with its fixtures, over HTTP on a free port.
struct Served {
    toolgate: Toolgate,
    server: Child,
    address: SocketAddr,
    token: String,
}

impl Served {
    fn start() -> Self {
        let toolgate = Toolgate::new();
        let args = ["serve", "--http", "127.0.0.1:0", "--fixtures", "conformance"];
        let mut server = toolgate.command(&args).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap());
        let mut said = String::new();
        let told = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server does not serve:\n{said}");
            said.push_str(&line);
            let told = serde_json::from_str::<Value>(&line).unwrap_or_default();
            if told["token_file"].is_string() {
                break told;
            }
        };
        // What it says from now on is nobody's, but must be taken from it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let address = told["address"].as_str().unwrap().trim_start_matches("http://").trim_end_matches("/mcp").parse().unwrap();
        let token = std::fs::read_to_string(told["token_file"].as_str().unwrap()).unwrap().trim().to_owned();
        Self { toolgate, server, address, token }
    }

    /// Ends the server as a user does; the home it leaves.
    fn end(mut self) -> Toolgate {
        #[expect(clippy::disallowed_methods, reason = "a test starts programs")]
        let told = Command::new("kill").args(["-TERM", &self.server.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.server.wait().unwrap();
        self.toolgate
    }
}

/// The scenarios that count for this revision of the protocol, as the suite's package lists them.
fn scored(suite: &Path, revision: &str) -> Vec<String> {
    let list = suite.parent().unwrap().parent().unwrap().join("requirements").join(format!("{revision}.yaml"));
    let text = std::fs::read_to_string(list).unwrap();
    let lines = text.lines().skip_while(|line| *line != "server:").skip(1);
    lines.map_while(|line| line.strip_prefix("  - ")).map(|name| name.trim().to_owned()).collect()
}

/// A scenario's checks, as the suite wrote them.
fn checks(results: &Path, scenario: &str) -> Vec<Value> {
    let begin = format!("server-{scenario}-2");
    let is_its = |path: &Path| path.parent().unwrap().file_name().unwrap().to_string_lossy().starts_with(&begin);
    let found: Vec<PathBuf> = files(results).into_iter().filter(|path| path.ends_with("checks.json") && is_its(path)).collect();
    match found.as_slice() {
        [] => Vec::new(),
        [one] => serde_json::from_slice(&std::fs::read(one).unwrap()).unwrap(),
        more => panic!("{scenario} ran {} times", more.len()),
    }
}

/// What came of a revision's scored scenarios: how many checks passed, and which did not.
#[derive(Default)]
struct Score {
    scenarios: usize,
    passed: usize,
    failed: Vec<String>,
}

#[expect(clippy::disallowed_methods, reason = "a test starts programs")]
fn score((node, suite): (&Path, &Path), proxy: SocketAddr, revision: &str) -> Score {
    let results = tempfile::tempdir().unwrap();
    let url = format!("http://{proxy}/mcp");
    let ran = Command::new(node)
        .arg(suite)
        .args(["server", "--url", &url, "--requirements", revision, "--timeout", "120000", "-o"])
        .arg(results.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    let mut score = Score::default();
    for scenario in scored(suite, revision) {
        let checks = checks(results.path(), &scenario);
        let of = |status: &str| checks.iter().filter(|check| check["status"] == status).collect::<Vec<_>>();
        score.scenarios += 1;
        score.passed += of("SUCCESS").len();
        for check in of("FAILURE").into_iter().chain(of("WARNING")) {
            score.failed.push(format!("{scenario} / {}: {} {}", check["id"], check["status"], check["errorMessage"]));
        }
        if of("SUCCESS").is_empty() {
            score.failed.push(format!("{scenario}: no check of it passed"));
        }
    }
    assert!(score.scenarios > 25, "{revision} lists only {} scenarios\n{told}", score.scenarios);
    if score.failed.is_empty() {
        assert!(ran.status.success(), "{revision}: the suite fails although every scored check passed\n{told}");
    }
    score
}

/// The calls of fixtures in the journal: how many were meant and how many have their outcome, and by which rules.
fn recorded(toolgate: &Toolgate) -> (usize, usize, BTreeMap<String, usize>) {
    let runs = toolgate.json(0, &["runs", "list", "--all", "--limit", "1000", "--json"]);
    let (mut meant, mut ended, mut rules) = (0, 0, BTreeMap::new());
    for run in runs.as_array().unwrap() {
        let events = toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
        for event in events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
            let payload = &event["payload"];
            if !payload["tool"].as_str().is_some_and(|tool| tool.starts_with("fixture.")) || payload["refused_at"].is_string() {
                continue;
            }
            if event["kind"] == "tool_call" {
                meant += 1;
                for rule in payload["rules"].as_array().unwrap() {
                    *rules.entry(rule.as_str().unwrap().to_owned()).or_default() += 1;
                }
            } else {
                ended += 1;
            }
        }
    }
    (meant, ended, rules)
}

#[test]
#[expect(clippy::print_stderr, reason = "says what the figure is, and why it was skipped")]
fn the_conformance_suite_passes_for_both_generations() {
    let (node, suite) = match suite() {
        Ok(found) => found,
        Err(why) if std::env::var_os("TOOLGATE_TEST_REQUIRE_CLIENTS").is_some() => panic!("{why}"),
        Err(why) => {
            eprintln!("skipped: {why}");
            return;
        }
    };
    let served = Served::start();
    let proxy = token_proxy::start(served.address, served.token.clone());
    let scores = ["2025-11-25", "2026-07-28"].map(|revision| (revision, score((&node, &suite), proxy, revision)));
    let toolgate = served.end();
    for (revision, score) in &scores {
        eprintln!("{revision}: {} scored scenarios, {} checks passed, {} not", score.scenarios, score.passed, score.failed.len());
        score.failed.iter().for_each(|failed| eprintln!("  {failed}"));
    }
    assert!(scores.iter().all(|(_, score)| score.failed.is_empty()), "the checks above did not pass");
    // Whatever the suite did went down the path of every call.
    let (meant, ended, rules) = recorded(&toolgate);
    eprintln!("{meant} calls of fixtures are in the journal, {ended} with their outcome, allowed by {rules:?}");
    assert!(meant > 60 && ended == meant, "{meant} calls, {ended} outcomes");
    assert_eq!(rules.get("fixtures"), Some(&meant), "{rules:?}");
    toolgate.run(&["audit", "verify"]).exits(0);
}

/// What only a development build may hold stands behind its mark, wherever it is named.
#[test]
fn fixtures_are_no_part_of_a_release() {
    let mut seen = 0;
    for path in files(&root().join("src")).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let opens = ["pub mod fixtures;", "mod fixtures;", "use crate::mcp::fixtures;", "static FIXTURES:", "pub fixtures:"];
            if opens.iter().any(|opening| line.starts_with(opening)) {
                let marks = &lines[at.saturating_sub(3)..at];
                assert!(marks.contains(&"#[cfg(debug_assertions)]"), "{}:{}: {line}", path.display(), at + 1);
                seen += 1;
            }
        }
    }
    assert!(seen >= 8, "only {seen} places name the fixtures");
    if !cfg!(debug_assertions) {
        let ran = Toolgate::new().run(&["serve", "--fixtures", "conformance"]).exits(2);
        assert!(ran.stderr.contains("--fixtures"), "{}", ran.stderr);
    }
}
