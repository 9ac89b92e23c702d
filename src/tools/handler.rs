//! What a tool is to the rest of the house: parse once, prepare by reading, execute.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::call::{Answers, Artifacts, Inquiry, ParsedArgs, Preparation, Progress, RawOutput, WallTime};
use crate::confine::Folder;
use crate::domain::{Actor, CallId, Digest, ErrorCode, Fault, Labels, Limits, RunId};

use super::Brought;

/// What a call brings with it, besides its arguments. Ports a tool needs beyond these are given to it when it is made.
#[derive(Clone)]
pub struct CallContext {
    /// This call.
    pub call: CallId,
    /// The run it belongs to.
    pub run: RunId,
    /// Who asks.
    pub actor: Actor,
    /// Whether sandboxed code made this call; such a call may not start code that makes calls.
    pub from_code: bool,
    /// The digest of this very deed; zero while the call is prepared.
    pub digest: Digest,
    /// The call's wall time, which stands still while a human is asked.
    pub wall: Arc<WallTime>,
    /// What the call's surroundings have seen, and so what a run that it starts begins with.
    pub labels: Labels,
    /// Where the call tells which labels it brings, beyond those of its manifest.
    pub brought: Arc<Brought>,
    /// Stored bytes, as far as whoever asks may read them; what is put here belongs to the run.
    pub artifacts: Arc<dyn Artifacts>,
    /// The run's workspace.
    pub workspace: Arc<Folder>,
    /// What the call may use up.
    pub limits: Limits,
    /// Fires when the answer is no longer wanted or the wall time is over; the tool must then end and undo nothing.
    pub cancel: CancellationToken,
    /// Where progress goes.
    pub progress: Arc<dyn Progress>,
}

impl CallContext {
    /// Asks whoever made the call. The wall time stands still meanwhile, and the answers are recorded with the outcome. To be done before the tool
    /// changes anything: a client of the newer generation answers by making the call anew.
    ///
    /// # Errors
    /// As [`Progress::ask`], to be given back as they are; `CANCELLED`.
    pub async fn ask(&self, inquiry: Inquiry) -> Result<Answers, Fault> {
        let _leisure = self.wall.pause();
        let answers = tokio::select! {
            answers = self.progress.ask(inquiry) => answers?,
            () = self.cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "the call was cancelled while its client was asked")),
        };
        self.brought.answered(&answers);
        Ok(answers)
    }
}

/// A tool with typed input and output: what authors of built-in tools write.
#[async_trait]
pub trait Tool: Send + Sync + 'static {
    /// The arguments. Derive `Deserialize` with `deny_unknown_fields`.
    type Input: DeserializeOwned + JsonSchema + Send + Sync + 'static;
    /// The structured answer.
    type Output: Serialize + JsonSchema + Send;

    /// The effects and target state of this very call. Reads only.
    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault>;

    /// Does it.
    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault>;
}

/// A tool with its types erased: what the registry holds.
#[async_trait]
pub trait Handler: Send + Sync {
    /// JSON Schema of the arguments.
    fn input_schema(&self) -> Value;
    /// JSON Schema of the structured answer.
    fn output_schema(&self) -> Value;
    /// Reads the arguments once. They have passed the input schema already.
    fn parse(&self, arguments: Value) -> Result<ParsedArgs, Fault>;
    /// See [`Tool::prepare`].
    async fn prepare(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<Preparation, Fault>;
    /// See [`Tool::execute`].
    async fn execute(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<RawOutput, Fault>;
}

/// Erases a tool's types.
pub fn handler<T: Tool>(tool: T) -> Arc<dyn Handler> {
    Arc::new(Typed(tool))
}

struct Typed<T>(T);

#[async_trait]
impl<T: Tool> Handler for Typed<T> {
    fn input_schema(&self) -> Value {
        schemars::generate::SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T::Input>().to_value()
    }

    fn output_schema(&self) -> Value {
        schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T::Output>().to_value()
    }

    fn parse(&self, arguments: Value) -> Result<ParsedArgs, Fault> {
        let typed: T::Input = <T::Input as serde::Deserialize>::deserialize(&arguments)
            .map_err(|error| Fault::new(ErrorCode::InvalidInput, format!("the arguments do not fit: {error}")))?;
        Ok(ParsedArgs::new(arguments, typed))
    }

    async fn prepare(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<Preparation, Fault> {
        self.0.prepare(arguments.typed()?, context).await
    }

    async fn execute(&self, arguments: &ParsedArgs, context: &CallContext) -> Result<RawOutput, Fault> {
        let output = self.0.execute(arguments.typed()?, context).await?;
        serde_json::to_value(output).map(RawOutput).map_err(|error| Fault::internal(format!("the answer has no JSON form: {error}")))
    }
}
