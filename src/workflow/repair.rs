//! `repair` of a step of checks: which step mends what they found, and what runs again with it.
//!
//! INVARIANT: whatever hangs on the mended step leads to the checks or waits for them. So a repair leaves nothing standing that was
//! made from the old files, and touches nothing that is at work.

use std::collections::HashMap;

use serde_json::Value;

use crate::domain::StepId;

use super::graph::Graph;
use super::kind::StepKind;
use super::plan::Repair;
use super::reader::{Fields, Reader};
use super::step::StepDraft;
use super::template::Template;

/// Most repairs that a step may ask for.
const MOST: u32 = 10;

/// The field of the mended step's input that says what is to be mended.
pub(super) const INPUT_FIELD: &str = "repair";

/// A repair before the steps around it are known.
pub(super) struct RepairDraft {
    step: String,
    max: u32,
    line: Option<u64>,
}

/// Reads the field of one step.
pub(super) fn read(kind: StepKind, fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<RepairDraft> {
    let at = fields.get("repair")?;
    if kind != StepKind::Eval {
        let message = format!("{} is of kind `{}`, which knows no `repair`", fields.what, kind.as_str());
        reader.problem_with_hint(at.line, message, "`repair` belongs to a step of kind `eval`");
        return None;
    }
    let inner = reader.fields(format!("`repair` of {}", fields.what), at, &["step", "max"])?;
    let max = reader.number(&inner, "max", 0, MOST);
    let step = reader.required_text(&inner, "step")?;
    Some(RepairDraft { step: step.to_owned(), max: max.unwrap_or(1), line: inner.line_of("step") })
}

/// Checks what each repair names, once the order of the steps is known, and notes what runs again.
pub(super) fn settle(drafts: &mut [StepDraft], at: &HashMap<StepId, usize>, graph: &Graph, order: &[usize], reader: &mut Reader<'_>) {
    let asked: Vec<(usize, RepairDraft)> =
        drafts.iter_mut().enumerate().filter_map(|(place, draft)| Some((place, draft.repair.take()?))).collect();
    for (checks, asked) in asked {
        let found = resolve(&asked, checks, &Around { drafts, at, graph, order }, reader);
        if let Some(draft) = drafts.get_mut(checks) {
            draft.step.repair = found;
        }
    }
}

/// The steps of the workflow, by position.
struct Around<'a> {
    drafts: &'a [StepDraft],
    at: &'a HashMap<StepId, usize>,
    graph: &'a Graph,
    order: &'a [usize],
}

fn resolve(asked: &RepairDraft, checks: usize, around: &Around<'_>, reader: &mut Reader<'_>) -> Option<Repair> {
    let Around { drafts, at, graph, order } = *around;
    let name_of = |place: usize| drafts.get(place).map_or("", |draft| draft.step.id.as_str());
    let what = format!("`repair` of step `{}`", name_of(checks));
    let mended = asked.step.parse::<StepId>().ok().and_then(|id| at.get(&id).copied());
    let Some((mended, step)) = mended.and_then(|place| Some((place, &drafts.get(place)?.step))) else {
        reader.problem(asked.line, format!("{what} names `{}`, which is not a step", asked.step));
        return None;
    };
    if step.kind != StepKind::Codegen {
        let message = format!("{what} names `{}`, which is of kind `{}`", step.id, step.kind.as_str());
        reader.problem_with_hint(asked.line, message, "only a step of kind `codegen` can mend files");
        return None;
    }
    let is_ahead = graph.ahead_of(checks);
    let is_after = graph.after(mended, order);
    let has = |flags: &[bool], place: usize| flags.get(place).copied().unwrap_or(false);
    if !has(&is_ahead, mended) {
        let message = format!("{what} names `{}`, which need not have ended before it", step.id);
        reader.problem_with_hint(asked.line, message, format!("add `{}` to `depends_on` of `{}`", step.id, name_of(checks)));
        return None;
    }
    if has_field(&step.input, INPUT_FIELD) {
        let message = format!("{what} fills `input.{INPUT_FIELD}` of step `{}`, which is given there", step.id);
        reader.problem_with_hint(asked.line, message, "give what stands there another name");
    }
    let is_later = graph.after(checks, order);
    for beside in order.iter().copied().filter(|place| *place != checks && has(&is_after, *place)) {
        if !has(&is_ahead, beside) && !has(&is_later, beside) {
            let (beside, checks) = (name_of(beside), name_of(checks));
            reader.problem_with_hint(
                asked.line,
                format!("{what} mends `{}`, but step `{beside}` uses it beside the checks and would keep the old files", step.id),
                format!("add `{checks}` to `depends_on` of `{beside}`, or `{beside}` to that of `{checks}`"),
            );
        }
    }
    let runs_again = |place: &usize| *place == mended || *place == checks || (has(&is_after, *place) && has(&is_ahead, *place));
    let again = order.iter().copied().filter(runs_again).filter_map(|place| Some(drafts.get(place)?.step.id.clone())).collect();
    Some(Repair { step: step.id.clone(), max: asked.max, again })
}

fn has_field(input: &Template, name: &str) -> bool {
    match input {
        Template::Literal(Value::Object(fields)) => fields.contains_key(name),
        Template::Object(fields) => fields.iter().any(|(key, _)| key == name),
        Template::Literal(_) | Template::Expression(_) | Template::List(_) => false,
    }
}
