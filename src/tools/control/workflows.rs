//! `workflow.list|show|validate`.

use std::sync::Arc;

use async_trait::async_trait;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::port::RunControl;
use super::types::{ListWorkflows, ValidateInput, ValidateOutput, WorkflowInput, WorkflowList, WorkflowView};

/// `workflow.list`.
pub struct WorkflowListing(pub Arc<dyn RunControl>);
/// `workflow.show`.
pub struct WorkflowShow(pub Arc<dyn RunControl>);
/// `workflow.validate`.
pub struct WorkflowValidate(pub Arc<dyn RunControl>);

#[async_trait]
impl Tool for WorkflowListing {
    type Input = ListWorkflows;
    type Output = WorkflowList;

    async fn prepare(&self, _input: &ListWorkflows, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &ListWorkflows, _context: &CallContext) -> Result<WorkflowList, Fault> {
        Ok(self.0.workflows(input.detail))
    }
}

#[async_trait]
impl Tool for WorkflowShow {
    type Input = WorkflowInput;
    type Output = WorkflowView;

    async fn prepare(&self, _input: &WorkflowInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &WorkflowInput, _context: &CallContext) -> Result<WorkflowView, Fault> {
        self.0.workflow(&input.workflow)
    }
}

#[async_trait]
impl Tool for WorkflowValidate {
    type Input = ValidateInput;
    type Output = ValidateOutput;

    async fn prepare(&self, _input: &ValidateInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &ValidateInput, _context: &CallContext) -> Result<ValidateOutput, Fault> {
        Ok(self.0.validate(&input.definition))
    }
}
