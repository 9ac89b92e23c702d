//! `worker.codegen`: a template pack rendered for a resource.
//!
//! INVARIANT: the code depends on the resource's name alone; what plan and research say goes into the README, as text. Writes no file.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::line;
use super::names::{Names, Resource};
use super::pack::{self, Rendered, Template, Values};

/// Sources that the README names.
const MOST_SOURCES: usize = 20;

/// The tool.
pub struct WorkerCodegen;

/// What to make.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct CodegenInput {
    #[schemars(schema_with = "templates")]
    template: Template,
    /// CamelCase name, such as LineItem.
    resource: Resource,
    /// What worker.plan answered.
    #[serde(default)]
    plan: Option<Value>,
    /// What worker.research answered.
    #[serde(default)]
    research: Option<Value>,
    /// What checks found in the files given before. Templates give the same files all the same.
    #[serde(default)]
    #[expect(dead_code, reason = "checked, then not needed: a template knows no other files")]
    repair: Option<Value>,
}

/// The words alone, without a sentence for each.
pub(super) fn templates(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "enum": ["stdlib_service", "fastapi_service"] })
}

/// The files.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct CodegenOutput {
    files: Vec<Rendered>,
    /// Packages that the checks need.
    requirements: Vec<String>,
    summary: String,
}

#[async_trait]
impl Tool for WorkerCodegen {
    type Input = CodegenInput;
    type Output = CodegenOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &Self::Input, _context: &CallContext) -> Result<Self::Output, Fault> {
        let names = Names::of(&input.resource);
        let said = |value: &Option<Value>, field: &str| {
            value.as_ref().and_then(|value| value.get(field)).and_then(Value::as_str).map_or_else(String::new, |text| line(text, 1_000))
        };
        let values = Values {
            goal: said(&input.plan, "goal"),
            plan_summary: said(&input.plan, "summary"),
            citations: citations(input.research.as_ref()),
            names,
        };
        let files = pack::render(input.template, &values)?;
        let summary = format!(
            "{} files on {}: the package `{}` with models, migrations, storage and an HTTP interface for {}, and its tests",
            files.len(),
            input.template.ground(),
            values.names.package,
            values.names.human_plural
        );
        Ok(CodegenOutput { files, requirements: input.template.requirements(), summary })
    }
}

fn citations(research: Option<&Value>) -> Vec<String> {
    let list = research.and_then(|research| research.get("citations")).and_then(Value::as_array);
    let told = list.into_iter().flatten().filter_map(|citation| {
        let field = |name: &str| citation.get(name).and_then(Value::as_str).map(|text| line(text, 200));
        Some(format!("{} ({})", field("title")?, field("source")?))
    });
    told.take(MOST_SOURCES).collect()
}
