//! The one path, whole: real registry, policy, store and gateway; tools that do what the test wants.

use serde_json::{Value, json};
use std::time::Duration;
use toolgate::domain::{Actor, ErrorCode, Millis, Principal, RunId};
use toolgate::gateway::{Answer, ApprovalSettings};
use toolgate::run::{Event, EventKind, RunStatus};
use toolgate::store::ApprovalFilter;

use crate::support::house::{TestHouse, patience};

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn code(reply: &toolgate::call::Reply) -> ErrorCode {
    reply.outcome.as_ref().expect_err("the call should have failed").code
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_leaves_intent_and_outcome() {
    let house = TestHouse::new().await;
    for tool in ["probe.pure", "probe_write"] {
        let reply = house.call(tool, json!({"word": "hi"})).await;
        assert_eq!(reply.outcome.unwrap().value, json!({"echo": "hi"}));
    }
    let events = house.events().await;
    use EventKind::{RunCreated, ToolCall, ToolResult};
    assert_eq!(kinds(&events), [RunCreated, ToolCall, ToolResult, ToolCall, ToolResult]);
    let intent = &events[1].payload;
    assert_eq!(intent["tool"], "probe.pure");
    assert_eq!(intent["arguments"], json!({"word": "hi"}));
    assert_eq!(intent["verdict"], "allow");
    assert_eq!(events[2].payload["output"], json!({"echo": "hi"}));
    assert_eq!(events[1].call_id, events[2].call_id);
    assert!(house.store.verify().await.unwrap().bad.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_turned_away_is_recorded_and_never_runs() {
    let house = TestHouse::on(
        None,
        toolgate::store::Durability::Relaxed,
        "@id(\"no-writes\") @reason(\"nothing is written today\")\nforbid (principal, action == toolgate::Action::\"probe.write\", resource);",
    )
    .await;
    let unknown = house.call("probe.nothing", json!({})).await;
    assert_eq!(code(&unknown), ErrorCode::UnknownTool);
    let invalid = house.call("probe.pure", json!({"word": 7})).await;
    assert_eq!(code(&invalid), ErrorCode::InvalidInput);
    let said = invalid.outcome.unwrap_err();
    assert!(said.message.contains("word"), "the field is named: {}", said.message);
    let denied = house.call("probe.write", json!({"word": "hi"})).await;
    assert_eq!(code(&denied), ErrorCode::PolicyDenied);
    assert!(denied.outcome.unwrap_err().message.contains("nothing is written today"));
    assert_eq!(house.ran(), 0);
    let refused: Vec<_> = house.events().await.iter().filter_map(|event| event.payload.get("refused_at").cloned()).collect();
    assert_eq!(refused, [json!("parse"), json!("parse"), json!("policy")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_lets_the_same_call_through_once() {
    let house = TestHouse::new().await;
    let arguments = json!({"word": "out"});
    let first = house.call("probe.outside", arguments.clone()).await;
    assert_eq!(code(&first), ErrorCode::ApprovalRequired);
    let details = first.outcome.unwrap_err().details.unwrap();
    let id = details["approval_id"].as_str().unwrap().parse().unwrap();
    let again = house.call("probe.outside", arguments.clone()).await;
    assert_eq!(again.outcome.unwrap_err().details.unwrap()["approval_id"], details["approval_id"], "the same call asks once");
    let row = house.answer(id, Answer::yes()).await.unwrap();
    assert_eq!(row.shown["arguments"], arguments, "what is shown is what would run");

    let other = house.call("probe.outside", json!({"word": "other"})).await;
    assert_eq!(code(&other), ErrorCode::ApprovalRequired, "an approval covers one set of arguments");
    assert_eq!(house.ran(), 0);
    assert!(house.call("probe.outside", arguments.clone()).await.outcome.is_ok());
    assert_eq!(house.ran(), 1);
    assert_eq!(code(&house.call("probe.outside", arguments).await), ErrorCode::ApprovalRequired, "and covers it once");
    assert_eq!(house.ran(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_goes_on_at_the_yes_and_a_no_stands() {
    // Setting the passphrase takes its time, too.
    let patience = ApprovalSettings { wait: Millis(3_000), ..patience() };
    let house = TestHouse::asking(None, "", patience).await;
    let asking = house.gateway.call(house.raw("probe.network", json!({"word": "a"})));
    let answering = async {
        let pending = loop {
            let rows = house.store.approvals(ApprovalFilter::default()).await.unwrap();
            if let Some(row) = rows.first() {
                break row.id;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        house.answer(pending, Answer::yes()).await.unwrap()
    };
    let (reply, _) = tokio::join!(asking, answering);
    assert!(reply.outcome.is_ok());

    let asked = house.call("probe.network", json!({"word": "b"})).await.outcome.unwrap_err();
    let id = asked.details.unwrap()["approval_id"].as_str().unwrap().parse().unwrap();
    house.answer(id, Answer::Deny { reason: "not on a Saturday".into() }).await.unwrap();
    for _ in 0..2 {
        let fault = house.call("probe.network", json!({"word": "b"})).await.outcome.unwrap_err();
        assert_eq!(fault.code, ErrorCode::ApprovalDenied);
        assert!(fault.message.contains("not on a Saturday"));
    }
    assert_eq!(house.answer(id, Answer::yes()).await.unwrap_err().code, ErrorCode::UnknownApproval, "a no is not taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn overdue_cancelled_and_fallen_tools_have_outcomes() {
    let house = TestHouse::new().await;
    assert_eq!(code(&house.call("probe.hang_for_good", json!({"word": "a"})).await), ErrorCode::Timeout);
    assert_eq!(code(&house.call("probe.panic", json!({"word": "a"})).await), ErrorCode::Internal);
    assert_eq!(code(&house.call("probe.wrong", json!({"word": "a"})).await), ErrorCode::InvalidOutput);
    let raw = house.raw("probe.hang_for_good", json!({"word": "a"}));
    let cancel = raw.cancel.clone();
    let (reply, ()) = tokio::join!(house.gateway.call(raw), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        cancel.cancel();
    });
    assert_eq!(code(&reply), ErrorCode::Cancelled);
    let events = house.events().await;
    let calls = events.iter().filter(|event| event.kind == EventKind::ToolCall).count();
    let outcomes = events.iter().filter(|event| matches!(event.kind, EventKind::ToolError)).count();
    assert_eq!((calls, outcomes), (4, 4));
    assert!(house.call("probe.pure", json!({"word": "still here"})).await.outcome.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_leaves_a_recorded_outcome() {
    let house = TestHouse::new().await;
    let call = house.gateway.call(house.raw("probe.hang", json!({"word": "a"})));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err(), "the caller gave up");
    for _ in 0..200 {
        if house.events().await.iter().any(|event| matches!(event.kind, EventKind::ToolError | EventKind::ToolResult)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the call has no outcome: {:?}", kinds(&house.events().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_become_artifacts_and_come_back_whole() {
    let house = TestHouse::new().await;
    let output = house.call("probe.large", json!({"word": "a"})).await.outcome.unwrap();
    assert_eq!(output.value["echo"].as_str().unwrap().len(), 90_000);
    let artifact = output.artifact.expect("the whole is stored");
    let events = house.events().await;
    assert_eq!(events[2].payload["output"]["artifact"], json!(artifact.artifact), "the journal only names it");
    let (bytes, size) = house.store.artifacts().read(&artifact.artifact, 0, 1 << 20).await.unwrap();
    assert_eq!((size, serde_json::from_slice::<Value>(&bytes).unwrap()), (artifact.size, output.value));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_principals_run_is_as_unknown_as_none() {
    let house = TestHouse::new().await;
    let stranger = Actor::agent(Principal::new("mallory"));
    let theirs = house.gateway.adhoc_run(&stranger).await.unwrap();
    let none = RunId::mint(toolgate::domain::Timestamp::from_unix_millis(1));
    let mut said = Vec::new();
    for run in [theirs, none] {
        let fault = house.call("probe.write", json!({"word": "a", "run_id": run})).await.outcome.unwrap_err();
        said.push((fault.code, fault.message.replace(&run.to_string(), "RUN"), fault.hint));
    }
    assert_eq!(said[0], said[1]);
    assert_eq!(said[0].0, ErrorCode::UnknownRun);
    assert_eq!(house.ran(), 0);
    assert!(house.call("probe.write", json!({"word": "a", "run_id": house.run})).await.outcome.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test ends with its tasks")]
async fn many_callers_at_once_keep_one_chain() {
    let house = std::sync::Arc::new(TestHouse::new().await);
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let house = house.clone();
            tokio::task::spawn(async move {
                let tool = if n % 2 == 0 { "probe.pure" } else { "probe.write" };
                house.call(tool, json!({"word": format!("{n}")})).await.outcome.unwrap().value
            })
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), json!({"echo": format!("{n}")}), "each caller gets its own answer");
    }
    let report = house.store.verify().await.unwrap();
    assert!(report.bad.is_none());
    assert_eq!(report.events, 1 + 128);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_and_arguments_again_give_the_recorded_outcome() {
    let house = TestHouse::new().await;
    let keyed = |word: &str, key: &str| json!({"word": word, "idempotency_key": key});
    let first = house.call("probe.write", keyed("a", "k1")).await.outcome.unwrap();
    let again = house.call("probe_write", keyed("a", "k1")).await.outcome.unwrap();
    assert_eq!((first.value, house.ran()), (again.value, 1), "a naive second call would have run again");
    let other = house.call("probe.write", keyed("b", "k1")).await;
    assert_eq!(code(&other), ErrorCode::InvalidInput);
    assert_eq!(house.ran(), 1);

    house.call("probe.write", keyed("a", "k2")).await.outcome.unwrap();
    house.call("probe.pure", keyed("a", "k1")).await.outcome.unwrap();
    let stranger = Actor::agent(Principal::new("somebody else".to_owned()));
    let run = house.gateway.adhoc_run(&stranger).await.unwrap();
    let raw = toolgate::call::RawCall { actor: stranger, run, ..house.raw("probe.write", keyed("b", "k1")) };
    house.gateway.call(raw).await.outcome.unwrap();
    assert_eq!(house.ran(), 4, "another key, another tool and another principal are other deeds");

    let failed = house.call("probe.panic", keyed("a", "k1")).await.outcome.unwrap_err();
    let told = house.call("probe.panic", keyed("a", "k1")).await.outcome.unwrap_err();
    assert_eq!((failed, house.ran()), (told, 5), "an outcome is an outcome");
    let large = house.call("probe.large", keyed("a", "k1")).await.outcome.unwrap().value;
    assert_eq!(house.call("probe.large", keyed("a", "k1")).await.outcome.unwrap().value, large, "also one that is an artifact");

    let events = house.events().await;
    let repeated = events.iter().filter(|event| event.payload.get("event") == Some(&json!("call_repeated"))).count();
    assert_eq!(repeated, 3);
    assert!(house.store.verify().await.unwrap().bad.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_call_has_not_ended_is_refused() {
    let house = TestHouse::new().await;
    let keyed = json!({"word": "a", "idempotency_key": "k"});
    let calls = [house.call("probe.hang_for_good", keyed.clone()), house.call("probe.hang_for_good", keyed)];
    let codes: Vec<ErrorCode> = futures_util::future::join_all(calls).await.iter().map(code).collect();
    assert!(codes.contains(&ErrorCode::Timeout) && codes.contains(&ErrorCode::RunState), "{codes:?}");
    assert_eq!(house.ran(), 1);
}

/// What is idle for 12 hours is closed without anybody coming back, each principal's for itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_run_of_direct_calls_is_closed_and_others_go_on() {
    let house = TestHouse::new().await;
    house.clock.by(Millis(11 * 60 * 60 * 1_000));
    let other = Actor::agent(Principal::new("other"));
    let others = house.gateway.adhoc_run(&other).await.unwrap();
    assert!(others != house.run, "each principal has its own");
    house.clock.by(Millis(60 * 60 * 1_000));
    house.gateway.close_idle_adhoc_runs().await.unwrap();
    let status = async |run: &RunId| house.store.run(run).await.unwrap().unwrap().status;
    assert_eq!((status(&house.run).await, status(&others).await), (RunStatus::Closed, RunStatus::Running));
    assert_ne!(house.gateway.adhoc_run(&house.me).await.unwrap(), house.run, "whoever comes back gets a new one");
    assert_eq!(house.gateway.adhoc_run(&other).await.unwrap(), others);
}

/// Arguments that are written like a reference to stored bytes come back from the log as what they are: a house that records them as
/// they stand gives another one's bytes for them.
#[tokio::test(flavor = "multi_thread")]
async fn words_that_look_like_a_reference_are_kept_as_words() {
    let house = TestHouse::new().await;
    let secret = house.store.artifacts().put(br#"{"word": "another's"}"#.to_vec(), "application/json").await.unwrap();
    let looks = json!({ "artifact": secret.artifact, "size": secret.size });
    assert!(toolgate::call::is_reference(&looks));
    // It does not fit the tool's schema, and is recorded with the refusal.
    let refused = house.call("probe.pure", looks.clone()).await;
    assert_eq!(code(&refused), ErrorCode::InvalidInput);
    let events = house.events().await;
    let recorded = events.last().unwrap().payload["arguments"].clone();
    assert_ne!(recorded, looks);
    let read = toolgate::call::whole(recorded, &*house.store.artifacts()).await.unwrap();
    assert_eq!(read, looks, "not what lies behind them");
}
