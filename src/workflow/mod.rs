//! Workflow definitions: from a YAML file to an acyclic [`Plan`] with compiled expressions.
//!
//! INVARIANT: pure apart from [`Library`], which reads files; a definition with a problem never becomes a Plan. Does not run anything:
//! what happens next in a run is `run`'s, doing it is `engine`'s.

mod definition;
mod expression;
mod graph;
mod inputs;
mod kind;
mod library;
mod node;
mod plan;
mod reader;
mod repair;
mod scope;
mod step;
mod template;
#[cfg(test)]
mod tests;
mod values;

pub use definition::{read_stored, read_yaml};
pub use expression::{Expression, Scope, StepView, Uses};
pub use inputs::{Input, Inputs};
pub use kind::StepKind;
pub use library::{Entry, Library};
pub use plan::{By, OnFailure, OnLimit, Plan, Repair, Retry, RunLimits, Step};
pub use template::Template;
