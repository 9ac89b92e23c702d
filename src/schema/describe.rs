//! Says in plain words what is wrong with a value, without showing the value.

use std::fmt;

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use serde_json::Value;

use crate::domain::nearest;

/// Names listed in one message.
const LISTED: usize = 12;

/// One thing that is wrong.
pub(super) struct Mistake {
    /// JSON pointer of the field; empty for the whole value.
    pub(super) path: String,
    /// What is wrong with it.
    pub(super) message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "at `{}`: {}", self.path, self.message) }
    }
}

/// Where something is, for a sentence.
pub(super) fn place(path: &str) -> String {
    if path.is_empty() { "its top".to_owned() } else { format!("`{path}`") }
}

/// The mistakes that one error stands for: one for each field that should not be there, else one.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds stand for one mistake")]
pub(super) fn mistakes(error: &ValidationError<'_>, schema: &Value) -> Vec<Mistake> {
    let at = error.instance_path().as_str();
    match error.kind() {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known = known_fields(error, schema);
            unexpected
                .iter()
                .take(LISTED)
                .map(|name| Mistake { path: format!("{at}/{}", escaped(&cut(name))), message: surplus(&cut(name), &known) })
                .collect()
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Mistake { path: format!("{at}/{}", escaped(name)), message: format!("field `{name}` is missing") }]
        }
        _ => vec![Mistake { path: at.to_owned(), message: told(error, schema) }],
    }
}

/// What an error says, in a few words.
#[expect(clippy::wildcard_enum_match_arm, reason = "the crate's list grows; what it adds is told by its keyword")]
pub(super) fn told(error: &ValidationError<'_>, schema: &Value) -> String {
    match error.kind() {
        Kind::Type { kind } => format!("must be {}, is {}", types(kind), type_of(error.instance())),
        Kind::Enum { options } => match options.as_array() {
            Some(options) => format!("must be one of {}", listed(options.iter().map(Value::to_string))),
            None => "is not one of the allowed values".to_owned(),
        },
        Kind::Constant { expected_value } => format!("must be {}", cut(&expected_value.to_string())),
        Kind::Pattern { pattern } => format!("must match the pattern `{}`", cut(pattern)),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} items"),
        Kind::MaxItems { limit } => format!("must have at most {limit} items"),
        Kind::MinProperties { limit } => format!("must have at least {limit} fields"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} fields"),
        Kind::UniqueItems => "must not hold the same item twice".to_owned(),
        Kind::FalseSchema => "must not be there".to_owned(),
        Kind::Contains => "lacks an item of the kind it must hold".to_owned(),
        Kind::Not { .. } => "has a form that is not allowed".to_owned(),
        Kind::Format { format } => format!("must be in the format `{}`", cut(format)),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} items"),
        Kind::UnevaluatedItems { .. } => "has more items than it may".to_owned(),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            surplus(&cut(unexpected.first().map_or("", String::as_str)), &known_fields(error, schema))
        }
        Kind::Required { property } => format!("field `{}` is missing", property.as_str().unwrap_or_default()),
        Kind::PropertyNames { error } => format!("has a field whose name {}", told(error, schema)),
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => nearest_form(error, context, schema),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the allowed forms, must fit exactly one".to_owned(),
        other => format!("does not satisfy `{}`", other.keyword()),
    }
}

/// Of the forms a value may have, the one it comes nearest to, and what is wrong with it there: a mistake deeper in the value,
/// or of another kind than its type, shows that this form was meant.
fn nearest_form(error: &ValidationError<'_>, forms: &[Vec<ValidationError<'static>>], schema: &Value) -> String {
    let depth = |error: &ValidationError<'_>| error.instance_path().as_str().matches('/').count();
    let wrong_type = |error: &ValidationError<'_>| matches!(error.kind(), Kind::Type { .. } | Kind::Constant { .. });
    let base = depth(error);
    let best = forms
        .iter()
        .filter(|form| !form.iter().any(|inner| depth(inner) == base && wrong_type(inner)))
        .min_by_key(|form| form.len())
        .and_then(|form| form.first())
        .and_then(|inner| mistakes(inner, schema).into_iter().next());
    match best {
        Some(mistake) => format!("fits none of the allowed forms; in the nearest one, {mistake}"),
        None => {
            let wanted: Vec<String> = forms
                .iter()
                .filter_map(|form| form.first())
                .filter_map(|inner| if let Kind::Type { kind } = inner.kind() { Some(types(kind)) } else { None })
                .collect();
            if wanted.is_empty() || wanted.len() < forms.len() {
                "fits none of the allowed forms".to_owned()
            } else {
                format!("must be {}, is {}", wanted.join(" or "), type_of(error.instance()))
            }
        }
    }
}

fn surplus(name: &str, known: &[&str]) -> String {
    let mut told = format!("additional property `{name}`");
    if let Some(meant) = nearest(name, known.iter().copied()) {
        told.push_str(&format!("; did you mean `{meant}`?"));
    }
    if known.is_empty() {
        told.push_str("; no field is allowed here");
    } else {
        told.push_str(&format!("; known: {}", listed(known.iter().map(|name| format!("`{name}`")))));
    }
    told
}

/// The fields that the schema names at the place of the error.
fn known_fields<'s>(error: &ValidationError<'_>, schema: &'s Value) -> Vec<&'s str> {
    let keyword = error.schema_path().as_str();
    let parent = keyword.rsplit_once('/').map_or("", |(parent, _)| parent);
    let fields = schema.pointer(parent).and_then(|place| place.get("properties")).and_then(Value::as_object);
    let mut names: Vec<&str> = fields.map(|fields| fields.keys().map(String::as_str).collect()).unwrap_or_default();
    names.sort_unstable();
    names
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => with_article(&kind.to_string()),
        TypeKind::Multiple(kinds) => kinds.iter().map(|kind| with_article(&kind.to_string())).collect::<Vec<_>>().join(" or "),
    }
}

fn with_article(word: &str) -> String {
    match word {
        "null" => word.to_owned(),
        "array" | "integer" | "object" => format!("an {word}"),
        _ => format!("a {word}"),
    }
}

fn type_of(value: &Value) -> String {
    with_article(match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

fn listed(words: impl ExactSizeIterator<Item = String>) -> String {
    let more = words.len() > LISTED;
    let mut text = words.take(LISTED).map(|word| cut(&word)).collect::<Vec<_>>().join(", ");
    if more {
        text.push_str(", …");
    }
    text
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST { text.to_owned() } else { text.chars().take(LONGEST).chain(['…']).collect() }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
