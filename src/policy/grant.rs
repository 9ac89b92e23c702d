//! Permission as a value.

use crate::call::PreparedCall;
use crate::domain::{ApprovalId, Digest};

/// Leave to run one exact call once. Made only by a decision that allows and by an approval that was used up; neither clonable nor
/// constructible elsewhere, and consumed by whoever executes.
#[derive(Debug)]
#[must_use = "a grant is leave to run a call"]
pub struct Grant {
    digest: Digest,
    approval: Option<ApprovalId>,
}

impl Grant {
    pub(super) fn by_policy(digest: Digest) -> Self {
        Self { digest, approval: None }
    }

    /// The Grant that a human's yes gives, now that the yes is used up.
    pub fn by_approval(used: UsedApproval) -> Self {
        Self { digest: used.digest, approval: Some(used.id) }
    }

    /// Whether it is leave for this very call.
    #[must_use]
    pub fn covers(&self, call: &PreparedCall) -> bool {
        self.digest == *call.digest()
    }

    /// The approval behind it, if a human was asked.
    #[must_use]
    pub fn approval(&self) -> Option<ApprovalId> {
        self.approval
    }
}

/// An approval that was used up by a committed transaction: proof that no other call can use it.
#[derive(Debug)]
pub struct UsedApproval {
    id: ApprovalId,
    digest: Digest,
}

impl UsedApproval {
    /// To be called only after the transaction with `UseApproval {id, digest}` has committed.
    #[must_use]
    pub(crate) fn after_commit(id: ApprovalId, digest: Digest) -> Self {
        Self { id, digest }
    }
}
