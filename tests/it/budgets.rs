//! Budgets and tool scopes on the whole path, and as an operator meets them.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use toolgate::app::SystemClock;
use toolgate::call::{Origin, Reply};
use toolgate::domain::{Actor, Allowance, Budgets, Digest, ErrorCode, Labels, Overrun, Principal, Quantity, RunId};
use toolgate::engine::Control;
use toolgate::run::{Budget, EventKind, Mark};
use toolgate::workflow::{Library, read_yaml};

use crate::main_job::{answer, result};
use crate::support::house::TestHouse;
use crate::support::http_server::HttpServer;
use crate::support::{Toolgate, native};

fn limited(run: Allowance) -> Budgets {
    Budgets { run, ..Budgets::default() }
}

fn code(reply: &Reply) -> Option<ErrorCode> {
    reply.outcome.as_ref().err().map(|fault| fault.code)
}

/// The words of the run's events about limits, and the stages at which calls were refused.
async fn told(house: &TestHouse, run: RunId) -> (usize, Vec<Value>) {
    let events = house.store.events(&run, 0, 0).await.unwrap();
    let reached = events.iter().filter(|event| event.payload.get("event").is_some_and(|word| word == "limit_reached")).count();
    (reached, events.iter().filter_map(|event| event.payload.get("refused_at").cloned()).collect())
}

/// What is kept of the run's budget is what its events say.
async fn agrees(house: &TestHouse, run: RunId) {
    let mut budget = Budget::default();
    for event in house.store.events(&run, 0, 0).await.unwrap() {
        if let Some(mark) = Mark::of(event.kind, &event.payload) {
            budget.take(event.ts, &mark);
        }
    }
    assert_eq!(house.store.budget(&run).await.unwrap(), budget);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_call_beyond_the_last_one_is_refused_before_anything_runs() {
    let house = TestHouse::within(limited(Allowance { calls: Some(3), ..Allowance::default() })).await;
    for tool in ["probe.pure", "probe.write", "probe.pure"] {
        assert_eq!(code(&house.call(tool, json!({"word": "hi"})).await), None);
    }
    for tool in ["probe.pure", "probe.write"] {
        let fault = house.call(tool, json!({"word": "hi"})).await.outcome.unwrap_err();
        assert_eq!(fault.message, "the run may use 3 tool calls: 3 are used, and this asks for 1");
        assert!(fault.hint.unwrap().contains("runs raise"));
    }
    assert_eq!(house.ran(), 3);
    assert_eq!(told(&house, house.run).await, (1, vec![json!("budget"), json!("budget")]));
    agrees(&house, house.run).await;
    // A refusal and an unknown tool use nothing up, so the count is what it was.
    house.call("probe.nothing", json!({})).await;
    assert_eq!(house.store.budget(&house.run).await.unwrap().used(house.now()).calls, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_the_same_time_do_not_pass_the_limit_together() {
    for tool in ["probe.write", "probe.pure"] {
        let house = TestHouse::within(limited(Allowance { calls: Some(5), ..Allowance::default() })).await;
        let replies = join_all((0..40).map(|_| house.call(tool, json!({"word": "hi"})))).await;
        assert_eq!(replies.iter().filter(|reply| code(reply).is_none()).count(), 5, "{tool}");
        assert!(replies.iter().all(|reply| matches!(code(reply), None | Some(ErrorCode::BudgetExceeded))));
        let events = house.events().await;
        let of = |kind| events.iter().filter(|event| event.kind == kind).count();
        assert_eq!((of(EventKind::ToolCall), of(EventKind::ToolResult)), (5, 5), "{tool}");
        if tool == "probe.write" {
            assert_eq!(house.ran(), 5, "what has an effect does not even begin");
        }
        assert_eq!(told(&house, house.run).await.0, 1);
        agrees(&house, house.run).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_what_leaves_by_an_external_write_are_counted_before_anybody_is_asked() {
    let house = TestHouse::within(limited(Allowance { tokens: Some(100), bytes_out: Some(20), ..Allowance::default() })).await;
    let with = |tokens| toolgate::call::RawCall { tokens, ..house.raw("probe.write", json!({"word": "hi"})) };
    assert_eq!(code(&house.gateway.call(with(60)).await), None);
    let over = Overrun::of_fault(&house.gateway.call(with(60)).await.outcome.unwrap_err()).unwrap();
    assert_eq!((over.which, over.used, over.asked), (Quantity::Tokens, 60, 60));
    assert_eq!(code(&house.gateway.call(with(40)).await), None, "what fits still goes");
    let outside = house.call("probe.outside", json!({"word": "longer than that"})).await;
    assert_eq!(Overrun::of_fault(&outside.outcome.unwrap_err()).unwrap().which, Quantity::BytesOut);
    assert!(!house.events().await.iter().any(|event| event.payload.get("event").is_some_and(|word| word == "approval_requested")));
    agrees(&house, house.run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_s_day_is_one_for_all_its_runs_and_only_its_own() {
    let daily = Allowance { calls: Some(4), ..Allowance::default() };
    let house = TestHouse::within(Budgets { principals: [(Principal::local(), daily)].into(), ..Budgets::default() }).await;
    let run = start(&house, "- {id: a, kind: tool, input: {tool: probe.write}}\n", "").await;
    for n in 0..4 {
        let arguments = if n % 2 == 0 { json!({"word": "a"}) } else { json!({"word": "a", "run_id": run}) };
        assert_eq!(code(&house.call("probe.write", arguments).await), None);
    }
    let fault = house.call("probe.pure", json!({"word": "a"})).await.outcome.unwrap_err();
    assert!(fault.message.contains("this principal today") && fault.hint.unwrap().contains("midnight"), "{}", fault.message);
    let other = toolgate::call::RawCall { actor: Actor::operator(), ..house.raw("probe.pure", json!({"word": "a"})) };
    assert_eq!(code(&house.gateway.call(other).await), None);
}

/// Starts a run of these steps as the house's agent.
async fn start(house: &TestHouse, steps: &str, more: &str) -> RunId {
    let plan =
        read_yaml("w.yaml", &format!("name: w\nversion: 1.0.0\n{more}steps:\n{steps}")).unwrap_or_else(|problems| panic!("{problems}"));
    let library = Arc::new(Library::open(None).unwrap());
    let control = Control::new(Arc::new(house.store.clone()), library, Arc::new(SystemClock), Arc::new(|| Digest::ZERO));
    control.start_plan(&house.me, &plan, Value::Null, None, Labels::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_workflow_s_run_only_what_it_declares_is_called() {
    let house = TestHouse::new().await;
    let steps =
        "- {id: a, kind: tool, input: {tool: probe.write}}\n- {id: b, kind: tool, tools: [probe.write], input: {tool: probe.write}}\n";
    let declared = start(&house, steps, "tools: [probe.write, probe.pure]\n").await;
    let silent = start(&house, steps, "").await;
    let call = |run: RunId, step: Option<&str>, tool: &str| {
        let raw = house.raw(tool, json!({"word": "hi", "run_id": run}));
        let origin = step.map_or(Origin::Client, |step| Origin::Step { run, step: step.parse().unwrap() });
        house.gateway.call(toolgate::call::RawCall { origin, ..raw })
    };
    for (run, step, tool, fits) in [
        (declared, Some("a"), "probe.pure", true),
        (declared, Some("b"), "probe.pure", false),
        (declared, Some("b"), "probe.write", true),
        (declared, None, "probe.pure", true),
        (declared, None, "probe.network", false),
        (silent, Some("a"), "probe.write", true),
        (silent, Some("a"), "probe.pure", false),
        (silent, None, "probe.write", true),
        (silent, None, "probe.pure", false),
    ] {
        let expected = (!fits).then_some(ErrorCode::ToolNotDeclared);
        assert_eq!(code(&call(run, step, tool).await), expected, "{step:?} {tool}");
    }
    assert_eq!(told(&house, declared).await, (0, vec![json!("scope"), json!("scope")]));
    // Outside of workflows nothing is declared, and nothing is bound.
    assert_eq!(code(&house.call("probe.pure", json!({"word": "hi"})).await), None);
}

/// Says of each tool whether it could be called.
const REACHES: &str = "
import toolgate
result = {}
for tool, arguments in {'workspace.list': {}, 'workspace.write': {'files': [{'path': 'a.txt', 'content': 'a'}]}}.items():
    try:
        toolgate.call(tool, **arguments)
        result[tool] = 'called'
    except toolgate.ToolError as error:
        result[tool] = error.code
";

/// A step's program names tools that the workflow declares and the step does not. A naive house that asks only the workflow, or believes the
/// list that the program's call brings, lets it call them: so the other step, which declares nothing of its own, does.
#[test]
fn a_program_in_a_step_calls_what_the_step_declares_and_nothing_more() {
    let toolgate = Toolgate::new();
    let arguments = json!({"code": REACHES, "tools": ["workspace.list", "workspace.write"]});
    let step = |id: &str, tools: &str| format!("- {{id: {id}, kind: tool, {tools} input: {{tool: python.run, arguments: {arguments}}}}}\n");
    let steps = [step("narrow", "tools: [python.run, workspace.list],"), step("wide", "")].concat();
    let file = toolgate.home().join("w.yaml");
    std::fs::write(&file, format!("name: w\nversion: 1.0.0\ntools: [python.run, workspace.*]\nsteps:\n{steps}")).unwrap();
    let view = result(&toolgate.run(&["run", file.to_str().unwrap(), "--json"]).exits(0));
    let of = |step: &str| view["output"][step]["result"].clone();
    assert_eq!(of("narrow"), json!({"workspace.list": "called", "workspace.write": "TOOL_NOT_DECLARED"}), "{view}");
    assert_eq!(of("wide"), json!({"workspace.list": "called", "workspace.write": "called"}), "{view}");
    let events = toolgate.run(&["runs", "events", view["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let refused: Vec<&Value> = events.iter().filter(|event| event["payload"]["refused_at"] == "scope").collect();
    assert_eq!(refused.len(), 1);
    let of_the_step = events.iter().find(|event| event["kind"] == "tool_call" && event["step_id"] == "narrow").unwrap();
    assert_eq!(refused[0]["payload"]["origin"]["code"], of_the_step["call_id"], "the refusal names the step's program");
    let used = view["budget"].as_array().unwrap().iter().find(|line| line["what"] == "calls").cloned().unwrap();
    assert_eq!(used["used"], 5, "two programs and three calls of theirs; the refused one is not counted: {view}");
}

#[test]
fn a_run_that_waits_at_its_limit_goes_on_when_the_operator_raises_it() {
    let toolgate = Toolgate::new();
    let file = toolgate.home().join("w.yaml");
    let definition = "name: three\nversion: 1.0.0\nlimits: {max_tool_calls: 2, on_limit: wait}\nsteps:\n\
        - {id: a, kind: transform, input: {filter: '1'}}\n- {id: b, kind: transform, depends_on: [a], input: {filter: '2'}}\n\
        - {id: c, kind: transform, depends_on: [b], input: {filter: '.', input: {x: '{{ steps.b.output }}'}}}\n";
    std::fs::write(&file, definition).unwrap();
    let path = file.to_str().unwrap();
    let waits = toolgate.run(&["run", path]).exits(4);
    assert!(waits.stderr.contains("runs raise run_"), "{}", waits.stderr);
    let run = toolgate.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
    let shown = toolgate.run(&["runs", "show", &run]).exits(0).stdout;
    assert!(shown.contains("calls     2 (of 2, 0 left)"), "{shown}");

    let raise = ["runs", "raise", &run, "--calls", "+1"];
    toolgate.run(&raise).exits(3);
    answer(&toolgate, &["runs", "raise", &run], "first use sets it").exits(2);
    answer(&toolgate, &["runs", "raise", &run, "--tokens", "+1"], "first use sets it").exits(2);
    answer(&toolgate, &raise, "a guess").exits(3);
    answer(&toolgate, &raise, "first use sets it").exits(0);
    let ended = toolgate.run(&["runs", "watch", &run, "--json"]).exits(0);
    assert_eq!(result(&ended)["output"]["c"], json!({"x": 2}));
    let used = result(&ended)["budget"].as_array().unwrap().iter().find(|line| line["what"] == "calls").cloned().unwrap();
    assert_eq!(used, json!({"what": "calls", "used": 3, "limit": 3, "left": 0}));
    answer(&toolgate, &raise, "first use sets it").exits(2);

    std::fs::write(&file, definition.replace(", on_limit: wait", "")).unwrap();
    let failed = toolgate.run(&["run", path, "--json"]).exits(3);
    assert_eq!(result(&failed)["error"]["code"], "BUDGET_EXCEEDED");
    let events = |run: &str| toolgate.run(&["runs", "events", run, "--json"]).exits(0).stdout;
    assert_eq!(events(result(&failed)["id"].as_str().unwrap()).matches("\"limit_reached\"").count(), 1);
    assert_eq!(events(&run).matches("\"limit_raised\"").count(), 1);
}

#[test]
fn a_definition_that_names_no_tool_of_this_house_is_told_with_its_line() {
    let toolgate = Toolgate::new();
    let file = toolgate.home().join("w.yaml");
    std::fs::write(&file, "name: w\nversion: 1.0.0\nsteps:\n- id: a\n  kind: tool\n  input:\n    tool: drive.serach\n").unwrap();
    let path = file.to_str().unwrap();
    for args in [&["run", path][..], &["workflows", "validate", path]] {
        let refused = toolgate.run(args).exits(2);
        assert!(refused.stderr.contains("w.yaml:7") && refused.stderr.contains("drive.search"), "{args:?}\n{}", refused.stderr);
    }
    let folder = toolgate.data().join("workflows");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(&file, folder.join("w.yaml")).unwrap();
    let refused = toolgate.run(&["tools", "list"]).exits(2);
    assert!(refused.stderr.contains("w.yaml:7"), "{}", refused.stderr);
}

/// Sends bodies of 1,000 bytes until it is refused, each on a connection of its own.
const SENDER: &str = r"
import os, sys, urllib.request, urllib.error
for name in ('no_proxy', 'NO_PROXY'):
    os.environ.pop(name, None)
sent = 0
result = 'no end'
for _ in range(20):
    try:
        urllib.request.urlopen(urllib.request.Request(sys.argv[1] + '/echo', data=b'x' * 1000), timeout=10).read()
        sent += 1
    except OSError as error:
        text = error.read().decode() if hasattr(error, 'read') else ''
        result = [sent, str(error) + text]
        break
";

#[test]
fn no_byte_leaves_beyond_the_limit_from_either_runtime() {
    for runtime in ["wasm", "process"] {
        if runtime == "process" && !native::is_possible() {
            continue;
        }
        let (toolgate, server) = (Toolgate::new(), HttpServer::start());
        let hosts = [format!("127.0.0.1:{}", server.port)];
        let arguments = json!({
            "code": SENDER, "args": [server.base()], "allow_network": true, "allowed_hosts": hosts, "runtime": runtime,
        });
        let mut command = toolgate.command(&["tools", "call", "python.run", &arguments.to_string(), "--json"]);
        command.env("TOOLGATE_EGRESS_PRIVATE", format!("python=127.0.0.1:{}", server.port)).env("TOOLGATE_BUDGETS_RUN_BYTES_OUT", "5000");
        let output = command.output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let ended = &answer["output"]["result"];
        let sent = ended[0].as_u64().unwrap_or_else(|| panic!("{answer}"));
        assert!((2..=4).contains(&sent), "{runtime}: {answer}");
        assert!(
            ended[1].as_str().unwrap().contains("BUDGET_EXCEEDED") || ended[1].as_str().unwrap().contains("bytes out"),
            "{runtime}: {ended}"
        );
        let run = toolgate.json(0, &["runs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned();
        let events: Vec<Value> = toolgate
            .run(&["runs", "events", &run, "--json"])
            .exits(0)
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let sum = |word: &str| -> u64 {
            let of_word = events.iter().filter(|event| event["payload"]["event"] == word);
            of_word.map(|event| event["payload"]["bytes_out"].as_u64().unwrap()).sum()
        };
        assert!(sum("http_request") > 2_000 && sum("http_request") <= sum("bytes_reserved"), "{runtime}: {events:#?}");
        assert!(sum("bytes_reserved") <= 5_000, "{runtime}");
        assert_eq!(events.iter().filter(|event| event["payload"]["event"] == "limit_reached").count(), 1, "{runtime}");
    }
}
