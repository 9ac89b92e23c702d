//! What policy says of a call.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::{Grant, Trial};
use crate::call::PreparedCall;
use crate::domain::{Digest, ErrorCode, Fault, GrantId};

/// What may become of a call; ordered, and the strictest that any rule gives wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may run.
    Allow,
    /// A human must say yes to this exact call.
    Ask,
    /// It must not run.
    Deny,
}

impl Verdict {
    /// The word as it stands in events and test files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// A rule that led to a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The rule's `@id`, else its file and line; `default` where no rule matched.
    pub rule: String,
    /// Why, in the words of its `@ask` or `@reason`; may be empty.
    pub text: String,
}

/// What policy decided on one call.
#[derive(Debug)]
#[must_use = "a call without a decision must not run"]
pub struct Decision {
    /// What may become of it.
    pub verdict: Verdict,
    /// The rules that led there; never empty.
    pub reasons: Vec<Reason>,
    /// Rules that could not be evaluated, and why: for the operator's log, not for agents.
    pub failures: Vec<Reason>,
    /// What rules on trial would have made of it.
    pub trials: Vec<Trial>,
    /// The standing grant that turned a question into a yes, where one did; its use must be recorded with the intent.
    pub standing: Option<GrantId>,
    /// The call that may run, until its Grant is taken.
    allowed: Option<Digest>,
    taken: AtomicBool,
}

impl Decision {
    pub(super) fn new(verdict: Verdict, reasons: Vec<Reason>, failures: Vec<Reason>, call: Option<Digest>) -> Self {
        let allowed = call.filter(|_| verdict == Verdict::Allow);
        Self { verdict, reasons, failures, trials: Vec::new(), standing: None, allowed, taken: AtomicBool::new(false) }
    }

    pub(super) fn with_trials(self, trials: Vec<Trial>) -> Self {
        Self { trials, ..self }
    }

    /// A question that a standing grant answers.
    pub(super) fn answered(self, grant: GrantId, call: Digest) -> Self {
        match self.verdict {
            Verdict::Ask => Self { verdict: Verdict::Allow, standing: Some(grant), allowed: Some(call), ..self },
            Verdict::Allow | Verdict::Deny => self,
        }
    }

    /// The Grant of an allowed call: once, and only for the call that was decided on. `None` otherwise: a second run needs a
    /// second decision.
    #[must_use]
    pub fn grant(&self, call: &PreparedCall) -> Option<Grant> {
        let digest = self.allowed.filter(|digest| digest == call.digest())?;
        (!self.taken.swap(true, Ordering::AcqRel)).then(|| Grant::by_policy(digest))
    }

    /// The refusal as the caller is told it: reasons, but no rule's text and no failure's detail.
    #[must_use]
    pub fn refusal(&self) -> Fault {
        let told: Vec<&str> = self.reasons.iter().map(|reason| reason.text.as_str()).filter(|text| !text.is_empty()).collect();
        let message =
            if told.is_empty() { "policy refused the call".to_owned() } else { format!("policy refused the call: {}", told.join("; ")) };
        let rules: Vec<&str> = self.reasons.iter().map(|reason| reason.rule.as_str()).collect();
        Fault::new(ErrorCode::PolicyDenied, message)
            .hint("the same call will be refused again; do it another way or ask the operator")
            .details(serde_json::json!({ "rules": rules }))
    }
}
