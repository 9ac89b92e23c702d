//! What the verbs need from the rest of the house, as two narrow traits that `app` implements.
//!
//! INVARIANT: a verb reaches nothing but through these. Answering an approval takes an [`OperatorProof`].

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::call::{Progress, Reply};
pub use crate::engine::BudgetLine;

use crate::config::{Config, LogLevel};
use crate::domain::{
    Actor, Amounts, ApprovalId, Digest, Effects, Fault, GrantId, Labels, Limits, Millis, Problems, RunId, StepId, Timestamp, ToolName,
};
use crate::gateway::{Answer, GrantBeside};
use crate::keeping::{Keeper, Restored};
use crate::policy::{CaseOutcome, Explanation, Finding, Replay, TrialCount};
use crate::run::{Event, RunStatus};
use crate::secrets::operator::OperatorProof;
use crate::secrets::tokens::Tokens;
use crate::secrets::vault::Vault;
use crate::store::{ApprovalFilter, ApprovalRow, GrantRow, PausedRun, RunFilter, RunRow};

use super::drive_port::DriveDesk;

pub use super::audit_port::{AuditAccess, AuditHead, AuditReport, AuditRoom, BrokenRecord};

/// What takes the spans of calls.
pub type TraceLayer = Box<dyn tracing_subscriber::Layer<tracing_subscriber::Registry> + Send + Sync>;

/// Sets the level of this process's log; `None` for that of the settings.
pub type LogSwitch = Arc<dyn Fn(Option<LogLevel>) + Send + Sync>;

/// What can be had without an open house, and the door into it.
#[async_trait]
pub trait Door: Send + Sync {
    /// What takes the spans of calls, where these settings name a collector. Asked once, before anything is opened.
    fn traces(&self, _config: &Config) -> Option<TraceLayer> {
        None
    }

    /// Takes what sets the level of this process's log, for houses that are opened later.
    fn takes_log_switch(&self, _switch: LogSwitch) {}

    /// Opens the house of these settings. Files that are wrong are one fault with every problem in `details.problems`
    /// (see [`Problems::into_fault`]).
    async fn open(&self, config: &Config) -> Result<Arc<dyn House>, Fault>;

    /// Serves MCP on standard input and output until its end. Settings that are wrong do not stop it: the client is told.
    async fn serve(&self, config: Result<Config, Problems>) -> Result<(), Fault>;

    /// Serves MCP over HTTP on an address of this machine until it is told to stop. Settings that are wrong end it at once.
    async fn serve_http(&self, config: &Config, address: SocketAddr) -> Result<(), Fault>;

    /// What works on this machine; never fails as a whole.
    async fn doctor(&self, config: &Config) -> Vec<Check>;

    /// Meets a server as a client would: opens, asks for its tools, and goes.
    async fn meet(&self, way: Way) -> Result<Met, Fault>;

    /// Opens what keeps house: the log as it was signed, without the rest.
    async fn keeper(&self, config: &Config) -> Result<Keeper, Fault>;

    /// Puts a copy back in the home's place.
    async fn restore(&self, config: &Config, from: &Path, reason: &str, proof: OperatorProof) -> Result<Restored, Fault>;

    /// Opens the log alone, whether it holds or not; with the operator's proof where that is needed.
    async fn audit(&self, config: &Config, how: AuditAccess) -> Result<Arc<dyn AuditRoom>, Fault>;

    /// Reads one manifest file with its schemas and examples, as start-up would.
    async fn check_manifest(&self, config: &Config, file: &Path) -> Result<ToolView, Fault>;

    /// What is odd about the rules of these files or folders (all where none is named), as if they lay in the home's policy folder.
    async fn check_policy(&self, config: &Config, files: &[PathBuf]) -> Result<PolicyCheck, Fault>;

    /// What comes of the tests of these files or folders (all where none is named).
    async fn test_policy(&self, config: &Config, files: &[PathBuf]) -> Result<Vec<CaseOutcome>, Fault>;

    /// Reads one workflow file, as starting it would.
    async fn check_workflow(&self, config: &Config, file: &Path) -> Result<WorkflowView, Fault>;
}

/// An open house.
#[async_trait]
pub trait House: Send + Sync {
    /// Every tool, by name.
    fn tools(&self) -> Vec<ToolView>;

    /// Calls a tool as the operator from the command line, on the one path. `Err` only where there is not even a call.
    async fn call(&self, ask: CallAsk) -> Result<Reply, Fault>;

    /// Every workflow, by name.
    fn workflows(&self) -> Vec<WorkflowView>;

    /// One workflow: `UNKNOWN_WORKFLOW`, `WORKFLOW_INVALID`.
    async fn workflow(&self, which: &WorkflowRef) -> Result<WorkflowView, Fault>;

    /// Starts a run as the operator; nothing drives it yet.
    async fn start(&self, which: &WorkflowRef, inputs: Map<String, Value>) -> Result<RunId, Fault>;

    /// Drives a run in this process until it ends, waits for somebody, or `stop` fires (then what runs is drained first).
    /// `LEASE_LOST` where another process drives it.
    async fn drive(&self, run: &RunId, stop: CancellationToken, notes: Arc<dyn StepNotes>) -> Result<RunStatus, Fault>;

    /// Answers a step that waits for data: `STEP_NOT_WAITING`, `INVALID_INPUT`.
    async fn submit(&self, run: &RunId, step: &StepId, output: Value) -> Result<(), Fault>;

    /// Stops a run: `UNKNOWN_RUN`, `RUN_STATE`.
    async fn cancel(&self, run: &RunId, reason: Option<String>) -> Result<(), Fault>;

    /// Raises a run's limits by so much: `UNKNOWN_RUN`, `RUN_STATE`, `INVALID_INPUT` where it has no such limit.
    async fn raise(&self, run: &RunId, by: Amounts, proof: OperatorProof) -> Result<(), Fault>;

    /// Asks every process of the home for this level of its log; `None` for that of the settings. The level in a word.
    async fn set_log_level(&self, level: Option<LogLevel>, proof: OperatorProof) -> Result<&'static str, Fault>;

    /// Runs, the newest first.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, Fault>;

    /// One run with its steps: `UNKNOWN_RUN`.
    async fn run(&self, run: &RunId) -> Result<RunView, Fault>;

    /// Events of a run with `seq > after`, at most `limit`, in order.
    async fn events(&self, run: &RunId, after: u64, limit: u32) -> Result<Vec<Event>, Fault>;

    /// Fires whenever this process has committed something.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Approvals, the newest first.
    async fn approvals(&self, filter: ApprovalFilter) -> Result<Vec<ApprovalRow>, Fault>;

    /// One approval: `UNKNOWN_APPROVAL`.
    async fn approval(&self, id: &ApprovalId) -> Result<ApprovalRow, Fault>;

    /// Says yes or no: `UNKNOWN_APPROVAL` unless it is pending. Returns it as it stands then.
    async fn decide(&self, id: &ApprovalId, answer: Answer, proof: OperatorProof) -> Result<ApprovalRow, Fault>;

    /// Takes a refusal back: `UNKNOWN_APPROVAL` unless it was refused.
    async fn lift_denial(&self, id: &ApprovalId, proof: OperatorProof) -> Result<ApprovalRow, Fault>;

    /// Why a call would be decided so; nothing is recorded and nothing runs.
    async fn explain(&self, ask: ExplainAsk) -> Result<ExplainView, Fault>;

    /// Which recorded calls changed rules would decide otherwise.
    async fn replay(&self, ask: ReplayAsk) -> Result<ReplayView, Fault>;

    /// What rules on trial would have made of calls recorded since then, of one run or all.
    async fn trials(&self, run: Option<RunId>, since: Option<Timestamp>) -> Result<Vec<TrialCount>, Fault>;

    /// Standing grants, the newest first: those that may still stand, or all there ever were.
    async fn grants(&self, all: bool) -> Result<Vec<GrantRow>, Fault>;

    /// Takes a standing grant back: `UNKNOWN_APPROVAL` unless it stands.
    async fn revoke(&self, id: &GrantId, proof: OperatorProof) -> Result<GrantRow, Fault>;

    /// Runs that asked too much.
    async fn paused_runs(&self) -> Result<Vec<PausedRun>, Fault>;

    /// Lets such a run ask again: `RUN_STATE` unless it was paused.
    async fn release(&self, run: &RunId, proof: OperatorProof) -> Result<(), Fault>;

    /// The vault.
    fn vault(&self) -> Result<Vault, Fault>;

    /// The drives.
    fn drives(&self) -> Result<Arc<dyn DriveDesk>, Fault>;

    /// The tokens of clients.
    fn tokens(&self) -> Result<Tokens, Fault>;

    /// Whether each of these words is a toolset: `CONFIG_INVALID` with those that are.
    fn check_toolsets(&self, words: &[String]) -> Result<(), Fault>;

    /// Gives everything back.
    async fn close(&self);
}

/// A call from the command line.
pub struct CallAsk {
    /// Canonical or exposed name, as it was typed.
    pub tool: String,
    /// The arguments.
    pub arguments: Value,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
    /// Fires when the operator breaks off.
    pub cancel: CancellationToken,
}

/// Rules that were looked at.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyCheck {
    /// How many rules are in force, those of the files among them.
    pub rules: usize,
    /// Digest of all of them.
    pub digest: Digest,
    /// What is odd, by file and line.
    pub findings: Vec<Finding>,
}

/// A call to be explained.
pub struct ExplainAsk {
    /// Canonical or exposed name, as it was typed.
    pub tool: String,
    /// The arguments.
    pub arguments: Value,
    /// Who asks.
    pub actor: Actor,
    /// Labels that its run holds, besides those it has.
    pub labels: Labels,
    /// The run it belongs to; a new one where none is named.
    pub run: Option<RunId>,
}

/// A call that was explained.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainView {
    /// The tool.
    pub tool: ToolName,
    /// Who asks.
    pub actor: Actor,
    /// Its effects.
    pub effects: Effects,
    /// The hosts it may reach.
    pub hosts: Vec<String>,
    /// The labels it was asked about with.
    pub labels: Labels,
    /// Digest of the rules that were asked.
    pub policy: Digest,
    /// Why.
    #[serde(flatten)]
    pub explanation: Explanation,
    /// Where a human would be asked: standing grants of this principal and tool, the newest first.
    pub grants: Vec<GrantBeside>,
}

/// Which recorded calls are asked about, and with what.
pub struct ReplayAsk {
    /// A policy file, as if it lay in the home's folder, or a folder in its place.
    pub with: PathBuf,
    /// Only calls of this run.
    pub run: Option<RunId>,
    /// Only calls recorded then or later.
    pub since: Option<Timestamp>,
}

/// What came of asking again.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayView {
    /// Digest of the rules in force.
    pub old: Digest,
    /// Digest of the changed rules.
    pub new: Digest,
    /// What is decided otherwise.
    #[serde(flatten)]
    pub replay: Replay,
}

/// Where the steps of a run that is driven here tell how far they are.
pub trait StepNotes: Send + Sync {
    /// A note for whoever watches; never awaited, may be dropped.
    fn note(&self, step: &StepId, message: &str, done: Option<f64>, total: Option<f64>);
}

/// Which workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkflowRef {
    /// One of the house's.
    Name(String),
    /// A file the operator named.
    File(PathBuf),
}

/// A tool as the operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ToolView {
    /// Canonical name.
    pub name: ToolName,
    /// Version of its manifest.
    pub version: String,
    /// For lists.
    pub title: String,
    /// For the model.
    pub description: String,
    /// `builtin` or `python`.
    pub executor: String,
    /// The widest effects.
    pub effects: Effects,
    /// The hosts that a script may reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The secrets that it may use there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What it touches.
    pub scopes: Vec<String>,
    /// What a call may use up.
    pub limits: Limits,
    /// Whether recovery may run it again.
    pub idempotent: bool,
    /// Digest of manifest and schemas.
    pub digest: Digest,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the answer.
    pub output_schema: Value,
}

/// A workflow as the operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is for.
    pub description: String,
    /// Where it comes from: `shipped`, or a file.
    pub source: String,
    /// JSON Schema (an object) of its inputs.
    pub inputs: Value,
    /// Its steps, in an order in which they can run.
    pub steps: Vec<PlannedStep>,
}

/// A step of a workflow.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedStep {
    /// Its name.
    pub id: StepId,
    /// Its kind.
    pub kind: String,
    /// What must end before it.
    pub depends_on: Vec<StepId>,
}

/// A run with its steps: a projection of its events.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// As in lists.
    #[serde(flatten)]
    pub row: RunRow,
    /// What was asked for, in words.
    pub goal: Option<String>,
    /// Its steps, in an order in which they can run; empty for an ad-hoc run.
    pub steps: Vec<StepView>,
    /// What came of it, where its workflow says.
    pub output: Option<Value>,
    /// What it may use up and has used.
    pub budget: Vec<BudgetLine>,
    /// Why it failed.
    #[serde(serialize_with = "fault_json")]
    pub error: Option<Fault>,
    /// Its folder.
    pub workspace: Option<PathBuf>,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepView {
    /// Its name.
    pub id: StepId,
    /// Its kind.
    pub kind: String,
    /// What must end before it.
    pub depends_on: Vec<StepId>,
    /// Where it stands.
    pub state: StepState,
    /// How often it was started; in a repair, how often in that.
    pub attempt: u32,
    /// The repair it runs in, or ran in last, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<String>,
    /// When it was first started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// For whom it waits.
    pub waits_for: Option<WaitsFor>,
    /// What came of it.
    pub output: Option<Value>,
    /// Why it failed, or why it is tried again.
    #[serde(serialize_with = "fault_json")]
    pub error: Option<Fault>,
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its turn has not come.
    Pending,
    /// It runs.
    Running,
    /// It waits for somebody.
    Waiting,
    /// It ended well.
    Succeeded,
    /// It did not.
    Failed,
    /// Its condition did not hold, or what it needs failed.
    Skipped,
    /// The run was stopped.
    Cancelled,
}

/// For whom a step waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum WaitsFor {
    /// The operator's yes.
    Approval {
        /// Which.
        approval: ApprovalId,
    },
    /// An agent's submission.
    Agent,
    /// A person's data.
    UserInput,
    /// A limit of the run that the operator raises.
    Limit,
    /// A time.
    Time {
        /// When it goes on.
        until: Timestamp,
    },
}

/// How a client comes to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It starts a program and speaks over its standard input and output.
    Start {
        /// The whole path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
        /// All of its environment.
        environment: Vec<(String, OsString)>,
    },
    /// It goes to an address.
    Reach {
        /// The address.
        url: String,
        /// What goes along with each request; may hold a token.
        headers: Vec<(String, String)>,
    },
}

/// A server that was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Met {
    /// Its name and version, as it says.
    pub server: String,
    /// The tools it lists.
    pub tools: Vec<String>,
    /// How long it took to open and list them.
    pub took: Millis,
}

/// One thing that works on this machine, or does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do where it does not.
    pub mend: Option<String>,
}

fn fault_json<S: serde::Serializer>(fault: &Option<Fault>, serializer: S) -> Result<S::Ok, S::Error> {
    fault.as_ref().map(Fault::to_json).serialize(serializer)
}
