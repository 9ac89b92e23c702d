//! `tool.search` and `tool.call`: what is found, and that a call by `tool.call` is in every respect the call of the tool it names.

use std::sync::Arc;

use serde_json::{Value, json};
use toolgate::app::SystemClock;
use toolgate::call::{Origin, RawCall, Reply};
use toolgate::domain::{Actor, CallId, ErrorCode, Millis};
use toolgate::gateway::{Answer, ApprovalSettings};
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};

use crate::mcp_stdio::Server;
use crate::support::house::{TestHouse, patience};
use crate::support::{Toolgate, python_cache};

const FORBIDDEN: &str = r#"@id("never") @reason("not that one") forbid (principal, action == toolgate::Action::"probe.write", resource);"#;

fn code(reply: &Reply) -> Option<ErrorCode> {
    reply.outcome.as_ref().err().map(|fault| fault.code)
}

fn through(tool: &str, arguments: &Value) -> Value {
    json!({"tool": tool, "arguments": arguments})
}

/// From each place a call can come from, by either name of each tool.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_forbidden_stays_forbidden_whatever_name_it_is_called_by() {
    let house = TestHouse::on(None, toolgate::store::Durability::Relaxed, FORBIDDEN).await;
    let origins = [
        (Origin::Client, house.me.clone(), ErrorCode::PolicyDenied),
        (Origin::Cli, Actor::operator(), ErrorCode::PolicyDenied),
        (Origin::Step { run: house.run, step: "s".parse().unwrap() }, house.me.clone(), ErrorCode::PolicyDenied),
        // A program names its tools beforehand, one by one.
        (Origin::Code { call: CallId::mint(house.now()), number: 0, seen: Value::Null }, house.me.clone(), ErrorCode::InvalidInput),
    ];
    for (origin, actor, expected) in origins {
        for (outer, inner) in [("tool.call", "probe.write"), ("tool_call", "probe_write"), ("tool.call", "probe_write")] {
            let raw = house.raw(outer, through(inner, &json!({"word": "hi"})));
            let reply = house.gateway.call(RawCall { origin: origin.clone(), actor: actor.clone(), ..raw }).await;
            assert_eq!(code(&reply), Some(expected), "{origin:?} {outer} {inner}: {:?}", reply.outcome);
        }
    }
    assert_eq!(house.ran(), 0, "nothing ran");
    // The way itself is open: what is allowed by its own name is allowed by this one.
    assert_eq!(code(&house.call("tool.call", through("probe.pure", &json!({"word": "hi"}))).await), None);
    assert_eq!(house.ran(), 1);
}

/// A house that decided on the name it is called by would let a rule of the tool be walked around, and rules of the outer name say
/// nothing. So there is no such word: who writes one is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_the_outer_name_is_a_mistake_that_is_told() {
    let house = TestHouse::new().await;
    let rule = |name: &str| toolgate::policy::PolicySource {
        name: "x.cedar".into(),
        text: format!(r#"@id("x") forbid (principal, action == toolgate::Action::"{name}", resource);"#),
    };
    let problems = toolgate::policy::PolicySet::load(&[rule("tool.call")], &house.defs).err().unwrap();
    assert!(problems.to_string().contains("tool.call"), "{problems}");
    assert!(toolgate::policy::PolicySet::load(&[rule("probe.write")], &house.defs).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_tool_that_is_meant_and_by_which_way_it_came() {
    let house = TestHouse::new().await;
    let direct = house.call("probe.write", json!({"word": "hi"})).await;
    let by = house.call("tool_call", through("probe_write", &json!({"word": "hi"}))).await;
    let refused = house.call("tool.call", through("probe.write", &json!({"word": 1}))).await;
    assert_eq!((code(&direct), code(&by), code(&refused)), (None, None, Some(ErrorCode::InvalidInput)));
    let events = house.events().await;
    let of = |reply: &Reply| events.iter().find(|event| event.call_id == Some(reply.call)).unwrap().payload.clone();
    let (direct, by, refused) = (of(&direct), of(&by), of(&refused));
    for field in ["tool", "version", "manifest", "effects", "digest", "verdict", "rules"] {
        assert_eq!(direct.get(field), by.get(field), "{field}");
    }
    assert_eq!(by.get("arguments").and_then(|arguments| arguments.get("word")), Some(&json!("hi")));
    assert_eq!((direct.get("through"), by.get("through")), (None, Some(&json!("tool.call"))));
    assert_eq!((refused.get("tool"), refused.get("through")), (Some(&json!("probe.write")), Some(&json!("tool.call"))));
    assert_eq!(house.ran(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_neither_itself_nor_what_is_not_there() {
    let house = TestHouse::new().await;
    let twice = through("tool.call", &through("probe.write", &json!({"word": "hi"})));
    for (arguments, expected, says) in [
        (twice.clone(), ErrorCode::InvalidInput, "itself"),
        (through("tool_call", &twice), ErrorCode::InvalidInput, "itself"),
        (through("probe.writ", &json!({})), ErrorCode::UnknownTool, "probe.writ"),
        (json!({"arguments": {}}), ErrorCode::InvalidInput, "tool"),
        (json!({"tool": "probe.write", "arguments": {"word": "hi"}, "policy": "off"}), ErrorCode::InvalidInput, "policy"),
        (json!({"tool": "probe.write", "arguments": [1]}), ErrorCode::InvalidInput, "arguments"),
    ] {
        let fault = house.call("tool.call", arguments.clone()).await.outcome.unwrap_err();
        assert_eq!(fault.code, expected, "{arguments}: {}", fault.message);
        assert!(fault.message.contains(says), "{arguments}: {}", fault.message);
    }
    assert_eq!(house.ran(), 0);
    let refusals = house.events().await.iter().filter(|event| event.payload.contains_key("refused_at")).count();
    assert_eq!(refusals, 6, "each is on record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_is_for_the_deed_and_not_for_the_name_it_was_asked_by() {
    let approvals = ApprovalSettings { wait: Millis(0), ..patience() };
    let house = TestHouse::asking(None, "", approvals).await;
    let asked = |reply: &Reply| -> toolgate::domain::ApprovalId {
        let fault = reply.outcome.as_ref().unwrap_err();
        assert_eq!(fault.code, ErrorCode::ApprovalRequired, "{}", fault.message);
        fault.details.as_ref().unwrap()["approval_id"].as_str().unwrap().parse().unwrap()
    };
    let word = json!({"word": "out"});
    let id = asked(&house.call("tool.call", through("probe.outside", &word)).await);
    assert_eq!(asked(&house.call("probe.outside", word.clone()).await), id, "one deed, one question");
    house.answer(id, Answer::Approve { reason: None, allow: None }).await.unwrap();
    assert_eq!(
        code(&house.call("tool.call", through("probe.outside", &json!({"word": "other"}))).await),
        Some(ErrorCode::ApprovalRequired)
    );
    assert_eq!(code(&house.call("tool_call", through("probe_outside", &word)).await), None);
    assert_eq!(code(&house.call("probe.outside", word).await), Some(ErrorCode::ApprovalRequired), "it is used up");
    assert_eq!(house.ran(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_that_of_the_tool_and_a_call_is_counted_once() {
    let limits = toolgate::domain::Allowance { calls: Some(2), ..Default::default() };
    let house = TestHouse::within(toolgate::domain::Budgets { run: limits, ..Default::default() }).await;
    let keyed = json!({"word": "a", "idempotency_key": "k"});
    let first = house.call("tool.call", through("probe.write", &keyed)).await.outcome.unwrap();
    let again = house.call("probe.write", keyed).await.outcome.unwrap();
    assert_eq!((first.value, house.ran()), (again.value, 1));
    assert_eq!(code(&house.call("tool.call", through("probe.write", &json!({"word": "b"}))).await), None);
    assert_eq!(code(&house.call("tool.call", through("probe.write", &json!({"word": "c"}))).await), Some(ErrorCode::BudgetExceeded));
    assert_eq!(house.ran(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_s_scope_holds_for_what_is_called() {
    use toolgate::engine::Control;
    use toolgate::workflow::{Library, read_yaml};
    let house = TestHouse::new().await;
    let text = "name: w\nversion: 1.0.0\ntools: [tool.call, probe.write]\nsteps:\n- {id: a, kind: tool, input: {tool: probe.write}}\n";
    let plan = read_yaml("w.yaml", text).unwrap_or_else(|problems| panic!("{problems}"));
    let library = Arc::new(Library::open(None).unwrap());
    let control = Control::new(Arc::new(house.store.clone()), library, Arc::new(SystemClock), Arc::new(|| toolgate::domain::Digest::ZERO));
    let run = control.start_plan(&house.me, &plan, Value::Null, None, Default::default()).await.unwrap();
    let call = |tool: &str, origin: Origin| {
        let raw = house.raw("tool.call", through(tool, &json!({"word": "hi", "run_id": run})));
        house.gateway.call(RawCall { origin, ..raw })
    };
    let step = Origin::Step { run, step: "a".parse().unwrap() };
    for origin in [step, Origin::Client] {
        assert_eq!(code(&call("probe.pure", origin.clone()).await), Some(ErrorCode::ToolNotDeclared), "{origin:?}");
        assert_eq!(code(&call("probe.write", origin.clone()).await), None, "{origin:?}");
    }
}

/// A list that names the way to every tool would be a list of all.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_cannot_ask_for_the_way_to_every_tool() {
    let options = WasmOptions { cache: python_cache().join("native"), clock: Arc::new(SystemClock), threads: 0, kept_ready: 0 };
    let house = TestHouse::with_python(Arc::new(WasmSandbox::new(options).unwrap()), "").await;
    let program = "import toolgate\nresult = toolgate.call('tool.call', tool='probe.write', arguments={'word': 'hi'})";
    for (tools, expected) in
        [(json!(["tool.call"]), ErrorCode::InvalidInput), (json!(["tool_call", "probe.pure"]), ErrorCode::InvalidInput)]
    {
        let fault = house.call("python.run", json!({"code": program, "tools": tools})).await.outcome.unwrap_err();
        assert_eq!(fault.code, expected, "{}", fault.message);
        assert!(fault.message.contains("tool.call"), "{}", fault.message);
    }
    // Without the list the program has no way there either.
    let ran = house.call("python.run", json!({"code": program, "tools": ["probe.pure"]})).await.outcome.unwrap();
    assert_ne!(ran.value["return_code"], 0, "{}", ran.value);
    assert_eq!(house.ran(), 0);
}

fn answer(server: &mut Server, id: i64, tool: &str, arguments: Value) -> Value {
    let answer = server.request(id, "tools/call", json!({"name": tool, "arguments": arguments}));
    answer["result"]["structuredContent"].clone()
}

/// The whole way, as a client and as a person at the command line have it.
#[test]
fn an_unlisted_tool_is_found_called_and_governed_by_the_real_program() {
    let toolgate = Toolgate::new();
    let policies = toolgate.data().join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let rule =
        r#"@id("no-lists") @reason("runs are nobody's business") forbid (principal, action == toolgate::Action::"run.list", resource);"#;
    std::fs::write(policies.join("own.cedar"), rule).unwrap();
    let mut server = Server::opened(&toolgate.data());
    let listed = server.request(2, "tools/list", json!({}))["result"]["tools"].to_string();
    assert!(listed.contains("\"tool_search\"") && listed.contains("\"tool_call\"") && !listed.contains("\"audit_verify\""));

    let found = answer(&mut server, 3, "tool_search", json!({"query": "verify the log", "output_schema": true}));
    assert_eq!(found["tools"][0]["name"], "audit.verify", "{found}");
    assert_eq!(found["tools"][0]["input_schema"]["type"], "object");
    assert!(found["tools"][0]["output_schema"]["properties"]["ok"].is_object());
    let verified = answer(&mut server, 4, "tool_call", json!({"tool": found["tools"][0]["name"], "arguments": {}}));
    assert_eq!(verified["ok"], true, "{verified}");

    for (id, name) in [(5, "run.list"), (6, "run_list")] {
        let refused = answer(&mut server, id, "tool_call", json!({"tool": name, "arguments": {}}));
        assert_eq!(refused["error"]["code"], "POLICY_DENIED", "{refused}");
    }
    let refused = toolgate.run(&["tools", "call", "tool.call", r#"{"tool": "run.list"}"#]).exits(3);
    assert!(refused.stderr.contains("nobody's business"), "{}", refused.stderr);
    toolgate.run(&["tools", "call", "tool.call", r#"{"tool": "workflow.list"}"#]).exits(0);
    let explained = toolgate.run(&["policy", "explain", "tool.call", r#"{"tool": "run.list", "arguments": {}}"#]);
    assert!(explained.stdout.contains("run.list") && explained.stdout.contains("no-lists"), "{explained:?}");
    let file = toolgate.home().join("w.yaml");
    std::fs::write(&file, "name: w\nversion: 1.0.0\nsteps:\n- id: a\n  kind: tool\n  input:\n    tool: tool.call\n").unwrap();
    let refused = toolgate.run(&["run", file.to_str().unwrap()]).exits(2);
    assert!(refused.stderr.contains("w.yaml:7"), "{}", refused.stderr);
}
