//! What the tools need of the engine.

use async_trait::async_trait;

use crate::domain::{Actor, Fault, Labels, RunId};

use super::types::{
    Accepted, ArtifactList, CancelInput, ListInput, ListOutput, RunView, StartInput, StartOutput, SubmitInput, ValidateOutput, WatchInput,
    WatchOutput, WorkflowList, WorkflowView,
};

/// Runs and workflows, as the one who asks may see them: a run of another principal is `UNKNOWN_RUN`, as is none.
#[async_trait]
pub trait RunControl: Send + Sync {
    /// Starts a workflow, whose run begins with the labels of whoever starts it. Fails with `UNKNOWN_WORKFLOW` or `INVALID_INPUT`.
    async fn start(&self, who: &Actor, request: &StartInput, labels: Labels) -> Result<StartOutput, Fault>;
    /// The runs of whoever asks.
    async fn list(&self, who: &Actor, request: &ListInput) -> Result<ListOutput, Fault>;
    /// One run.
    async fn show(&self, who: &Actor, run: &RunId) -> Result<RunView, Fault>;
    /// Waits until there is something new after the cursor, an agent is waited for, the run is over, or the time is.
    async fn watch(&self, who: &Actor, request: &WatchInput) -> Result<WatchOutput, Fault>;
    /// Takes an agent's answer. Fails with `STEP_NOT_WAITING`, or `INVALID_INPUT` where it does not fit the step's output schema.
    async fn submit(&self, who: &Actor, request: &SubmitInput) -> Result<Accepted, Fault>;
    /// Asks for a run to stop. Fails with `RUN_STATE` where it is over.
    async fn cancel(&self, who: &Actor, request: &CancelInput) -> Result<Accepted, Fault>;
    /// Artifacts that a run's log names.
    async fn artifacts(&self, who: &Actor, run: &RunId) -> Result<ArtifactList, Fault>;
    /// Workflows that can be started; in detail with all that `workflow` tells of each.
    fn workflows(&self, detail: bool) -> WorkflowList;
    /// One workflow. Fails with `UNKNOWN_WORKFLOW`.
    fn workflow(&self, name: &str) -> Result<WorkflowView, Fault>;
    /// What is wrong with a definition.
    fn validate(&self, definition: &str) -> ValidateOutput;
}
