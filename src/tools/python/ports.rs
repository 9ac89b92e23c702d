//! What `python.run` needs from rooms above it: calls of tools.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::Progress;
use crate::domain::{Effects, Fault, Labels, RunId, ToolName};
use crate::sandbox::Recording;
use crate::tools::CallContext;

/// A tool that a program may call.
#[derive(Debug, Clone)]
pub struct CodeTool {
    /// Its id.
    pub name: ToolName,
    /// The name model APIs accept, which a program may use as well.
    pub exposed: String,
    /// Its widest effects.
    pub effects: Effects,
    /// What the program is shown: name, title, description, input_schema, output_schema, effects.
    pub shown: Value,
}

/// One call that a program makes.
pub struct CodeCall {
    /// The tool.
    pub tool: ToolName,
    /// The arguments.
    pub arguments: Value,
    /// The number of the operation in the program.
    pub number: u32,
    /// What the program saw since its last operation, to be recorded with the intent.
    pub seen: Value,
    /// Fires when the program has ended.
    pub cancel: CancellationToken,
    /// Hears of waiting for a human.
    pub progress: Arc<dyn Progress>,
}

/// A program that goes on where it was interrupted.
pub struct Resumed {
    /// What it had done and seen.
    pub recording: Recording,
    /// The run its calls belong to: that of the first attempt, whose workspace holds what they left.
    pub run: RunId,
}

/// Calls of tools by programs: each walks the one path, with its own decision and its own record.
#[async_trait]
pub trait CodeCalls: Send + Sync {
    /// The tools of these names, in the order named.
    ///
    /// # Errors
    /// `UNKNOWN_TOOL`; `INVALID_INPUT` for tools that programs may never call.
    fn describe(&self, names: &[String]) -> Result<Vec<CodeTool>, Fault>;

    /// What this very call did before it was interrupted, if it was. From then on it counts as taken up.
    ///
    /// # Errors
    /// Where the log cannot be read or written; `REPLAY_DIVERGED` where more was seen than was kept.
    async fn resume(&self, context: &CallContext) -> Result<Option<Resumed>, Fault>;

    /// What a run has seen so far.
    ///
    /// # Errors
    /// Where that cannot be read.
    async fn labels_of(&self, run: RunId) -> Result<Labels, Fault>;

    /// Makes a call on behalf of the program that the call of `context` runs.
    ///
    /// # Errors
    /// Whatever the path answers.
    async fn call(&self, context: &CallContext, call: CodeCall) -> Result<Value, Fault>;
}
