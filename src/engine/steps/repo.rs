//! The run's repository: one action by name, or everything that it takes to commit what the workspace holds.

use serde_json::{Map, Value, json};

use crate::engine::calls::{StepCalls, Stop};

pub(super) async fn work(input: Value, calls: &mut StepCalls) -> Result<Value, Stop> {
    let Value::Object(mut fields) = input else { return calls.call("repo.git.commit", input).await };
    match fields.remove("action") {
        Some(Value::String(action)) => calls.call(&format!("repo.git.{action}"), Value::Object(fields)).await,
        _ => commit_all(fields, calls).await,
    }
}

/// Makes the repository where there is none yet, takes up every file and commits.
async fn commit_all(commit: Map<String, Value>, calls: &mut StepCalls) -> Result<Value, Stop> {
    let mut place = commit.clone();
    place.retain(|name, _| name == "path");
    calls.call("repo.git.init", Value::Object(place.clone())).await?;
    calls.call("repo.git.add_all", Value::Object(place)).await?;
    let done = calls.call("repo.git.commit", Value::Object(commit)).await?;
    let of = |name: &str| done.get(name).cloned().unwrap_or_default();
    Ok(json!({ "commit": of("commit"), "branch": of("branch"), "files": of("files") }))
}
