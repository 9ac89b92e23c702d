//! `audit.verify`: is the log whole?
//!
//! INVARIANT: reads, and tells no record's content.

use std::sync::Arc;

use async_trait::async_trait;

use crate::call::Preparation;
use crate::domain::{Actor, Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::types::{AuditVerifyInput, AuditVerifyOutput};

/// What the tool needs of the log.
#[async_trait]
pub trait JournalCheck: Send + Sync {
    /// Reads the whole log again, and every checkpoint. Of a record that does not hold, the run is told to whom it belongs.
    async fn verify(&self, who: &Actor) -> Result<AuditVerifyOutput, Fault>;
}

/// `audit.verify`.
pub struct AuditVerify(pub Arc<dyn JournalCheck>);

#[async_trait]
impl Tool for AuditVerify {
    type Input = AuditVerifyInput;
    type Output = AuditVerifyOutput;

    async fn prepare(&self, _input: &AuditVerifyInput, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, _input: &AuditVerifyInput, context: &CallContext) -> Result<AuditVerifyOutput, Fault> {
        self.0.verify(&context.actor).await
    }
}
