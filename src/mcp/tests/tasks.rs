//! Calls that are answered with a task.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, FakeGate, RUN, options};

async fn get(client: &mut Client, task: &Value) -> Value {
    client.request("tasks/get", json!({"taskId": task})).await
}

/// The task once it is over.
async fn over(client: &mut Client, task: &Value) -> Value {
    for _ in 0..200 {
        let answer = get(client, task).await["result"].clone();
        if !matches!(answer["status"].as_str(), Some("working" | "input_required")) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the task does not end");
}

#[tokio::test]
async fn a_long_call_is_a_task_that_ends_with_its_answer() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    let made = client.call("test_slow", "1500").await["result"].clone();
    assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")), "{made}");
    assert!(made["ttlMs"].as_u64().unwrap() > 0 && made["pollIntervalMs"].as_u64().unwrap() > 0, "{made}");
    for absent in ["content", "result", "error", "inputRequests", "task", "requestState"] {
        assert!(made.get(absent).is_none(), "{absent}: {made}");
    }
    let shown = get(&mut client, &made["taskId"]).await["result"].clone();
    assert_eq!(
        (&shown["status"], &shown["statusMessage"], &shown["resultType"]),
        (&json!("working"), &json!("halfway"), &json!("complete"))
    );
    assert_eq!(shown["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "toolgate");
    let ended = over(&mut client, &made["taskId"]).await;
    assert_eq!((&ended["status"], &ended["result"]["structuredContent"]), (&json!("completed"), &json!({"text": "slept"})), "{ended}");
    assert!(ended.get("error").is_none() && ended["result"]["content"].is_array());

    // Whoever comes after a restart is told the same, from the log.
    let mut other = Client::taking_tasks(&gate);
    let again = get(&mut other, &made["taskId"]).await["result"].clone();
    assert_eq!((&again["status"], &again["result"]), (&ended["status"], &ended["result"]), "{again}");
    // What is over stays what it is.
    assert_eq!(client.request("tasks/cancel", json!({"taskId": made["taskId"]})).await["result"]["resultType"], "complete");
    assert_eq!(over(&mut client, &made["taskId"]).await["status"], "completed");
}

#[tokio::test]
async fn who_takes_no_tasks_and_who_is_answered_soon_get_answers() {
    let gate = Arc::new(FakeGate::default());
    let mut takes = Client::taking_tasks(&gate);
    let soon = takes.call("test_slow", "1").await["result"].clone();
    assert_eq!((&soon["resultType"], &soon["structuredContent"]["text"]), (&json!("complete"), &json!("slept")), "{soon}");
    let fault = takes.call("test_fail", "x").await["result"].clone();
    assert_eq!((&fault["resultType"], &fault["isError"]), (&json!("complete"), &json!(true)), "{fault}");
    let unknown = takes.call("no_such", "").await;
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");

    let mut takes_none = Client::modern(options());
    let answer = takes_none.call("test_slow", "600").await["result"].clone();
    assert_eq!((&answer["resultType"], &answer["structuredContent"]["text"]), (&json!("complete"), &json!("slept")), "{answer}");
    for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
        let answer = takes_none.request(method, json!({"taskId": "task_x", "inputResponses": {}})).await;
        assert_eq!(answer["error"]["code"], -32021, "{method}: {answer}");
    }
    let refused = takes_none.call("test_must", "x").await;
    assert_eq!(refused["error"]["code"], -32021, "{refused}");
    assert!(refused["error"]["data"]["requiredCapabilities"]["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{refused}");
    assert_eq!(Client::legacy(options()).await.call("test_slow", "600").await["result"]["structuredContent"]["text"], "slept");
}

#[tokio::test]
async fn a_fault_of_the_tool_is_a_result_and_one_of_ours_is_an_error() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    let made = client.call("test_must", "that").await["result"].clone();
    assert_eq!(made["resultType"], "task", "however soon it is over: {made}");
    let ended = over(&mut client, &made["taskId"]).await;
    assert_eq!((&ended["status"], &ended["result"]["isError"]), (&json!("completed"), &json!(true)), "{ended}");
    assert_eq!(ended["result"]["structuredContent"]["error"]["code"], "INVALID_INPUT");
    let made = client.call("test_must", "internal").await["result"].clone();
    let ended = over(&mut client, &made["taskId"]).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!(-32603)), "{ended}");
    assert!(!ended.to_string().contains("secret") && ended.get("result").is_none(), "{ended}");
}

#[tokio::test]
async fn a_cancelled_task_cancels_its_call() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    let made = client.call("tool_call", "").await;
    assert_eq!(made["result"]["isError"], true, "{made}");
    let made = client.call("test_slow", "60000").await["result"].clone();
    let acknowledged = client.request("tasks/cancel", json!({"taskId": made["taskId"]})).await["result"].clone();
    assert_eq!(acknowledged["resultType"], "complete");
    assert!(acknowledged.get("status").is_none() && acknowledged.get("taskId").is_none(), "{acknowledged}");
    let ended = over(&mut client, &made["taskId"]).await;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert!(ended.get("result").is_none() && ended.get("error").is_none(), "{ended}");
    assert_eq!(gate.cancelled.load(Ordering::SeqCst), 1);
    let mut other = Client::taking_tasks(&gate);
    assert_eq!(get(&mut other, &made["taskId"]).await["result"]["status"], "cancelled");
}

#[tokio::test]
async fn a_task_that_is_not_there_is_told_so_and_answers_nobody_asked_for_are_passed_over() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    for id in ["", "x", "task_0190b1c2d3e4f5061728394a5b6c7d8e", "../task", &"t".repeat(1 << 20)] {
        for method in ["tasks/get", "tasks/cancel", "tasks/update"] {
            let answer = client.request(method, json!({"taskId": id, "inputResponses": {}})).await;
            assert_eq!(answer["error"]["code"], -32602, "{method} {answer}");
        }
    }
    for method in ["tasks/list", "tasks/result"] {
        assert_eq!(client.request(method, json!({"taskId": "x"})).await["error"]["code"], -32601, "{method}");
    }
    let made = client.call("test_slow", "60000").await["result"].clone();
    let update = json!({"taskId": made["taskId"], "inputResponses": {"unknown": {"action": "accept"}}});
    assert_eq!(client.request("tasks/update", update).await["result"]["resultType"], "complete");
    assert_eq!(get(&mut client, &made["taskId"]).await["result"]["status"], "working");
}

#[tokio::test]
async fn what_cannot_be_put_on_record_is_no_task() {
    let gate = Arc::new(FakeGate::default());
    gate.is_full.store(true, Ordering::SeqCst);
    let mut client = Client::taking_tasks(&gate);
    let answer = client.call("test_slow", "600").await["result"].clone();
    assert_eq!((&answer["resultType"], &answer["structuredContent"]["text"]), (&json!("complete"), &json!("slept")), "{answer}");
}

#[tokio::test]
async fn a_run_that_goes_on_is_followed_until_it_needs_somebody() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    let sync = client.request("tools/call", json!({"name": "run_start", "arguments": {}})).await["result"].clone();
    assert_eq!(sync["structuredContent"]["run_id"], RUN, "it waits for somebody already: {sync}");
    gate.run.lock().unwrap().1 = true;
    let made = client.request("tools/call", json!({"name": "run_start", "arguments": {}})).await["result"].clone();
    assert_eq!(made["resultType"], "task", "{made}");
    assert!(made["statusMessage"].as_str().unwrap().contains(RUN), "{made}");
    assert_eq!(get(&mut client, &made["taskId"]).await["result"]["status"], "working");
    client.request("tasks/cancel", json!({"taskId": made["taskId"]})).await;
    assert_eq!(gate.calls.lock().unwrap().last().unwrap().0, "run.cancel", "the run is cancelled down the path");
    gate.run.lock().unwrap().1 = false;
    let ended = over(&mut client, &made["taskId"]).await;
    assert_eq!(ended["result"]["structuredContent"], json!({"run_id": RUN, "status": "waiting"}), "{ended}");
    gate.run.lock().unwrap().1 = true;
    assert_eq!(get(&mut client, &made["taskId"]).await["result"]["status"], "completed", "once over, always over");
}

#[tokio::test]
async fn the_server_ends_in_time_while_a_task_goes_on() {
    let gate = Arc::new(FakeGate::default());
    let mut client = Client::taking_tasks(&gate);
    assert_eq!(client.call("test_slow", "60000").await["result"]["resultType"], "task");
    let (_, served, took) = client.end().await;
    served.unwrap();
    assert!(took < Duration::from_secs(4), "{took:?}");
}
