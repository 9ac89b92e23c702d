//! What the tools for runs and workflows take and give; the engine fills these in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{RunId, StepId};

/// Which workflow to start, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct StartInput {
    /// Name, as workflow.list shows it.
    #[schemars(length(min = 1, max = 64))]
    pub workflow: String,
    /// By name, as workflow.show tells.
    #[serde(default)]
    pub inputs: BTreeMap<String, Value>,
    /// What the run is for; default: the workflow's own words.
    #[serde(default)]
    #[schemars(length(max = 4000))]
    pub goal: Option<String>,
    /// Same key, same outcome.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub idempotency_key: Option<String>,
}

/// The run that was started.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct StartOutput {
    /// Its id, for run.watch.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// Where it stands.
    pub status: String,
}

/// Which runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ListInput {
    /// Only runs that are not over.
    #[serde(default)]
    pub open: bool,
    /// At most so many, the newest first; default 20.
    #[serde(default)]
    #[schemars(range(min = 1, max = 200))]
    pub limit: Option<u32>,
}

/// Runs, the newest first.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ListOutput {
    /// The runs.
    pub runs: Vec<RunLine>,
}

/// One run, in short.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct RunLine {
    /// Its id.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// What it follows.
    pub workflow: String,
    /// Where it stands.
    pub status: String,
    /// When it began.
    pub created: String,
    /// When something last happened.
    pub updated: String,
}

/// Which run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct RunInput {
    #[schemars(with = "String", regex(pattern = r"^run_[0-9a-f]{32}$"))]
    /// The run.
    pub run_id: RunId,
}

/// A run, as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct RunView {
    /// Its id.
    #[schemars(with = "String")]
    pub run_id: RunId,
    /// What it follows.
    pub workflow: String,
    /// What it is for.
    pub goal: String,
    /// Where it stands.
    pub status: String,
    /// What it was told.
    pub inputs: Value,
    /// In the order of the plan.
    pub steps: Vec<StepLine>,
    /// Direct calls that were answered with a handle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallLine>,
    /// What it may use up and has used.
    pub budget: Vec<BudgetLine>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
    /// When it began.
    pub created: String,
    /// When something last happened.
    pub updated: String,
}

/// One quantity that runs use up.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct BudgetLine {
    /// `steps`, `calls`, `tokens`, `wall_ms` or `bytes_out`.
    pub what: String,
    /// So much was used.
    pub used: u64,
    /// So much there may be; absent where there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// So much is left of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct StepLine {
    /// Its name.
    #[schemars(with = "String")]
    pub step_id: StepId,
    /// What it does.
    pub kind: String,
    /// Where it stands.
    pub status: String,
    /// The attempt that runs or ran last.
    pub attempt: u32,
    /// The repair it runs in, or ran in last: `repair 1 of 2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
    /// What it gave; left out where it is large, see `output_bytes`.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// Size of an output that was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Why it failed, last or for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// Which run, from where on, and how long to wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct WatchInput {
    #[schemars(with = "String", regex(pattern = r"^run_[0-9a-f]{32}$"))]
    /// The run.
    pub run_id: RunId,
    /// The cursor of the last answer; 0 at first.
    #[serde(default)]
    pub cursor: u64,
    /// Wait so long for something new; default 20.
    #[serde(default)]
    #[schemars(range(max = 45))]
    pub wait_sec: Option<u32>,
}

/// What happened since the cursor, and who is waited for.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WatchOutput {
    /// Where the run stands.
    pub status: String,
    /// For the next watch.
    pub cursor: u64,
    /// What happened.
    pub events: Vec<EventLine>,
    /// Steps that wait: answer those of kind plan, research and codegen by run.submit; the others wait for a human.
    pub waiting: Vec<WaitingStep>,
    /// Direct calls that were answered with a handle: those that go on, and what came of those that ended since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallLine>,
    /// Whether the run is over; of direct calls, whether none goes on.
    pub done: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// A direct call that goes on, or went on, without its client.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CallLine {
    /// The call, as its handle names it.
    pub call_id: String,
    /// What was called.
    pub tool: String,
    /// `running`, `succeeded` or `failed`.
    pub status: String,
    /// What it gave.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output: Value,
    /// The same as stored JSON, for artifact.read, where it is large.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Value>,
}

/// One event, in short.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct EventLine {
    /// Its place in the run.
    pub seq: u64,
    /// When.
    pub ts: String,
    /// Of which step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub step_id: Option<StepId>,
    /// What happened.
    pub event: String,
    /// In words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// A step that waits for somebody.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WaitingStep {
    /// Its name.
    #[schemars(with = "String")]
    pub step_id: StepId,
    /// What it does.
    pub kind: String,
    /// For whom: `agent` or `human`.
    pub waiting_for: String,
    /// What is to be done.
    pub prompt: Value,
    /// On what.
    pub input: Value,
    /// What the output must be.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub output_schema: Value,
    /// The question that the operator answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval_id: Option<String>,
}

/// An agent's answer to a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SubmitInput {
    #[schemars(with = "String", regex(pattern = r"^run_[0-9a-f]{32}$"))]
    /// The run.
    pub run_id: RunId,
    #[schemars(with = "String", regex(pattern = r"^[a-z][a-z0-9_]{0,63}$"))]
    /// From run.watch.
    pub step_id: StepId,
    /// What its output_schema asks for.
    pub output: BTreeMap<String, Value>,
    /// For the log.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub note: Option<String>,
    /// That you used.
    #[serde(default)]
    pub tokens: Option<u64>,
}

/// What became of an answer or a wish.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Accepted {
    /// Where the run stands.
    pub status: String,
    /// The place of the record.
    pub cursor: u64,
}

/// Which run to stop, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct CancelInput {
    #[schemars(with = "String", regex(pattern = r"^run_[0-9a-f]{32}$"))]
    /// The run.
    pub run_id: RunId,
    /// Why, for the log.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub reason: Option<String>,
}

/// How much to tell of each workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ListWorkflows {
    /// With each one's inputs as a schema, and its definition.
    #[serde(default)]
    pub detail: bool,
}

/// Workflows that can be started.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WorkflowList {
    /// In the order of their names.
    pub workflows: Vec<WorkflowLine>,
}

/// One workflow, in short.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WorkflowLine {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Names of its inputs; those with `?` may be left out.
    pub inputs: Vec<String>,
    /// JSON Schema of its inputs, in detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// The file as it was written, in detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
}

/// Which workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct WorkflowInput {
    /// Its name.
    #[schemars(length(min = 1, max = 64))]
    pub workflow: String,
}

/// A workflow.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// SHA-256 of the definition.
    pub digest: String,
    /// JSON Schema of its inputs.
    pub inputs: Value,
    /// The file as it was written.
    pub definition: String,
}

/// A definition to be checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ValidateInput {
    /// The YAML text.
    #[schemars(length(max = 262_144))]
    pub definition: String,
}

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ValidateOutput {
    /// Whether it could be run.
    pub valid: bool,
    /// Each with its line.
    pub problems: Vec<ProblemLine>,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ProblemLine {
    /// Where, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// What.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Artifacts that a run's log names.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ArtifactList {
    /// In the order they came.
    pub artifacts: Vec<ArtifactLine>,
}

/// One artifact.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ArtifactLine {
    /// SHA-256, for artifact.read.
    pub artifact: String,
    /// Bytes, where the log says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The file's path, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Of which step.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub step_id: Option<StepId>,
    /// The event that names it first.
    pub seq: u64,
}

/// Which part of which artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ReadInput {
    /// SHA-256 of the bytes.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub artifact: String,
    /// From this byte on.
    #[serde(default)]
    pub offset: u64,
    /// At most so many bytes; default 8192.
    #[serde(default)]
    #[schemars(range(min = 1, max = 262_144))]
    pub limit: Option<u32>,
}

/// Bytes of an artifact, as text where they are.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ReadOutput {
    /// The bytes, where they are UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes, where they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Size of the whole.
    pub size: u64,
    /// Where the next part begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// Nothing: the whole log is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct AuditVerifyInput {}

/// What reading the log again came to.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct AuditVerifyOutput {
    /// Whether everything holds.
    pub ok: bool,
    /// Records that hold, from the first on.
    pub records: u64,
    /// Records that the newest signed checkpoint covers.
    pub covered: u64,
    /// Signed checkpoints that were read.
    pub checkpoints: u64,
    /// The first record that does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<AuditBroken>,
}

/// A record that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct AuditBroken {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The run it claims to belong to, where that is one of the asker's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub run_id: Option<RunId>,
    /// What is wrong.
    pub why: String,
}
