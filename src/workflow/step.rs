//! One entry of `steps`.

use crate::domain::{ErrorCode, Millis, StepId, ToolName};
use crate::schema::Schema;

use super::expression::{Expression, Uses};
use super::kind::{KINDS, REPO_ACTIONS, StepKind};
use super::node::{Located, Node};
use super::plan::{By, OnFailure, Retry, Step};
use super::reader::{Fields, Reader};
use super::repair::{self, RepairDraft};
use super::scope::{self, Named};
use super::template::Template;

const FIELDS: &[&str] =
    &["id", "kind", "depends_on", "input", "when", "retry", "timeout", "by", "prompt", "output_schema", "on_failure", "repair", "tools"];

/// A step before its neighbours are known.
pub(super) struct StepDraft {
    pub(super) step: Step,
    pub(super) line: Option<u64>,
    pub(super) depends_on: Vec<(StepId, Option<u64>)>,
    pub(super) uses: Vec<(Uses, Option<u64>)>,
    pub(super) repair: Option<RepairDraft>,
    /// Tools it names, each with its line.
    pub(super) named: Vec<Named>,
}

impl StepDraft {
    /// The step, once everything it names is known to be there.
    pub(super) fn finish(self) -> Step {
        let mut step = self.step;
        for (uses, _) in self.uses {
            step.uses.steps.extend(uses.steps);
            step.uses.inputs.extend(uses.inputs);
        }
        step.depends_on = self.depends_on.into_iter().map(|(id, _)| id).collect();
        step
    }
}

/// Reads one step; `None` where it is too broken to go on with, which has left a problem.
pub(super) fn read_step(at: &Located, reader: &mut Reader<'_>) -> Option<StepDraft> {
    let fields = reader.fields("a step", at, FIELDS)?;
    let id = read_id(&fields, reader)?;
    let what = format!("step `{id}`");
    let fields = fields.named(&what);
    let kind = match fields.get("kind") {
        Some(_) => reader.word(&fields, "kind", KINDS),
        None => {
            reader.problem(fields.line, format!("{what} has no `kind`"));
            None
        }
    };
    let mut uses = Vec::new();
    let input = match fields.get("input") {
        Some(input) => Template::read(input, reader, &what, &mut uses),
        None => Template::empty(),
    };
    let when = read_when(&fields, reader, &what, &mut uses);
    let by = reader.word(&fields, "by", &[("agent", By::Agent), ("builtin", By::Builtin), ("auto", By::Auto)]);
    let written_prompt = fields.get("prompt").map(|at| Template::read(at, reader, &what, &mut uses));
    let depends_on = reader.texts::<StepId>(&fields, "depends_on");
    let retry = read_retry(fields.get("retry"), reader, &what);
    let timeout = reader.span(&fields, "timeout");
    let on_failure = reader.word(&fields, "on_failure", &[("fail", OnFailure::Fail), ("continue", OnFailure::Continue)]);
    let kind = kind?;
    let repair = repair::read(kind, &fields, reader);
    check_input(kind, &fields, reader);
    for name in ["by", "prompt"] {
        if !kind.is_agents_work() && fields.get(name).is_some() {
            reader.problem(fields.line_of(name), format!("{what} is of kind `{}`, which knows no `{name}`", kind.as_str()));
        }
    }
    let output_schema = read_output_schema(kind, &fields, reader);
    let mut named = Vec::new();
    let tools = scope::read(&fields, reader, &mut named);
    let needs = scope::needs(kind, &fields, &mut named);
    Some(StepDraft {
        line: fields.line,
        depends_on,
        uses,
        repair,
        named,
        step: Step {
            id,
            kind,
            depends_on: Vec::new(),
            input,
            when,
            retry,
            timeout,
            by: by.unwrap_or(By::Auto),
            prompt: written_prompt.unwrap_or_else(|| Template::Literal(kind.default_prompt().into())),
            output_schema,
            on_failure: on_failure.unwrap_or(OnFailure::Fail),
            repair: None,
            tools,
            needs,
            uses: Uses::default(),
        },
    })
}

fn read_id(fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<StepId> {
    let text = reader.required_text(fields, "id")?;
    if text.contains('-') {
        // In an expression `steps.a-b` would subtract.
        reader.problem(fields.line_of("id"), format!("step `{text}`: use `_` instead of `-`, so that expressions can name it"));
        return None;
    }
    text.parse().map_err(|error| reader.problem(fields.line_of("id"), format!("{error}"))).ok()
}

fn read_when(fields: &Fields<'_>, reader: &mut Reader<'_>, what: &str, uses: &mut Vec<(Uses, Option<u64>)>) -> Option<Expression> {
    let at = fields.get("when")?;
    let source = match &at.node {
        Node::Text(text) => text.clone(),
        Node::Bool(flag) => flag.to_string(),
        Node::Null | Node::Number(_) | Node::List(_) | Node::Map(_) => {
            reader.problem(at.line, format!("`when` of {what} must be an expression, not {}", at.kind()));
            return None;
        }
    };
    match Expression::value(&source) {
        Ok(expression) => {
            uses.push((expression.uses().clone(), at.line));
            Some(expression)
        }
        Err(message) => {
            reader.problem(at.line, format!("`when` of {what}: {message}"));
            None
        }
    }
}

fn read_retry(at: Option<&Located>, reader: &mut Reader<'_>, what: &str) -> Retry {
    let mut retry = Retry { max: 0, backoff: Millis(1_000), on: Vec::new() };
    let Some(fields) = at.and_then(|at| reader.fields(format!("`retry` of {what}"), at, &["max", "backoff", "on"])) else { return retry };
    retry.max = reader.number(&fields, "max", 0, 20).unwrap_or(1);
    retry.backoff = reader.span(&fields, "backoff").unwrap_or(retry.backoff);
    for (word, line) in reader.texts::<String>(&fields, "on") {
        match ErrorCode::from_word(&word) {
            Some(code) => retry.on.push(code),
            None => reader.problem(line, format!("`{word}` in `on` of {} is not an error code", fields.what)),
        }
    }
    retry
}

fn read_output_schema(kind: StepKind, fields: &Fields<'_>, reader: &mut Reader<'_>) -> Option<Schema> {
    let at = fields.get("output_schema");
    let json = at.map(Located::to_json).or_else(|| kind.answer_schema())?;
    if kind.is_agents_work() {
        let is_closed = json.get("type").is_some_and(|t| t == "object") && json.get("additionalProperties").is_some_and(|a| a == false);
        if !is_closed {
            reader.problem_with_hint(
                fields.line_of("output_schema"),
                format!("the output schema of {} must be a closed object", fields.what),
                "give it `type: object` and `additionalProperties: false`: an answer is data and carries nothing else",
            );
        }
    }
    match Schema::compile(&json) {
        Ok(schema) => Some(schema),
        Err(fault) => {
            reader.problem(fields.line_of("output_schema"), format!("the output schema of {}: {}", fields.what, fault.message));
            None
        }
    }
}

/// What a kind needs in `input`, and what must be a plain word there: which tool runs is the author's choice, never an output's.
fn check_input(kind: StepKind, fields: &Fields<'_>, reader: &mut Reader<'_>) {
    let (required, known) = kind.input_fields();
    let line = fields.line_of("input");
    let Some(at) = fields.get("input") else {
        for name in required {
            reader.problem(line, format!("{} needs `input.{name}`", fields.what));
        }
        return;
    };
    let Node::Map(map) = &at.node else {
        if !matches!(&at.node, Node::Text(text) if Expression::is_needed(text) && kind.is_agents_work()) {
            reader.problem(line, format!("`input` of {} must be a mapping, not {}", fields.what, at.kind()));
        }
        return;
    };
    let field = |name: &str| map.iter().find(|(key, _)| key.text == name).map(|(_, value)| value);
    for name in required {
        if field(name).is_none() {
            reader.problem(line, format!("{} needs `input.{name}`", fields.what));
        }
    }
    for (key, _) in map {
        if let Some(known) = known.filter(|known| !known.contains(&key.text.as_str())) {
            let hint = format!("known: {}", known.join(", "));
            reader.problem_with_hint(key.line, format!("`input` of {} has an unknown field `{}`", fields.what, key.text), hint);
        }
    }
    let choice = match kind {
        StepKind::Tool => field("tool"),
        StepKind::Repo => field("action"),
        StepKind::Plan
        | StepKind::Research
        | StepKind::Codegen
        | StepKind::Eval
        | StepKind::Notify
        | StepKind::Transform
        | StepKind::Approval => None,
    };
    let Some(choice) = choice else { return };
    match &choice.node {
        Node::Text(word) if kind == StepKind::Tool => {
            if let Err(error) = word.parse::<ToolName>() {
                reader.problem(choice.line, format!("`input.tool` of {}: {error}", fields.what));
            }
        }
        Node::Text(word) if REPO_ACTIONS.contains(&word.as_str()) => {}
        Node::Text(word) => {
            let hint = format!("known: {}", REPO_ACTIONS.join(", "));
            reader.problem_with_hint(choice.line, format!("`{word}` is no `action` of {}", fields.what), hint);
        }
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::List(_) | Node::Map(_) => {
            reader.problem(choice.line, format!("what {} runs must be a plain word, not {}", fields.what, choice.kind()));
        }
    }
}
