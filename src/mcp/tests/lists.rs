//! Opening a connection and what is listed.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::{Clock, Effect, ErrorCode, Problem, Problems, Timestamp};
use crate::mcp::{Catalog, Gate, Naming, ServeOptions, Toolset, status};

use super::support::{Client, FakeGate, options, tool};

#[tokio::test]
async fn every_older_version_is_agreed_on_and_a_newer_one_is_talked_down() {
    for (asked, agreed) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let answer = Client::connect(options()).initialize(asked).await;
        assert_eq!(answer["result"]["protocolVersion"], agreed, "{answer}");
        assert_eq!(answer["result"]["serverInfo"]["name"], "toolgate");
        assert_eq!(answer["result"]["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(answer["result"]["instructions"].as_str().unwrap().contains("run_start"));
        assert!(answer["result"]["capabilities"]["logging"].is_object());
    }
}

#[tokio::test]
async fn a_newer_client_discovers_and_lists_without_initialize() {
    let mut client = Client::modern(options());
    let answer = client.request("server/discover", json!({})).await;
    assert!(answer["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{answer}");
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "toolgate");
    assert!(answer["result"]["capabilities"].get("logging").is_none());
    assert_eq!(answer["result"]["cacheScope"], "private");
    let answer = client.request("tools/list", json!({})).await;
    assert_eq!(answer["result"]["resultType"], "complete");
    assert!(answer["result"]["ttlMs"].as_u64().unwrap() > 0);
    assert_eq!(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "toolgate");
}

#[tokio::test]
async fn both_generations_see_the_same_tools_in_name_order() {
    let mut lists = Vec::new();
    for mut client in Client::both().await {
        let answer = client.request("tools/list", json!({})).await;
        lists.push(answer["result"]["tools"].clone());
        assert_eq!(answer["result"].get("resultType").is_some(), client.is_modern());
    }
    assert_eq!(lists[0], lists[1]);
    let names: Vec<&str> = lists[0].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    assert_eq!(names, sorted);
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')), "{names:?}");
}

#[tokio::test]
async fn what_the_newer_generation_gave_up_is_unknown_to_it() {
    for mut client in Client::both().await {
        for method in ["initialize", "logging/setLevel"] {
            let expected = if client.is_modern() { -32601 } else { -32602 };
            let answer = client.request(method, json!({})).await;
            assert_eq!(answer["error"]["code"], expected, "{method}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_cursor_that_was_never_given_out_is_refused() {
    for mut client in Client::both().await {
        for method in ["tools/list", "resources/list", "resources/templates/list"] {
            let answer = client.request(method, json!({"cursor": "x"})).await;
            assert_eq!(answer["error"]["code"], -32602, "{answer}");
        }
    }
}

fn listed(catalog: &Catalog, name: &str) -> Value {
    serde_json::to_value(catalog.listed().iter().find(|tool| tool.name == name).unwrap()).unwrap()
}

#[test]
fn a_tool_is_described_truly() {
    let gate = FakeGate::default();
    let catalog = Catalog::new(&gate.tools(), Naming::Underscore, &Toolset::All);
    let echo = listed(&catalog, "test_echo");
    assert_eq!(echo["title"], "test.echo");
    assert_eq!(echo["annotations"], json!({"readOnlyHint": true, "openWorldHint": false}));
    assert_eq!(echo["inputSchema"], json!({"type": "object", "properties": {"text": {"type": "string"}}}));
    assert_eq!(echo["outputSchema"]["type"], "object");
    assert!(echo.get("_meta").is_none());
    assert_eq!(listed(&catalog, "test_slow")["annotations"], json!({"destructiveHint": false, "openWorldHint": false}));
    assert_eq!(listed(&catalog, "test_fail")["annotations"], json!({"destructiveHint": true, "openWorldHint": true}));
    let deaf = listed(&catalog, "test_deaf");
    assert_eq!(deaf["annotations"], json!({"destructiveHint": false, "openWorldHint": true}));
    assert!(deaf.get("outputSchema").is_none(), "older clients take only objects");

    let mut titled = tool("test.echo", &[Effect::Write], json!({"type": "object"}));
    titled.title = "Echo".into();
    titled.idempotent = true;
    let catalog = Catalog::new(&[titled], Naming::Dotted, &Toolset::All);
    let echo = listed(&catalog, "test.echo");
    assert_eq!((&echo["title"], &echo["_meta"]["toolgate/id"]), (&json!("Echo"), &json!("test.echo")));
    assert_eq!(echo["annotations"]["idempotentHint"], true);
    assert!(catalog.find("test_echo").is_some() && catalog.find("test.echo").is_some() && catalog.find("echo").is_none());
}

#[test]
fn the_size_of_the_list_is_that_of_its_bytes() {
    let tools = FakeGate::default().tools();
    let one = Catalog::new(&tools[..1], Naming::Underscore, &Toolset::All);
    let wire = json!({"resultType": "complete", "tools": one.listed()}).to_string();
    assert_eq!(one.listing_bytes(), wire.len());
    assert!(Catalog::new(&tools, Naming::Underscore, &Toolset::All).listing_bytes() > one.listing_bytes());
}

#[test]
fn the_usual_list_keeps_its_budget_by_leaving_out_what_can_be_searched_for() {
    let names = ["python.run", "eval.run", "tool.search", "tool.call", "run.start", "workspace.read"];
    let output = json!({"type": "object", "properties": (0..80).map(|n| (format!("member{n:02}"), json!({"type": "string"}))).collect::<serde_json::Map<_, _>>()});
    let mut tools: Vec<_> = names.iter().map(|name| tool(name, &[Effect::Read], output.clone())).collect();
    let catalog = Catalog::new(&tools, Naming::Underscore, &Toolset::Standard);
    assert!(catalog.listed().iter().all(|tool| tool.output_schema.is_some()), "there is room: {}", catalog.listing_bytes());
    for tool in &mut tools {
        tool.input["description2"] = json!("x".repeat(2_500));
        tool.search_hint = Some("words to search by".into());
    }
    let catalog = Catalog::new(&tools, Naming::Underscore, &Toolset::Standard);
    assert!(catalog.listing_bytes() <= 20 * 1024, "{}", catalog.listing_bytes());
    let kept = catalog.listed().iter().filter(|tool| tool.output_schema.is_some()).count();
    assert!(kept < names.len() && catalog.listed().iter().all(|tool| tool.meta.is_some()), "{kept}");
    assert!(catalog.find("python.run").unwrap().tool.output_schema.is_some(), "what is left out of the list is known all the same");
    assert!(Catalog::new(&tools, Naming::Underscore, &Toolset::All).listed().iter().all(|tool| tool.output_schema.is_some()));
}

#[test]
fn a_toolset_is_chosen_by_scope_family_or_name() {
    let tools: Vec<_> = ["python.run", "repo.git.push", "audit.verify", "run.retry", "tool.call", "workspace.read"]
        .iter()
        .map(|name| tool(name, &[Effect::Read], json!({"type": "object"})))
        .collect();
    let chosen = |text: &str| -> Vec<String> {
        tools.iter().filter(|tool| Toolset::parse(text).includes(tool)).map(|tool| tool.name.to_string()).collect()
    };
    assert_eq!(chosen("default"), ["python.run", "repo.git.push", "tool.call", "workspace.read"]);
    assert_eq!(chosen(""), chosen("default"));
    assert_eq!(chosen("all").len(), 6);
    assert_eq!(chosen("audit, run.retry"), ["audit.verify", "run.retry"]);
    assert_eq!(chosen("default,audit").len(), 5);
    assert_eq!(Toolset::parse("audit"), Toolset::Words(BTreeSet::from(["audit".to_owned()])));
    assert!(Toolset::parse("default,audit").check(&tools).is_ok());
    let fault = Toolset::parse("audit,typo").check(&tools).unwrap_err();
    assert_eq!(fault.code, ErrorCode::ConfigInvalid);
    assert!(fault.message.contains("`typo`") && fault.hint.unwrap().contains("python"));
}

#[tokio::test]
async fn a_toolset_that_does_not_exist_stops_the_start() {
    let client = Client::connect(ServeOptions { toolset: Toolset::parse("typo"), ..options() });
    assert_eq!(client.wait().await.1.unwrap_err().code, ErrorCode::ConfigInvalid);
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(0)
    }
}

#[tokio::test]
async fn a_broken_start_says_what_is_wrong_and_nothing_else() {
    let problems = Problems::check(vec![
        Problem::new("policies/default.cedar", "unexpected `}`").at(Some(7)),
        Problem::new("tool-manifests/x.yaml", "unknown field `foo`").hint("remove it"),
    ])
    .unwrap_err();
    let (gate, options) = status::broken(problems, Arc::new(Still), ServeOptions::default()).unwrap();
    let mut client = Client::connect_to(gate, Arc::new(FakeGate::default()), options);
    let opened = client.initialize("2025-11-25").await;
    assert!(opened["result"]["instructions"].as_str().unwrap().contains("2 problems"), "{opened}");
    let tools = client.request("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!(tools.as_array().unwrap().iter().map(|tool| &tool["name"]).collect::<Vec<_>>(), ["toolgate_status"]);
    let answer = client.call("toolgate_status", "").await;
    let problems = &answer["result"]["structuredContent"]["problems"];
    assert_eq!(problems[0], json!({"file": "policies/default.cedar", "line": 7, "message": "unexpected `}`"}));
    assert_eq!(problems[1]["hint"], "remove it");
    let answer = client.call("python_run", "").await;
    assert_eq!(answer["error"]["code"], -32602);
    assert!(answer["error"]["message"].as_str().unwrap().contains("toolgate_status"), "{answer}");
    assert_eq!(client.request("resources/list", json!({})).await["result"]["resources"], json!([]));
}

#[tokio::test]
async fn what_the_newer_generation_has_no_more_is_not_there_whatever_comes_with_it() {
    let mut modern = Client::modern(options());
    modern.request("tools/list", json!({})).await;
    for method in ["initialize", "resources/subscribe", "resources/unsubscribe", "logging/setLevel", "ping", "no/such"] {
        let answer = modern.request(method, json!({})).await;
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    let mut legacy = Client::legacy(options()).await;
    for method in ["resources/subscribe", "resources/unsubscribe", "logging/setLevel", "tools/call"] {
        let answer = legacy.request(method, json!({})).await;
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
}
