//! One server, several principals, over real sockets: streams that broke and are taken up again, limits that one cannot use up for the
//! others, and calls that take longer than their clients wait.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use toolgate::schema::Schema;

use crate::mcp_stdio::Server;
use crate::support::python_cache;
use crate::support::tenants::{Events, Tenants};

/// A program that takes so many seconds, and says what came of it.
fn takes(seconds: f64) -> Value {
    json!({ "code": format!("import time\nprint('begun', flush=True)\ntime.sleep({seconds})\nresult = 'done'"), "timeout_sec": 120 })
}

fn is_answer(message: &Value) -> bool {
    message.get("result").is_some() || message.get("error").is_some()
}

/// Begins a call in a session and breaks the connection off once something was heard; what the last event was called.
async fn broken_off(tenants: &Tenants, who: &str, session: &str, seconds: f64) -> String {
    let params = json!({ "name": "python_run", "arguments": takes(seconds), "_meta": { "progressToken": "t" } });
    let body = json!({ "jsonrpc": "2.0", "id": 77, "method": "tools/call", "params": params }).to_string();
    let stream = tenants.open("POST", "/mcp", who, &[("Mcp-Session-Id", session)], &body).await;
    let mut events = Events::of(stream).await;
    assert_eq!(events.status, 200);
    let first = events.next().await.expect("no event");
    first.id.expect("an event without an id cannot be taken up again")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_connection_broke_is_fetched_by_its_own_client_alone() {
    let tenants = Tenants::serve(&["alice", "bob"], "", "").await;
    let (hers, his) = (tenants.session("alice").await, tenants.session("bob").await);
    // The first call makes the sandbox warm.
    tenants.call("alice", "python.run", takes(0.0)).await;
    // While it runs, and after it has ended.
    for wait in [0.0, 6.0] {
        let id = broken_off(&tenants, "alice", &hers, 2.0).await;
        tokio::time::sleep(Duration::from_secs_f64(wait)).await;
        // Nobody else gets it: neither in her session, nor by her event's name in his own.
        let stolen = tenants.send("GET", "/mcp", "bob", &[("Mcp-Session-Id", &hers), ("Last-Event-ID", &id)], "").await;
        let unknown = tenants.send("GET", "/mcp", "bob", &[("Mcp-Session-Id", "no-such-session"), ("Last-Event-ID", &id)], "").await;
        assert_eq!((stolen.status, &stolen.body), (404, &unknown.body), "{stolen:?}");
        let mut his_own = tenants.stream("bob", &his, Some(&id)).await;
        assert!(his_own.next_within(Duration::from_secs(3)).await.is_none_or(|sent| !sent.data.contains("done")), "hers in his session");

        let mut again = tenants.stream("alice", &hers, Some(&id)).await;
        assert_eq!(again.status, 200);
        let answer = again.until(is_answer).await.expect("the answer did not come").json();
        assert_eq!((answer["id"].as_i64(), &answer["result"]["structuredContent"]["result"]), (Some(77), &json!("done")), "{answer}");
        assert!(again.next().await.is_none(), "the stream ends with its answer");
    }
    // An event that never was: an end at once, as a client would ask for the same again and again.
    for unknown in ["9999999", "0/0", "x"] {
        let got = tenants.send("GET", "/mcp", "alice", &[("Mcp-Session-Id", &hers), ("Last-Event-ID", unknown)], "").await;
        assert_eq!((got.status, got.body.contains("done")), (200, false), "{unknown}: {got:?}");
    }
}

/// Everything of a session is its principal's alone.
#[tokio::test(flavor = "multi_thread")]
async fn anothers_session_is_as_unknown_as_none() {
    let tenants = Tenants::serve(&["alice", "bob"], "", "").await;
    let hers = tenants.session("alice").await;
    let list = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} }).to_string();
    let level = json!({ "jsonrpc": "2.0", "id": 1, "method": "logging/setLevel", "params": { "level": "emergency" } }).to_string();
    for (method, body) in [("POST", list.as_str()), ("POST", &level), ("GET", ""), ("DELETE", "")] {
        let of_hers = tenants.send(method, "/mcp", "bob", &[("Mcp-Session-Id", &hers)], body).await;
        let of_nobody = tenants.send(method, "/mcp", "bob", &[("Mcp-Session-Id", "no-such-session")], body).await;
        assert_eq!((of_hers.status, &of_hers.body), (404, &of_nobody.body), "{method} {body}");
        let without_date = |head: &str| head.lines().filter(|line| !line.to_lowercase().starts_with("date")).collect::<Vec<_>>().join("\n");
        assert_eq!(without_date(&of_hers.head), without_date(&of_nobody.head));
    }
    assert_eq!(tenants.within("alice", &hers, "tools/list", json!({})).await.status, 200, "it is hers still");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_principals_haste_is_not_anothers_delay() {
    let tenants = Tenants::serve(&["alice", "bob"], "[http]\nrate = 1\nburst = 8\n", "").await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(tenants.ask("alice", "tools/list", json!({})).await);
    }
    let refused = statuses.iter().find(|got| got.status == 429).expect("nobody was told to wait");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&seconds), "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "LIMIT_EXCEEDED", "{refused:?}");
    assert_eq!(tenants.ask("bob", "tools/list", json!({})).await.status, 200, "his rate is his own");
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    assert_eq!(tenants.ask("alice", "tools/list", json!({})).await.status, 200, "who waits is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_calls_and_streams_of_one_principal_are_open_and_the_others_do_not_notice() {
    let tenants = Tenants::serve(&["alice", "bob"], "[http]\nconcurrent = 2\nstreams = 1\n", "").await;
    tenants.call("alice", "python.run", takes(0.0)).await;
    let session = tenants.session("alice").await;
    // Two calls whose client does not even stay: they count for as long as they run.
    for _ in 0..2 {
        broken_off(&tenants, "alice", &session, 8.0).await;
    }
    let third = tenants.ask("alice", "tools/list", json!({})).await;
    assert_eq!((third.status, third.header("retry-after")), (429, Some("1")), "{third:?}");
    assert_eq!(tenants.ask("bob", "tools/list", json!({})).await.status, 200);
    let begun = Instant::now();
    while tenants.ask("alice", "tools/list", json!({})).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(120), "their places are not given back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Streams are counted apart, in both generations.
    let mut notices = tenants.stream("alice", &session, None).await;
    assert_eq!(notices.status, 200);
    let (headers, body) = tenants.modern("subscriptions/listen", json!({ "notifications": { "toolsListChanged": true } }));
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let refused = tenants.send("POST", "/mcp", "alice", &headers, &body).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(tenants.ask("alice", "tools/list", json!({})).await.status, 200, "a stream is no call");
    let mut his = tenants.open("POST", "/mcp", "bob", &headers, &body).await;
    let mut line = [0; 12];
    his.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 200");
    assert!(notices.next_within(Duration::from_millis(300)).await.is_none_or(|sent| sent.json().get("error").is_none()));
}

/// Watches from a handle on until nothing goes on any more; what is told of the call.
async fn watched(tenants: &Tenants, who: &str, handle: &Value) -> Value {
    let mut cursor = handle["cursor"].clone();
    let begun = Instant::now();
    loop {
        let seen = tenants.call(who, "run.watch", json!({ "run_id": handle["run_id"], "cursor": cursor, "wait_sec": 20 })).await;
        let line = seen["calls"].as_array().into_iter().flatten().find(|line| line["call_id"] == handle["call_id"]);
        if let Some(line) = line.filter(|line| line["status"] != "running") {
            return line.clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(180) && seen.get("error").is_none(), "{seen}");
        cursor = seen["cursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_long_is_answered_with_a_handle_and_goes_on() {
    let tenants = Tenants::serve(&["alice", "bob"], "[serve]\nanswer_sec = 2\ntoolsets = [\"python\"]\n", "").await;
    // What is quick is answered as ever, though the sandbox may have to be made first.
    let mut quick = tenants.call("alice", "python.run", takes(0.0)).await;
    if quick["status"] == "running" {
        watched(&tenants, "alice", &quick).await;
        quick = tenants.call("alice", "python.run", takes(0.0)).await;
    }
    assert_eq!(quick["result"], "done", "{quick}");

    let begun = Instant::now();
    let handle = tenants.call("alice", "python.run", takes(8.0)).await;
    assert!(begun.elapsed() < Duration::from_secs(7), "it waited for the end: {:?}", begun.elapsed());
    assert_eq!((&handle["status"], &handle["next"]), (&json!("running"), &json!("run.watch")), "{handle}");
    let listed = tenants.request("alice", "tools/list", json!({})).await;
    let tools = listed["result"]["tools"].as_array().unwrap();
    let tool = tools.iter().find(|tool| tool["name"] == "python_run").unwrap();
    for answer in [&handle, &quick] {
        Schema::compile(&tool["outputSchema"]).unwrap().check(answer).unwrap_or_else(|fault| panic!("{fault}: {answer}"));
    }
    // His is not hers, by its run or otherwise.
    let stolen = tenants.call("bob", "run.watch", json!({ "run_id": handle["run_id"], "wait_sec": 0 })).await;
    assert_eq!(stolen["error"]["code"], "UNKNOWN_RUN");
    let told = watched(&tenants, "alice", &handle).await;
    assert_eq!(
        (&told["status"], &told["tool"], &told["output"]["result"]),
        (&json!("succeeded"), &json!("python.run"), &json!("done")),
        "{told}"
    );
    // Told again to whoever asks from the same place, and shown.
    assert_eq!(watched(&tenants, "alice", &handle).await, told);
    let shown = tenants.call("alice", "run.show", json!({ "run_id": handle["run_id"] })).await;
    assert!(shown["calls"].as_array().unwrap().contains(&told), "{shown}");
    let after = tenants.call("alice", "run.watch", json!({ "run_id": handle["run_id"], "cursor": 1_000_000, "wait_sec": 40 })).await;
    assert_eq!((&after["done"], after.get("calls")), (&json!(true), None), "nothing goes on, so nothing is waited for: {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_long_call_gives_is_whole_and_failures_are_told_too() {
    let tenants = Tenants::serve(&["alice"], "[serve]\nanswer_sec = 1\n", "").await;
    let program = |code: &str| json!({ "code": format!("import time\ntime.sleep(6)\n{code}"), "timeout_sec": 100 });
    let large = tenants.call("alice", "python.run", program("result = 'x' * 50_000")).await;
    let failing =
        tenants.call("alice", "eval.run", json!({ "commands": ["python -c \"import time; time.sleep(6); exit(3)\""], "files": [] })).await;
    let told = watched(&tenants, "alice", &large).await;
    let artifact = told["artifact"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    let page = tenants.call("alice", "artifact.read", json!({ "artifact": artifact, "limit": 200_000 })).await;
    assert!(page["size"].as_u64().unwrap() > 50_000, "{}", page["size"]);
    let told = watched(&tenants, "alice", &failing).await;
    assert_eq!(told["output"]["commands"][0]["return_code"], 3, "{told}");

    let stopped = tenants.call("alice", "python.run", takes(100.0)).await;
    assert_eq!(stopped["status"], "running", "{stopped}");
    let accepted = tenants.call("alice", "run.cancel", json!({ "run_id": stopped["run_id"] })).await;
    assert!(accepted["cursor"].is_u64(), "{accepted}");
    let told = watched(&tenants, "alice", &stopped).await;
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!("CANCELLED")), "{told}");
    // The run is where the next call belongs, as before.
    let next = tenants.call("alice", "workspace.list", json!({})).await;
    assert_eq!(next["files"], json!([]), "{next}");
}

/// Programs and workflows are given the whole, however long it takes: a handle is for clients.
#[tokio::test(flavor = "multi_thread")]
async fn programs_and_workflows_wait_for_the_answer_itself() {
    let tenants = Tenants::serve(&["alice"], "[serve]\nanswer_sec = 1\n", "").await;
    let home = tenants.stop().await;
    std::fs::create_dir_all(home.path().join("workflows")).unwrap();
    let step = "name: long\nversion: 1.0.0\ntools: [python.run]\nsteps:\n- {id: take, kind: tool, input: {tool: python.run, arguments: \
                {code: \"import time\\ntime.sleep(5)\\nresult = 'whole'\", timeout_sec: 100}}}\n";
    std::fs::write(home.path().join("workflows/long.yaml"), step).unwrap();
    let tenants = Tenants::serve_on(home, &["alice"]).await;
    let program =
        "import toolgate\nresult = toolgate.call('eval.run', commands=['python -c \"import time; time.sleep(5)\"'], files=[])['passed']";
    let outer = tenants.call("alice", "python.run", json!({ "code": program, "tools": ["eval.run"], "timeout_sec": 100 })).await;
    assert_eq!(watched(&tenants, "alice", &outer).await["output"]["result"], true, "{outer}");
    let started = tenants.call("alice", "run.start", json!({ "workflow": "long" })).await;
    let mut cursor = json!(0);
    let begun = Instant::now();
    loop {
        let seen = tenants.call("alice", "run.watch", json!({ "run_id": started["run_id"], "cursor": cursor, "wait_sec": 20 })).await;
        if seen["done"] == true {
            assert_eq!(seen["status"], "succeeded", "{seen}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(180), "{seen}");
        cursor = seen["cursor"].clone();
    }
    let shown = tenants.call("alice", "run.show", json!({ "run_id": started["run_id"] })).await;
    assert_eq!(shown["steps"][0]["output"]["result"], "whole", "{shown}");
}

/// Over standard input and output, and across the death of the server: what a handle stands for is in the log.
#[test]
fn a_handle_outlives_the_process_that_gave_it() {
    let home = tempfile::tempdir().unwrap();
    let cache = python_cache().display();
    std::fs::write(home.path().join("toolgate.toml"), format!("[serve]\nanswer_sec = 1\n[python]\ncache_dir = \"{cache}\"\n")).unwrap();
    let call = |server: &mut Server, id: i64, tool: &str, arguments: Value| {
        server.request(id, "tools/call", json!({ "name": tool, "arguments": arguments }))["result"]["structuredContent"].clone()
    };
    let mut server = Server::opened(home.path());
    let first = call(&mut server, 2, "python_run", takes(5.0));
    assert_eq!(first["status"], "running", "{first}");
    let watch = |server: &mut Server, id: i64, handle: &Value| {
        call(server, id, "run_watch", json!({ "run_id": handle["run_id"], "cursor": handle["cursor"], "wait_sec": 45 }))["calls"][0].clone()
    };
    let told = watch(&mut server, 3, &first);
    assert_eq!(told["output"]["result"], "done", "{told}");
    let second = call(&mut server, 4, "python_run", takes(100.0));
    assert_eq!(second["status"], "running", "{second}");
    server.kill();

    let mut server = Server::opened(home.path());
    let told = watch(&mut server, 2, &first);
    assert_eq!((&told["call_id"], &told["output"]["result"]), (&first["call_id"], &json!("done")), "{told}");
    let told = watch(&mut server, 3, &second);
    assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!("INTERRUPTED")), "{told}");
}

/// Clients of several principals, all with the same ids and progress tokens, each in a session of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_ids_in_many_sessions_are_not_taken_for_each_other() {
    let tenants = Tenants::serve(&["alice", "bob"], "", "").await;
    let ask = async |number: usize| {
        let who = if number.is_multiple_of(2) { "alice" } else { "bob" };
        let session = tenants.session(who).await;
        let arguments = json!({ "filter": ".", "input": { "mine": number } });
        let params = json!({ "name": "transform_jq", "arguments": arguments, "_meta": { "progressToken": "t" } });
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params }).to_string();
        let got = tenants.send("POST", "/mcp", who, &[("Mcp-Session-Id", &session)], &body).await;
        let answers: Vec<&str> = got.body.lines().filter(|line| line.contains("\"result\"")).collect();
        assert!(answers.len() == 1 && answers[0].contains(&format!("\"mine\":{number}}}")), "{number}: {got:?}");
    };
    futures_util::future::join_all((0..60).map(ask)).await;
}
