//! Skills: what is listed, read and walked through, in both generations.

use rmcp::model::SkillResource;
use serde_json::{Value, json};

use super::support::Client;

#[tokio::test]
async fn workflows_and_the_guide_are_skills_whose_bytes_are_what_was_promised() {
    for mut client in Client::both().await {
        let listed = client.request("skills/list", json!({})).await["result"].clone();
        let uris: Vec<&str> = listed["skills"].as_array().unwrap().iter().map(|skill| skill["uri"].as_str().unwrap()).collect();
        assert_eq!(uris, ["skill://code-mode/SKILL.md", "skill://w/SKILL.md"], "{listed}");
        assert_eq!(listed.get("ttlMs").is_some(), true);
        let mut files = 0;
        for skill in listed["skills"].as_array().unwrap() {
            let got = client.request("skills/get", json!({"uri": skill["uri"]})).await;
            assert_eq!(&got["result"]["skill"], skill, "{got}");
            for file in skill["resources"].as_array().unwrap() {
                let promised: SkillResource = serde_json::from_value(file.clone()).unwrap();
                let read = client.request("resources/read", json!({"uri": promised.uri})).await;
                let text = read["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("{read}"));
                promised.verify(text.as_bytes()).unwrap();
                files += 1;
                if promised.uri.ends_with("/SKILL.md") {
                    let name = skill["frontmatter"]["name"].as_str().unwrap();
                    assert!(
                        text.starts_with(&format!("---\nname: {name}\ndescription: {}\n---\n", skill["frontmatter"]["description"])),
                        "{text}"
                    );
                }
            }
        }
        assert_eq!(files, 6);
        let entry = client.request("resources/read", json!({"uri": "skill://w/SKILL.md"})).await;
        let text = entry["result"]["contents"][0]["text"].as_str().unwrap();
        assert!(text.contains("`run_start` with") && text.contains("- `what` (string, needed): Which animal."), "{text}");
    }
}

#[tokio::test]
async fn the_folders_of_a_skill_can_be_walked_through_and_nothing_else_can() {
    let names = |answer: &Value| -> Vec<(String, String)> {
        let of = |resource: &Value, member: &str| resource[member].as_str().unwrap_or_default().to_owned();
        answer["result"]["resources"].as_array().unwrap().iter().map(|found| (of(found, "uri"), of(found, "mimeType"))).collect()
    };
    for mut client in Client::both().await {
        let top = names(&client.request("resources/directory/read", json!({"uri": "skill://w"})).await);
        assert_eq!(
            top,
            [
                ("skill://w/SKILL.md".to_owned(), "text/markdown".to_owned()),
                ("skill://w/references".to_owned(), "inode/directory".to_owned())
            ]
        );
        assert_eq!(names(&client.request("resources/directory/read", json!({"uri": "skill://w/"})).await), top);
        let below = names(&client.request("resources/directory/read", json!({"uri": "skill://w/references"})).await);
        assert_eq!(
            below.iter().map(|(uri, _)| uri.as_str()).collect::<Vec<_>>(),
            ["skill://w/references/inputs.json", "skill://w/references/workflow.yaml"]
        );
        for bad in ["skill://w/SKILL.md", "skill://none", "skill://", "skill://w/../code-mode", "file:///etc", "run://x"] {
            let answer = client.request("resources/directory/read", json!({"uri": bad})).await;
            assert_eq!(answer["error"]["code"], -32602, "{bad}: {answer}");
        }
        for bad in ["skill://w/references/inputs.json", "skill://none/SKILL.md", "w"] {
            let answer = client.request("skills/get", json!({"uri": bad})).await;
            assert_eq!(answer["error"]["code"], -32602, "{bad}: {answer}");
        }
    }
}
