//! A call as Cedar's request: principal, action, resource and context.
//!
//! INVARIANT: the context is made from the very value that will be executed, and fits the tool's part of the schema.

use std::collections::BTreeSet;

use cedar_policy::{Context, EntityId, EntityUid, Request, RestrictedExpression};
use serde_json::Value;

use super::Facts;
use super::lint::{Part, Reads};
use super::shape::{Shape, Slot};
use super::vocabulary::{NAMESPACE, Vocabulary, Word};
use crate::call::{Origin, PreparedCall};
use crate::domain::{Effects, Role, ToolName};

/// What policy is asked: the parts of a call that rules can see.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The tool.
    pub tool: &'a ToolName,
    /// In which capacity.
    pub role: Role,
    /// Who.
    pub principal: &'a str,
    /// `client`, `cli`, `step` or `code`.
    pub origin: &'a str,
    /// The run's id.
    pub run: &'a str,
    /// The step, where one asks.
    pub step: Option<&'a str>,
    /// What is known of its surroundings.
    pub facts: &'a Facts,
    /// The effects of this very call.
    pub effects: &'a Effects,
    /// The hosts it may reach, as its handler states them.
    pub hosts: &'a BTreeSet<String>,
    /// The arguments; they fit the tool's input schema.
    pub arguments: &'a Value,
}

/// Words that `context.origin` can be.
pub(super) const ORIGINS: [&str; 4] = ["client", "cli", "step", "code"];

/// Asks `ask` the question that a call is.
pub(super) fn with_question<T>(call: &PreparedCall, facts: &Facts, ask: impl FnOnce(&Question<'_>) -> T) -> T {
    let parsed = call.parsed();
    let (origin, step) = match &parsed.origin {
        Origin::Client => ("client", None),
        Origin::Cli => ("cli", None),
        Origin::Step { step, .. } => ("step", Some(step.as_str())),
        Origin::Code { .. } => ("code", None),
    };
    ask(&Question {
        tool: &parsed.tool.name,
        role: parsed.actor.role,
        principal: parsed.actor.principal.as_str(),
        origin,
        run: &parsed.run.to_string(),
        step,
        facts,
        effects: call.effects(),
        hosts: call.hosts(),
        arguments: parsed.args.value(),
    })
}

/// Makes the request. Only what the rules that are to be asked look at is put in: a file's content is not copied for rules that look
/// at its neighbours, nor is a run described to rules that do not care.
pub(super) fn request(words: &Vocabulary, word: &Word, question: &Question<'_>, reads: &Reads) -> Result<Request, String> {
    let mut pairs = Vec::with_capacity(6);
    let mut part = |name: &str, value: RestrictedExpression| pairs.push((name.to_owned(), value));
    if reads.of("effects").is_some() {
        part("effects", RestrictedExpression::new_set(question.effects.iter().map(|effect| text(effect.as_str()))));
    }
    if reads.of("hosts").is_some() {
        part("hosts", RestrictedExpression::new_set(question.hosts.iter().map(|host| text(host))));
    }
    if reads.of("origin").is_some() {
        part("origin", text(question.origin));
    }
    if let Some(fields) = reads.of("run") {
        part("run", run(question, fields)?);
    }
    if reads.of("scopes").is_some() {
        part("scopes", word.scopes.clone());
    }
    if let Some(fields) = reads.of("input") {
        let mut place = String::from("/input");
        let fields = word.input.iter().filter(|(name, _)| fields.field(name));
        part("input", Converter { place: &mut place }.record(fields, question.arguments)?);
    }
    let context = Context::from_pairs(pairs).map_err(|error| error.to_string())?;
    let principal = EntityUid::from_type_name_and_id(words.roles.of(question.role).clone(), EntityId::new(question.principal));
    let workspace = EntityUid::from_type_name_and_id(words.workspace.clone(), EntityId::new(question.run));
    Request::new(principal, word.action.clone(), workspace, context, None).map_err(|error| error.to_string())
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn run(question: &Question<'_>, fields: &Part) -> Result<RestrictedExpression, String> {
    let Facts { labels, workflow, .. } = question.facts;
    let all: [(&str, &dyn Fn() -> Option<RestrictedExpression>); 5] = [
        ("id", &|| Some(text(question.run))),
        ("step", &|| question.step.map(text)),
        ("workflow", &|| workflow.as_deref().map(text)),
        ("untrusted", &|| Some(RestrictedExpression::new_bool(labels.untrusted))),
        ("private", &|| Some(RestrictedExpression::new_bool(labels.private))),
    ];
    let read = all.into_iter().filter(|(name, _)| fields.field(name));
    RestrictedExpression::new_record(read.filter_map(|(name, value)| Some((name.to_owned(), value()?)))).map_err(|error| error.to_string())
}

/// Turns JSON into Cedar's values along a shape.
struct Converter<'a> {
    place: &'a mut String,
}

impl Converter<'_> {
    fn value(&mut self, shape: &Shape, value: &Value) -> Result<RestrictedExpression, String> {
        match (shape, value) {
            (Shape::Bool, Value::Bool(flag)) => Ok(RestrictedExpression::new_bool(*flag)),
            (Shape::Text, Value::String(text)) => Ok(RestrictedExpression::new_string(text.clone())),
            (Shape::Long, Value::Number(number)) => whole(number)
                .map(RestrictedExpression::new_long)
                .ok_or_else(|| format!("the number at `{}` is beyond what policy can see", self.place)),
            (Shape::Set(items), Value::Array(values)) => {
                let mut set = Vec::with_capacity(values.len());
                for (n, value) in values.iter().enumerate().filter(|(_, value)| !value.is_null()) {
                    set.push(self.under(&n.to_string(), |inner| inner.value(items, value))?);
                }
                Ok(RestrictedExpression::new_set(set))
            }
            (Shape::Record(fields), Value::Object(_)) => self.record(fields.iter(), value),
            (Shape::Untyped, _) => self.untyped(),
            (Shape::Bool | Shape::Text | Shape::Long | Shape::Set(_) | Shape::Record(_), _) => {
                Err(format!("the value at `{}` is not of the kind its schema states", self.place))
            }
        }
    }

    fn record<'f>(&mut self, fields: impl Iterator<Item = (&'f String, &'f Slot)>, value: &Value) -> Result<RestrictedExpression, String> {
        let mut pairs = Vec::new();
        for (name, slot) in fields {
            match value.get(name).filter(|value| !value.is_null()) {
                Some(value) => pairs.push((name.clone(), self.under(name, |inner| inner.value(&slot.shape, value))?)),
                None if slot.required => return Err(format!("the field `{name}` at `{}` is missing", self.place)),
                None => {}
            }
        }
        RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
    }

    /// Something that is there and says nothing: equal to itself only.
    fn untyped(&self) -> Result<RestrictedExpression, String> {
        let kind = format!("{NAMESPACE}::Unknown").parse().map_err(|error: cedar_policy::ParseErrors| error.to_string())?;
        Ok(RestrictedExpression::new_entity_uid(EntityUid::from_type_name_and_id(kind, EntityId::new(&*self.place))))
    }

    fn under<T>(&mut self, name: &str, then: impl FnOnce(&mut Converter<'_>) -> Result<T, String>) -> Result<T, String> {
        let before = self.place.len();
        self.place.push('/');
        self.place.push_str(name);
        let done = then(&mut Converter { place: self.place });
        self.place.truncate(before);
        done
    }
}

/// A number without a fraction, as JSON Schema's `integer` has it: `3` and `3.0`.
fn whole(number: &serde_json::Number) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(integer) = number.as_i64() {
        return Some(integer);
    }
    let float = number.as_f64().filter(|float| !number.is_u64() && float.fract() == 0.0 && float.abs() <= EXACT)?;
    // In these bounds the text of a whole float is that of the integer.
    format!("{float:.0}").parse().ok()
}
