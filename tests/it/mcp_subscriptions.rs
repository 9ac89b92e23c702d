//! Subscriptions before the real program: events that another process of the same home writes are told within seconds, and only of runs
//! that the subscriber may read.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::mcp_stdio::Server;
use crate::support::Toolgate;

/// A workflow that waits for an agent until it is answered.
const ASKS: &str = "name: asks\nversion: 1.0.0\nsteps:\n- id: think\n  kind: plan\n  by: agent\n  input: {goal: think}\n";

fn workflow(toolgate: &Toolgate) {
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("asks.yaml"), ASKS).unwrap();
}

fn start(server: &mut Server, id: i64) -> String {
    let answer = server.request(id, "tools/call", json!({"name": "run_start", "arguments": {"workflow": "asks"}}));
    let run = answer["result"]["structuredContent"]["run_id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    run.to_owned()
}

/// Waits until the run waits for its agent, so that nothing more happens by itself.
fn settle(server: &mut Server, id: i64, run: &str) {
    let begun = Instant::now();
    for more in 0.. {
        let answer = server.request(id + more, "tools/call", json!({"name": "run_watch", "arguments": {"run_id": run, "wait_sec": 1}}));
        if answer["result"]["structuredContent"]["waiting"].as_array().is_some_and(|waiting| !waiting.is_empty()) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{answer}");
    }
}

/// The next note of this method.
fn note(server: &Server, method: &str, within: Duration) -> Option<Value> {
    let until = Instant::now() + within;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        match server.next(left) {
            Some(message) if message["method"] == method => return Some(message),
            Some(_) => {}
            None => return None,
        }
    }
    None
}

#[test]
fn what_another_process_writes_is_told_within_seconds() {
    let toolgate = Toolgate::new();
    workflow(&toolgate);
    let mut writer = Server::opened(&toolgate.data());
    let run = start(&mut writer, 10);
    settle(&mut writer, 100, &run);
    let mut reader = Server::opened(&toolgate.data());
    let uri = format!("run://{run}");
    assert_eq!(reader.request(2, "resources/subscribe", json!({"uri": uri}))["result"], json!({}));
    assert!(note(&reader, "notifications/resources/updated", Duration::from_secs(3)).is_none(), "nothing has happened");
    let begun = Instant::now();
    let answer = writer.request(1_000, "tools/call", json!({"name": "run_cancel", "arguments": {"run_id": run}}));
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    let told = note(&reader, "notifications/resources/updated", Duration::from_secs(60)).expect("nothing was told");
    assert_eq!(told["params"]["uri"], uri);
    // Seconds; a machine that runs everything at once gets more of them.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    // What is told is only that something happened: it is read as always.
    assert_eq!(told["params"].as_object().unwrap().len(), 1, "{told}");
    let seen = reader.request(3, "resources/read", json!({"uri": uri}));
    assert!(seen["result"]["contents"][0]["text"].as_str().unwrap().contains("cancelled"), "{seen}");
    let (status, took) = reader.ended();
    assert!(status.success() && took < Duration::from_secs(5), "{status} after {took:?}");
}

#[test]
fn a_run_that_cannot_be_read_cannot_be_subscribed_to() {
    let toolgate = Toolgate::new();
    workflow(&toolgate);
    // The operator's run is not the agent's.
    toolgate.run(&["run", "hello_world"]).exits(4);
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let run = runs[0]["id"].as_str().unwrap();
    let mut server = Server::opened(&toolgate.data());
    for uri in [format!("run://{run}"), format!("run://{run}/events")] {
        let answer = server.request(2, "resources/subscribe", json!({"uri": uri}));
        assert_eq!(answer["error"]["data"]["code"], "UNKNOWN_RUN", "{answer}");
    }
    // Nor is one that policy keeps from being looked at.
    let policies = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    std::fs::write(policies.join("own.cedar"), r#"@id("no") forbid (principal, action == toolgate::Action::"run.show", resource);"#)
        .unwrap();
    let mut server = Server::opened(&toolgate.data());
    let run = start(&mut server, 10);
    let answer = server.request(11, "resources/subscribe", json!({"uri": format!("run://{run}")}));
    assert_eq!(answer["error"]["data"]["code"], "POLICY_DENIED", "{answer}");
    assert_eq!(server.request(12, "resources/subscribe", json!({"uri": format!("run://{run}/events")}))["result"], json!({}));
}
