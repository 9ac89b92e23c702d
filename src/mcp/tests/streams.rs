//! Broken input, ends of input, notices.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::mcp::{Notice, NoticeLevel, ServeOptions};

use super::support::{Client, FakeNotices, options};

/// Lines that are no messages, with the code they are answered with.
fn broken_lines() -> Vec<(Vec<u8>, i64)> {
    let deep = format!(r#"{{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let mut long = br#"{"jsonrpc":"2.0","id":9,"method":"tools/list","params":{"x":""#.to_vec();
    long.resize(17 * 1024 * 1024, b'x');
    vec![
        (b"\xff\xfe\x00\x01".to_vec(), -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"\xff\xfe\"}".to_vec(), -32700),
        (b"not json".to_vec(), -32700),
        (b"{\"jsonrpc\":\"2.0\",".to_vec(), -32700),
        (br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"\ud800"}}"#.to_vec(), -32700),
        (
            br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"test_echo","arguments":{"text":"a","text":"b"}}}"#.to_vec(),
            -32700,
        ),
        (br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"n":1e400}}"#.to_vec(), -32700),
        (deep.into_bytes(), -32700),
        (long, -32700),
        (br#"[{"jsonrpc":"2.0","id":9,"method":"tools/list"}]"#.to_vec(), -32600),
        (b"7".to_vec(), -32600),
        (br#"{"id":9}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"1.0","id":9,"method":"tools/list"}"#.to_vec(), -32600),
        (br#"{"jsonrpc":"2.0","id":9,"Method":"tools/list"}"#.to_vec(), -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"tools/list\",\"param\u{17f}\":{}}".as_bytes().to_vec(), -32600),
    ]
}

#[tokio::test]
async fn a_broken_line_is_answered_and_the_next_request_too() {
    for mut client in Client::both().await {
        for (line, code) in broken_lines() {
            let head = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
            client.raw(&line).await;
            client.raw(b"\n").await;
            let answer = client.receive().await;
            assert_eq!(answer["error"]["code"], code, "{head} → {answer}");
            assert_eq!(client.call("test_echo", "on").await["result"]["structuredContent"]["text"], "on", "{head}");
        }
    }
}

#[tokio::test]
async fn what_needs_no_answer_gets_none() {
    for mut client in Client::both().await {
        for line in [
            "",
            "   \r",
            r#"{"jsonrpc":"2.0","method":"notifications/nonsense","params":{"x":1}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#,
            r#"{"jsonrpc":"2.0","method":"$/setTrace"}"#,
            r#"{"jsonrpc":"2.0","id":77,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":78,"error":{"code":1,"message":"x"}}"#,
        ] {
            client.raw(format!("{line}\n").as_bytes()).await;
            let id = client.ask("tools/call", json!({"name": "test_echo", "arguments": {}})).await;
            assert_eq!(client.answer(id).await.1, Vec::<Value>::new(), "{line}");
        }
    }
}

#[tokio::test]
async fn nothing_said_before_opening_ends_the_server() {
    let mut client = Client::connect(options());
    client.raw(b"\xff\n").await;
    assert_eq!(client.receive().await["error"]["code"], -32700);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    client.send(&json!({"jsonrpc": "2.0", "id": 5, "result": {}})).await;
    let answer = client.request("tools/list", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "neither generation: {answer}");
    assert!(client.request("ping", json!({})).await["result"].is_object());
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}})).await;
    assert_eq!(client.initialize("2025-06-18").await["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(client.call("test_echo", "x").await["result"]["isError"], false);
}

#[tokio::test]
async fn one_line_may_come_in_many_pieces_and_many_lines_in_one() {
    let mut client = Client::legacy(options()).await;
    let line = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "test_echo", "arguments": {"text": "ä".repeat(50_000)}}});
    for piece in format!("{line}\r\n").as_bytes().chunks(7_919) {
        client.raw(piece).await;
        tokio::task::yield_now().await;
    }
    let answer = client.answer(1).await.0;
    assert!(answer["result"]["structuredContent"]["text"].as_str().unwrap().contains("of 100000 bytes cut"), "{answer}");
    let ping = |id: i64| format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "ping"}));
    client.raw(format!("{}{}", ping(2), ping(3)).as_bytes()).await;
    assert_eq!((client.receive().await["id"].as_i64(), client.receive().await["id"].as_i64()), (Some(2), Some(3)));
}

#[tokio::test]
async fn the_end_of_input_ends_the_server_within_a_second() {
    let (said, served, took) = Client::connect(options()).end().await;
    assert_eq!((said, served), (vec![], Ok(())), "nobody said anything");
    assert!(took < Duration::from_millis(300), "{took:?}");
    for tool in ["test_slow", "test_deaf"] {
        for mut client in Client::both().await {
            client.request("tools/list", json!({})).await;
            let is_modern = client.is_modern();
            if is_modern {
                client.ask("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
                assert_eq!(client.receive().await["method"], "notifications/subscriptions/acknowledged");
            }
            let gate = client.gate.clone();
            client.ask("tools/call", json!({"name": tool, "arguments": {}})).await;
            while gate.calls.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let (_, served, took) = client.end().await;
            assert_eq!(served, Ok(()));
            assert!(took < Duration::from_secs(1), "{tool}: {took:?}");
            assert_eq!(gate.cancelled.load(Ordering::SeqCst), usize::from(tool == "test_slow"), "{tool}");
        }
    }
}

#[tokio::test]
async fn an_open_listen_alone_ends_at_once() {
    let mut client = Client::modern(options());
    client.ask("subscriptions/listen", json!({"notifications": {"toolsListChanged": true}})).await;
    client.receive().await;
    let (said, served, took) = client.end().await;
    assert_eq!(served, Ok(()));
    assert!(took < Duration::from_millis(300), "{took:?}");
    assert_eq!(said.len(), 1, "the stream's graceful end: {said:?}");
}

#[tokio::test]
async fn calls_that_are_nearly_done_at_the_end_of_input_are_still_answered() {
    let mut client = Client::legacy(options()).await;
    client.ask("tools/call", json!({"name": "test_slow", "arguments": {"text": "100"}})).await;
    let (said, _, took) = client.end().await;
    assert_eq!(said[0]["result"]["structuredContent"]["text"], "slept", "{said:?}");
    assert!(took < Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn the_order_to_stop_ends_the_server_and_its_calls() {
    let mut client = Client::legacy(options()).await;
    let gate = client.gate.clone();
    client.ask("tools/call", json!({"name": "test_slow", "arguments": {}})).await;
    while gate.calls.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.shutdown.cancel();
    let (_, served, took) = client.wait().await;
    assert_eq!(served, Ok(()));
    assert!(took < Duration::from_millis(250), "no time of grace: {took:?}");
    assert_eq!(gate.cancelled.load(Ordering::SeqCst), 1);
    let client = Client::connect(options());
    client.shutdown.cancel();
    assert_eq!(client.wait().await.1, Ok(()), "also before anything was said");
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_the_server() {
    let mut client = Client::legacy(options()).await;
    for _ in 0..200 {
        client.ask("tools/call", json!({"name": "test_big", "arguments": {}})).await;
    }
    client.shutdown.cancel();
    assert!(!client.is_over(), "it should still try to write");
    // How long that takes depends on the machine's load; that it ends does not.
    for _ in 0..600 {
        if client.is_over() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("a client that does not read keeps the server");
}

#[tokio::test]
async fn notices_reach_older_clients_by_level() {
    let (sender, _) = tokio::sync::broadcast::channel(8);
    let notice = |level, message: &str| Notice { whose: None, level, title: Some("Build".into()), message: message.into() };
    let with_notices = || ServeOptions { notices: Some(Arc::new(FakeNotices(sender.clone()))), ..options() };

    let mut client = Client::legacy(with_notices()).await;
    client.request("tools/list", json!({})).await;
    sender.send(notice(NoticeLevel::Success, "done")).unwrap();
    let note = client.receive().await;
    assert_eq!(note["method"], "notifications/message");
    assert_eq!(note["params"], json!({"level": "notice", "logger": "toolgate", "data": {"title": "Build", "message": "done"}}));
    assert!(client.request("logging/setLevel", json!({"level": "error"})).await["result"].is_object());
    sender.send(notice(NoticeLevel::Warning, "no")).unwrap();
    sender.send(notice(NoticeLevel::Error, "yes")).unwrap();
    assert_eq!(client.receive().await["params"]["data"]["message"], "yes");

    let mut client = Client::modern(with_notices());
    assert_eq!(client.request("logging/setLevel", json!({"level": "error"})).await["error"]["code"], -32601);
    sender.send(notice(NoticeLevel::Error, "yes")).unwrap();
    let id = client.ask("tools/list", json!({})).await;
    assert_eq!(client.answer(id).await.1, Vec::<Value>::new());
}
