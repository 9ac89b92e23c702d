//! Labels: what a run has seen follows it, and a run that holds private data and content from outside sends nothing without a human (T58).

use std::sync::Arc;

use serde_json::{Value, json};
use toolgate::app::SystemClock;
use toolgate::call::{RawCall, Reply};
use toolgate::domain::{Actor, ErrorCode, Labels, RunId};
use toolgate::run::EventKind;
use toolgate::sandbox::wasm::{WasmOptions, WasmSandbox};
use toolgate::store::Durability;

use crate::support::house::TestHouse;
use crate::support::{Toolgate, python_cache};

const UNTRUSTED: Labels = Labels { untrusted: true, private: false };
const PRIVATE: Labels = Labels { untrusted: false, private: true };

async fn labels(house: &TestHouse, run: RunId) -> Labels {
    house.store.run(&run).await.unwrap().unwrap().labels
}

/// The operator, whom the default rules allow everything else.
async fn by_operator(house: &TestHouse, run: RunId, tool: &str) -> Reply {
    let raw = house.raw(tool, json!({"word": "x"}));
    house.gateway.call(RawCall { actor: Actor::operator(), run, ..raw }).await
}

fn code(reply: &Reply) -> Option<ErrorCode> {
    reply.outcome.as_ref().err().map(|fault| fault.code)
}

#[tokio::test]
async fn what_a_call_brings_marks_its_run_and_is_recorded() {
    let house = TestHouse::new().await;
    let _plain = house.call("probe.pure", json!({"word": "x"})).await.outcome.unwrap();
    assert!(labels(&house, house.run).await.is_empty());
    let _page = house.call("probe.page", json!({"word": "x"})).await.outcome.unwrap();
    assert_eq!(labels(&house, house.run).await, UNTRUSTED);
    let _letter = house.call("probe.letter", json!({"word": "x"})).await.outcome.unwrap();
    assert_eq!(labels(&house, house.run).await, Labels::BOTH);
    // Never taken away.
    let _plain = house.call("probe.write", json!({"word": "x"})).await.outcome.unwrap();
    assert_eq!(labels(&house, house.run).await, Labels::BOTH);
    let events = house.events().await;
    let marks: Vec<&Value> = events.iter().filter_map(|event| event.payload.get("marks")).collect();
    assert_eq!(marks, [&json!(["untrusted"]), &json!(["private"])]);
    let seen: Vec<Option<&Value>> =
        events.iter().filter(|event| event.kind == EventKind::ToolCall).map(|event| event.payload.get("labels")).collect();
    assert_eq!(seen, [None, None, Some(&json!(["untrusted"])), Some(&json!(["untrusted", "private"]))]);
}

#[tokio::test]
async fn a_rule_on_trial_is_recorded_with_the_call_and_denies_nothing() {
    let rule = "@id(\"new\") @mode(\"log\") @reason(\"closed\") forbid (principal, action in toolgate::Action::\"probe\", resource);\n\
                @id(\"wall\") @reason(\"not outside\") forbid (principal, action == toolgate::Action::\"probe.outside\", resource);";
    let house = TestHouse::on(None, Durability::Relaxed, rule).await;
    assert_eq!(code(&house.call("probe.write", json!({"word": "x"})).await), None);
    let refused = house.call("probe.outside", json!({"word": "x"})).await;
    assert_eq!(code(&refused), Some(ErrorCode::PolicyDenied));
    assert!(refused.outcome.unwrap_err().message.ends_with("not outside"), "nobody is told what a rule on trial would say");
    let told: Vec<Value> = house.events().await.iter().filter_map(|event| event.payload.get("log_only").cloned()).collect();
    assert_eq!(told, [json!([{"rule": "new", "would": "deny"}]), json!([{"rule": "new", "would": "deny"}])]);
    let counts = house.gateway.policy().trial_counts();
    assert_eq!(counts.iter().map(|count| (count.rule.as_str(), count.matched, count.changed)).collect::<Vec<_>>(), [("new", 2, 1)]);
}

#[tokio::test]
async fn labels_outlive_the_process() {
    let home = tempfile::tempdir().unwrap();
    let house = TestHouse::on(Some(home.path().to_owned()), Durability::Full, "").await;
    let _page = house.call("probe.page", json!({"word": "x"})).await.outcome.unwrap();
    let run = house.run;
    house.store.clone().close().await;
    let again = TestHouse::on(Some(home.path().to_owned()), Durability::Full, "").await;
    assert_eq!(labels(&again, run).await, UNTRUSTED);
    assert!(labels(&again, again.run).await.is_empty(), "another run is another run");
}

/// T58: private data and content from outside in one run: whatever sends is asked about, also where everything else is allowed.
#[tokio::test]
async fn a_run_with_both_labels_sends_nothing_without_a_human() {
    let house = TestHouse::new().await;
    let operator = Actor::operator();
    let run = house.gateway.adhoc_run(&operator).await.unwrap();
    for tool in ["probe.network", "probe.outside"] {
        assert_eq!(code(&by_operator(&house, run, tool).await), None, "{tool} before");
    }
    let _page = by_operator(&house, run, "probe.page").await;
    for tool in ["probe.network", "probe.outside"] {
        assert_eq!(code(&by_operator(&house, run, tool).await), None, "{tool} with one label");
    }
    let _letter = by_operator(&house, run, "probe.letter").await;
    let ran = house.ran();
    for tool in ["probe.network", "probe.outside"] {
        let reply = by_operator(&house, run, tool).await;
        assert_eq!(code(&reply), Some(ErrorCode::ApprovalRequired), "{tool} with both");
        let told = format!("{}", reply.outcome.unwrap_err());
        assert!(!told.is_empty());
    }
    assert_eq!(house.ran(), ran, "nothing ran");
    assert_eq!(code(&by_operator(&house, run, "probe.write").await), None, "inside, work goes on");
    let asked = house.store.approvals(toolgate::store::ApprovalFilter::default()).await.unwrap();
    assert!(asked.iter().all(|question| question.reason.contains("private data and content from outside")), "{asked:?}");

    // Rules that do not look at labels let the same calls through.
    let naive = TestHouse::ruled_by("permit (principal, action, resource);").await;
    for tool in ["probe.page", "probe.letter", "probe.network", "probe.outside"] {
        assert_eq!(code(&naive.call(tool, json!({"word": "x"})).await), None, "{tool}");
    }
}

#[tokio::test]
async fn whoever_looks_at_a_labelled_run_takes_its_labels_on() {
    let house = TestHouse::new().await;
    let operator = Actor::operator();
    let (seen, here) = (house.run, house.gateway.adhoc_run(&operator).await.unwrap());
    let _letter = house.call("probe.letter", json!({"word": "x"})).await;
    let word = |run: RunId| json!({"word": "x", "run_id": run.to_string()});
    let raw = house.raw("probe.page", word(seen));
    let reply = house.gateway.call(RawCall { actor: operator.clone(), run: here, ..raw }).await;
    assert!(reply.outcome.is_ok(), "{:?}", reply.outcome);
    assert_eq!(labels(&house, here).await, Labels::BOTH, "what was in the run, and what the call brought");
    assert_eq!(labels(&house, seen).await, Labels::BOTH);

    // Looking at a run tells it nothing; writing into it does.
    let fresh = house.gateway.adhoc_run(&Actor::agent(toolgate::domain::Principal::new("ann"))).await.unwrap();
    let looked = house.gateway.call(RawCall { actor: operator.clone(), run: here, ..house.raw("probe.pure", word(fresh)) }).await;
    assert!(looked.outcome.is_ok() && labels(&house, fresh).await.is_empty());
    let wrote = house.gateway.call(RawCall { actor: operator, run: here, ..house.raw("probe.write", word(fresh)) }).await;
    assert!(wrote.outcome.is_ok());
    assert_eq!(labels(&house, fresh).await, Labels::BOTH);
    // Another's run is neither looked at nor marked.
    let strange = house.call("probe.page", word(fresh)).await;
    assert_eq!(code(&strange), Some(ErrorCode::UnknownRun));
}

/// A crash between intent and outcome cannot lose what is certain beforehand.
#[tokio::test]
async fn a_label_that_is_certain_is_there_before_the_call_runs() {
    let house = Arc::new(TestHouse::ruled_by("permit (principal, action, resource);").await);
    let (calling, run) = (house.clone(), house.run);
    #[expect(clippy::disallowed_methods, reason = "a test looks at a call that is under way")]
    let call = tokio::spawn(async move { calling.call("probe.fetch", json!({"word": "x"})).await });
    while house.ran() == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(labels(&house, run).await, UNTRUSTED, "while it runs");
    let _late = call.await.unwrap();
    assert_eq!(labels(&house, run).await, UNTRUSTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_calls_see_what_its_earlier_calls_brought() {
    let options = WasmOptions { cache: python_cache().join("native"), clock: Arc::new(SystemClock), threads: 1, kept_ready: 1 };
    let rule = "permit (principal, action, resource);\n@id(\"both\") @ask(\"both labels\") permit (principal, action == toolgate::Action::\"probe.outside\", resource) when { context.run.untrusted && context.run.private };";
    let code = "import toolgate\nresult = []\nfor tool in ('probe.outside', 'probe.page', 'probe.letter', 'probe.outside'):\n    try:\n        toolgate.call(tool, word='x')\n        result.append('ran')\n    except Exception as error:\n        result.append(str(error)[:200])\n";
    let house = TestHouse::with_python_ruled_by(Arc::new(WasmSandbox::new(options).unwrap()), rule).await;
    let tools = ["probe.outside", "probe.page", "probe.letter"];
    let reply = house.call("python.run", json!({"code": code, "tools": tools})).await;
    let output = reply.outcome.unwrap().value;
    let told = output["result"].as_array().unwrap_or_else(|| panic!("{output}"));
    assert_eq!(told[..3], [json!("ran"), json!("ran"), json!("ran")], "{told:?}");
    assert!(told[3].as_str().unwrap().contains("APPROVAL_DENIED"), "nobody answered: {told:?}");
    assert_eq!(labels(&house, house.run).await, Labels::BOTH);
}

#[test]
fn a_private_path_marks_when_it_is_read_and_not_before() {
    let toolgate = Toolgate::new();
    let _init = toolgate.run(&["init"]);
    std::fs::write(toolgate.data().join("toolgate.toml"), "[labels]\nprivate_paths = [\"secrets/**\"]\n").unwrap();
    let files = json!({"files": [{"path": "secrets/a.txt", "content": "s"}, {"path": "b.txt", "content": "p"}]});
    let code = format!(
        "import toolgate\ntoolgate.call('workspace.write', **{files})\ntoolgate.call('workspace.read', paths=['b.txt'])\ntoolgate.call('workspace.read', paths=['secrets/a.txt'])\n"
    );
    let arguments = json!({"code": code, "tools": ["workspace.write", "workspace.read"]});
    let output = toolgate.json(0, &["tools", "call", "python.run", &arguments.to_string(), "--json"]);
    assert_eq!(output["output"]["return_code"], 0, "{output}");
    let runs = toolgate.json(0, &["runs", "list", "--json"]);
    let events = toolgate.run(&["runs", "events", runs[0]["id"].as_str().unwrap(), "--json"]).exits(0).stdout;
    let marks: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["payload"].get("marks").is_some())
        .map(|event| event["payload"]["marks"].clone())
        .collect();
    assert_eq!(marks, [json!(["private"])], "{events}");
    assert_eq!(runs[0]["labels"], json!({"untrusted": false, "private": true}), "{runs}");
    assert_eq!(PRIVATE.words(), ["private"]);
}
