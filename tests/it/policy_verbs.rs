//! The policy verbs and hot reload, on the real binary and the real path.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::domain::{ErrorCode, Profile};
use toolgate::gateway::Answer;
use toolgate::policy::{PolicySet, PolicySource, shipped};
use toolgate::store::Durability;

use crate::support::Toolgate;
use crate::support::house::TestHouse;

const WALL: &str = "@id(\"wall\") @reason(\"nothing is written today\")\n\
                    forbid (principal is toolgate::Agent, action == toolgate::Action::\"workspace.write\", resource);\n";

fn with_policy(name: &str, text: &str) -> Toolgate {
    let toolgate = Toolgate::new();
    write_policy(&toolgate, name, text);
    toolgate
}

fn write_policy(toolgate: &Toolgate, name: &str, text: &str) {
    let folder = toolgate.data().join("policies");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

#[test]
fn check_tells_what_is_odd_and_test_what_failed() {
    let toolgate = with_policy(
        "own.cedar",
        &format!("{WALL}@id(\"gone\") permit (principal is toolgate::Agent, action == toolgate::Action::\"workspace.write\", resource);\n"),
    );
    write_policy(&toolgate, "own.test.yaml", "tests:\n  - {call: {tool: workspace.write}, expect: deny, rule: wall}\n");
    let file = toolgate.data().join("policies/own.cedar").display().to_string();
    let checked = toolgate.run(&["policy", "check", &file]).exits(1);
    assert!(checked.stdout.contains(&format!("{file}:3: unreachable rule `gone`, error")), "{}", checked.stdout);
    assert!(checked.stdout.contains("whatever it permits, `wall`"), "{}", checked.stdout);
    assert!(!checked.stdout.contains("untested rule `wall`"), "its test is beside it: {}", checked.stdout);
    assert_eq!(toolgate.json(0, &["policy", "test", "--json"])["ok"], true);
    write_policy(&toolgate, "own.test.yaml", "tests:\n  - {call: {tool: workspace.write}, expect: allow}\n");
    let tested = toolgate.run(&["policy", "test", &file]).exits(1);
    assert!(tested.stdout.contains("expected  allow") && tested.stdout.contains("found     deny by wall"), "{}", tested.stdout);
    // What does not load tells every problem, whatever the verb.
    write_policy(
        &toolgate,
        "own.cedar",
        "permit (principal, action == toolgate::Action::\"no.such\", resource);\nforbid (principal, action, resource) when { context.nothing };\n",
    );
    for verb in [&["policy", "check"][..], &["policy", "test"], &["policy", "explain", "workspace.read"]] {
        let told = toolgate.run(verb).exits(2);
        assert!(told.stderr.contains("own.cedar:1") && told.stderr.contains("own.cedar:2"), "{}", told.stderr);
    }
}

#[test]
fn a_candidate_takes_the_place_of_the_file_of_its_name() {
    let toolgate = with_policy("own.cedar", WALL);
    let away = toolgate.home().join("own.cedar");
    std::fs::write(&away, WALL.replace("workspace.write", "no.such")).unwrap();
    let told = toolgate.run(&["policy", "check", away.to_str().unwrap()]).exits(2);
    assert!(told.stderr.contains("no.such"), "{}", told.stderr);
    // Else the rule would be there twice.
    std::fs::write(&away, WALL.replace("today", "tomorrow")).unwrap();
    let found = toolgate.json(0, &["policy", "check", away.to_str().unwrap(), "--json"]);
    assert!(found["findings"].as_array().unwrap().iter().all(|finding| finding["kind"] == "untested"), "{found}");
}

#[test]
fn explain_says_why_and_leaves_nothing_behind() {
    let toolgate = with_policy("own.cedar", WALL);
    let told = toolgate.json(0, &["policy", "explain", "workspace.write", r#"{"files": [{"path": "a", "content": "x"}]}"#, "--json"]);
    assert_eq!((&told["verdict"], &told["reasons"][0]["rule"]), (&json!("deny"), &json!("wall")));
    assert_eq!(told["differ"][0]["must"], "not_match");
    let operator = toolgate
        .json(0, &["policy", "explain", "workspace_write", r#"{"files": [{"path": "a", "content": "x"}]}"#, "--as", "operator", "--json"]);
    assert_eq!(operator["verdict"], "allow");
    let near = operator["near"].as_array().unwrap().iter().find(|near| near["rule"] == "wall").unwrap();
    assert_eq!(near["misses"]["wanted"], "principal is toolgate::Agent");
    assert_eq!(toolgate.json(0, &["runs", "list", "--all", "--json"]), json!([]), "no run was begun");
    let folders = std::fs::read_dir(toolgate.data().join("runs")).map(|entries| entries.count()).unwrap_or_default();
    assert_eq!(folders, 0, "and no folder made");
    toolgate.run(&["policy", "explain", "workspace.write", r#"{"fils": []}"#]).exits(2);
    toolgate.run(&["policy", "explain", "no.such"]).exits(2);
}

#[test]
fn replay_tells_which_recorded_calls_change() {
    let toolgate = Toolgate::new();
    for tool in [&["tools", "call", "workspace.list"][..], &["tools", "call", "transform.jq", r#"{"filter": ".a", "input": {"a": 1}}"#]] {
        toolgate.run(tool).exits(0);
    }
    toolgate.run(&["tools", "call", "workspace.list", r#"{"nonsense": 1}"#]).exits(2);
    let candidate = toolgate.home().join("strict.cedar");
    std::fs::write(&candidate, "@id(\"no-list\") forbid (principal, action == toolgate::Action::\"workspace.list\", resource);").unwrap();
    let path = candidate.to_str().unwrap();
    let told = toolgate.json(0, &["policy", "replay", "--with", path, "--json"]);
    assert_eq!((&told["asked"], &told["unasked"]), (&json!(2), &json!({"not_decided": 1})), "{told}");
    let changed = told["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{told}");
    assert_eq!((&changed[0]["tool"], &changed[0]["old"], &changed[0]["new"]), (&json!("workspace.list"), &json!("allow"), &json!("deny")));
    assert_eq!(changed[0]["new_rules"], json!(["no-list"]));
    let shown = toolgate.run(&["policy", "replay", "--with", path]).exits(0);
    assert!(shown.stdout.contains("allow → deny  workspace.list  no-list  operator"), "{}", shown.stdout);
    // Of another run, or later, there is nothing.
    toolgate.run(&["policy", "replay", "--with", path, "--run", "run_018bcfe5680070008000000000000001"]).exits(2);
    let none = toolgate.json(0, &["policy", "replay", "--with", path, "--since", "0s", "--json"]);
    assert_eq!(none["asked"], 0);
    // An empty folder in the place of the home's changes nothing, as there was none.
    let folder = toolgate.home().join("empty");
    std::fs::create_dir(&folder).unwrap();
    let same = toolgate.run(&["policy", "replay", "--with", folder.to_str().unwrap()]).exits(0);
    assert!(same.stdout.contains("2 calls asked about, all decided as before"), "{}", same.stdout);
}

#[test]
fn trials_are_counted_over_all_that_was_recorded() {
    let toolgate = Toolgate::new();
    toolgate.run(&["tools", "call", "workspace.list"]).exits(0);
    assert_eq!(toolgate.json(0, &["policy", "trials", "--json"]), json!([]), "nothing is on trial");
    let trial = |id: &str, rule: &str| {
        format!("@id(\"{id}\") @mode(\"log\") {rule} (principal, action == toolgate::Action::\"workspace.list\", resource);\n")
    };
    let rules = trial("strict", "forbid") + &trial("same", "permit") + &trial("never", "forbid").replace("workspace.list", "run.list");
    write_policy(&toolgate, "own.cedar", &rules);
    // Each call is a process of its own; what was recorded before the rules came is not counted.
    for _ in 0..2 {
        toolgate.run(&["tools", "call", "workspace.list"]).exits(0);
    }
    let count = |rule: &str, matched: u64, changed: u64| json!({"rule": rule, "matched": matched, "changed": changed});
    let all = json!([count("never", 0, 0), count("same", 2, 0), count("strict", 2, 2)]);
    assert_eq!(toolgate.json(0, &["policy", "trials", "--json"]), all);
    let shown = toolgate.run(&["policy", "trials"]).exits(0).stdout;
    assert!(shown.contains("RULE    MATCHED  CHANGED") && shown.contains("strict  2        2"), "{shown}");
    let none = json!([count("never", 0, 0), count("same", 0, 0), count("strict", 0, 0)]);
    assert_eq!(toolgate.json(0, &["policy", "trials", "--since", "0s", "--json"]), none);
    toolgate.run(&["policy", "trials", "--run", "run_018bcfe5680070008000000000000001"]).exits(2);
    // Taken out, a rule is still told of: its calls are recorded.
    write_policy(&toolgate, "own.cedar", "");
    assert_eq!(toolgate.json(0, &["policy", "trials", "--json"]), json!([count("same", 2, 0), count("strict", 2, 2)]));
}

/// T53: a yes given under other rules does not fit, though the verdict is the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_does_not_outlive_the_rules_it_was_given_under() {
    let house = TestHouse::on(None, Durability::Relaxed, "").await;
    let arguments = json!({"word": "out"});
    let asked = house.call("probe.outside", arguments.clone()).await.outcome.unwrap_err();
    assert_eq!(asked.code, ErrorCode::ApprovalRequired);
    let id = asked.details.unwrap()["approval_id"].as_str().unwrap().parse().unwrap();
    house.answer(id, Answer::Approve { allow: None, reason: None }).await.unwrap();
    let mut sources = shipped(Profile::Default);
    sources.push(PolicySource { name: "more.cedar".into(), text: "forbid (principal is toolgate::System, action, resource);".into() });
    let held = house.gateway.policy();
    house.rules.replace(PolicySet::load(&sources, &house.defs).unwrap_or_else(|p| panic!("{p}")));
    assert_ne!(held.digest(), house.gateway.policy().digest(), "whoever holds a set keeps it");
    let again = house.call("probe.outside", arguments).await.outcome.unwrap_err();
    assert_eq!(again.code, ErrorCode::ApprovalRequired);
    assert_ne!(again.details.unwrap()["approval_id"].as_str().unwrap(), id.to_string(), "it is asked anew");
    assert_eq!(house.ran(), 0);
}

/// A server that is talked to by lines.
struct Server {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<Value>,
    next: u64,
    notices: Vec<Value>,
}

impl Server {
    fn start(toolgate: &Toolgate) -> Self {
        let mut child = toolgate
            .command(&["serve", "--toolsets", "all"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut server = Self { child, lines, next: 0, notices: Vec::new() };
        server
            .ask("initialize", &json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}));
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn send(&mut self, line: &Value) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).expect("an answer");
            if line["id"] == id {
                return line["result"].clone();
            }
            self.notices.push(line);
        }
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.ask("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// Calls until the answer is as wanted.
    fn until(&mut self, tool: &str, arguments: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.call(tool, arguments);
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < end, "{answer}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_server_takes_up_good_rules_and_stays_with_the_old_where_they_are_bad() {
    let toolgate = with_policy("own.cedar", "");
    let mut server = Server::start(&toolgate);
    let write = json!({"files": [{"path": "a.txt", "content": "x"}]});
    assert_eq!(server.call("workspace_write", &write)["isError"], json!(false));
    let explain = json!({"tool": "workspace.write", "arguments": write});
    let before = server.call("policy_explain", &explain)["structuredContent"].clone();
    assert_eq!((&before["verdict"], &before["differ"], &before["files_rejected"]), (&json!("allow"), &json!([]), &json!(false)));

    let quiet = server.call("toolgate_status", &json!({}))["structuredContent"].clone();
    assert_eq!(
        (&quiet["ready"], &quiet["problems"], &quiet["policy"]["files_rejected"]),
        (&json!(true), &json!([]), &json!(false)),
        "{quiet}"
    );

    write_policy(&toolgate, "own.cedar", WALL);
    let denied = server.until("workspace_write", &write, |answer| answer["isError"] == json!(true));
    assert!(denied.to_string().contains("nothing is written today"), "{denied}");
    let told = server.call("policy_explain", &explain)["structuredContent"].clone();
    assert_eq!(told["verdict"], "deny");
    // A rule that refuses shows its words and nothing of what it looks at; another role cannot be asked about.
    assert_eq!((&told["differ"][0]["rule"], &told["differ"][0]["conditions"]), (&json!("wall"), &json!([])));
    assert_eq!(server.call("policy_explain", &json!({"tool": "workspace.write", "as": "operator"}))["isError"], json!(true));

    write_policy(&toolgate, "own.cedar", "this is not Cedar");
    let rejected = server.until("policy_explain", &explain, |answer| answer["structuredContent"]["files_rejected"] == json!(true));
    assert_eq!((&rejected["structuredContent"]["verdict"], &rejected["structuredContent"]["policy"]), (&json!("deny"), &told["policy"]));
    // A notice passes; the state can be asked for as long as it is so.
    let status = server.call("toolgate_status", &json!({}))["structuredContent"].clone();
    let problem = &status["problems"][0];
    assert!(problem["file"].as_str().unwrap().ends_with("own.cedar") && problem["line"] == 1, "{status}");
    assert_eq!((&status["policy"]["files_rejected"], &status["policy"]["digest"]), (&json!(true), &told["policy"]), "{status}");
    assert!(status["next"].as_str().unwrap().contains("tell the user"), "{status}");
    write_policy(&toolgate, "own.cedar", WALL);
    let mended = server.until("toolgate_status", &json!({}), |answer| answer["structuredContent"]["problems"] == json!([]));
    assert_eq!(
        mended["structuredContent"]["policy"],
        json!({"digest": told["policy"], "rules": quiet["policy"]["rules"].as_u64().unwrap() + 1, "files_rejected": false})
    );
    write_policy(&toolgate, "own.cedar", "this is not Cedar");
    server.until("toolgate_status", &json!({}), |answer| answer["structuredContent"]["policy"]["files_rejected"] == json!(true));
    std::fs::rename(toolgate.data().join("policies"), toolgate.data().join("gone")).unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(server.call("workspace_write", &write)["isError"], json!(true), "a folder that went away is not an empty set");
    let notices: Vec<String> =
        server.notices.iter().filter(|line| line["method"] == "notifications/message").map(Value::to_string).collect();
    assert!(notices.iter().any(|notice| notice.contains("do not load") && notice.contains("own.cedar")), "{notices:?}");
    drop(server);

    std::fs::rename(toolgate.data().join("gone"), toolgate.data().join("policies")).unwrap();
    let doctor = toolgate.run(&["doctor"]);
    assert!(doctor.stdout.contains("own.cedar"), "{}", doctor.stdout);
    write_policy(&toolgate, "own.cedar", "");
    let runs = toolgate.json(0, &["runs", "list", "--all", "--json"]);
    let own = runs.as_array().unwrap().iter().find(|run| run["principal"] == "toolgate").expect("a run of the server's own")["id"].clone();
    let events = toolgate.run(&["runs", "events", own.as_str().unwrap(), "--json"]).exits(0).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let words: Vec<&str> = events.iter().filter_map(|event| event["payload"]["event"].as_str()).collect();
    assert!(words.starts_with(&["policy_loaded", "policy_rejected", "policy_restored", "policy_rejected", "policy_rejected"]), "{words:?}");
    let loaded = events.iter().find(|event| event["payload"]["event"] == "policy_loaded").unwrap();
    assert_eq!(loaded["payload"]["old"], before["policy"]);
    assert_eq!(loaded["payload"]["new"], told["policy"]);
}
