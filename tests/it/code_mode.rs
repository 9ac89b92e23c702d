//! Programs that call tools, through the real binary: many calls and one small answer, each call with its own decision and record; a human's yes
//! that takes its time; and a program that is killed in the middle and goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use toolgate::app::SystemClock;
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};

use crate::main_job::answer;
use crate::mcp_stdio::Server;
use crate::support::house::TestHouse;
use crate::support::http_server::HttpServer;
use crate::support::{Toolgate, python_cache, root};

fn call(toolgate: &Toolgate, arguments: &Value) -> Value {
    let output = toolgate.json(0, &["tools", "call", "python.run", &arguments.to_string(), "--json"])["output"].clone();
    assert_eq!(output["return_code"], 0, "{}", output["stderr"].as_str().unwrap());
    output
}

fn events(toolgate: &Toolgate) -> Vec<Value> {
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let of_run = |run: &Value| toolgate.run(&["runs", "events", run["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
    let mut events: Vec<Value> = runs
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|run| of_run(run).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
        .collect();
    events.sort_by_key(|event| event["index"].as_u64());
    events
}

/// A server whose policy asks a human before files are removed.
fn asking() -> Toolgate {
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    std::fs::create_dir_all(toolgate.data().join("policies")).unwrap();
    let rule =
        r#"@id("ask-remove") @ask("files are removed") permit (principal, action == toolgate::Action::"workspace.remove", resource);"#;
    std::fs::write(toolgate.data().join("policies/ask.cedar"), rule).unwrap();
    toolgate
}

#[test]
fn a_hundred_calls_give_one_small_answer() {
    let toolgate = Toolgate::new();
    let code = std::fs::read_to_string(root().join("docs/examples/hundred_calls.py")).unwrap();
    let output = call(&toolgate, &json!({"code": code, "tools": ["workspace.write", "workspace.read"]}));
    assert_eq!(output["result"]["reports"], 50);
    assert_eq!(output["metrics"]["tool_calls"], 100);
    assert!(output.to_string().len() < 1500, "the answer is small: {output}");
    let events = events(&toolgate);
    let calls: Vec<&Value> = events.iter().filter(|event| event["kind"] == "tool_call").collect();
    let outer = calls.iter().find(|event| event["payload"]["tool"] == "python.run").unwrap();
    let inner: Vec<_> = calls.iter().filter(|event| event["payload"]["origin"]["code"] == outer["call_id"]).collect();
    assert_eq!((calls.len(), inner.len()), (101, 100));
    assert!(outer["index"].as_u64() < inner.iter().map(|event| event["index"].as_u64()).min().unwrap(), "the program's intent comes first");
    for event in inner {
        assert!(event["payload"]["verdict"] == "allow" && event["payload"]["digest"].is_string(), "each has its own decision: {event}");
        assert!(events.iter().any(|other| other["call_id"] == event["call_id"] && other["kind"] == "tool_result"), "and its own outcome");
    }
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

#[test]
fn calls_run_at_the_same_time_on_the_host() {
    let (toolgate, server) = (Toolgate::new(), HttpServer::start());
    // The server answers only when all five programs have asked.
    let inner =
        format!("import urllib.request\nresult = urllib.request.urlopen('{}/together?n=5', timeout=20).read().decode()", server.base());
    let program = "
import asyncio, sys, toolgate
async def main():
    calls = [toolgate.acall('python.run', code=sys.argv[1], allow_network=True, allowed_hosts=[sys.argv[2]]) for _ in range(5)]
    return [answer.get('result') for answer in await asyncio.gather(*calls)]
result = asyncio.run(main())
";
    let host = format!("127.0.0.1:{}", server.port);
    let arguments = json!({"code": program, "args": [inner, host], "tools": ["python.run"]}).to_string();
    let mut command = toolgate.command(&["tools", "call", "python.run", &arguments, "--json"]);
    let output = command.env("TOOLGATE_EGRESS_PRIVATE", format!("python={host}")).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["output"]["result"], json!(["together", "together", "together", "together", "together"]), "{answer}");
}

#[test]
fn only_named_tools_and_no_program_in_a_program_in_a_program() {
    let toolgate = asking();
    let program = "
import toolgate
def code(tool, **arguments):
    try: return toolgate.call(tool, **arguments)
    except toolgate.ToolError as error: return error.code
result = [
    code('notify.send', message='x'),
    code('workspace_read', paths=['../secret']),
    code('workspace.read', paths=7),
    code('python.run', code='pass', tools=['workspace.read']),
    code('python.run', code='import toolgate\\nresult = toolgate.tools()')['result'],
    sorted(tool['name'] for tool in toolgate.tools()),
]
";
    let output = call(&toolgate, &json!({"code": program, "tools": ["workspace.read", "python.run"]}));
    let expected = json!(["UNKNOWN_TOOL", "INVALID_INPUT", "INVALID_INPUT", "INVALID_INPUT", [], ["python.run", "workspace.read"]]);
    assert_eq!(output["result"], expected);
    let unknown = json!({"code": "pass", "tools": ["workspace.raed"]}).to_string();
    let refused = toolgate.run(&["tools", "call", "python.run", &unknown]).exits(2);
    assert!(refused.stderr.contains("UNKNOWN_TOOL") && refused.stderr.contains("workspace.read"), "{}", refused.stderr);
}

/// Random, so that the first and a second run of it differ; removes a file, about which a human is asked.
const PROGRAM: &str = "
import random, time, toolgate
number = random.random()
# More than is kept in the journal itself.
readings = [time.monotonic() for _ in range(20_000)]
toolgate.call('workspace.write', files=[{'path': 'a.txt', 'content': str(number)}])
answer = toolgate.call('workspace.remove', paths=['a.txt'])
result = [number, toolgate.call('workspace.list')['files']]
";

fn start(server: &mut Server, id: i64) {
    let arguments = json!({"code": PROGRAM, "timeout_sec": 3, "tools": ["workspace.write", "workspace.remove", "workspace.list"]});
    server.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "python_run", "arguments": arguments}}));
}

/// The question that waits, once there is one.
fn asked(toolgate: &Toolgate) -> String {
    let begun = Instant::now();
    loop {
        let asked = toolgate.json(0, &["approvals", "list", "--json"]);
        let pending = asked.as_array().unwrap().iter().find(|row| row["status"] == "pending" && row["tool"] == "workspace.remove");
        if let Some(row) = pending {
            return row["id"].as_str().unwrap().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "nobody was asked: {asked}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_human_is_waited_for_and_the_programs_time_stands_still() {
    let toolgate = asking();
    let mut server = Server::opened(&toolgate.data());
    start(&mut server, 7);
    let id = asked(&toolgate);
    // Longer than the program has.
    std::thread::sleep(Duration::from_secs(4));
    answer(&toolgate, &["approvals", "approve", &id], "correct horse").exits(0);
    let output = server.answer(7)["result"]["structuredContent"].clone();
    assert_eq!((&output["return_code"], &output["result"][1]), (&json!(0), &json!([])), "{output}");
    start(&mut server, 8);
    let id = asked(&toolgate);
    answer(&toolgate, &["approvals", "deny", &id, "--reason", "keep it"], "correct horse").exits(0);
    let output = server.answer(8)["result"]["structuredContent"].clone();
    assert_eq!(output["return_code"], 1);
    let said = output["stderr"].as_str().unwrap();
    assert!(said.contains("APPROVAL_DENIED") && said.contains("keep it"), "{said}");
}

#[test]
fn a_killed_program_goes_on_where_it_was() {
    let toolgate = asking();
    let mut server = Server::opened(&toolgate.data());
    start(&mut server, 7);
    let id = asked(&toolgate);
    server.kill();

    let mut server = Server::opened(&toolgate.data());
    start(&mut server, 8);
    let resumed = wait_for(&toolgate, |event| event["payload"]["event"] == "code_resumed");
    // The question still stands: the program is where it was, in the run it was in.
    let asked_again = toolgate.json(0, &["approvals", "list", "--json"]);
    assert_eq!(asked_again.as_array().unwrap().len(), 1, "{asked_again}");
    answer(&toolgate, &["approvals", "approve", &id], "correct horse").exits(0);
    let output = server.answer(8)["result"]["structuredContent"].clone();
    let events = events(&toolgate);
    let writes: Vec<&Value> =
        events.iter().filter(|event| event["kind"] == "tool_call" && event["payload"]["tool"] == "workspace.write").collect();
    assert_eq!(writes.len(), 1, "what was done is not done again");
    assert_ne!(writes[0]["run_id"], resumed["run_id"], "the first server's run");
    let written = writes[0]["payload"]["arguments"]["files"][0]["content"].as_str().unwrap();
    assert_eq!(output["result"][0].to_string(), written, "the same random number as before: {output}");
    assert_eq!(output["result"][1], json!([]), "the removal was done in the workspace that has the file");
    assert!(toolgate.json(0, &["audit", "verify", "--json"])["broken"].is_null());
}

fn wait_for(toolgate: &Toolgate, wanted: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        if let Some(found) = events(toolgate).into_iter().find(|event| wanted(event)) {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "it never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_of_a_program_is_decided_on_by_itself() {
    let rule = r#"@id("no-code") @reason("programs do not write here")
        forbid (principal, action == toolgate::Action::"probe.write", resource) when { context.origin == "code" };"#;
    let options = WasmOptions { cache: python_cache().join("native"), clock: Arc::new(SystemClock), threads: 1, kept_ready: 1 };
    let house = TestHouse::with_python(Arc::new(WasmSandbox::new(options).unwrap()), rule).await;
    let program = "
import toolgate
result = [toolgate.call('probe.pure', word='a')]
for tool in ('probe_write', 'probe.panic', 'probe.wrong'):
    try: result.append(toolgate.call(tool, word='a'))
    except toolgate.ToolError as error: result.append([error.code, 'programs do not write' in error.message])
";
    let tools = ["probe.pure", "probe.write", "probe.panic", "probe.wrong"];
    let reply = house.call("python.run", json!({"code": program, "tools": tools})).await;
    let output = reply.outcome.unwrap().value;
    // What is toolgate's own fault is told by a reference only.
    assert_eq!(
        output["result"],
        json!([{"echo": "a"}, ["POLICY_DENIED", true], ["INTERNAL", false], ["INVALID_OUTPUT", false]]),
        "{output}"
    );
    assert_eq!(house.ran(), 3, "the denied one never ran");
    assert!(house.call("probe.write", json!({"word": "a"})).await.outcome.is_ok(), "others may");
    let events = house.events().await;
    let refused = events.iter().find(|event| event.payload.get("refused_at") == Some(&json!("policy"))).unwrap();
    assert_eq!(refused.payload["origin"]["code"], json!(reply.call), "the refusal names the program");
}
