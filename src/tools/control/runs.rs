//! `run.start|list|show|watch|submit|cancel`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool};

use super::port::RunControl;
use super::types::{
    Accepted, CancelInput, ListInput, ListOutput, RunInput, RunView, StartInput, StartOutput, SubmitInput, WatchInput, WatchOutput,
};

/// How often a waiting watch tells its client that it is alive: clients give up on silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// `run.start`.
pub struct RunStart(pub Arc<dyn RunControl>);
/// `run.list`.
pub struct RunList(pub Arc<dyn RunControl>);
/// `run.show`.
pub struct RunShow(pub Arc<dyn RunControl>);
/// `run.watch`.
pub struct RunWatch(pub Arc<dyn RunControl>);
/// `run.submit`.
pub struct RunSubmit(pub Arc<dyn RunControl>);
/// `run.cancel`.
pub struct RunCancel(pub Arc<dyn RunControl>);

#[async_trait]
impl Tool for RunStart {
    type Input = StartInput;
    type Output = StartOutput;

    async fn prepare(&self, input: &StartInput, _context: &CallContext) -> Result<Preparation, Fault> {
        // A yes to a start is a yes to this very definition.
        let workflow = self.0.workflow(&input.workflow)?;
        let target = json!({ "workflow": workflow.name, "version": workflow.version, "digest": workflow.digest });
        Ok(Preparation::of(Effects::only(Effect::Write)).about(target))
    }

    async fn execute(&self, input: &StartInput, context: &CallContext) -> Result<StartOutput, Fault> {
        self.0.start(&context.actor, input, context.labels).await
    }
}

#[async_trait]
impl Tool for RunList {
    type Input = ListInput;
    type Output = ListOutput;

    async fn prepare(&self, _input: &ListInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &ListInput, context: &CallContext) -> Result<ListOutput, Fault> {
        self.0.list(&context.actor, input).await
    }
}

#[async_trait]
impl Tool for RunShow {
    type Input = RunInput;
    type Output = RunView;

    async fn prepare(&self, _input: &RunInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &RunInput, context: &CallContext) -> Result<RunView, Fault> {
        self.0.show(&context.actor, &input.run_id).await
    }
}

#[async_trait]
impl Tool for RunWatch {
    type Input = WatchInput;
    type Output = WatchOutput;

    async fn prepare(&self, _input: &WatchInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &WatchInput, context: &CallContext) -> Result<WatchOutput, Fault> {
        let mut watching = self.0.watch(&context.actor, input);
        loop {
            tokio::select! {
                seen = &mut watching => return seen,
                () = context.cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "nobody watches any more")),
                () = tokio::time::sleep(SIGN_OF_LIFE) => context.progress.note("the run goes on", None, None),
            }
        }
    }
}

#[async_trait]
impl Tool for RunSubmit {
    type Input = SubmitInput;
    type Output = Accepted;

    async fn prepare(&self, _input: &SubmitInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Write)))
    }

    async fn execute(&self, input: &SubmitInput, context: &CallContext) -> Result<Accepted, Fault> {
        self.0.submit(&context.actor, input).await
    }
}

#[async_trait]
impl Tool for RunCancel {
    type Input = CancelInput;
    type Output = Accepted;

    async fn prepare(&self, _input: &CancelInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Write)))
    }

    async fn execute(&self, input: &CancelInput, context: &CallContext) -> Result<Accepted, Fault> {
        self.0.cancel(&context.actor, input).await
    }
}
