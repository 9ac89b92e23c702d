use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::confine::RelPath;
use crate::domain::{Effect, Effects, ErrorCode};
use crate::tools::testing::{bench, call, code, prepare};
use crate::tools::{Handler, handler};

fn codegen() -> Arc<dyn Handler> {
    handler(WorkerCodegen)
}

fn file<'a>(answer: &'a Value, path: &str) -> &'a str {
    let files = answer["files"].as_array().unwrap();
    files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{path}"))["content"].as_str().unwrap()
}

#[tokio::test]
async fn a_plan_has_a_task_for_each_file_and_a_place_for_each_constraint() {
    let bench = bench();
    let constraints = ["price is required", "100% coverage", "a table per tenant", "answers in 50 ms\n\u{1b}[2J"];
    let input = json!({ "goal": "Build a Listing service.", "constraints": constraints, "resource": "Listing" });
    let plan = call(&handler(WorkerPlan), &bench, input.clone()).await.unwrap();
    assert_eq!(
        plan["summary"],
        "Build a Listing service: a service for listings on the standard library of Python, in 16 files, under 4 constraints"
    );
    let tasks = plan["tasks"].to_string();
    for constraint in ["price is required", "100% coverage", "a table per tenant", "answers in 50 ms"] {
        assert_eq!(tasks.matches(constraint).count(), 1, "{constraint}");
    }
    let made = call(&codegen(), &bench, json!({ "template": "stdlib_service", "resource": "Listing" })).await.unwrap();
    let paths = |list: &Value| list.as_array().unwrap().iter().map(|item| item["path"].clone()).collect::<Vec<_>>();
    assert_eq!(paths(&plan["tasks"]), paths(&made["files"]), "what is planned is what is made");
    assert_eq!(prepare(&handler(WorkerPlan), &bench, input).await.unwrap().effects, Effects::only(Effect::Pure));
}

#[tokio::test]
async fn code_is_rendered_whole_for_every_kind_of_name() {
    let bench = bench();
    for (resource, package, class) in [("Listing", "listing_service", "Listing"), ("HTTPRoute", "http_route_service", "HTTPRoute")] {
        let made = call(&codegen(), &bench, json!({ "template": "stdlib_service", "resource": resource })).await.unwrap();
        let files = made["files"].as_array().unwrap();
        assert_eq!(files.len(), 16);
        for rendered in files {
            let (path, content) = (rendered["path"].as_str().unwrap(), rendered["content"].as_str().unwrap());
            assert!(RelPath::parse(path).is_ok());
            assert!(!content.contains("{{") && !content.contains("{%"), "{path} is rendered");
            assert!(content.ends_with('\n') && !content.ends_with("\n\n"), "{path} ends with one line end");
        }
        assert!(file(&made, &format!("{package}/models.py")).contains(&format!("class {class}Draft:")));
        assert!(file(&made, "tests/test_api.py").contains(&format!("from {package}.api import")));
        let tests: usize = files.iter().map(|file| file["content"].as_str().unwrap().matches("    def test_").count()).sum();
        assert!(tests >= 15, "{tests}");
    }
}

#[tokio::test]
async fn plan_and_research_are_text_in_the_readme_and_never_a_template() {
    let bench = bench();
    let input = json!({
        "template": "stdlib_service", "resource": "Listing",
        "plan": { "summary": "Do {{ name }}\n# not a heading", "tasks": [] },
        "research": { "citations": [{ "title": "T{% raw %}", "source": "local/x", "extract": "e" }, { "title": "no source" }] },
    });
    let made = call(&codegen(), &bench, input).await.unwrap();
    let readme = file(&made, "README.md");
    assert!(readme.contains("## Plan\n\nDo {{ name }} # not a heading\n"), "{readme}");
    assert!(readme.contains("## Sources\n\n- T{% raw %} (local/x)\n") && !readme.contains("no source"));
    let plain = call(&codegen(), &bench, json!({ "template": "stdlib_service", "resource": "Listing" })).await.unwrap();
    assert_eq!(file(&plain, "tests/test_api.py"), file(&made, "tests/test_api.py"), "the code does not depend on them");
}

#[tokio::test]
async fn bad_input_is_refused() {
    let bench = bench();
    for input in [
        json!({ "template": "stdlib_service", "resource": "../x" }),
        json!({ "template": "stdlib_service", "resource": "listing" }),
        json!({ "template": "other", "resource": "Listing" }),
        json!({ "template": "stdlib_service", "resource": "Listing", "next_step": "deploy" }),
    ] {
        assert_eq!(code(&codegen(), &bench, input.clone()).await, ErrorCode::InvalidInput, "{input}");
    }
}

#[tokio::test]
async fn rendered_files_can_be_put_in_place() {
    let bench = bench();
    let made = call(&codegen(), &bench, json!({ "template": "stdlib_service", "resource": "LineItem" })).await.unwrap();
    for file in made["files"].as_array().unwrap() {
        let path = RelPath::parse(file["path"].as_str().unwrap()).unwrap();
        bench.context.workspace.write(&path, file["content"].as_str().unwrap().as_bytes(), false).unwrap();
    }
    assert!(bench.root.join("line_item_service/migrations/0001_create.sql").is_file());
}
