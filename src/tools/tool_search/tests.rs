//! What is found, in which order, and how much of it.

use serde_json::json;

use super::super::testing::{bench, call, code};
use super::super::{Handler, handler};
use super::*;
use crate::domain::ErrorCode;

fn tool(name: &str, title: &str, description: &str, hint: &str) -> Indexed {
    Indexed {
        name: name.parse().unwrap(),
        title: title.into(),
        description: description.into(),
        hint: hint.into(),
        scopes: vec![name.split('.').next().unwrap().into()],
        effects: Effects::only(Effect::Read),
        input: json!({"type": "object", "properties": {"of": {"const": name}}}),
        output: json!({"type": "object"}),
    }
}

fn some() -> Vec<Indexed> {
    vec![
        tool("repo.git.log", "Commit log", "Lists the commits of a repository.", "history blame"),
        tool("repo.git.commit", "Commit", "Commits what is staged.", "save snapshot version control"),
        tool("run.list", "List runs", "Lists workflow runs, the newest first.", ""),
        tool("workspace.list", "List workspace files", "Lists files of the workspace.", "directory ls"),
        tool("audit.verify", "Verify the log", "Checks that the whole log is unchanged.", "tamper chain"),
    ]
}

fn search(tools: &[Indexed], query: &str, limit: Option<u32>) -> SearchOutput {
    ToolSearch(tools.into()).search(&SearchInput { query: query.into(), limit, output_schema: false })
}

fn names(found: &SearchOutput) -> Vec<&str> {
    found.tools.iter().map(|tool| tool.name.as_str()).collect()
}

#[test]
fn the_best_come_first_and_always_in_the_same_order() {
    let tools = some();
    for (query, best) in [
        ("repo_git_log", "repo.git.log"),
        ("REPO.GIT.COMMIT", "repo.git.commit"),
        ("save a snapshot", "repo.git.commit"),
        ("commit history", "repo.git.log"),
        ("list the runs", "run.list"),
        ("files in the workspace", "workspace.list"),
        ("tamper", "audit.verify"),
        ("work", "workspace.list"),
    ] {
        let found = search(&tools, query, None);
        assert_eq!(names(&found).first(), Some(&best), "{query}: {found:?}");
        let mut turned = tools.clone();
        turned.reverse();
        assert_eq!(search(&turned, query, None), found, "{query}");
    }
    assert_eq!(search(&tools, "zebra", None), SearchOutput { tools: vec![], more: vec![] });
    assert!(!search(&tools, "the", None).tools.is_empty(), "a query of empty words alone is still looked for");
}

#[test]
fn what_is_found_is_bounded_and_schemas_are_whole() {
    let mut tools: Vec<Indexed> = (0..40).map(|n| tool(&format!("big.t{n:02}"), "Big", "Is big.", "")).collect();
    for tool in &mut tools {
        tool.input = json!({"type": "object", "description": "x".repeat(3_000)});
    }
    tools.push(Indexed { input: json!({"description": "x".repeat(50_000)}), ..tool("big.huge", "Huge", "Is huge.", "") });
    let found = search(&tools, "big", Some(20));
    assert!(serde_json::to_vec(&found.tools).unwrap().len() <= MOST_BYTES + 64, "{}", found.tools.len());
    assert_eq!(found.tools.first().map(|tool| (tool.name.as_str(), tool.input_schema.is_none())), Some(("big.huge", true)));
    assert!(found.tools.len() > 2 && found.tools.iter().skip(1).all(|tool| tool.input_schema.is_some()));
    assert_eq!(found.more.len(), MOST_NAMES);
    assert!(found.more.iter().all(|name| found.tools.iter().all(|tool| tool.name != *name)));
}

#[tokio::test]
async fn it_is_a_tool_with_checked_arguments() {
    let (bench, tool): (_, Arc<dyn Handler>) = (bench(), handler(ToolSearch(some().into())));
    let found = call(&tool, &bench, json!({"query": "commit", "limit": 1, "output_schema": true})).await.unwrap();
    assert_eq!(found["tools"][0]["name"], "repo.git.commit");
    assert_eq!(found["tools"][0]["output_schema"], json!({"type": "object"}));
    assert_eq!(found["more"], json!(["repo.git.log"]));
    assert_eq!(code(&tool, &bench, json!({"query": "x", "as": 1})).await, ErrorCode::InvalidInput);
}

#[tokio::test]
async fn a_call_that_was_not_put_through_does_nothing() {
    let (bench, tool): (_, Arc<dyn Handler>) = (bench(), handler(ToolCall));
    assert_eq!(code(&tool, &bench, json!({"tool": "run.list"})).await, ErrorCode::Internal);
}
