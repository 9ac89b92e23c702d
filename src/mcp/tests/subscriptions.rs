//! Who is told that a run moved on: subscribers of the older generation, listening streams of the newer one.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Client, RUN, options};
use crate::domain::RunId;

/// What comes within this is all that comes.
const QUIET: Duration = Duration::from_millis(1_500);

fn run() -> String {
    format!("run://{RUN}")
}

/// What the client is told in a while.
async fn told(client: &mut Client, within: Duration) -> Vec<Value> {
    let mut told = Vec::new();
    let until = tokio::time::Instant::now() + within;
    while let Ok(message) = tokio::time::timeout_at(until, client.receive()).await {
        told.push(message);
    }
    told
}

#[tokio::test]
async fn an_older_subscriber_is_told_once_of_what_happened_together() {
    let mut client = Client::legacy(options()).await;
    assert_eq!(client.request("tools/list", json!({})).await["error"], Value::Null);
    for uri in [run(), format!("{}/events", run())] {
        let answer = client.request("resources/subscribe", json!({"uri": uri})).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    let gate = client.gate.clone();
    assert_eq!(told(&mut client, QUIET).await, Vec::<Value>::new(), "nothing has happened");
    for _ in 0..50 {
        gate.moves(1);
    }
    let notes = told(&mut client, QUIET).await;
    let mut uris: Vec<&str> = notes.iter().map(|note| note["params"]["uri"].as_str().unwrap()).collect();
    uris.sort_unstable();
    assert!(notes.iter().all(|note| note["method"] == "notifications/resources/updated"), "{notes:?}");
    uris.dedup();
    assert_eq!(uris, [run(), format!("{}/events", run())]);
    assert!(notes.len() <= 4, "50 events are at most two sweeps: {notes:?}");

    assert_eq!(client.request("resources/unsubscribe", json!({"uri": run()})).await["result"], json!({}));
    gate.moves(1);
    let notes = told(&mut client, QUIET).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0]["params"]["uri"], format!("{}/events", run()));
}

#[tokio::test]
async fn what_cannot_be_read_cannot_be_subscribed_to() {
    let mut client = Client::legacy(options()).await;
    for (uri, code) in [
        (format!("run://{}", RUN.replace('0', "1")), -32002),
        (format!("artifact://{}", "aa".repeat(32)), -32602),
        ("file:///etc/passwd".to_owned(), -32002),
        ("x".repeat(1 << 20), -32002),
    ] {
        let answer = client.request("resources/subscribe", json!({"uri": uri})).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
    }
    let read: Vec<String> = client.gate.calls.lock().unwrap().iter().map(|(tool, _)| tool.clone()).collect();
    assert_eq!(read, ["run.show"], "it was asked for down the path");
    assert_eq!(client.request("resources/unsubscribe", json!({"uri": "never"})).await["result"], json!({}));
    let mut modern = Client::modern(options());
    assert_eq!(modern.request("resources/subscribe", json!({"uri": run()})).await["error"]["code"], -32601);
}

#[tokio::test]
async fn one_connection_holds_so_many_and_no_more() {
    let mut client = Client::legacy(options()).await;
    for cursor in 0..64 {
        let answer = client.request("resources/subscribe", json!({"uri": format!("{}/events?cursor={cursor}", run())})).await;
        assert_eq!(answer["result"], json!({}), "{cursor}: {answer}");
    }
    assert_eq!(client.request("resources/subscribe", json!({"uri": format!("{}/events?cursor=0", run())})).await["result"], json!({}));
    let answer = client.request("resources/subscribe", json!({"uri": run()})).await;
    assert!(answer["error"]["message"].as_str().unwrap().contains("64"), "{answer}");
}

#[tokio::test]
async fn a_newer_client_listens_for_what_was_agreed_on_and_the_stream_ends_cleanly() {
    let mut client = Client::modern(options());
    let artifact = format!("artifact://{}", "aa".repeat(32));
    let wanted = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
        "resourceSubscriptions": [run(), artifact, "file:///x"]});
    let stream = client.ask("subscriptions/listen", json!({"notifications": wanted})).await;
    let acknowledged = client.receive().await;
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    // Tools and prompts do not change while it runs, artifacts never: nobody is promised news of them.
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({"resourcesListChanged": true, "resourceSubscriptions": [run()]}),
        "{acknowledged}"
    );
    let gate = client.gate.clone();
    assert_eq!(told(&mut client, QUIET).await, Vec::<Value>::new());
    gate.moves(3);
    let notes = told(&mut client, QUIET).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!((&notes[0]["method"], &notes[0]["params"]["uri"]), (&json!("notifications/resources/updated"), &json!(run())));
    assert_eq!(notes[0]["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], stream, "{notes:?}");
    gate.runs.lock().unwrap().extend([RUN.replace('0', "1"), RUN.to_owned()].iter().map(|id| id.parse::<RunId>().unwrap()));
    let notes = told(&mut client, Duration::from_secs(5)).await;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_eq!(notes[0]["method"], "notifications/resources/list_changed");

    let (said, served, took) = client.end().await;
    served.unwrap();
    assert!(took < Duration::from_secs(4), "the library would wait five seconds: {took:?}");
    assert!(said.iter().any(|message| message["id"] == stream && message["result"].is_object()), "the stream had its end: {said:?}");
}

#[tokio::test]
async fn a_cancelled_stream_and_one_that_names_what_is_not_there_are_over() {
    let mut client = Client::modern(options());
    let other = format!("run://{}", RUN.replace('0', "1"));
    let stream = client.ask("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": [run(), other]}})).await;
    let (answer, _) = client.answer(stream).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    client.gate.moves(1);
    assert_eq!(told(&mut client, QUIET).await, Vec::<Value>::new(), "what had been taken before is given up");

    let stream = client.ask("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": [run()]}})).await;
    client.receive().await;
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": stream}})).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.gate.moves(1);
    assert_eq!(told(&mut client, QUIET).await.iter().filter(|message| message.get("method").is_some()).count(), 0);
}

#[tokio::test]
async fn older_clients_are_told_of_other_runs_once_they_looked() {
    let mut client = Client::legacy(options()).await;
    let gate = client.gate.clone();
    client.request("tools/list", json!({})).await;
    gate.runs.lock().unwrap().extend([RUN.replace('0', "1"), RUN.to_owned()].iter().map(|id| id.parse::<RunId>().unwrap()));
    gate.moves(0);
    assert_eq!(told(&mut client, QUIET).await, Vec::<Value>::new(), "who never looked is not told");
    gate.runs.lock().unwrap().clear();
    client.request("resources/list", json!({})).await;
    assert_eq!(told(&mut client, QUIET).await, Vec::<Value>::new(), "there is no other run");
    gate.runs.lock().unwrap().push(RUN.replace('0', "1").parse().unwrap());
    gate.moves(0);
    let notes = told(&mut client, Duration::from_secs(5)).await;
    assert_eq!(notes.iter().map(|note| note["method"].clone()).collect::<Vec<_>>(), ["notifications/resources/list_changed"]);
}
