//! `worker.plan`: a goal and its constraints as one task for each file.
//!
//! INVARIANT: every constraint is in exactly one task, in the caller's words. Plans for the pack it is given.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::line;
use super::names::{Names, Resource};
use super::pack::{self, Template};

/// Which file a constraint belongs to, by the words in it: on the standard library, and on FastAPI. The first that fits.
const PLACES: &[(&[&str], &str, &str)] = &[
    (&["test", "coverage"], "tests/test_api.py", "tests/test_api.py"),
    (&["readme", "document", "docs"], "README.md", "README.md"),
    (&["migration", "schema", "table", "index"], "{package}/migrations/0001_create.sql", "migrations/versions/0001_create_table.py"),
    (&["database", "sqlite", "postgres", "store", "storage", "persist", "transaction"], "{package}/storage.py", "{package}/database.py"),
    (&["field", "valid", "model", "price", "required", "length", "unique"], "{package}/models.py", "{package}/schemas.py"),
    (&["port", "host", "command", "start"], "{package}/__main__.py", "{package}/__main__.py"),
];

/// Where a constraint goes that names nothing.
const ELSEWHERE: &str = "{package}/api.py";

/// The tool.
pub struct WorkerPlan;

/// What is wanted.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct PlanInput {
    #[schemars(length(min = 1, max = 4000))]
    goal: String,
    #[serde(default)]
    #[schemars(length(max = 50), inner(length(max = 500)))]
    constraints: Vec<String>,
    /// CamelCase name, such as LineItem.
    resource: Resource,
    /// The pack it is planned for; default stdlib_service.
    #[serde(default)]
    #[schemars(schema_with = "super::codegen::templates")]
    template: Template,
}

/// What is to be done.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PlanOutput {
    summary: String,
    tasks: Vec<Task>,
}

/// One file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Task {
    path: String,
    purpose: String,
}

#[async_trait]
impl Tool for WorkerPlan {
    type Input = PlanInput;
    type Output = PlanOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &Self::Input, _context: &CallContext) -> Result<Self::Output, Fault> {
        let names = Names::of(&input.resource);
        let constraints: Vec<String> = input.constraints.iter().map(|text| line(text, 500)).filter(|text| !text.is_empty()).collect();
        let tasks: Vec<Task> = input
            .template
            .purposes()
            .iter()
            .map(|(pattern, purpose)| {
                let own: Vec<&str> =
                    constraints.iter().filter(|text| place(text, input.template) == *pattern).map(String::as_str).collect();
                let purpose = if own.is_empty() { (*purpose).to_owned() } else { format!("{purpose}; must hold: {}", own.join("; ")) };
                Task { path: pack::path(pattern, &names), purpose }
            })
            .collect();
        let summary = format!(
            "{}: a service for {} on {}, in {} files, under {} constraints",
            line(&input.goal, 400).trim_end_matches('.'),
            names.human_plural,
            input.template.ground(),
            tasks.len(),
            constraints.len()
        );
        Ok(PlanOutput { summary, tasks })
    }
}

fn place(constraint: &str, template: Template) -> &'static str {
    let lower = constraint.to_lowercase();
    let found = PLACES.iter().find(|(words, ..)| words.iter().any(|word| lower.contains(word)));
    found.map_or(ELSEWHERE, |(_, stdlib, fastapi)| if template == Template::FastapiService { fastapi } else { stdlib })
}
