//! Runs, their events and artifacts as MCP resources.
//!
//! INVARIANT: a resource is read by calling the tool that reads such things, so it is decided on and recorded like any call. Nothing
//! is read from the store here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{Resource, ResourceContents, ResourceTemplate};
use serde_json::{Value, json};

use crate::domain::{ArtifactId, CallId, ErrorCode, Fault, RunId};

/// The most bytes of one artifact that are read as a resource; a larger one is read in pages with `artifact.read`.
const LARGEST: u64 = 4 * 1024 * 1024;

/// How many bytes of an artifact are asked for at a time.
const PAGE: u64 = 256 * 1024;

/// How many runs are listed.
pub(super) const LISTED_RUNS: u32 = 50;

/// No address of ours is longer, in bytes.
const LONGEST: usize = 256;

/// A resource that a client names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// `run://{id}`.
    Run(RunId),
    /// `run://{id}/events`, or `run://{id}/events?cursor=N` for what comes after.
    Events(RunId, u64),
    /// `artifact://{sha256}`.
    Artifact(ArtifactId),
    /// `workflow://{name}`.
    Workflow(String),
    /// `tool://{name}`.
    Tool(String),
}

impl Target {
    /// The run whose moves change it; `None` where nothing does.
    pub(super) fn run(&self) -> Option<RunId> {
        match self {
            Self::Run(run) | Self::Events(run, _) => Some(*run),
            Self::Artifact(_) | Self::Workflow(_) | Self::Tool(_) => None,
        }
    }

    /// Reads a resource's address; `None` where it is none of ours.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        if uri.len() > LONGEST {
            return None;
        }
        if let Some(id) = uri.strip_prefix("artifact://") {
            return id.parse().ok().map(Self::Artifact);
        }
        if let Some(name) = uri.strip_prefix("workflow://") {
            return is_name(name).then(|| Self::Workflow(name.to_owned()));
        }
        if let Some(name) = uri.strip_prefix("tool://") {
            return is_name(name).then(|| Self::Tool(name.to_owned()));
        }
        let rest = uri.strip_prefix("run://")?;
        let Some((id, tail)) = rest.split_once('/') else { return rest.parse().ok().map(Self::Run) };
        let id = id.parse().ok()?;
        match tail.split_once('?') {
            None if tail == "events" => Some(Self::Events(id, 0)),
            Some(("events", query)) => Some(Self::Events(id, query.strip_prefix("cursor=")?.parse().ok()?)),
            None | Some(_) => None,
        }
    }
}

/// Whether this can be the name of a workflow or tool.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// No such resource.
pub(super) fn absent(uri: &str) -> Fault {
    let uri: String = uri.chars().take(120).collect();
    Fault::new(ErrorCode::NotFound, format!("`{uri}` is not a resource of this server")).hint(
        "resources are `run://{id}`, `run://{id}/events`, `artifact://{sha256}`, `workflow://{name}`, `tool://{name}` and the files of skills",
    )
}

/// What the addresses look like.
pub(super) fn templates() -> Vec<ResourceTemplate> {
    vec![
        ResourceTemplate::new("run://{id}", "run")
            .with_description("A run: its status, steps and what it waits for.")
            .with_mime_type("application/json"),
        ResourceTemplate::new("run://{id}/events", "run events")
            .with_description("The first page of a run's event log; add ?cursor=N with the page's cursor for the next.")
            .with_mime_type("application/json"),
        ResourceTemplate::new("artifact://{sha256}", "artifact").with_description("Stored bytes, named by their SHA-256."),
        ResourceTemplate::new("workflow://{name}", "workflow")
            .with_description("A workflow: its inputs and its definition.")
            .with_mime_type("application/json"),
        ResourceTemplate::new("tool://{name}", "tool")
            .with_description("A tool, listed or not: what it does, and the schemas of its arguments and its answer.")
            .with_mime_type("application/json"),
        ResourceTemplate::new("skill://{name}/SKILL.md", "skill")
            .with_description("How to run a workflow, and how to write programs that call tools.")
            .with_mime_type("text/markdown"),
    ]
}

/// A tool call that a resource stands for, answered whole.
pub(super) trait Reader {
    /// Calls a tool by its canonical name.
    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Refused>;
}

/// Why a resource could not be read.
pub(super) struct Refused {
    /// What was wrong.
    pub(super) fault: Fault,
    /// The call in which it showed, where one was made.
    pub(super) call: Option<CallId>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, call: None }
    }
}

/// The recent runs.
pub(super) async fn list(reader: &impl Reader) -> Result<Vec<Resource>, Refused> {
    let answer = reader.call("run.list", json!({ "limit": LISTED_RUNS })).await?;
    let runs = answer.get("runs").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    Ok(runs.iter().filter_map(run_resource).collect())
}

fn run_resource(run: &Value) -> Option<Resource> {
    let text = |name: &str| run.get(name).and_then(Value::as_str);
    let id = text("run_id")?;
    let what = text("workflow").filter(|name| !name.is_empty()).unwrap_or("run");
    let mut resource = Resource::new(format!("run://{id}"), id).with_title(what).with_mime_type("application/json");
    let about: Vec<&str> = [text("status"), text("created")].into_iter().flatten().collect();
    if !about.is_empty() {
        resource = resource.with_description(about.join(", since "));
    }
    Some(resource)
}

/// What a resource holds.
pub(super) async fn read(reader: &impl Reader, uri: &str, target: &Target) -> Result<ResourceContents, Refused> {
    let json_text = |value: &Value| ResourceContents::text(value.to_string(), uri).with_mime_type("application/json");
    match target {
        Target::Run(run) => reader.call("run.show", json!({ "run_id": run })).await.map(|value| json_text(&value)),
        Target::Events(run, cursor) => {
            let arguments = json!({ "run_id": run, "cursor": cursor, "wait_sec": 0 });
            reader.call("run.watch", arguments).await.map(|value| json_text(&value))
        }
        Target::Artifact(id) => artifact(reader, uri, id).await,
        Target::Workflow(name) => reader.call("workflow.show", json!({ "workflow": name })).await.map(|value| json_text(&value)),
        Target::Tool(name) => {
            let found = reader.call("tool.search", json!({ "query": name, "limit": 1, "output_schema": true })).await?;
            let tool = found.pointer("/tools/0").filter(|tool| {
                let known = tool.get("name").and_then(Value::as_str).unwrap_or_default();
                known == name || known.replace('.', "_") == *name
            });
            Ok(json_text(tool.ok_or_else(|| absent(uri))?))
        }
    }
}

async fn artifact(reader: &impl Reader, uri: &str, id: &ArtifactId) -> Result<ResourceContents, Refused> {
    let mut bytes: Vec<u8> = Vec::new();
    loop {
        let page = reader.call("artifact.read", json!({ "artifact": id, "offset": bytes.len(), "limit": PAGE })).await?;
        let size = page.get("size").and_then(Value::as_u64).ok_or_else(|| Fault::internal("a page of an artifact has no `size`"))?;
        if size > LARGEST {
            return Err(Fault::new(ErrorCode::LimitExceeded, format!("artifact `{id}` has {size} bytes, more than {LARGEST}"))
                .hint("read it in pages with the tool `artifact.read`")
                .into());
        }
        let before = bytes.len();
        bytes.extend(page_bytes(&page)?);
        if page.get("next_offset").and_then(Value::as_u64).is_none() || bytes.len() == before {
            return Ok(contents(bytes, uri));
        }
    }
}

/// A page holds its bytes as `text` where they are text, else as `base64`.
fn page_bytes(page: &Value) -> Result<Vec<u8>, Fault> {
    let part = |name: &str| page.get(name).and_then(Value::as_str);
    if let Some(text) = part("text") {
        return Ok(text.as_bytes().to_vec());
    }
    let encoded = part("base64").ok_or_else(|| Fault::internal("a page of an artifact has no content"))?;
    STANDARD.decode(encoded).map_err(|error| Fault::internal(format!("a page of an artifact is not base64: {error}")))
}

fn contents(bytes: Vec<u8>, uri: &str) -> ResourceContents {
    match String::from_utf8(bytes) {
        Ok(text) => {
            // Large answers are stored as JSON; whatever else is text is just that.
            let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            ResourceContents::text(text, uri).with_mime_type(if is_json { "application/json" } else { "text/plain" })
        }
        Err(error) => ResourceContents::blob(STANDARD.encode(error.as_bytes()), uri).with_mime_type("application/octet-stream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_exactly() {
        let run = "run_0190b1c2d3e4f5061728394a5b6c7d8e";
        let sha = "ab".repeat(32);
        assert_eq!(Target::parse(&format!("run://{run}")), Some(Target::Run(run.parse().unwrap())));
        assert_eq!(Target::parse(&format!("run://{run}/events")), Some(Target::Events(run.parse().unwrap(), 0)));
        assert_eq!(Target::parse(&format!("run://{run}/events?cursor=7")), Some(Target::Events(run.parse().unwrap(), 7)));
        assert_eq!(Target::parse(&format!("artifact://{sha}")), Some(Target::Artifact(sha.parse().unwrap())));
        for (uri, name) in [("workflow://build_service", "build_service"), ("tool://audit.verify", "audit.verify")] {
            let found = Target::parse(uri).unwrap();
            assert!(matches!(&found, Target::Workflow(found) | Target::Tool(found) if found == name), "{found:?}");
        }
        for bad in ["", "run://", "run://x", "file:///etc/passwd", "artifact://../x", "RUN://x", "tool://", "tool://../x", "workflow://a/b"]
        {
            assert_eq!(Target::parse(bad), None, "{}", bad.chars().take(40).collect::<String>());
        }
        for tail in ["/", "/event", "/events/", "/events?cursor=-1", "/events?x=1", "/events#a"] {
            assert_eq!(Target::parse(&format!("run://{run}{tail}")), None, "{tail}");
        }
    }

    /// A megabyte of an address is looked at once from front to back, whatever it repeats: what grows faster takes minutes.
    #[test]
    fn a_hostile_address_costs_no_more_than_its_length() {
        let begun = std::time::Instant::now();
        for scheme in
            ["run://", "artifact://", "workflow://", "tool://", "skill://", "run://run_0190b1c2d3e4f5061728394a5b6c7d8e/events?cursor=", ""]
        {
            for part in ["a/", "{id}", "%2e%2e/", "?cursor=1", "run://", "\u{301}", "0"] {
                let uri = format!("{scheme}{}", part.repeat((1 << 20) / part.len()));
                assert_eq!(Target::parse(&uri), None, "{scheme} {part}");
                assert!(absent(&uri).message.len() < 800);
            }
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }
}
