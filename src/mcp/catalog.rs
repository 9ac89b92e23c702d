//! Which tools a client sees, under which names, and how they are described.
//!
//! INVARIANT: the list is made once and is byte for byte the same for every connection of the same token; every tool in it can be called
//! by its canonical and by its exposed name, whichever of the two is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rmcp::model::{ListToolsResult, MetaObject, Tool, ToolAnnotations};
use serde_json::{Map, Value};

use crate::call::BLOCKS;
use crate::domain::{Effect, Effects, ErrorCode, Fault, Scope, Scopes, TaskUse, ToolName};

use super::{PublishedTool, lean};

/// Which of a tool's two names is listed. Calls take both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// `repo_git_commit`: what every model API accepts.
    #[default]
    Underscore,
    /// `repo.git.commit`: for clients that pass dots through.
    Dotted,
}

/// Which tools are listed. The rest stay callable by name and by `tool.call`; what may run is policy's business, not this list's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Toolset {
    /// The tools that most work needs.
    #[default]
    Standard,
    /// Every tool.
    All,
    /// Those of these words: a scope, a first part of a name such as `audit`, or `default`.
    Words(BTreeSet<String>),
}

/// The listed tools of [`Toolset::Standard`]; a name that ends in a dot stands for all that begin with it.
const STANDARD: &[&str] = &[
    "python.run",
    "eval.run",
    "workspace.",
    "repo.git.",
    "drive.search",
    "drive.get",
    "drive.upload",
    "web.",
    "notify.send",
    "workflow.list",
    "workflow.show",
    "run.start",
    "run.watch",
    "run.submit",
    "run.cancel",
    "artifact.read",
    "tool.search",
    "tool.call",
];

/// Words that a client which loads tools as they are needed searches by.
const HINT: &str = "anthropic/searchHint";

/// The tools that a client which loads tools as they are needed is to load at once: from them all others are found.
const CORE: &[&str] = &["tool.search", "tool.call", "run.start"];

impl Toolset {
    /// Reads the value of `--toolsets`: `default`, `all`, or words separated by commas.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let words: BTreeSet<String> = text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if words.contains("all") {
            Self::All
        } else if words.iter().all(|word| word == "default") {
            Self::Standard
        } else {
            Self::Words(words)
        }
    }

    /// Whether `tool` is listed.
    #[must_use]
    pub fn includes(&self, tool: &PublishedTool) -> bool {
        match self {
            Self::Standard => is_standard(tool),
            Self::All => true,
            Self::Words(words) => words.iter().any(|word| matches_word(tool, word)),
        }
    }

    /// Refuses a word that chooses nothing, as it is then a slip of the pen.
    ///
    /// # Errors
    /// `CONFIG_INVALID` with the words that exist.
    pub fn check(&self, tools: &[PublishedTool]) -> Result<(), Fault> {
        let Self::Words(words) = self else { return Ok(()) };
        let Some(unknown) = words.iter().find(|word| !tools.iter().any(|tool| matches_word(tool, word))) else { return Ok(()) };
        let known: BTreeSet<&str> = tools.iter().flat_map(|tool| tool.scopes.iter().map(String::as_str).chain(family(tool))).collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        Err(Fault::new(ErrorCode::ConfigInvalid, format!("no tool belongs to the toolset `{unknown}`"))
            .hint(format!("use `default`, `all` or some of: {known}")))
    }
}

fn is_standard(tool: &PublishedTool) -> bool {
    let name = tool.name.as_str();
    STANDARD.iter().any(|entry| if entry.ends_with('.') { name.starts_with(entry) } else { name == *entry })
}

fn family(tool: &PublishedTool) -> Option<&str> {
    tool.name.as_str().split('.').next()
}

fn matches_word(tool: &PublishedTool, word: &str) -> bool {
    (word == "default" && is_standard(tool))
        || tool.scopes.iter().any(|scope| scope == word)
        || tool.name.as_str() == word
        || family(tool) == Some(word)
}

/// The tools a server publishes.
#[derive(Debug)]
pub struct Catalog {
    listed: Vec<Tool>,
    /// Every tool in name order, for lists of other toolsets.
    all: Vec<PublishedTool>,
    known: BTreeMap<String, Entry>,
    ids: Vec<String>,
}

/// One known tool.
#[derive(Debug, Clone)]
pub struct Entry {
    /// As it is or would be listed.
    pub tool: Tool,
    /// What the gateway calls it.
    pub canonical: ToolName,
    /// The member of its answers that holds blocks.
    pub blocks: Option<String>,
    /// Whether a cut answer may carry the member `truncated`: its schema does not use the word for something else.
    pub may_mark: bool,
    /// When a long call of it is answered with a task.
    pub task: TaskUse,
    /// What the token of whoever calls it must reach.
    pub needs: Scope,
}

impl Catalog {
    /// Describes `tools`, listing those of `toolset`; the usual ones within [`BUDGET`].
    #[must_use]
    pub fn new(tools: &[PublishedTool], naming: Naming, toolset: &Toolset) -> Self {
        let mut listed = Vec::new();
        let mut known = BTreeMap::new();
        let mut in_order: Vec<&PublishedTool> = tools.iter().collect();
        in_order.sort_by(|a, b| a.name.cmp(&b.name));
        for published in &in_order {
            let tool = describe(published, naming);
            if toolset.includes(published) {
                listed.push(tool.clone());
            }
            let entry = Entry {
                tool,
                canonical: published.name.clone(),
                blocks: blocks(&published.output).map(str::to_owned),
                may_mark: !declares(&published.output, &published.output, "truncated", 0),
                needs: Scope::to_call(&published.effects),
                task: published.task,
            };
            known.extend(alias(published).map(|alias| (alias.to_owned(), entry.clone())));
            known.insert(published.name.exposed(), entry.clone());
            known.insert(published.name.as_str().to_owned(), entry);
        }
        if *toolset == Toolset::Standard {
            fit(&mut listed);
        }
        let ids = tools.iter().map(|tool| tool.name.to_string()).collect::<BTreeSet<_>>().into_iter().collect();
        Self { listed, all: in_order.into_iter().cloned().collect(), known, ids }
    }

    /// What `tools/list` answers to a token of its own toolset or scopes: the tools of that toolset (this catalog's where it has none) that
    /// need no wider scope.
    #[must_use]
    pub fn listed_for(&self, toolset: Option<&Toolset>, scopes: Option<&Scopes>) -> Vec<Tool> {
        let within = |entry: &Entry| scopes.is_none_or(|scopes| scopes.allow(entry.needs));
        let Some(toolset) = toolset else {
            return self.listed.iter().filter(|tool| self.find(&tool.name).is_none_or(within)).cloned().collect();
        };
        let chosen = self.all.iter().filter(|tool| toolset.includes(tool)).filter_map(|tool| self.find(tool.name.as_str()));
        chosen.filter(|entry| within(entry)).map(|entry| entry.tool.clone()).collect()
    }

    /// What `tools/list` answers, in name order.
    #[must_use]
    pub fn listed(&self) -> &[Tool] {
        &self.listed
    }

    /// A tool by either of its names, listed or not.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.known.get(name)
    }

    /// The canonical names of all tools, in their order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// How many bytes the answer to `tools/list` takes on the wire, without the JSON-RPC envelope.
    #[must_use]
    pub fn listing_bytes(&self) -> usize {
        serde_json::to_vec(&ListToolsResult::with_all_items(self.listed.clone())).map_or(usize::MAX, |bytes| bytes.len())
    }
}

/// What the list of the usual tools may take on the wire, in bytes: every model reads it in every chat.
const BUDGET: usize = 20 * 1024;
/// What stands around the tools in the answer.
const ENVELOPE: usize = 512;

/// Brings the list within its budget by leaving out what `tool.search` tells as well: schemas of answers, the largest first, then search
/// hints. Arguments and descriptions stay whatever they take.
fn fit(listed: &mut [Tool]) {
    let bytes = |tool: &Tool| serde_json::to_vec(tool).map_or(0, |bytes| bytes.len() + 1);
    let mut total: usize = listed.iter().map(bytes).sum();
    let mut leave_out = |spare: &dyn Fn(&Tool) -> Option<usize>, without: &dyn Fn(&mut Tool)| {
        while total + ENVELOPE > BUDGET {
            let largest = listed.iter_mut().filter_map(|tool| spare(tool).map(|size| (size, tool))).max_by_key(|(size, _)| *size);
            let Some((_, tool)) = largest else { return };
            total -= bytes(tool);
            without(tool);
            total += bytes(tool);
        }
    };
    let schema = |tool: &Tool| tool.output_schema.as_ref().and_then(|schema| serde_json::to_vec(&**schema).ok()).map(|bytes| bytes.len());
    leave_out(&schema, &|tool| tool.output_schema = None);
    let hint = |tool: &Tool| tool.meta.as_ref()?.get(HINT)?.as_str().map(str::len);
    leave_out(&hint, &|tool| {
        let rest = tool.meta.take().map(|mut meta| {
            meta.shift_remove(HINT);
            meta
        });
        tool.meta = rest.filter(|meta| !meta.is_empty());
    });
}

fn describe(published: &PublishedTool, naming: Naming) -> Tool {
    let canonical = published.name.as_str();
    let name = match (alias(published), naming) {
        (Some(alias), _) => alias.to_owned(),
        (None, Naming::Underscore) => published.name.exposed(),
        (None, Naming::Dotted) => canonical.to_owned(),
    };
    let mut tool = Tool::new(name, published.description.clone(), Arc::new(lean::input(&published.input)))
        .with_title(published.title.clone())
        .with_annotations(annotations(&published.effects, published.idempotent));
    if let Some(schema) = structured(&published.output) {
        tool = tool.with_raw_output_schema(Arc::new(schema));
    }
    let mut meta = Map::new();
    if published.title != canonical {
        meta.insert("toolgate/id".to_owned(), Value::String(canonical.to_owned()));
    }
    if let Some(hint) = &published.search_hint {
        meta.insert(HINT.to_owned(), Value::String(hint.clone()));
    }
    if CORE.contains(&canonical) {
        meta.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    }
    if !meta.is_empty() {
        tool = tool.with_meta(MetaObject::from(meta));
    }
    tool
}

/// The name of its own that a fixture has, as the suite that calls it wants it so: its title. In a release nothing has one.
fn alias(published: &PublishedTool) -> Option<&str> {
    (cfg!(debug_assertions) && published.scopes.iter().any(|scope| scope == "fixtures")).then_some(&*published.title)
}

/// The member of an answer of this schema that holds blocks.
fn blocks(schema: &Value) -> Option<&str> {
    schema.get(BLOCKS).and_then(Value::as_str)
}

/// The schema of what is left of an answer without its blocks; `None` where that is nothing.
fn structured(schema: &Value) -> Option<Map<String, Value>> {
    let Some(member) = blocks(schema) else { return lean::output(schema) };
    let mut rest = schema.clone();
    let members = rest.as_object_mut()?;
    members.shift_remove(BLOCKS);
    if let Some(Value::Array(required)) = members.get_mut("required") {
        required.retain(|name| name != member);
    }
    let properties = members.get_mut("properties").and_then(Value::as_object_mut)?;
    properties.shift_remove(member);
    if properties.is_empty() { None } else { lean::output(&rest) }
}

/// Hints true to the effects. Those that mean nothing for a tool that only reads are left out.
fn annotations(effects: &Effects, idempotent: bool) -> ToolAnnotations {
    let mut hints = ToolAnnotations::new();
    if effects.leave_nothing_behind() {
        hints = hints.read_only(true);
    } else {
        hints = hints.destructive(effects.contains(Effect::ExternalWrite));
        if idempotent {
            hints = hints.idempotent(true);
        }
    }
    hints.open_world(effects.contains(Effect::Egress) || effects.contains(Effect::ExternalWrite))
}

/// Whether an answer of this schema may have a member of that name at its top.
fn declares(schema: &Value, root: &Value, member: &str, depth: usize) -> bool {
    if depth > 16 || schema.get("properties").is_some_and(|properties| properties.get(member).is_some()) {
        return true;
    }
    let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
    if target.is_some_and(|pointer| root.pointer(pointer).is_none_or(|schema| declares(schema, root, member, depth + 1))) {
        return true;
    }
    let branches = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema.get(word).and_then(Value::as_array));
    branches.flatten().any(|branch| declares(branch, root, member, depth + 1))
}
