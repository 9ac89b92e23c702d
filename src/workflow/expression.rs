//! Expressions: what they may name, whether they compile, and what they come to.
//!
//! INVARIANT: an undefined name is a fault, never an empty value; evaluation ends, as every step of it burns fuel.
//! No expression reaches files, time or randomness.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use crate::domain::{ErrorCode, Fault, RunId, StepId};

use super::values::{to_inner, to_json};

/// Instructions one evaluation may take.
const FUEL: u64 = 100_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.remove_global("debug");
    environment
});

/// An expression or template that compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    source: String,
    kind: Kind,
    uses: Uses,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Comes to a value of any JSON type.
    Value,
    /// Text with expressions in it; comes to a text.
    Text,
}

/// What an expression names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Uses {
    /// Steps, as `steps.<id>…`.
    pub steps: BTreeSet<String>,
    /// Inputs, as `inputs.<name>…`.
    pub inputs: BTreeSet<String>,
}

/// What expressions see.
#[derive(Debug, Clone)]
pub struct Scope(minijinja::Value);

/// One finished step, as expressions see it.
#[derive(Debug, Clone)]
pub struct StepView<'a> {
    /// The step.
    pub id: &'a StepId,
    /// How it ended, in a word.
    pub status: &'static str,
    /// Its output; `null` where it has none.
    pub output: &'a Value,
}

impl Scope {
    /// `inputs`, `goal`, `run.id` and the given steps.
    #[must_use]
    pub fn new<'a>(inputs: &Value, goal: &str, run: &RunId, steps: impl Iterator<Item = StepView<'a>>) -> Self {
        let steps = steps.map(|step| {
            let view = minijinja::context! { status => step.status, output => to_inner(step.output) };
            (step.id.as_str(), view)
        });
        Self(minijinja::context! {
            inputs => to_inner(inputs),
            goal => goal,
            run => minijinja::context! { id => run.to_string() },
            steps => minijinja::Value::from_pairs(steps),
        })
    }
}

impl Expression {
    /// Compiles a bare expression, as in `when`; surrounding `{{ }}` may be left out.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn value(source: &str) -> Result<Self, String> {
        let bare = sole_expression(source).unwrap_or_else(|| source.trim());
        let compiled = ENVIRONMENT.compile_expression(bare).map_err(|error| does_not_compile(source, &error))?;
        let uses = uses_of(source, compiled.undeclared_variables(true))?;
        Ok(Self { source: bare.to_owned(), kind: Kind::Value, uses })
    }

    /// Compiles a text: where it is exactly one `{{ … }}` it keeps its value's type, else it comes to a text.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn text(source: &str) -> Result<Self, String> {
        if sole_expression(source).is_some_and(|bare| ENVIRONMENT.compile_expression(bare).is_ok()) {
            return Self::value(source);
        }
        let template = ENVIRONMENT.template_from_str(source).map_err(|error| does_not_compile(source, &error))?;
        let uses = uses_of(source, template.undeclared_variables(true))?;
        Ok(Self { source: source.to_owned(), kind: Kind::Text, uses })
    }

    /// Whether a text holds anything to evaluate.
    #[must_use]
    pub fn is_needed(text: &str) -> bool {
        ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark))
    }

    /// What it names.
    #[must_use]
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// `EXPRESSION_INVALID` where a name is undefined or an operation does not fit its values.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, Fault> {
        match self.kind {
            Kind::Text => ENVIRONMENT.render_str(&self.source, &scope.0).map(Value::String).map_err(|error| self.fault(&explain(&error))),
            Kind::Value => {
                let compiled = ENVIRONMENT.compile_expression(&self.source).map_err(|error| self.fault(&explain(&error)))?;
                let value = compiled.eval(&scope.0).map_err(|error| self.fault(&explain(&error)))?;
                to_json(&value).map_err(|why| self.fault(&why))
            }
        }
    }

    /// Evaluates it to yes or no.
    ///
    /// # Errors
    /// `EXPRESSION_INVALID` as for [`Expression::evaluate`], and where the value is not a boolean.
    pub fn holds(&self, scope: &Scope) -> Result<bool, Fault> {
        let value = self.evaluate(scope)?;
        value.as_bool().ok_or_else(|| self.fault(&format!("a condition must come to true or false, not `{value}`")))
    }

    fn fault(&self, why: &str) -> Fault {
        Fault::new(ErrorCode::ExpressionInvalid, format!("`{}`: {why}", shorten(&self.source)))
            .hint("run.show tells what the steps before it gave; `workflow.show` shows the definition")
    }
}

/// The inside of a text that is one `{{ … }}` and nothing else.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    // `{{-` and `-}}` are marks of templates, not a minus sign.
    let marked = inner.starts_with(['-', '+']) || inner.ends_with(['-', '+']);
    (!marked).then(|| inner.trim())
}

fn uses_of(source: &str, names: impl IntoIterator<Item = String>) -> Result<Uses, String> {
    let mut uses = Uses::default();
    let source = shorten(source);
    for name in names {
        let mut parts = name.split('.');
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("inputs", Some(input)) => {
                uses.inputs.insert(input.to_owned());
            }
            ("steps", Some(step)) => {
                match parts.next() {
                    None | Some("output" | "status") => {}
                    Some(other) => return Err(format!("`{source}`: a step has `output` and `status`, not `{other}`")),
                }
                uses.steps.insert(step.to_owned());
            }
            ("steps", None) => return Err(format!("`{source}`: name the step plainly, as in `steps.plan.output`")),
            ("run", Some("id")) | ("goal" | "inputs", None) => {}
            ("run", _) => return Err(format!("`{source}`: of the run there is only `run.id`")),
            (root, _) if ENVIRONMENT.globals().any(|(known, _)| known == root) => {}
            (root, _) => return Err(format!("`{source}`: `{root}` is undefined; there are `inputs`, `steps`, `goal` and `run.id`")),
        }
    }
    Ok(uses)
}

fn does_not_compile(source: &str, error: &minijinja::Error) -> String {
    format!("`{}` does not compile: {}", shorten(source), explain(error))
}

fn explain(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn shorten(source: &str) -> String {
    let one_line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    match one_line.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", one_line.get(..at).unwrap_or_default()),
        None => one_line,
    }
}
