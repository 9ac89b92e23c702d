//! Calling tools: answers, faults, progress, cancelling.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, RUN, options};

#[tokio::test]
async fn an_answer_is_structured_and_mirrored_as_text() {
    for mut client in Client::both().await {
        for name in ["test_echo", "test.echo"] {
            let answer = client.call(name, "ä").await;
            let result = &answer["result"];
            assert_eq!(result["structuredContent"], json!({"text": "ä"}), "{answer}");
            assert_eq!(serde_json::from_str::<Value>(result["content"][0]["text"].as_str().unwrap()).unwrap(), result["structuredContent"]);
            assert_eq!(result["isError"], false);
            assert_eq!(result["_meta"]["toolgate/run"], RUN);
            assert!(result["_meta"]["toolgate/call"].as_str().unwrap().starts_with("call_"));
        }
        let answer = client.request("tools/call", json!({"name": "test_echo"})).await;
        assert_eq!(answer["result"]["structuredContent"], json!({"text": ""}), "no arguments are no fault");
    }
}

#[tokio::test]
async fn blocks_stand_in_their_place_and_are_not_cut() {
    for mut client in Client::both().await {
        let result = client.call("test_blocks", "a").await["result"].clone();
        assert_eq!(result["structuredContent"], json!({"text": "a"}), "{result}");
        let content = result["content"].as_array().unwrap();
        let kinds: Vec<&str> = content.iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(kinds[..4], ["text", "text", "image", "resource"], "the mirrored text, then the blocks");
        assert_eq!((content[2]["data"].as_str().map(str::len), &content[2]["mimeType"]), (Some(40_000), &json!("image/png")));
        assert_eq!(content[3]["resource"], json!({"uri": "test://a", "mimeType": "text/plain", "text": "whole"}));
        let broken = client.call("test_broken", "a").await["result"].clone();
        assert_eq!((&broken["isError"], &broken["structuredContent"]["error"]["code"]), (&json!(true), &json!("INTERNAL")), "{broken}");

        let listed = client.request("tools/list", json!({})).await["result"]["tools"].clone();
        let tool = listed.as_array().unwrap().iter().find(|tool| tool["name"] == "test_blocks").unwrap();
        assert_eq!(tool["outputSchema"], json!({"type": "object", "properties": {"text": {"type": "string"}}}), "{tool}");
    }
}

#[tokio::test]
async fn a_call_logs_to_clients_of_the_older_generation_alone() {
    for mut client in Client::both().await {
        let modern = client.is_modern();
        if !modern {
            client.request("logging/setLevel", json!({"level": "info"})).await;
        }
        let id = client.ask("tools/call", json!({"name": "test_blocks", "arguments": {}})).await;
        let (_, others) = client.answer(id).await;
        let lines: Vec<&Value> = others.iter().map(|note| &note["params"]["data"]).collect();
        assert_eq!(lines, if modern { vec![] } else { vec!["loud"] }, "before the answer, and no line that was not asked for");
    }
}

#[tokio::test]
async fn a_large_answer_is_cut_and_the_whole_is_linked() {
    for mut client in Client::both().await {
        let answer = client.call("test_big", "").await;
        let result = &answer["result"];
        let shown = result["structuredContent"].to_string();
        assert!(shown.len() <= 16_384 && shown.contains("HEAD") && shown.contains("TAIL"), "{}", shown.len());
        let link = &result["content"][1];
        assert_eq!(link["type"], "resource_link");
        assert!(result["structuredContent"]["text"].as_str().unwrap().contains(link["uri"].as_str().unwrap()));
        assert_eq!(result["structuredContent"]["truncated"]["whole"], link["uri"]);
        assert_eq!(result["content"][0]["text"], shown);
    }
}

#[tokio::test]
async fn a_fault_is_an_answer_that_a_model_can_use() {
    for mut client in Client::both().await {
        let result = client.call("test_fail", "cats").await["result"].clone();
        assert_eq!(result["isError"], true);
        let error = json!({"code": "INVALID_INPUT", "message": "`/text` must not be `cats`", "hint": "send another"});
        assert_eq!(result["structuredContent"], json!({"error": error}));
        assert_eq!(result["content"][0]["text"], "INVALID_INPUT: `/text` must not be `cats`\nhint: send another");

        let result = client.call("test_fail", "approval").await["result"].clone();
        assert_eq!(result["isError"], true);
        assert_eq!(result["structuredContent"]["error"]["code"], "APPROVAL_REQUIRED");
        assert_eq!(result["structuredContent"]["error"]["details"]["approval_id"], "apr_1");

        let result = client.call("test_fail", "internal").await["result"].clone();
        let told = result.to_string();
        assert!(!told.contains("secret"), "{told}");
        let reference = result["_meta"]["toolgate/call"].as_str().unwrap();
        assert!(result["structuredContent"]["error"]["message"].as_str().unwrap().contains(reference), "{told}");
    }
}

#[tokio::test]
async fn a_long_fault_is_cut() {
    for mut client in Client::both().await {
        let result = client.call("test_fail", &"x".repeat(100_000)).await["result"].clone();
        assert!(result.to_string().len() < 40_000, "{}", result.to_string().len());
        assert_eq!(result["structuredContent"]["error"]["code"], "INVALID_INPUT");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_a_protocol_error_and_still_on_record() {
    for mut client in Client::both().await {
        let answer = client.call("no_such_tool", "").await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["code"], "UNKNOWN_TOOL");
        assert!(answer["error"]["message"].as_str().unwrap().contains("no_such_tool"));
        assert_eq!(client.gate.calls.lock().unwrap().last().unwrap().0, "no_such_tool");
        let answer = client.request("no/such", json!({})).await;
        assert_eq!(answer["error"]["code"], -32601, "{answer}");
    }
}

#[tokio::test]
async fn parameters_of_the_wrong_shape_are_named_as_such() {
    for mut client in Client::both().await {
        for params in
            [json!({}), json!({"name": 7}), json!({"name": "test_echo", "arguments": "x"}), json!({"name": "test_echo", "arguments": [1]})]
        {
            let answer = client.request("tools/call", params.clone()).await;
            assert_eq!(answer["error"]["code"], -32602, "{params} → {answer}");
        }
        assert!(client.gate.calls.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_panic_below_is_a_fault_and_the_server_lives() {
    for mut client in Client::both().await {
        let answer = client.call("test_panic", "").await;
        assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "INTERNAL", "{answer}");
        assert!(!answer.to_string().contains("as told"));
        assert_eq!(client.call("test_echo", "on").await["result"]["structuredContent"]["text"], "on");
    }
}

#[tokio::test]
async fn a_waiting_client_hears_growing_progress_and_nothing_after_the_answer() {
    for mut client in Client::both().await {
        let params = json!({"name": "test_slow", "arguments": {"text": "400"}, "_meta": {"progressToken": "p"}});
        let id = client.ask("tools/call", params).await;
        let (answer, notes) = client.answer(id).await;
        assert_eq!(answer["result"]["structuredContent"]["text"], "slept", "{answer}");
        assert!(notes.len() >= 4, "a heartbeat every 60 ms of 400: {notes:?}");
        assert!(notes.iter().all(|note| note["method"] == "notifications/progress" && note["params"]["progressToken"] == "p"));
        assert_eq!(notes[0]["params"]["message"], "halfway");
        assert_eq!(notes[0]["params"]["total"], 2.0);
        let told: Vec<f64> = notes.iter().map(|note| note["params"]["progress"].as_f64().unwrap()).collect();
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]) && told[0] >= 1.0 && told.iter().all(|value| *value < 2.0), "{told:?}");
        assert_eq!(client.request("tools/list", json!({})).await.get("error"), None);

        let id = client.ask("tools/call", json!({"name": "test_slow", "arguments": {"text": "200"}})).await;
        assert_eq!(client.answer(id).await.1, Vec::<Value>::new(), "without a token nothing is told");
    }
}

#[tokio::test]
async fn a_cancelled_call_is_ended_and_not_answered() {
    for mut client in Client::both().await {
        let id = client.ask("tools/call", json!({"name": "test_slow", "arguments": {}})).await;
        while client.gate.calls.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})).await;
        let next = client.ask("tools/call", json!({"name": "test_echo", "arguments": {}})).await;
        let (_, others) = client.answer(next).await;
        assert_eq!(others, Vec::<Value>::new());
        tokio::time::timeout(Duration::from_secs(5), async {
            while client.gate.cancelled.load(Ordering::SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the call was not told");
    }
}

#[tokio::test]
async fn many_calls_at_once_are_each_answered_with_their_own() {
    let mut client = Client::legacy(options()).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push((client.ask("tools/call", json!({"name": "test_echo", "arguments": {"text": n.to_string()}})).await, n));
    }
    let mut answers = std::collections::HashMap::new();
    for _ in 0..200 {
        let answer = client.receive().await;
        answers.insert(answer["id"].as_i64().unwrap(), answer["result"]["structuredContent"]["text"].clone());
    }
    for (id, n) in ids {
        assert_eq!(answers[&id], n.to_string());
    }
}

#[tokio::test]
async fn the_client_s_trace_goes_with_the_call_where_it_is_well_formed() {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for mut client in Client::both().await {
        let call = |meta: Value| json!({"name": "test_echo", "arguments": {"text": "x"}, "_meta": meta});
        client.request("tools/call", call(json!({"traceparent": parent, "tracestate": "v=1", "baggage": "user=a"}))).await;
        let trace = client.gate.trace.lock().unwrap().clone();
        assert_eq!(trace.parent().unwrap().to_string(), parent);
        assert_eq!((trace.state(), trace.baggage()), (Some("v=1"), Some("user=a")));
        for bad in [
            json!({"traceparent": parent.to_uppercase(), "tracestate": "v=1"}),
            json!({"traceparent": 7}),
            json!({"traceparent": {"a": parent}}),
        ] {
            let answer = client.request("tools/call", call(bad.clone())).await;
            assert_eq!(answer["result"]["structuredContent"]["text"], "x", "{bad}: {answer}");
            let trace = client.gate.trace.lock().unwrap().clone();
            assert_eq!((trace.parent(), trace.state()), (None, None), "{bad}");
        }
        let read = json!({"uri": format!("run://{}", super::support::RUN), "_meta": {"traceparent": parent}});
        client.request("resources/read", read).await;
        assert!(client.gate.trace.lock().unwrap().parent().is_some(), "reading is a call as well");
    }
}

#[tokio::test]
async fn tokens_of_an_answer_that_goes_through_tool_call_belong_to_the_answer() {
    for mut client in Client::both().await {
        let arguments = json!({"tool": "run.submit", "arguments": {"step_id": "a"}});
        client.request("tools/call", json!({"name": "tool_call", "arguments": arguments, "_meta": {"toolgate/tokens": 7}})).await;
        let (tool, arguments) = client.gate.calls.lock().unwrap().last().unwrap().clone();
        assert_eq!((tool.as_str(), &arguments["arguments"]), ("tool_call", &json!({"step_id": "a", "tokens": 7})));
    }
}
