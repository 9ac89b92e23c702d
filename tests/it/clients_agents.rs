//! Claude Code and Codex, the programs themselves, with toolgate as `install` writes it and over HTTP, and a model that plays a script: a tool call, a
//! question that the operator answers, a workflow; and that no form which such a program answers by itself is taken for a yes.

use serde_json::{Value, json};

use crate::main_job::answer;
use crate::support::Toolgate;
use crate::support::agents::{Agent, Kind, Way};
use crate::support::clients::{LONGEST, TRUSTING, or_skip};

fn goes_out(word: &str) -> Value {
    json!({ "entrypoint": "inline", "code": format!("print('{word}'.upper())"), "allow_network": true, "allowed_hosts": ["example.org"] })
}

/// The events of every run of the home.
fn events(toolgate: &Toolgate) -> Vec<Value> {
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let ids = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().to_owned());
    let told = ids.map(|id| toolgate.run(&["runs", "events", &id, "--json"]).exits(0).stdout);
    told.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()).collect()
}

/// The log holds, and this many calls of the tool came to their end.
fn is_in_the_log(toolgate: &Toolgate, tool: &str, text: &str) -> usize {
    let report = toolgate.json(0, &["audit", "verify", "--json"]);
    assert!(report["broken"].is_null() && report["records"].as_u64().unwrap() > 2, "{report}");
    let events = events(toolgate);
    let calls: Vec<&Value> = events.iter().filter(|event| event["kind"] == "tool_call" && event.to_string().contains(tool)).collect();
    let ids: Vec<&Value> = calls.iter().map(|call| &call["call_id"]).collect();
    events
        .iter()
        .filter(|event| event["kind"] == "tool_result" && ids.contains(&&event["call_id"]) && event.to_string().contains(text))
        .count()
}

fn is_listed_as_connected(seat: (Kind, Way)) {
    let Some(agent) = or_skip(Agent::with(seat, "", &json!([]))) else { return };
    let listed = agent.lists_servers();
    let line = listed.lines().find(|line| line.contains("toolgate")).unwrap_or_else(|| panic!("{listed}"));
    let due = if seat.0 == Kind::ClaudeCode { "Connected" } else { "enabled" };
    let place =
        agent.served.as_ref().map_or_else(|| env!("CARGO_BIN_EXE_toolgate").to_owned(), |served| format!("http://{}/mcp", served.address));
    assert!(line.contains(due) && line.contains(&place), "{listed}");
}

fn calls_a_tool(seat: (Kind, Way)) {
    let turns = json!([
        { "call": "python_run", "arguments": { "entrypoint": "inline", "code": "print(6 * 7, 'is the answer')" } },
        { "call": "python_run", "arguments": { "entrypoint": "inline", "code": 7 } },
        { "say": "DONE" },
    ]);
    let Some(agent) = or_skip(Agent::with(seat, "", &turns)) else { return };
    let transcript = agent.goes();
    assert!(transcript.contains("42 is the answer") && transcript.contains("DONE"), "{transcript}");
    let saw = agent.model.saw("python_run");
    assert_eq!(saw[0]["data"]["stdout"], "42 is the answer\n", "the model sees the whole answer: {saw:?}");
    let error = saw[1]["saw"].as_str().unwrap();
    assert!(error.contains("INVALID_INPUT") && error.contains("code"), "and what was wrong: {error}");
    assert_eq!(is_in_the_log(&agent.toolgate, "python.run", "42 is the answer"), 1);
    let runs = agent.toolgate.json(0, &["runs", "list", "--json"]);
    let shown = agent.toolgate.json(0, &["runs", "show", runs[0]["id"].as_str().unwrap(), "--json"]);
    assert!(shown["id"] == runs[0]["id"] && shown["kind"] == "adhoc", "{shown}");
}

fn asks_the_operator(seat: (Kind, Way)) {
    let gate = tempfile::tempdir().unwrap();
    let answered = gate.path().join("answered");
    let turns = json!([
        { "call": "python_run", "arguments": goes_out("allowed") },
        { "call": "python_run", "arguments": goes_out("allowed"), "after": answered },
        { "say": "DONE" },
    ]);
    let Some(agent) = or_skip(Agent::with(seat, "[approvals]\nwait_sec = 0\n", &turns)) else { return };
    let transcript = std::thread::scope(|scope| {
        scope.spawn(|| {
            let id = asked(&agent.toolgate);
            answer(&agent.toolgate, &["approvals", "approve", &id], "correct horse").exits(0);
            std::fs::write(&answered, "").unwrap();
        });
        agent.goes()
    });
    let saw = agent.model.saw("python_run");
    let first = saw[0]["saw"].as_str().unwrap();
    assert!(first.contains("APPROVAL_REQUIRED") && first.contains("apr_") && !first.contains("ALLOWED"), "{first}");
    assert_eq!(saw[1]["data"]["stdout"], "ALLOWED\n", "the repeated call goes through: {saw:?}\n{transcript}");
    let rows = agent.toolgate.json(0, &["approvals", "list", "--all", "--json"]);
    assert!(rows.as_array().unwrap().len() == 1 && rows[0]["status"] == "used", "{rows}");
    assert_eq!(is_in_the_log(&agent.toolgate, "python.run", "ALLOWED"), 1);
    let by: Vec<Value> =
        events(&agent.toolgate).into_iter().map(|event| event["payload"]["channel"].clone()).filter(|by| by.is_string()).collect();
    assert_eq!(by, ["cli"], "the operator alone has answered");
}

/// The question that waits, as soon as there is one.
fn asked(toolgate: &Toolgate) -> String {
    let began = std::time::Instant::now();
    while began.elapsed() < LONGEST {
        let rows = toolgate.json(0, &["approvals", "list", "--json"]);
        if let Some(id) = rows[0]["id"].as_str() {
            return id.to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("nothing was asked");
}

fn drives_a_workflow(seat: (Kind, Way)) {
    let plan = json!({ "summary": "two files", "tasks": [{ "path": "a.py", "purpose": "one" }, { "path": "b.py", "purpose": "two" }] });
    let watch = |until: &str| {
        let arguments = json!({ "run_id": "$run_start.run_id", "cursor": "$run_watch.cursor", "wait_sec": 20 });
        json!({ "call": "run_watch", "arguments": arguments, "until": until })
    };
    let turns = json!([
        { "call": "run_start", "arguments": { "workflow": "asks" } },
        watch("waiting.0"),
        { "call": "run_submit", "arguments": { "run_id": "$run_start.run_id", "step_id": "$run_watch.waiting.0.step_id", "output": plan } },
        watch("done"),
        { "say": "DONE" },
    ]);
    let Some(agent) = or_skip(Agent::with(seat, "", &turns)) else { return };
    let transcript = agent.goes();
    let watched = agent.model.saw("run_watch");
    let last = watched.last().unwrap_or_else(|| panic!("{:?}\n{transcript}", agent.model.seen()));
    assert!(last["data"]["done"] == true && last["data"]["status"] == "succeeded", "{last}\n{transcript}");
    let run = agent.model.saw("run_start")[0]["data"]["run_id"].as_str().unwrap().to_owned();
    let shown = agent.toolgate.json(0, &["runs", "show", &run, "--json"]);
    assert!(shown["status"] == "succeeded" && shown.to_string().contains("\"count\":2"), "{shown}");
    let report = agent.toolgate.json(0, &["audit", "verify", "--json"]);
    assert!(report["broken"].is_null(), "{report}");
}

/// The home trusts the human in front of the client, but there is none: whatever the program answers by itself is no yes.
fn takes_no_form_for_a_yes(seat: (Kind, Way)) {
    let turns = json!([
        { "call": "python_run", "arguments": goes_out("never") },
        { "call": "python_run", "arguments": goes_out("never") },
        { "say": "DONE" },
    ]);
    let Some(agent) = or_skip(Agent::with(seat, &format!("{TRUSTING}wait_sec = 0\n"), &turns)) else { return };
    let transcript = agent.goes();
    for saw in agent.model.saw("python_run") {
        let text = saw["saw"].as_str().unwrap();
        assert!((text.contains("APPROVAL_REQUIRED") || text.contains("APPROVAL_DENIED")) && !text.contains("NEVER"), "{text}");
    }
    assert_eq!(agent.model.saw("python_run").len(), 2, "{transcript}");
    let rows = agent.toolgate.json(0, &["approvals", "list", "--all", "--json"]);
    assert!(!rows.as_array().unwrap().is_empty(), "it was asked");
    // Codex declines forms that want something, which is a no; Claude Code closes them, which is no answer.
    let due = if seat.0 == Kind::Codex { "denied" } else { "pending" };
    assert!(rows.as_array().unwrap().iter().all(|row| row["status"] == due), "{rows}");
    assert_eq!(is_in_the_log(&agent.toolgate, "python.run", "NEVER"), 0);
}

/// Why a form with a button alone is no question: a server that takes its acceptance for a yes is told so by nobody.
#[test]
fn codex_accepts_a_form_without_fields_by_itself() {
    let turns = json!([{ "call": "naive_ask", "arguments": {} }, { "say": "DONE" }]);
    let Some(agent) = or_skip(Agent::with((Kind::Codex, Way::Lines), "", &turns)) else { return };
    agent.has_also("naive_server.py");
    let transcript = agent.goes();
    let saw = agent.model.saw("naive_ask");
    assert!(saw[0]["saw"].as_str().unwrap().ends_with("ACTED"), "{saw:?}\n{transcript}");
}

/// Every test with this agent, this way.
macro_rules! seat {
    ($module:ident, $kind:ident, $way:ident) => {
        mod $module {
            use crate::support::agents::{Kind, Way};
            const SEAT: (Kind, Way) = (Kind::$kind, Way::$way);
            #[test]
            fn is_listed_as_connected() {
                super::is_listed_as_connected(SEAT);
            }
            #[test]
            fn calls_a_tool() {
                super::calls_a_tool(SEAT);
            }
            #[test]
            fn asks_the_operator() {
                super::asks_the_operator(SEAT);
            }
            #[test]
            fn drives_a_workflow() {
                super::drives_a_workflow(SEAT);
            }
            #[test]
            fn takes_no_form_for_a_yes() {
                super::takes_no_form_for_a_yes(SEAT);
            }
        }
    };
}

seat!(claude_code, ClaudeCode, Lines);
seat!(claude_code_over_http, ClaudeCode, Http);
seat!(codex, Codex, Lines);
seat!(codex_over_http, Codex, Http);
