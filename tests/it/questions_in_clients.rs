//! Questions that a tool puts to the client of its call, in both protocol generations, by raw lines.

use serde_json::{Value, json};
use toolgate::domain::Millis;
use toolgate::run::{Event, EventKind};

use crate::approvals_in_clients::{Client, error_of, trusting, typed};
use crate::support::house::{TestHouse, patience};

fn says(text: &str) -> Value {
    json!({ "action": "accept", "content": { "text": text } })
}

/// The call, as it is made first.
fn call(tool: &str) -> Value {
    json!({ "name": tool, "arguments": { "word": "a" } })
}

/// The same call with answers, and the state that came with the questions.
fn again(tool: &str, state: &Value, answers: Value) -> Value {
    let mut params = call(tool);
    params["inputResponses"] = answers;
    if state.is_string() {
        params["requestState"] = state.clone();
    }
    params
}

/// Which questions an answer asks.
fn asked(answer: &Value) -> Vec<&str> {
    let questions = answer["result"]["inputRequests"].as_object();
    assert!(answer["result"]["resultType"] == "input_required", "{answer}");
    questions.into_iter().flat_map(|questions| questions.keys().map(String::as_str)).collect()
}

fn echo(answer: &Value) -> Option<&str> {
    answer["result"]["structuredContent"]["echo"].as_str()
}

fn of_kind(events: &[Event], kind: EventKind) -> Vec<&Event> {
    events.iter().filter(|event| event.kind == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_client_is_asked_while_the_tool_waits() {
    let house = TestHouse::new().await;
    let mut client = Client::on(&house, false, true).await;
    let mut next = client.ask("tools/call", call("probe_asks")).await;
    for (message, text) in [("Your name?", "Ann"), ("Your colour?", "blue")] {
        assert_eq!((&next["method"], &next["params"]["message"]), (&json!("elicitation/create"), &json!(message)), "{next}");
        // The tool may take 400 ms; the human takes longer.
        tokio::time::sleep(Millis(500).duration()).await;
        client.send(&json!({ "jsonrpc": "2.0", "id": next["id"], "result": says(text) })).await;
        next = client.receive().await;
    }
    assert_eq!((echo(&next), house.ran()), (Some("Ann blue"), 1), "{next}");
    let events = house.events().await;
    assert_eq!(of_kind(&events, EventKind::ToolCall).len(), 1);
    let told = &of_kind(&events, EventKind::ToolResult)[0].payload["answers"];
    assert_eq!((&told["name"], &told["colour"]), (&says("Ann"), &says("blue")), "what was answered is on record");

    // An answer that does not fit its form is none.
    let form = client.ask("tools/call", call("probe_asks")).await;
    let wrong = json!({ "action": "accept", "content": { "text": 7 } });
    client.send(&json!({ "jsonrpc": "2.0", "id": form["id"], "result": wrong })).await;
    let refused = client.receive().await;
    assert_eq!((error_of(&refused), house.ran()), ("INVALID_INPUT", 1), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_client_answers_with_the_call_made_anew() {
    let house = TestHouse::new().await;
    let mut client = Client::on(&house, true, true).await;
    let first = client.ask("tools/call", call("probe_asks")).await;
    assert_eq!(asked(&first), ["name"]);
    let state = first["result"]["requestState"].clone();
    let second = client.ask("tools/call", again("probe_asks", &state, json!({ "name": says("Ann") }))).await;
    assert_eq!(asked(&second), ["colour"]);
    let later = second["result"]["requestState"].clone();
    assert_ne!(state, later);
    // The client brings the newest answer alone; the earlier one was kept.
    let done = client.ask("tools/call", again("probe_asks", &later, json!({ "colour": says("blue"), "more": 1 }))).await;
    assert_eq!((echo(&done), house.ran()), (Some("Ann blue"), 1), "{done}");

    let events = house.events().await;
    assert_eq!(of_kind(&events, EventKind::ToolCall).len(), 3, "each time the call is on record");
    let held_up = of_kind(&events, EventKind::ToolError);
    assert!(held_up.len() == 2 && held_up.iter().all(|event| event.payload["code"] == "INPUT_REQUIRED"), "{held_up:?}");
    let told = &of_kind(&events, EventKind::ToolResult)[0].payload["answers"];
    assert_eq!((&told["name"], &told["colour"]), (&says("Ann"), &says("blue")));
}

/// T11. A server that takes whatever answers come, or a state that is not bound, takes each of these.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_asked_for_do_not_count() {
    let house = TestHouse::new().await;
    let mut client = Client::on(&house, true, true).await;
    let all = json!({ "name": says("Mallory"), "colour": says("red") });
    let first = client.ask("tools/call", again("probe_asks", &Value::Null, all.clone())).await;
    assert_eq!(asked(&first), ["name"], "without a state nothing was asked");
    let state = first["result"]["requestState"].clone();

    let refused = |what: &str, answer: &Value| {
        assert_eq!(answer["error"]["code"], -32602, "{what}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("requestState"), "{what}");
    };
    let tampered = json!(format!("{}-TAMPERED", state.as_str().unwrap()));
    refused("tampered", &client.ask("tools/call", again("probe_asks", &tampered, all.clone())).await);
    refused("another tool", &client.ask("tools/call", again("probe_write", &state, all.clone())).await);
    let mut other = again("probe_asks", &state, all.clone());
    other["arguments"]["word"] = json!("b");
    refused("other arguments", &client.ask("tools/call", other).await);

    // The second question was not asked yet, so its answer is not taken with the first one's.
    let second = client.ask("tools/call", again("probe_asks", &state, all.clone())).await;
    assert_eq!(asked(&second), ["colour"]);
    refused("twice", &client.ask("tools/call", again("probe_asks", &state, all.clone())).await);
    let late = second["result"]["requestState"].clone();
    let wrong = json!({ "colour": { "action": "accept", "content": { "text": 7 } } });
    let third = client.ask("tools/call", again("probe_asks", &late, wrong)).await;
    assert_eq!(asked(&third), ["colour"], "an answer that does not fit is none");
    let late = third["result"]["requestState"].clone();
    house.clock.by(Millis(900_001));
    refused("expired", &client.ask("tools/call", again("probe_asks", &late, all)).await);
    assert_eq!(house.ran(), 0);
}

/// Where policy asks a human and the tool asks its client, both are heard, and the call comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_may_need_both_leave_and_answers() {
    let house = TestHouse::asking(None, "", trusting()).await;
    let mut client = Client::on(&house, true, true).await;
    let mut answer = client.ask("tools/call", call("probe_asks_outside")).await;
    let (mut leaves, mut rounds) = (0, 0);
    while answer["result"]["resultType"] == "input_required" && rounds < 12 {
        rounds += 1;
        let responses: serde_json::Map<String, Value> = asked(&answer)
            .into_iter()
            .map(|name| {
                let said = match name {
                    "approval" => {
                        leaves += 1;
                        let message = &answer["result"]["inputRequests"]["approval"]["params"]["message"];
                        json!({ "action": "accept", "content": { "confirm": typed(message) } })
                    }
                    "name" => says("Ann"),
                    _ => says("blue"),
                };
                (name.to_owned(), said)
            })
            .collect();
        let state = answer["result"]["requestState"].clone();
        answer = client.ask("tools/call", again("probe_asks_outside", &state, Value::Object(responses))).await;
    }
    assert_eq!((echo(&answer), house.ran()), (Some("Ann blue"), 1), "{answer}");
    assert_eq!(leaves, 3, "each time the call begins to run it needs leave of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_answer_is_not_asked() {
    for modern in [false, true] {
        let house = TestHouse::asking(None, "", patience()).await;
        let mut client = Client::on(&house, modern, false).await;
        let answer = client.ask("tools/call", call("probe_asks")).await;
        if modern {
            assert_eq!(answer["error"]["code"], -32021, "{answer}");
            assert_eq!(answer["error"]["data"]["requiredCapabilities"], json!({ "elicitation": {} }), "{answer}");
        } else {
            assert_eq!(error_of(&answer), "CLIENT_CAPABILITY", "{answer}");
        }
        assert_eq!(house.ran(), 0);
    }
    // Nobody stands behind a call of the house's own.
    let house = TestHouse::new().await;
    let refused = house.call("probe.asks", json!({ "word": "a" })).await.outcome.unwrap_err();
    assert_eq!(refused.code, toolgate::domain::ErrorCode::ClientCapability);
}
