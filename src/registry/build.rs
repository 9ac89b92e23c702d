//! Joins manifests with handlers, and tells all that does not fit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Entry, Registry, pretty, schema_file};
use crate::domain::{Problem, Problems, ToolName};
use crate::manifest::{Executor, ToolDef};
use crate::tools::Handler;

impl Registry {
    /// Joins each manifest with its handler.
    ///
    /// # Errors
    /// Every tool without a handler, handler without a manifest, two tools that are exposed under one name, and schema of a built-in
    /// tool that differs from what its handler reads and gives.
    pub fn build(tools: Vec<ToolDef>, mut handlers: BTreeMap<ToolName, Arc<dyn Handler>>) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut entries: BTreeMap<ToolName, Entry> = BTreeMap::new();
        let mut exposed: HashMap<String, ToolName> = HashMap::new();
        for def in tools {
            let name = def.name.clone();
            if let Some(other) = exposed.get(&name.exposed()) {
                let message = format!("tools `{other}` and `{name}` are both exposed as `{}`", name.exposed());
                problems.push(Problem::new(&def.file, message).hint("rename one of them"));
                handlers.remove(&name);
                continue;
            }
            exposed.insert(name.exposed(), name.clone());
            let Some(handler) = handlers.remove(&name) else {
                problems.push(
                    Problem::new(&def.file, format!("tool `{name}` has no handler"))
                        .hint("a tool without Rust code is `executor: {python: …}`"),
                );
                continue;
            };
            if def.executor == Executor::Builtin {
                differences(&def, handler.as_ref(), &mut problems);
            }
            entries.insert(name.clone(), Entry { exposed: name.exposed(), def, handler });
        }
        for name in handlers.keys() {
            problems
                .push(Problem::new(format!("tool-manifests/{name}.yaml"), format!("handler `{name}` has no manifest")).hint("write one"));
        }
        Problems::check(problems)?;
        Ok(Self { tools: entries, exposed })
    }
}

fn differences(def: &ToolDef, handler: &dyn Handler, problems: &mut Vec<Problem>) {
    for (kind, stated, own) in [("input", &def.input, handler.input_schema()), ("output", &def.output, handler.output_schema())] {
        if *stated.json() != own {
            let message = format!("schema `{}` of `{}` is not what the code has", schema_file(&def.name, kind), def.name);
            problems.push(Problem::new(&def.file, message).hint("make the files anew: UPDATE_SCHEMAS=1 cargo test schemas"));
        }
    }
}

/// What the files in `schemas/` must hold: file name → text.
#[must_use]
pub fn generated_schemas(handlers: &BTreeMap<ToolName, Arc<dyn Handler>>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (name, handler) in handlers {
        files.insert(schema_file(name, "input"), pretty(&handler.input_schema()));
        files.insert(schema_file(name, "output"), pretty(&handler.output_schema()));
    }
    files
}
