//! What the home and the program say: manifests, rules and workflows, read and checked before anything is opened.
//!
//! INVARIANT: every problem of every file is told at once. Touches no database.

use std::collections::BTreeSet;
use std::path::Path;

use crate::call::is_tool_call;
use crate::config::Config;
use crate::domain::{ErrorCode, Fault, Problem, Problems, ToolName, beside};
use crate::manifest::{self, ToolDef};
use crate::workflow::Library;

use super::policies;

/// What the home and the program say, read and checked.
pub(super) struct Files {
    pub(super) tools: Vec<ToolDef>,
    pub(super) policies: policies::Policies,
    pub(super) workflows: Library,
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// Every problem, in `details.problems`, with the code of the first.
    pub(super) fn read(config: &Config) -> Result<Self, Fault> {
        let home = &config.home.value;
        let mut problems: Vec<Problem> = Vec::new();
        let mut code = ErrorCode::Internal;
        let mut keep = |found: Problems, of: ErrorCode| {
            if problems.is_empty() {
                code = of;
            }
            problems.extend(found.list().iter().cloned());
        };
        let files = manifest_files(home);
        #[cfg(debug_assertions)]
        let files = files.and_then(|files| with_fixtures(config, files));
        let tools = || files.and_then(|files| manifest::load(&files));
        let (tools, workflows) = beside("workflows", tools, || Library::open(Some(&home.join("workflows"))));
        let tools = tools.map_err(|found| keep(found, ErrorCode::ManifestInvalid)).unwrap_or_default();
        let policies = policies::Policies::read(config).map_err(|found| keep(found, ErrorCode::PolicyInvalid));
        let workflows = workflows.map_err(|found| keep(found, ErrorCode::WorkflowInvalid));
        let workflows = workflows.and_then(|workflows| {
            let named = workflows.check_tools(&callable(&tools));
            named.map_err(|found| keep(found, ErrorCode::WorkflowInvalid)).map(|()| workflows)
        });
        match (Problems::check(problems), workflows, policies) {
            (Ok(()), Ok(workflows), Ok(policies)) => Ok(Self { tools, policies, workflows }),
            (Err(problems), ..) => Err(problems.into_fault(code)),
            (Ok(()), ..) => Err(Fault::internal("files failed without a problem")),
        }
    }
}

/// The tools that a step may name: every one but `tool.call`, as a step names its tool itself.
pub(super) fn callable(tools: &[ToolDef]) -> BTreeSet<ToolName> {
    tools.iter().map(|tool| tool.name.clone()).filter(|name| !is_tool_call(name.as_str())).collect()
}

pub(super) fn manifest_files(home: &Path) -> Result<Vec<manifest::ManifestFile>, Problems> {
    let mut files = manifest::shipped_files()?;
    files.extend(manifest::read_folder(&home.join("tool-manifests"))?);
    Ok(files)
}

/// These manifests and, where they are asked for, those of the fixtures.
#[cfg(debug_assertions)]
fn with_fixtures(config: &Config, mut files: Vec<manifest::ManifestFile>) -> Result<Vec<manifest::ManifestFile>, Problems> {
    if config.fixtures {
        files.extend(manifest::fixture_files()?);
    }
    Ok(files)
}
