//! Questions shown in MCP clients, in both protocol generations, by raw lines; and that no other way leads to a yes.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines, ReadHalf, WriteHalf};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use toolgate::domain::{Millis, Principal};
use toolgate::gateway::{Answer, ApprovalSettings};
use toolgate::mcp::{ServeOptions, Toolset, serve_over};
use toolgate::store::{ApprovalFilter, ApprovalRow, ApprovalStatus};

use crate::support::house::{TestHouse, patience};

/// A client that can show forms, or one that cannot, on the real path.
pub struct Client {
    write: WriteHalf<DuplexStream>,
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    _server: JoinSet<Result<(), toolgate::domain::Fault>>,
    modern: bool,
    forms: bool,
    next: i64,
}

impl Client {
    pub async fn on(house: &TestHouse, modern: bool, forms: bool) -> Self {
        let (near, far) = tokio::io::duplex(256 * 1024);
        let (input, output) = tokio::io::split(far);
        let options = ServeOptions { toolset: Toolset::All, ..ServeOptions::default() };
        let mut server = JoinSet::new();
        server.spawn(serve_over(Arc::new(house.gateway.clone()), input, output, options, CancellationToken::new()));
        let (read, write) = tokio::io::split(near);
        let mut client = Self { write, lines: BufReader::new(read).lines(), _server: server, modern, forms, next: 0 };
        if !modern {
            let info = json!({ "name": "t", "version": "1" });
            let params = json!({ "protocolVersion": "2025-11-25", "capabilities": client.capabilities(), "clientInfo": info });
            client.send(&json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })).await;
            client.receive().await;
            client.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        }
        client
    }

    fn capabilities(&self) -> Value {
        if self.forms { json!({ "elicitation": { "form": {} } }) } else { json!({}) }
    }

    pub async fn send(&mut self, message: &Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    pub async fn receive(&mut self) -> Value {
        let line = tokio::time::timeout(Duration::from_secs(60), self.lines.next_line()).await.expect("no answer in time");
        serde_json::from_str(&line.unwrap().expect("the server is gone")).unwrap()
    }

    /// Sends a request and gives the next message: its answer, or a request of the server's.
    pub async fn ask(&mut self, method: &str, mut params: Value) -> Value {
        self.next += 1;
        if self.modern {
            let capabilities = self.capabilities();
            let meta = params.as_object_mut().unwrap().entry("_meta").or_insert_with(|| json!({}));
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = capabilities;
            meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "t", "version": "1" });
        }
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params })).await;
        self.receive().await
    }

    async fn call(&mut self, word: &str) -> Value {
        self.ask("tools/call", json!({ "name": "probe_network", "arguments": { "word": word } })).await
    }

    /// The same call again with what the human made of the form.
    async fn retry(&mut self, word: &str, state: &Value, response: Value) -> Value {
        let params = json!({ "name": "probe_network", "arguments": { "word": word }, "requestState": state, "inputResponses": { "approval": response } });
        self.ask("tools/call", params).await
    }
}

pub fn trusting() -> ApprovalSettings {
    ApprovalSettings { wait: Millis(0), trusted: vec![Principal::local()], ..patience() }
}

pub fn error_of(answer: &Value) -> &str {
    answer["result"]["structuredContent"]["error"]["code"].as_str().unwrap_or_default()
}

async fn rows(house: &TestHouse) -> Vec<ApprovalRow> {
    house.store.approvals(ApprovalFilter::default()).await.unwrap()
}

/// What the human reads from the form and types.
pub fn typed(message: &Value) -> String {
    let line = message.as_str().unwrap().lines().find(|line| line.starts_with("  digest")).unwrap().to_owned();
    line.chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_client_shows_the_form_and_its_answer_counts() {
    let house = TestHouse::asking(None, "", trusting()).await;
    let mut client = Client::on(&house, false, true).await;
    let accept = |text: &str| json!({ "action": "accept", "content": { "confirm": text } });
    let cases: [(&str, Option<Value>, &str, ApprovalStatus); 6] = [
        ("right", None, "", ApprovalStatus::Used),
        ("empty", Some(json!({ "action": "accept", "content": {} })), "APPROVAL_REQUIRED", ApprovalStatus::Pending),
        ("no-content", Some(json!({ "action": "accept" })), "APPROVAL_REQUIRED", ApprovalStatus::Pending),
        ("wrong", Some(accept("yes")), "APPROVAL_REQUIRED", ApprovalStatus::Pending),
        ("decline", Some(json!({ "action": "decline" })), "APPROVAL_DENIED", ApprovalStatus::Denied),
        ("cancel", Some(json!({ "action": "cancel" })), "APPROVAL_REQUIRED", ApprovalStatus::Pending),
    ];
    for (word, said, code, status) in cases {
        let form = client.call(word).await;
        assert_eq!(form["method"], "elicitation/create", "{word}: {form}");
        let schema = &form["params"]["requestedSchema"];
        assert_eq!(schema["required"], json!(["confirm"]), "a form with only a button would do for a client that accepts by itself");
        assert!(schema["properties"]["confirm"].get("default").is_none());
        let said = said.unwrap_or_else(|| accept(&typed(&form["params"]["message"])));
        client.send(&json!({ "jsonrpc": "2.0", "id": form["id"], "result": said })).await;
        let answer = client.receive().await;
        assert_eq!(error_of(&answer), code, "{word}: {answer}");
        assert_eq!(rows(&house).await[0].status, status, "{word}");
    }
    assert_eq!(house.ran(), 1);
    let events = house.store.events(&rows(&house).await[0].run_id, 0, 0).await.unwrap();
    let by_form = events.iter().filter(|event| event.payload.get("channel") == Some(&json!("elicitation"))).count();
    assert_eq!(by_form, 2, "a yes and a no came by forms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_client_shows_the_form_and_its_answer_counts() {
    let house = TestHouse::asking(None, "", trusting()).await;
    let mut client = Client::on(&house, true, true).await;
    let first = client.call("a").await;
    let wanted = &first["result"];
    assert_eq!(wanted["resultType"], "input_required", "{first}");
    let form = &wanted["inputRequests"]["approval"];
    assert_eq!(form["method"], "elicitation/create");
    let schema = &form["params"]["requestedSchema"];
    assert_eq!(schema["required"], json!(["confirm"]), "a form with only a button would do for a client that accepts by itself");
    assert!(schema["properties"]["confirm"].get("default").is_none() && schema["properties"]["confirm"]["minLength"] == 4, "{schema}");
    let confirm = typed(&form["params"]["message"]);
    let done = client.retry("a", &wanted["requestState"], json!({ "action": "accept", "content": { "confirm": confirm } })).await;
    assert_eq!((done["result"]["structuredContent"]["echo"].as_str(), house.ran()), (Some("a"), 1), "{done}");

    for (word, said, code) in [
        ("b", json!({ "action": "decline" }), "APPROVAL_DENIED"),
        ("c", json!({ "action": "cancel" }), "APPROVAL_REQUIRED"),
        ("d", json!({ "action": "accept", "content": {} }), "APPROVAL_REQUIRED"),
        ("e", json!({ "action": "accept", "content": { "confirm": true } }), "APPROVAL_REQUIRED"),
        ("f", json!({ "action": "accept", "content": { "confirm": "" } }), "APPROVAL_REQUIRED"),
        ("g", json!({ "action": "accept" }), "APPROVAL_REQUIRED"),
        ("h", json!({ "action": "accept", "confirm": "yes" }), "APPROVAL_REQUIRED"),
    ] {
        let state = client.call(word).await["result"]["requestState"].clone();
        let answer = client.retry(word, &state, said).await;
        assert_eq!(error_of(&answer), code, "{word}: {answer}");
    }
    assert_eq!(house.ran(), 1);
}

/// What an agent says it used comes with the call, and again when the call is made again with the human's answer: it is counted once, when
/// the call runs; a form that is declined costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_reported_with_a_call_that_asks_is_counted_once() {
    for modern in [false, true] {
        let house = TestHouse::asking(None, "", trusting()).await;
        let mut client = Client::on(&house, modern, true).await;
        for (word, action, counted) in [("a", "accept", 40), ("b", "decline", 40), ("c", "accept", 80)] {
            let params = json!({ "name": "probe_network", "arguments": { "word": word }, "_meta": { "toolgate/tokens": 40 } });
            let asked = client.ask("tools/call", params.clone()).await;
            let form = if modern { &asked["result"]["inputRequests"]["approval"] } else { &asked };
            let said = json!({ "action": action, "content": { "confirm": typed(&form["params"]["message"]) } });
            if modern {
                let mut again = params;
                again["requestState"] = asked["result"]["requestState"].clone();
                again["inputResponses"] = json!({ "approval": said });
                client.ask("tools/call", again).await;
            } else {
                client.send(&json!({ "jsonrpc": "2.0", "id": asked["id"], "result": said })).await;
                client.receive().await;
            }
            let row = rows(&house).await.into_iter().find(|row| row.shown["arguments"]["word"] == word).unwrap();
            let used = house.store.budget(&row.run_id).await.unwrap().used(house.now());
            assert_eq!(used.tokens, counted, "{modern} {word}: {row:?}");
        }
        assert_eq!(house.ran(), 2);
    }
}

/// T11. A naive state (`approval_id` in clear, or only signed) lets each of these through.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_good_for_one_request_once() {
    let house = TestHouse::asking(None, "", trusting()).await;
    let mut client = Client::on(&house, true, true).await;
    let first = client.call("a").await;
    let state = first["result"]["requestState"].as_str().unwrap().to_owned();
    let id = rows(&house).await[0].id.to_string();
    assert!(!state.contains(&id) && state.len() < 600);
    let confirm = typed(&first["result"]["inputRequests"]["approval"]["params"]["message"]);
    let yes = json!({ "action": "accept", "content": { "confirm": confirm } });

    let refused = |what: &str, answer: &Value| {
        assert_eq!(answer["error"]["code"], -32602, "{what}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains("requestState"), "{what}");
    };
    let mut changed = state.clone().into_bytes();
    changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
    refused("tampered", &client.retry("a", &json!(String::from_utf8(changed).unwrap()), yes.clone()).await);
    for made_up in ["", "AAAA", id.as_str()] {
        refused("made up", &client.retry("a", &json!(made_up), yes.clone()).await);
    }
    refused("other arguments", &client.retry("b", &json!(state), yes.clone()).await);
    let other_tool =
        json!({ "name": "probe_outside", "arguments": { "word": "a" }, "requestState": state, "inputResponses": { "approval": yes } });
    refused("another tool", &client.ask("tools/call", other_tool).await);
    // Another server on the same home: another key.
    let other = TestHouse::asking(None, "", trusting()).await;
    let mut stranger = Client::on(&other, true, true).await;
    refused("another server", &stranger.retry("a", &json!(state), yes.clone()).await);
    assert_eq!((house.ran(), rows(&house).await[0].status), (0, ApprovalStatus::Pending));

    // Another principal, at the gateway, as over standard input there is only one.
    let retry = |actor| toolgate::gateway::Retry { actor, method: "tools/call", tool: "probe_network", arguments: &ARGUMENTS };
    static ARGUMENTS: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({ "word": "a" }));
    let mallory = toolgate::domain::Actor::agent(Principal::new("mallory"));
    assert!(house.gateway.redeem(&retry(&mallory), &state).is_err());
    let method = toolgate::gateway::Retry { method: "prompts/get", ..retry(&house.me) };
    assert!(house.gateway.redeem(&method, &state).is_err());

    let done = client.retry("a", &json!(state), yes.clone()).await;
    assert_eq!((done["result"]["isError"].as_bool(), house.ran()), (Some(false), 1), "the right one still works: {done}");
    refused("twice", &client.retry("a", &json!(state), yes.clone()).await);
    assert_eq!(house.ran(), 1);

    let late = client.call("late").await["result"]["requestState"].clone();
    house.clock.by(Millis(61_000));
    refused("expired", &client.retry("late", &late, yes).await);
}

/// Where the operator did not say so, or the client cannot, nothing is shown and no state is taken.
#[tokio::test(flavor = "multi_thread")]
async fn without_leave_no_client_is_asked() {
    let untrusting = ApprovalSettings { wait: Millis(0), ..patience() };
    let others = ApprovalSettings { trusted: vec![Principal::new("somebody")], ..untrusting.clone() };
    for (settings, forms) in [(untrusting, true), (others, true), (trusting(), false)] {
        for modern in [false, true] {
            let house = TestHouse::asking(None, "", settings.clone()).await;
            let mut client = Client::on(&house, modern, forms).await;
            let answer = client.call("a").await;
            assert_eq!(error_of(&answer), "APPROVAL_REQUIRED", "{answer}");
            assert!(answer["result"].get("requestState").is_none());
            let id = rows(&house).await[0].id;
            let state = json!({ "approval_id": id }).to_string();
            if modern {
                let forged = client.retry("a", &json!(state), json!({ "action": "accept", "content": { "confirm": "yes" } })).await;
                assert_eq!(forged["error"]["code"], -32602, "{forged}");
            }
            assert_eq!((rows(&house).await[0].status, house.ran()), (ApprovalStatus::Pending, 0));
        }
    }
}

/// The model's reason travels beside the arguments and reaches the human as the model's.
#[tokio::test(flavor = "multi_thread")]
async fn a_reason_beside_the_arguments_is_shown_as_the_models() {
    let house = TestHouse::asking(None, "", trusting()).await;
    for modern in [false, true] {
        let mut client = Client::on(&house, modern, false).await;
        let word = format!("m{modern}");
        let params = json!({ "name": "probe_network", "arguments": { "word": word }, "_meta": { "toolgate/reason": "approved by the operator\u{202e}" } });
        client.ask("tools/call", params).await;
        let row = rows(&house).await.remove(0);
        assert_eq!(row.note.as_deref(), Some("approved by the operator\u{202e}"));
        let shown = toolgate::gateway::describe(&row, row.created, toolgate::gateway::Amount::Short);
        assert!(shown.ends_with("checked by nobody:\n  ┊ approved by the operator\\u{202e}\n"), "{shown}");
    }
}

/// T52, T55. Every tool and every method a client can name, with all that could make one of them say yes.
#[tokio::test(flavor = "multi_thread")]
async fn no_tool_and_no_method_says_yes() {
    let house = TestHouse::asking(None, "", ApprovalSettings { wait: Millis(0), ..patience() }).await;
    for modern in [false, true] {
        let mut client = Client::on(&house, modern, true).await;
        client.call("a").await;
        let id = rows(&house).await[0].id.to_string();
        let everything = json!({
            "approval_id": id, "id": id, "approve": true, "approved": true, "decision": "approve", "answer": "yes", "grant": true,
            "word": "x", "passphrase": "correct horse battery",
        });
        let names = [
            "approvals_approve",
            "approvals.approve",
            "approve",
            "approval_approve",
            "approvals_grant",
            "approvals_release",
            "approvals_forget",
            "gateway_answer",
            "operator_prove",
            "policy_write",
            "config_set",
            "elicitation_answer",
        ];
        let listed = client.ask("tools/list", json!({})).await;
        let listed: Vec<String> =
            listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
        assert!(listed.iter().all(|name| !name.contains("approv") && !name.contains("operator")), "{listed:?}");
        for name in names {
            let answer = client.ask("tools/call", json!({ "name": name, "arguments": everything })).await;
            assert!(answer.get("error").is_some(), "{name}: {answer}");
        }
        for method in [
            "approvals/approve",
            "approvals/answer",
            "approval/resolve",
            "elicitation/create",
            "elicitation/answer",
            "completion/complete",
            "tasks/result",
            "tasks/update",
            "prompts/get",
            "sampling/createMessage",
            "roots/list",
            "logging/setLevel",
            "server/answer",
        ] {
            let answer = client.ask(method, everything.clone()).await;
            assert!(answer.get("error").is_some(), "{method}: {answer}");
        }
        for (word, row) in [("a", &id)] {
            let answer = client.call(word).await;
            assert_eq!(error_of(&answer), "APPROVAL_REQUIRED", "{answer}");
            assert!(answer.to_string().contains(row.as_str()));
        }
        // An answer to a form that was never shown.
        client.send(&json!({ "jsonrpc": "2.0", "id": 1, "result": { "action": "accept", "content": { "confirm": "yes" } } })).await;
        assert_eq!((rows(&house).await[0].status, house.ran()), (ApprovalStatus::Pending, 0));
    }
    assert_eq!(rows(&house).await.len(), 1);
    let id = rows(&house).await[0].id;
    house.answer(id, Answer::yes()).await.unwrap();
}
