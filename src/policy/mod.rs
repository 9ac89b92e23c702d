//! Decides whether a prepared call may run, by Cedar policies that are checked against the tools' own schemas.
//!
//! INVARIANT: no rule, no permission; the strictest matching verdict wins; a rule that cannot be evaluated denies; a rule that names an
//! unknown tool, attribute, effect or annotation does not load. Only this room makes a [`Grant`].
//! Does not ask the human and does not record: see `gateway` and `store`.

mod cases;
mod check;
mod conditions;
mod context;
mod current;
mod decision;
mod explain;
mod facts;
mod grant;
mod lint;
mod load;
mod principals;
mod ready;
mod replay;
mod set;
mod shape;
mod source;
mod standing;
mod trial;
mod vocabulary;

pub use cases::{CaseOutcome, tests_of};
pub use check::{Finding, FindingKind, Level};
pub use context::Question;
pub use current::Current;
pub use decision::{Decision, Reason, Verdict};
pub use explain::{Condition, Difference, Explanation, Found, MatchedRule, Must, NearMiss};
pub use facts::Facts;
pub use grant::{Grant, UsedApproval};
pub use principals::Principals;
pub use replay::{ChangedVerdict, RecordedCall, Replay, Unasked};
pub use set::PolicySet;
#[cfg(debug_assertions)]
pub use source::fixtures;
pub use source::{PolicySource, read_file, read_folder, read_present_folder, read_test_folder, shipped, shipped_tests};
pub use standing::{Coverage, StandingGrant};
pub use trial::{Trial, TrialCount};

#[cfg(test)]
mod tests;
