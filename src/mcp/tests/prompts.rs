//! Workflows as prompts, and what is completed.

use serde_json::{Value, json};

use super::support::Client;

#[tokio::test]
async fn each_workflow_is_a_prompt_with_its_inputs() {
    for mut client in Client::both().await {
        let listed = client.request("prompts/list", json!({})).await;
        let prompt = &listed["result"]["prompts"][0];
        assert_eq!((&prompt["name"], &prompt["title"], &prompt["description"]), (&json!("w"), &json!("W"), &json!("Does \"w\".")));
        let arguments = prompt["arguments"].as_array().unwrap();
        assert_eq!(arguments[0], json!({"name": "what", "description": "Which animal.", "required": true}), "what is needed comes first");
        assert!(arguments.contains(&json!({"name": "count", "description": "How many.", "required": false})), "{arguments:?}");
        assert!(arguments.contains(&json!({"name": "loud", "required": false})), "{arguments:?}");
        let arguments = json!({"what": "a \"cat\"", "count": "3", "loud": ""});
        let got = client.request("prompts/get", json!({"name": "w", "arguments": arguments})).await;
        let text = got["result"]["messages"][0]["content"]["text"].as_str().unwrap();
        let start = json!({"workflow": "w", "inputs": {"what": "a \"cat\"", "count": 3}});
        assert!(text.contains(&format!("`run_start` with {start}")) && text.contains("`run_watch`"), "{text}");
        assert_eq!(got["result"]["messages"][0]["role"], "user");
        let called: Vec<String> = client.gate.calls.lock().unwrap().iter().map(|(tool, _)| tool.clone()).collect();
        assert_eq!(called, ["workflow.list", "workflow.show"], "a prompt starts nothing");
    }
}

#[tokio::test]
async fn wrong_arguments_of_a_prompt_are_told_by_name() {
    let cases = [
        (json!({"name": "nothing"}), "no such workflow"),
        (json!({"name": "w"}), "needs the input `what`"),
        (json!({"name": "w", "arguments": {"what": ""}, "x": 1}), ""),
        (json!({"name": "w", "arguments": {"what": "x", "surprise": "1"}}), "no input `surprise`"),
        (json!({"name": "w", "arguments": {"what": "x", "count": "three"}}), "`count` is not JSON"),
        (json!({"name": "w", "arguments": {"what": 7}}), "`what` of a prompt must be text"),
    ];
    for mut client in Client::both().await {
        for (params, told) in &cases {
            let answer = client.request("prompts/get", params.clone()).await;
            let message = answer["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains(told), "{params}: {answer}");
            assert_eq!(answer["error"].is_object(), !told.is_empty(), "{params}: {answer}");
            assert!(told.is_empty() || answer["error"]["code"] == -32602, "{params}: {answer}");
        }
    }
}

#[tokio::test]
async fn values_and_runs_are_completed() {
    let argument =
        |name: &str, value: &str| json!({"ref": {"type": "ref/prompt", "name": "w"}, "argument": {"name": name, "value": value}});
    let resource = |uri: &str, name: &str, value: &str| json!({"ref": {"type": "ref/resource", "uri": uri}, "argument": {"name": name, "value": value}});
    let cases = [
        (argument("what", ""), json!(["cat", "cow", "dog"])),
        (argument("what", "c"), json!(["cat", "cow"])),
        (argument("what", "z"), json!([])),
        (argument("count", ""), json!([])),
        (argument("loud", "t"), json!(["true"])),
        (resource("run://{id}", "id", "run_"), json!([super::support::RUN])),
        (resource("run://{id}/events", "id", ""), json!([super::support::RUN])),
        (resource("run://{id}", "id", "x"), json!([])),
        (resource("artifact://{sha256}", "sha256", "a"), json!([])),
        (resource("workflow://{name}", "name", ""), json!(["w"])),
        (resource("tool://{name}", "name", "workflow."), json!(["workflow.list", "workflow.show"])),
        (resource("tool://{name}", "other", ""), json!([])),
        (argument("after_run", "run_"), json!([super::support::RUN])),
        (argument("with_tool", "artifact."), json!(["artifact.read"])),
        (argument("next_workflow", ""), json!(["w"])),
        (argument("base_branch", ""), json!([])),
    ];
    for mut client in Client::both().await {
        for (params, values) in &cases {
            let answer = client.request("completion/complete", params.clone()).await;
            assert_eq!(&answer["result"]["completion"]["values"], values, "{params}: {answer}");
        }
        let answer: Value = client.request("completion/complete", argument("nothing", "")).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
}
