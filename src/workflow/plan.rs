//! A workflow that can be run: checked, ordered, its expressions compiled.
//!
//! INVARIANT: acyclic; every step comes after those it depends on; every expression names only declared inputs and steps that end
//! before it is evaluated. Made only by reading a definition.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::{Allowance, Digest, ErrorCode, Fault, Millis, StepId, ToolName};
use crate::schema::Schema;

use super::expression::{Expression, Scope, Uses};
use super::inputs::Inputs;
use super::kind::StepKind;
use super::scope::{Named, ToolSet};
use super::template::Template;

/// A checked workflow.
#[derive(Debug)]
pub struct Plan {
    pub(super) name: String,
    pub(super) version: semver::Version,
    pub(super) description: String,
    pub(super) goal: Option<Template>,
    pub(super) inputs: Inputs,
    pub(super) limits: RunLimits,
    /// The tools its runs may call, where it says.
    pub(super) tools: Option<ToolSet>,
    /// Every tool that is named anywhere, with its line.
    pub(super) named: Vec<Named>,
    pub(super) steps: Vec<Step>,
    pub(super) places: HashMap<StepId, usize>,
    pub(super) source: Value,
    pub(super) digest: Digest,
}

/// What a run may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Steps that a run may take: those of the definition, and those that a repair repeats.
    pub max_steps: u32,
    /// Calls that it may make, retries included.
    pub max_tool_calls: Option<u32>,
    /// Tokens that agents may report.
    pub max_tokens: Option<u64>,
    /// Bytes that may leave.
    pub max_bytes_out: Option<u64>,
    /// Time from the start to the end, waiting for humans left out.
    pub wall: Option<Millis>,
    /// What hitting one leads to.
    pub on_limit: OnLimit,
}

/// What happens to a run that hits a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLimit {
    /// It fails.
    Fail,
    /// It waits until the operator raises the limit.
    Wait,
}

impl RunLimits {
    /// What a run may use up; what the definition leaves open is as `default` says.
    #[must_use]
    pub fn allowance(&self, default: &Allowance) -> Allowance {
        let own = Allowance {
            steps: Some(self.max_steps.into()),
            calls: self.max_tool_calls.map(u64::from),
            tokens: self.max_tokens,
            wall_ms: self.wall.map(|wall| wall.0),
            bytes_out: self.max_bytes_out,
        };
        own.or(default).or(&Allowance { calls: Some(DEFAULT_CALLS), ..Allowance::default() })
    }
}

/// Calls of a run of which neither its definition nor the settings say how many.
const DEFAULT_CALLS: u64 = 1_000;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// What it does.
    pub kind: StepKind,
    /// Steps that must have ended before.
    pub depends_on: Vec<StepId>,
    /// What it works on.
    pub input: Template,
    /// Runs only where this holds.
    pub when: Option<Expression>,
    /// What happens after a failure.
    pub retry: Retry,
    /// How long one attempt may take; for a step that waits, how long it waits.
    pub timeout: Option<Millis>,
    /// Who does it.
    pub by: By,
    /// What an agent is told.
    pub prompt: Template,
    /// What its output must be.
    pub output_schema: Option<Schema>,
    /// Whether its failure ends what depends on it.
    pub on_failure: OnFailure,
    /// Who mends what its checks found.
    pub repair: Option<Repair>,
    /// The tools it may call, where it says.
    pub(super) tools: Option<ToolSet>,
    /// The tools its kind calls.
    pub(super) needs: Vec<ToolName>,
    pub(super) uses: Uses,
}

/// Who does an agent's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The agent that drives the run.
    Agent,
    /// The built-in worker.
    Builtin,
    /// The agent where an agent started the run, else the built-in worker.
    Auto,
}

/// What a failed step means for those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They do not run, and the run fails.
    Fail,
    /// They run and see `status == "failed"`.
    Continue,
}

/// When a failed step is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first.
    pub max: u32,
    /// Wait before the second try; doubled for each one after it.
    pub backoff: Millis,
    /// Only after these codes; where empty, after every one that another try can mend.
    pub on: Vec<ErrorCode>,
}

/// Who mends what the checks of a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The step that is given the findings; it always ends before the checks begin.
    pub step: StepId,
    /// How often at most.
    pub max: u32,
    /// What runs again: that step, what leads from it to the checks, and the checks; in the order of the plan.
    pub again: Vec<StepId>,
}

impl Plan {
    /// The workflow's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its version.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        &self.version
    }

    /// What it is for.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What it must be told.
    #[must_use]
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// What its runs may use up.
    #[must_use]
    pub fn limits(&self) -> &RunLimits {
        &self.limits
    }

    /// Every step after those it depends on.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step of that name.
    #[must_use]
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.places.get(id).and_then(|place| self.steps.get(*place))
    }

    /// The definition as data: what a run stores, and what [`super::read_stored`] reads back.
    #[must_use]
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Names the definition: the same for every file that says the same, whatever its comments and layout.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The goal of a run with these inputs, where the workflow words it.
    ///
    /// # Errors
    /// `EXPRESSION_INVALID`.
    pub fn goal(&self, scope: &Scope) -> Result<Option<String>, Fault> {
        let Some(template) = &self.goal else { return Ok(None) };
        let goal = template.render(scope)?;
        Ok(Some(goal.as_str().map_or_else(|| goal.to_string(), str::to_owned)))
    }
}

impl Step {
    /// Steps whose outputs its expressions read.
    pub fn reads(&self) -> impl Iterator<Item = &str> {
        self.uses.steps.iter().map(String::as_str)
    }
}
