//! What toolgate knows of a call's surroundings when policy is asked; read by the gateway just before.

use super::StandingGrant;
use crate::domain::Labels;

/// The surroundings of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// What its run has seen so far.
    pub labels: Labels,
    /// The workflow its run follows, if it follows one.
    pub workflow: Option<String>,
    /// What the operator has allowed for a while and that could answer a question of this call.
    pub grants: Vec<StandingGrant>,
}
