//! Which tools a workflow's runs may call: those it declares, for itself and for single steps; where it declares none, those that the
//! kinds of its steps call by themselves.
//!
//! INVARIANT: a step's tools are among its workflow's, and what a step's kind calls is among its own; a definition that says otherwise is
//! never a Plan. Whether a tool exists is asked by [`Plan::unknown_tools`], as only the registry knows.

use std::collections::BTreeSet;

use crate::domain::{ErrorCode, Fault, Problem, Problems, StepId, ToolName, nearest};

use super::kind::StepKind;
use super::node::{Located, Node};
use super::plan::{Plan, Step};
use super::reader::{Fields, Reader};
use super::step::StepDraft;

/// Most entries of one `tools`.
const MOST: usize = 200;

/// A tool or a family of tools that is named somewhere, with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) what: Entry,
    pub(super) line: Option<u64>,
}

/// One entry of `tools`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// A tool.
    Tool(ToolName),
    /// `workspace.*`: all tools whose names begin so; the dot is part of the text.
    Family(String),
}

/// A set of tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ToolSet(BTreeSet<Entry>);

impl Entry {
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_suffix(".*") {
            Some(family) => match format!("{family}.x").parse::<ToolName>() {
                Ok(_) => Ok(Self::Family(format!("{family}."))),
                Err(_) => Err(format!("`{text}` is no family of tools like `workspace.*`")),
            },
            None => text.parse().map(Self::Tool).map_err(|error| format!("{error}")),
        }
    }

    fn holds(&self, tool: &str) -> bool {
        match self {
            Self::Tool(name) => name.as_str() == tool,
            Self::Family(family) => tool.starts_with(family.as_str()),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Tool(name) => name.to_string(),
            Self::Family(family) => format!("{family}*"),
        }
    }
}

impl ToolSet {
    fn holds(&self, tool: &str) -> bool {
        self.0.iter().any(|entry| entry.holds(tool))
    }

    /// Whether everything in `entry` is in the set.
    fn covers(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Tool(name) => self.holds(name.as_str()),
            Entry::Family(family) => self.0.iter().any(|own| matches!(own, Entry::Family(wide) if family.starts_with(wide.as_str()))),
        }
    }
}

/// Reads `tools`, if it is there.
pub(super) fn read(fields: &Fields<'_>, reader: &mut Reader<'_>, named: &mut Vec<Named>) -> Option<ToolSet> {
    let at = fields.get("tools")?;
    let texts = reader.texts::<String>(fields, "tools");
    if texts.len() > MOST {
        reader.problem(at.line, format!("`tools` of {} has {} entries, more than {MOST}", fields.what, texts.len()));
        return None;
    }
    let mut set = ToolSet::default();
    for (text, line) in texts {
        match Entry::parse(&text) {
            Ok(what) => {
                set.0.insert(what.clone());
                named.push(Named { what, line });
            }
            Err(message) => reader.problem(line, format!("`tools` of {}: {message}", fields.what)),
        }
    }
    Some(set)
}

/// The tools that a step of this kind calls by itself.
pub(super) fn needs(kind: StepKind, fields: &Fields<'_>, named: &mut Vec<Named>) -> Vec<ToolName> {
    let input = |name: &str| -> Option<(&str, Option<u64>)> {
        let Node::Map(map) = &fields.get("input")?.node else { return None };
        map.iter().find(|(key, _)| key.text == name).and_then(|(_, value): &(_, Located)| Some((value.as_text()?, value.line)))
    };
    let tools = |names: &[&str]| names.iter().filter_map(|name| name.parse().ok()).collect::<Vec<ToolName>>();
    match kind {
        StepKind::Plan => tools(&["worker.plan"]),
        StepKind::Research => tools(&["worker.research"]),
        StepKind::Codegen => tools(&["worker.codegen", "workspace.write"]),
        StepKind::Eval => tools(&["eval.run"]),
        StepKind::Repo => match input("action") {
            Some((action, line)) => {
                let tools = tools(&[&format!("repo.git.{action}")]);
                named.extend(tools.iter().map(|tool| Named { what: Entry::Tool(tool.clone()), line }));
                tools
            }
            None => tools(&["repo.git.init", "repo.git.add_all", "repo.git.commit"]),
        },
        StepKind::Notify => tools(&["notify.send"]),
        StepKind::Transform => tools(&["transform.jq"]),
        StepKind::Tool => {
            let named_tool = input("tool").and_then(|(tool, line)| Some((tool.parse::<ToolName>().ok()?, line)));
            named.extend(named_tool.iter().map(|(tool, line)| Named { what: Entry::Tool(tool.clone()), line: *line }));
            named_tool.into_iter().map(|(tool, _)| tool).collect()
        }
        StepKind::Approval => Vec::new(),
    }
}

/// Checks what the steps declare against the workflow, and gathers every tool that is named.
pub(super) fn settle(drafts: &mut [StepDraft], tools: Option<&ToolSet>, named: &mut Vec<Named>, reader: &mut Reader<'_>) {
    for draft in drafts {
        let id = &draft.step.id;
        if let (Some(whole), Some(own)) = (tools, &draft.step.tools) {
            for Named { what, line } in draft.named.iter().filter(|named| own.0.contains(&named.what) && !whole.covers(&named.what)) {
                let message = format!("step `{id}` declares `{}`, which the workflow's `tools` does not", what.words());
                reader.problem_with_hint(*line, message, "add it to `tools` of the workflow");
            }
        }
        let Some(own) = draft.step.tools.as_ref().or(tools) else {
            named.append(&mut draft.named);
            continue;
        };
        for tool in draft.step.needs.iter().filter(|tool| !own.holds(tool.as_str())) {
            let line = draft.named.iter().find(|named| named.what == Entry::Tool(tool.clone())).map_or(draft.line, |named| named.line);
            let message = format!("step `{id}` calls `{tool}`, which `tools` does not declare");
            reader.problem_with_hint(line, message, format!("add `{tool}` to `tools`"));
        }
        named.append(&mut draft.named);
    }
}

impl Plan {
    /// Whether a run of this plan may call the tool: from this step, or with none for whoever names the run.
    ///
    /// # Errors
    /// `TOOL_NOT_DECLARED`, with what is declared.
    pub fn allows(&self, step: Option<&StepId>, tool: &ToolName) -> Result<(), Fault> {
        let holds = match step {
            Some(step) => self.step(step).is_none_or(|step| self.step_allows(step, tool)),
            None => match &self.tools {
                Some(tools) => tools.holds(tool.as_str()),
                None => self.steps.iter().any(|step| self.step_allows(step, tool)),
            },
        };
        if holds {
            return Ok(());
        }
        let who = step.map_or_else(|| "its runs".to_owned(), |step| format!("step `{step}`"));
        let message = format!("workflow `{}` does not declare `{tool}` for {who}", self.name);
        let declared = match step.and_then(|step| self.step(step)).and_then(|step| step.tools.as_ref()).or(self.tools.as_ref()) {
            Some(tools) => tools.0.iter().map(Entry::words).collect::<Vec<_>>().join(", "),
            None => "what the kinds of its steps call".to_owned(),
        };
        let hint = format!("declared: {declared}; without `run_id` the call belongs to no workflow");
        Err(Fault::new(ErrorCode::ToolNotDeclared, message).hint(hint))
    }

    fn step_allows(&self, step: &Step, tool: &ToolName) -> bool {
        match step.tools.as_ref().or(self.tools.as_ref()) {
            Some(tools) => tools.holds(tool.as_str()),
            None => step.needs.contains(tool),
        }
    }

    /// Every tool it names that is not among `known`.
    ///
    /// # Errors
    /// One problem for each, with its line.
    pub fn unknown_tools(&self, file: &str, known: &BTreeSet<ToolName>) -> Result<(), Problems> {
        let is_known = |entry: &Entry| known.iter().any(|tool| entry.holds(tool.as_str()));
        let problem = |named: &Named| {
            let text = named.what.words();
            let problem = Problem::new(file, format!("there is no tool `{text}`")).at(named.line);
            match nearest(&text, known.iter().map(ToolName::as_str)) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem.hint("`toolgate tools list` shows the tools there are"),
            }
        };
        Problems::check(self.named.iter().filter(|named| !is_known(&named.what)).map(problem).collect())
    }
}
