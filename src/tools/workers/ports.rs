//! What the workers need from rooms above them: calls of other tools.

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{Effects, Fault};
use crate::tools::CallContext;

/// Calls of tools by a worker: each walks the one path, with its own decision and its own record, as those of a program do.
#[async_trait]
pub trait ToolCalls: Send + Sync {
    /// The widest effects of these tools together.
    ///
    /// # Errors
    /// `UNKNOWN_TOOL`.
    fn effects_of(&self, tools: &[&str]) -> Result<Effects, Fault>;

    /// Makes call `number` of the worker that the call of `context` runs.
    ///
    /// # Errors
    /// Whatever the path answers.
    async fn call(&self, context: &CallContext, number: u32, tool: &str, arguments: Value) -> Result<Value, Fault>;
}
