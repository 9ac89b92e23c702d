//! What a handler gives back, and what the caller gets.

use serde_json::Value;

use crate::domain::{CallId, Fault, RunId};

use super::ArtifactRef;

/// What a handler returned, not yet checked against the tool's output schema.
#[derive(Debug, Clone, PartialEq)]
pub struct RawOutput(pub Value);

/// An output that fits its tool's schema and limits. `artifact` holds the canonical JSON where it is too large for the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedOutput {
    /// The structured value, whole.
    pub value: Value,
    /// The same as stored bytes, where it is large.
    pub artifact: Option<ArtifactRef>,
}

/// The end of the path.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The call, as it stands in the journal.
    pub call: CallId,
    /// The run whose log holds it.
    pub run: RunId,
    /// What came of it.
    pub outcome: Result<CheckedOutput, Fault>,
}
