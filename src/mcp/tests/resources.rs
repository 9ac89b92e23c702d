//! Resources of both generations.

use serde_json::{Value, json};

use super::support::{Client, RUN};

async fn read(client: &mut Client, uri: &str) -> Value {
    client.request("resources/read", json!({"uri": uri})).await
}

#[tokio::test]
async fn runs_are_listed_and_read_by_calling_tools() {
    for mut client in Client::both().await {
        let answer = client.request("resources/list", json!({})).await;
        let run = &answer["result"]["resources"][0];
        assert_eq!((&run["uri"], &run["title"]), (&json!(format!("run://{RUN}")), &json!("build_service")), "{answer}");
        let answer = client.request("resources/templates/list", json!({})).await;
        let templates: Vec<&str> =
            answer["result"]["resourceTemplates"].as_array().unwrap().iter().map(|t| t["uriTemplate"].as_str().unwrap()).collect();
        let expected =
            ["run://{id}", "run://{id}/events", "artifact://{sha256}", "workflow://{name}", "tool://{name}", "skill://{name}/SKILL.md"];
        assert_eq!(templates, expected);

        let answer = read(&mut client, &format!("run://{RUN}")).await;
        let contents = &answer["result"]["contents"][0];
        assert_eq!((&contents["uri"], &contents["mimeType"]), (&json!(format!("run://{RUN}")), &json!("application/json")));
        assert_eq!(serde_json::from_str::<Value>(contents["text"].as_str().unwrap()).unwrap()["status"], "running");
        let answer = read(&mut client, &format!("run://{RUN}/events?cursor=4")).await;
        assert!(answer["result"]["contents"][0]["text"].as_str().unwrap().contains("\"cursor\":4"), "{answer}");

        let answer = read(&mut client, "tool://test.echo").await;
        assert!(answer["result"]["contents"][0]["text"].as_str().unwrap().contains("input_schema"), "{answer}");
        let answer = read(&mut client, "workflow://w").await;
        assert!(answer["result"]["contents"][0]["text"].as_str().unwrap().contains("Which animal."), "{answer}");

        let calls = client.gate.calls.lock().unwrap().clone();
        let names: Vec<&str> = calls.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["run.list", "run.show", "run.watch", "tool.search", "workflow.show"]);
        assert_eq!(calls[2].1, json!({"run_id": RUN, "cursor": 4, "wait_sec": 0}));
    }
}

#[tokio::test]
async fn an_artifact_is_read_page_by_page() {
    for mut client in Client::both().await {
        let answer = read(&mut client, &format!("artifact://{}", "aa".repeat(32))).await;
        let contents = &answer["result"]["contents"][0];
        assert_eq!(contents["text"].as_str().map(str::len), Some(300_000));
        assert_eq!(contents["mimeType"], "text/plain");
        assert_eq!(client.gate.calls.lock().unwrap().len(), 3);
        let answer = read(&mut client, &format!("artifact://{}", "bb".repeat(32))).await;
        assert_eq!(answer["result"]["contents"][0]["blob"], "AP/+gAE=");
        let uri = format!("artifact://{}", "cc".repeat(32));
        let answer = read(&mut client, &uri).await;
        assert_eq!(answer["error"]["data"]["code"], "LIMIT_EXCEEDED", "{answer}");
        assert_eq!(answer["error"]["data"]["uri"], uri, "the error names what it is about");
    }
}

#[tokio::test]
async fn what_is_not_there_has_the_code_of_the_generation() {
    for mut client in Client::both().await {
        let code = if client.is_modern() { -32602 } else { -32002 };
        let other_run = RUN.replace('0', "1");
        for uri in [
            "file:///etc/passwd",
            "run://../x",
            "tool://audit.verify",
            "skill://none/SKILL.md",
            "skill://code-mode/../x",
            "skill://",
            &format!("run://{other_run}"),
            &format!("artifact://{}", "dd".repeat(32)),
        ] {
            let answer = read(&mut client, uri).await;
            assert_eq!(answer["error"]["code"], code, "{uri} → {answer}");
        }
    }
}
