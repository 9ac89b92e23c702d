//! The tools by themselves, on a control that only remembers what it was asked; and their manifests' examples.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::call::Artifacts;
use crate::domain::{Actor, ErrorCode, Fault, RunId};
use crate::schema::Schema;
use crate::tools::Handler;
use crate::tools::testing::MemoryArtifacts;

use super::types::{
    Accepted, ArtifactList, CancelInput, ListInput, ListOutput, RunView, StartInput, StartOutput, SubmitInput, ValidateOutput, WatchInput,
    WatchOutput, WorkflowList, WorkflowView,
};
use super::{RunControl, handlers};

struct Nobody;

fn nothing<T>() -> Result<T, Fault> {
    Err(Fault::internal("not asked for here"))
}

#[async_trait]
impl RunControl for Nobody {
    async fn start(&self, _: &Actor, _: &StartInput, _: crate::domain::Labels) -> Result<StartOutput, Fault> {
        nothing()
    }
    async fn list(&self, _: &Actor, _: &ListInput) -> Result<ListOutput, Fault> {
        nothing()
    }
    async fn show(&self, _: &Actor, _: &RunId) -> Result<RunView, Fault> {
        nothing()
    }
    async fn watch(&self, _: &Actor, _: &WatchInput) -> Result<WatchOutput, Fault> {
        nothing()
    }
    async fn submit(&self, _: &Actor, _: &SubmitInput) -> Result<Accepted, Fault> {
        nothing()
    }
    async fn cancel(&self, _: &Actor, _: &CancelInput) -> Result<Accepted, Fault> {
        nothing()
    }
    async fn artifacts(&self, _: &Actor, _: &RunId) -> Result<ArtifactList, Fault> {
        nothing()
    }
    fn workflows(&self, _detail: bool) -> WorkflowList {
        WorkflowList { workflows: Vec::new() }
    }
    fn workflow(&self, name: &str) -> Result<WorkflowView, Fault> {
        Err(Fault::new(ErrorCode::UnknownWorkflow, format!("no workflow `{name}`")))
    }
    fn validate(&self, _: &str) -> ValidateOutput {
        ValidateOutput { valid: true, problems: Vec::new() }
    }
}

fn all() -> BTreeMap<&'static str, Arc<dyn Handler>> {
    let control: Arc<dyn RunControl> = Arc::new(Nobody);
    handlers(&control)
}

#[test]
fn every_schema_is_a_closed_object_and_every_example_of_a_manifest_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tool-manifests");
    for (name, tool) in all() {
        let input = tool.input_schema();
        assert_eq!((&input["type"], &input["additionalProperties"]), (&json!("object"), &json!(false)), "{name}");
        assert_eq!(tool.output_schema()["type"], "object", "{name}");
        let schema = Schema::compile(&input).unwrap();
        let text = std::fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        let manifest: Value = serde_saphyr::from_str(&text).unwrap();
        assert!(manifest["description"].as_str().unwrap().is_ascii(), "{name}");
        let mut refused = 0;
        for example in manifest["examples"].as_array().unwrap() {
            if let Some(arguments) = example.get("accept") {
                schema.check(arguments).unwrap_or_else(|fault| panic!("{name}: {fault}"));
                tool.parse(arguments.clone()).unwrap_or_else(|fault| panic!("{name}: {fault}"));
                continue;
            }
            refused += 1;
            let fault = schema.check(&example["refuse"]).expect_err(name);
            assert!(fault.message.contains(example["because"].as_str().unwrap()), "{name}: {fault}");
        }
        assert!(refused > 0, "{name} has no refused example");
    }
}

#[test]
fn the_schemas_stay_lean() {
    let tools = all();
    let size: usize = ["run.start", "run.watch", "run.submit", "run.cancel", "workflow.list", "workflow.show", "artifact.read"]
        .iter()
        .map(|name| tools[*name].input_schema().to_string().len())
        .sum();
    assert!(size < 4_000, "the inputs of the default toolset's control tools take {size} bytes");
}

#[tokio::test]
async fn an_artifact_is_read_in_parts_that_join_up() {
    let shelf: Arc<dyn Artifacts> = Arc::new(MemoryArtifacts::default());
    let text = "häuser und bäume";
    let stored = shelf.put(text.as_bytes().to_vec(), "text/plain").await.unwrap();
    let read = async |arguments| read(&shelf, arguments).await;
    let (mut joined, mut offset) = (String::new(), Some(0));
    while let Some(at) = offset {
        let part = read(json!({ "artifact": stored.artifact, "offset": at, "limit": 2 })).await.unwrap();
        joined.push_str(part["text"].as_str().unwrap());
        offset = part["next_offset"].as_u64();
    }
    assert_eq!(joined, text);

    let stored = shelf.put(vec![0xff, 0xfe, 0x00], "application/octet-stream").await.unwrap();
    let part = read(json!({ "artifact": stored.artifact })).await.unwrap();
    assert_eq!(part, json!({ "base64": "//4A", "size": 3 }));
    let past = read(json!({ "artifact": stored.artifact, "offset": 99 })).await.unwrap();
    assert_eq!(past, json!({ "text": "", "size": 3 }));
    assert_eq!(read(json!({ "artifact": "0".repeat(64) })).await.unwrap_err().code, ErrorCode::UnknownArtifact);
}

async fn read(shelf: &Arc<dyn Artifacts>, arguments: Value) -> Result<Value, Fault> {
    let tool = &all()["artifact.read"];
    let root = tempfile::tempdir().unwrap();
    let context = crate::tools::CallContext {
        call: crate::domain::CallId::mint(crate::domain::Timestamp::from_unix_millis(0)),
        run: RunId::mint(crate::domain::Timestamp::from_unix_millis(0)),
        actor: Actor::operator(),
        from_code: false,
        digest: crate::domain::Digest::ZERO,
        wall: Arc::default(),
        labels: Default::default(),
        brought: Default::default(),
        artifacts: shelf.clone(),
        workspace: Arc::new(crate::confine::Folder::create(&root.path().canonicalize().unwrap().join("w")).unwrap()),
        limits: crate::domain::Limits { wall: crate::domain::Millis(1_000), output: crate::domain::Bytes(1 << 20) },
        cancel: tokio_util::sync::CancellationToken::new(),
        progress: Arc::new(crate::call::NoProgress),
    };
    let arguments = tool.parse(arguments)?;
    tool.execute(&arguments, &context).await.map(|output| output.0)
}
