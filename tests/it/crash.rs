//! A process that is killed in the middle of anything: the next one goes on, nothing that ended is done again, the log is whole.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::main_job::result;
use crate::support::Toolgate;

/// Kills `run build_service` once its log has `after` events; whether it was still going.
fn start_and_kill(toolgate: &Toolgate, after: usize) -> bool {
    let mut child = toolgate
        .command(&["run", "build_service", "-i", "resource=Listing", "-i", "stack=stdlib", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let mut seen = 0;
    let begun = Instant::now();
    for line in lines {
        let Ok(line) = line else { break };
        seen += usize::from(line.contains("\"seq\""));
        assert!(begun.elapsed() < Duration::from_secs(120), "no end in sight");
        if seen >= after {
            break;
        }
    }
    let was_going = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    was_going
}

fn events(toolgate: &Toolgate, run: &str) -> Vec<Value> {
    let ran = toolgate.run(&["runs", "events", run, "--json"]).exits(0);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What must hold of any run, however often its processes died.
fn check(toolgate: &Toolgate, run: &str) {
    let events = events(toolgate, run);
    let mut succeeded: BTreeMap<String, u32> = BTreeMap::new();
    let (mut open, mut ended) = (BTreeMap::new(), BTreeMap::new());
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], n as u64 + 1, "no gap");
        if event["payload"]["event"] == "step_succeeded" {
            *succeeded.entry(event["step_id"].to_string()).or_default() += 1;
        }
        let call = event["call_id"].to_string();
        match event["kind"].as_str().unwrap() {
            "tool_call" => assert!(open.insert(call, n).is_none(), "one intent a call"),
            "tool_result" | "tool_error" => assert!(ended.insert(call, n).is_none(), "one outcome a call"),
            _ => {}
        }
    }
    assert!(succeeded.values().all(|times| *times == 1), "a step that ended well was done again: {succeeded:?}");
    for (call, intent) in &open {
        assert!(ended.get(call).is_some_and(|outcome| outcome > intent), "an intent without its outcome: {call}");
    }
    let commits = events.iter().filter(|event| event["kind"] == "tool_result" && event["payload"]["tool"] == "repo.git.commit").count();
    assert!(commits <= 1, "committed {commits} times");
}

#[test]
fn a_killed_build_goes_on_where_it_was() {
    let mut killed = 0;
    for after in [1, 3, 6, 9, 12, 15, 18, 22, 26, 30] {
        let toolgate = Toolgate::new();
        killed += u32::from(start_and_kill(&toolgate, after));
        let run = toolgate.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
        let ran = toolgate.run(&["runs", "watch", &run, "--json"]);
        let view = result(&ran);
        // A commit that was cut off is not repeated unseen: then the run says so instead.
        if view["status"] != "succeeded" {
            assert!(ran.stdout.contains("INTERRUPTED"), "after {after} events: {}\n{}", ran.stdout, ran.stderr);
        }
        check(&toolgate, &run);
        assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
    }
    assert!(killed >= 5, "only {killed} of the processes were killed before their end");
}
