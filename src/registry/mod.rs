//! Manifests and handlers, joined: the only way to parse, prepare, execute and check a call.
//!
//! INVARIANT: every tool has exactly one handler and the schemas its manifest shows are the handler's own; nothing is executed without
//! a Grant that covers the very call. Does not decide and does not record: `gateway` does.

mod build;
mod stages;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::domain::{ToolName, nearest};
use crate::manifest::ToolDef;
use crate::tools::Handler;

pub use build::generated_schemas;

/// A tool that can be called.
pub struct Entry {
    /// What its manifest says.
    pub def: ToolDef,
    /// Its name as model APIs accept it.
    pub exposed: String,
    handler: Arc<dyn Handler>,
}

/// Scopes of tools for which a `run_id` is what they look at, not where they work.
const ABOUT_RUNS: &[&str] = &["runs", "artifacts"];

impl Entry {
    /// Whether the tool is about runs: what `run_id` names is looked at, not worked in.
    #[must_use]
    pub fn is_about_runs(&self) -> bool {
        self.def.scopes.iter().any(|scope| ABOUT_RUNS.contains(&scope.as_str()))
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("def", &self.def).field("exposed", &self.exposed).finish_non_exhaustive()
    }
}

/// All tools.
#[derive(Debug)]
pub struct Registry {
    tools: BTreeMap<ToolName, Entry>,
    exposed: HashMap<String, ToolName>,
}

impl Registry {
    /// A tool by its canonical or exposed name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        let canonical = match self.exposed.get(name) {
            Some(canonical) => canonical.clone(),
            None => name.parse().ok()?,
        };
        self.tools.get(&canonical)
    }

    /// All tools, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.tools.values()
    }

    /// How many tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The tool names that somebody may have meant, the nearest first; at most three.
    #[must_use]
    pub fn suggest(&self, name: &str) -> Vec<&str> {
        let dotted = name.replace('_', ".");
        let mut found = Vec::new();
        while found.len() < 3 {
            let left = || self.tools.keys().map(ToolName::as_str).filter(|known| !found.contains(known));
            let Some(near) = nearest(name, left()).or_else(|| nearest(&dotted, left())) else { break };
            found.push(near);
        }
        if found.is_empty() {
            // `read` for `workspace.read`, `git` for `repo.git.…`.
            let word = name.to_ascii_lowercase();
            let part = |known: &&str| word.len() > 2 && known.split('.').any(|part| part == word);
            found.extend(self.tools.keys().map(ToolName::as_str).filter(part).take(3));
        }
        found
    }
}

/// The file in `schemas/` that holds a tool's schema of this kind.
fn schema_file(name: &ToolName, kind: &str) -> String {
    format!("{name}.{kind}.json")
}

/// A schema as it stands in its file.
fn pretty(schema: &Value) -> String {
    let mut text = format!("{schema:#}");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
