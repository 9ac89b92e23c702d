//! A definition, as somebody wrote it, to a [`Plan`]. Every problem of the file is found in one reading.
//!
//! INVARIANT: a Plan comes out only where there is no problem at all.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::{Digest, Problem, Problems, StepId};

use super::expression::Uses;
use super::graph::Graph;
use super::inputs::Inputs;
use super::node::Located;
use super::plan::{OnLimit, Plan, RunLimits, Step};
use super::reader::Reader;
use super::repair;
use super::scope;
use super::step::{StepDraft, read_step};
use super::template::Template;

const FIELDS: &[&str] = &["name", "version", "description", "goal_template", "inputs", "limits", "tools", "steps"];

/// Reads a workflow file; `file` is what the user calls it.
///
/// # Errors
/// Everything that is wrong with it, each with its line.
pub fn read_yaml(file: &str, text: &str) -> Result<Plan, Problems> {
    read(file, &Located::from_yaml(file, text)?)
}

/// Reads back the definition that a run stored.
///
/// # Errors
/// Where it is not a definition this version can run.
pub fn read_stored(source: &Value) -> Result<Plan, Problems> {
    read("the run's definition", &Located::from_json(source))
}

fn read(file: &str, document: &Located) -> Result<Plan, Problems> {
    let mut reader = Reader::new(file);
    let plan = read_plan(document, &mut reader);
    Problems::check(reader.finish())?;
    plan.ok_or_else(|| Problem::new(file, "not a workflow").into())
}

fn read_plan(document: &Located, reader: &mut Reader<'_>) -> Option<Plan> {
    let fields = reader.fields("the workflow", document, FIELDS)?;
    let name = reader.required_text(&fields, "name").unwrap_or_default();
    if !is_workflow_name(name) && fields.get("name").is_some() {
        reader.problem(
            fields.line_of("name"),
            format!("`{name}` cannot name a workflow: lower case letters, digits, `_` and `-`, at most 64"),
        );
    }
    let version = reader.required_text(&fields, "version").and_then(|text| match text.parse::<semver::Version>() {
        Ok(version) => Some(version),
        Err(_) => {
            reader.problem(fields.line_of("version"), format!("`{text}` is not a version like `1.0.0`"));
            None
        }
    });
    let description = reader.text(&fields, "description").unwrap_or_default().trim().to_owned();
    let inputs = Inputs::read(fields.get("inputs"), reader);
    let limits = read_limits(fields.get("limits"), reader);
    let mut named = Vec::new();
    let tools = scope::read(&fields, reader, &mut named);

    let mut goal_uses = Vec::new();
    let goal = fields.get("goal_template").map(|at| Template::read(at, reader, "`goal_template`", &mut goal_uses));
    for (uses, line) in &goal_uses {
        check_inputs(uses, *line, "`goal_template`", inputs.as_ref(), reader);
        if let Some(step) = uses.steps.first() {
            reader.problem(*line, format!("`goal_template` names step `{step}`, but no step has run when the goal is made"));
        }
    }

    let mut drafts = read_steps(fields.get("steps"), fields.line, reader);
    scope::settle(&mut drafts, tools.as_ref(), &mut named, reader);
    if u32::try_from(drafts.len()).unwrap_or(u32::MAX) > limits.max_steps {
        reader.problem(
            fields.line_of("steps"),
            format!("there are {} steps, more than `limits.max_steps` = {}", drafts.len(), limits.max_steps),
        );
    }
    let (steps, places) = arrange(drafts, inputs.as_ref(), reader)?;
    if !reader.is_clean() {
        return None;
    }
    let source = document.to_json();
    let digest = Digest::of_parts("toolgate/workflow/v1", &[&serde_json_canonicalizer::to_vec(&source).ok()?]);
    Some(Plan {
        name: name.to_owned(),
        version: version?,
        description,
        goal,
        inputs: inputs?,
        limits,
        tools,
        named,
        steps,
        places,
        source,
        digest,
    })
}

fn is_workflow_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn read_limits(at: Option<&Located>, reader: &mut Reader<'_>) -> RunLimits {
    let mut limits =
        RunLimits { max_steps: 100, max_tool_calls: None, max_tokens: None, max_bytes_out: None, wall: None, on_limit: OnLimit::Fail };
    let known = ["max_steps", "max_tool_calls", "max_tokens", "max_bytes_out", "wall", "on_limit"];
    if let Some(fields) = at.and_then(|at| reader.fields("`limits`", at, &known)) {
        limits.max_steps = reader.number(&fields, "max_steps", 1, 100_000).unwrap_or(limits.max_steps);
        limits.max_tool_calls = reader.number(&fields, "max_tool_calls", 0, 1_000_000);
        limits.max_tokens = reader.number(&fields, "max_tokens", 0, u32::MAX).map(u64::from);
        limits.max_bytes_out = reader.number(&fields, "max_bytes_out", 0, u32::MAX).map(u64::from);
        limits.wall = reader.span(&fields, "wall");
        let words = [("fail", OnLimit::Fail), ("wait", OnLimit::Wait)];
        limits.on_limit = reader.word(&fields, "on_limit", &words).unwrap_or(limits.on_limit);
    }
    limits
}

fn read_steps(at: Option<&Located>, line: Option<u64>, reader: &mut Reader<'_>) -> Vec<StepDraft> {
    let Some(at) = at else {
        reader.problem(line, "the workflow has no `steps`");
        return Vec::new();
    };
    let Some(items) = at.as_list() else {
        reader.problem(at.line, format!("`steps` must be a list, not {}", at.kind()));
        return Vec::new();
    };
    if items.is_empty() {
        reader.problem(at.line, "`steps` is empty");
    }
    items.iter().filter_map(|item| read_step(item, reader)).collect()
}

/// Puts steps in order and checks what they name.
fn arrange(mut drafts: Vec<StepDraft>, inputs: Option<&Inputs>, reader: &mut Reader<'_>) -> Option<(Vec<Step>, HashMap<StepId, usize>)> {
    let mut at: HashMap<StepId, usize> = HashMap::with_capacity(drafts.len());
    for (place, draft) in drafts.iter().enumerate() {
        if at.contains_key(&draft.step.id) {
            reader.problem(draft.line, format!("two steps are named `{}`", draft.step.id));
        } else {
            at.insert(draft.step.id.clone(), place);
        }
    }
    let mut before = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        let mut places = Vec::with_capacity(draft.depends_on.len());
        for (earlier, line) in &draft.depends_on {
            match at.get(earlier) {
                Some(place) if places.contains(place) => {
                    reader.problem(*line, format!("step `{}` depends on `{earlier}` twice", draft.step.id))
                }
                Some(place) => places.push(*place),
                None => reader.problem_with_hint(
                    *line,
                    format!("step `{}` depends on `{earlier}`, which is not a step", draft.step.id),
                    "`depends_on` names steps of the same workflow",
                ),
            }
        }
        before.push(places);
    }
    let graph = Graph::new(before);
    let name_of = |place: &usize| drafts.get(*place).map_or("", |draft| draft.step.id.as_str());
    let order = match graph.order() {
        Ok(order) => order,
        Err(cycle) => {
            let mut names: Vec<&str> = cycle.iter().map(name_of).collect();
            names.extend(names.first().copied());
            let line = cycle.first().and_then(|place| drafts.get(*place)).and_then(|draft| draft.line);
            reader.problem_with_hint(line, format!("the steps form a cycle: {}", names.join(" → ")), "take one `depends_on` of it away");
            return None;
        }
    };
    for (place, draft) in drafts.iter().enumerate() {
        let what = format!("step `{}`", draft.step.id);
        for (uses, line) in &draft.uses {
            check_inputs(uses, *line, &what, inputs, reader);
            for name in &uses.steps {
                let known = name.parse::<StepId>().ok().and_then(|id| at.get(&id).copied());
                match known {
                    None => reader.problem(*line, format!("{what} reads `steps.{name}`, which is not a step")),
                    Some(earlier) if graph.waits_for(place, earlier) => {}
                    Some(_) => reader.problem_with_hint(
                        *line,
                        format!("{what} reads `steps.{name}`, which need not have ended before it"),
                        format!("add `{name}` to its `depends_on`"),
                    ),
                }
            }
        }
    }
    repair::settle(&mut drafts, &at, &graph, &order, reader);
    let mut slots: Vec<Option<StepDraft>> = drafts.into_iter().map(Some).collect();
    let steps: Vec<Step> = order.into_iter().filter_map(|place| slots.get_mut(place)?.take()).map(StepDraft::finish).collect();
    let places = steps.iter().enumerate().map(|(place, step)| (step.id.clone(), place)).collect();
    Some((steps, places))
}

fn check_inputs(uses: &Uses, line: Option<u64>, what: &str, inputs: Option<&Inputs>, reader: &mut Reader<'_>) {
    let Some(inputs) = inputs else { return };
    for name in &uses.inputs {
        if !inputs.declared().iter().any(|input| input.name == *name) {
            let declared: Vec<&str> = inputs.declared().iter().map(|input| input.name.as_str()).collect();
            let hint = if declared.is_empty() {
                "the workflow declares no inputs".to_owned()
            } else {
                format!("declared: {}", declared.join(", "))
            };
            reader.problem_with_hint(line, format!("{what} reads `inputs.{name}`, which is not declared"), hint);
        }
    }
}
