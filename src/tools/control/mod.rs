//! Tools for runs, workflows and artifacts: `run.*`, `workflow.*`, `artifact.*`.
//!
//! INVARIANT: none of them approves, and none shows or changes a run of another principal. What they do is behind the port
//! [`RunControl`], which the engine implements.

mod artifacts;
mod audit;
mod port;
mod runs;
#[cfg(test)]
mod tests;
pub mod types;
mod workflows;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Handler, handler};

pub use audit::{AuditVerify, JournalCheck};
pub use port::RunControl;

/// The handlers by their tools' canonical names.
#[must_use]
pub fn handlers(control: &Arc<dyn RunControl>) -> BTreeMap<&'static str, Arc<dyn Handler>> {
    let control = || Arc::clone(control);
    BTreeMap::from([
        ("artifact.list", handler(artifacts::ArtifactListing(control()))),
        ("artifact.read", handler(artifacts::ArtifactRead)),
        ("run.cancel", handler(runs::RunCancel(control()))),
        ("run.list", handler(runs::RunList(control()))),
        ("run.show", handler(runs::RunShow(control()))),
        ("run.start", handler(runs::RunStart(control()))),
        ("run.submit", handler(runs::RunSubmit(control()))),
        ("run.watch", handler(runs::RunWatch(control()))),
        ("workflow.list", handler(workflows::WorkflowListing(control()))),
        ("workflow.show", handler(workflows::WorkflowShow(control()))),
        ("workflow.validate", handler(workflows::WorkflowValidate(control()))),
    ])
}
