//! JSON values with expressions in their texts.
//!
//! INVARIANT: keys are never evaluated, so what a template can produce has the shape that its author wrote.

use serde_json::{Map, Value};

use crate::domain::Fault;

use super::expression::{Expression, Scope, Uses};
use super::node::{Located, Node};
use super::reader::Reader;

/// A value to be rendered when its step starts.
#[derive(Debug, Clone, PartialEq)]
pub enum Template {
    /// As it stands.
    Literal(Value),
    /// To be evaluated.
    Expression(Expression),
    /// Item by item.
    List(Vec<Template>),
    /// Field by field.
    Object(Vec<(String, Template)>),
}

impl Template {
    /// Reads a tree. Expressions that do not compile leave a problem; what the others use is added to `uses`, with its line.
    pub(super) fn read(at: &Located, reader: &mut Reader<'_>, what: &str, uses: &mut Vec<(Uses, Option<u64>)>) -> Self {
        match &at.node {
            Node::Text(text) if Expression::is_needed(text) => match Expression::text(text) {
                Ok(expression) => {
                    uses.push((expression.uses().clone(), at.line));
                    Self::Expression(expression)
                }
                Err(message) => {
                    reader.problem(at.line, format!("{what}: {message}"));
                    Self::Literal(Value::Null)
                }
            },
            Node::List(items) => Self::list(items.iter().map(|item| Self::read(item, reader, what, uses)).collect()),
            Node::Map(fields) => {
                Self::object(fields.iter().map(|(key, value)| (key.text.clone(), Self::read(value, reader, what, uses))).collect())
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Text(_) => Self::Literal(at.to_json()),
        }
    }

    /// An empty object.
    #[must_use]
    pub fn empty() -> Self {
        Self::Literal(Value::Object(Map::new()))
    }

    /// The value.
    ///
    /// # Errors
    /// `EXPRESSION_INVALID` from the first expression that fails.
    pub fn render(&self, scope: &Scope) -> Result<Value, Fault> {
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.evaluate(scope),
            Self::List(items) => items.iter().map(|item| item.render(scope)).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(key, value)| Ok((key.clone(), value.render(scope)?)))
                .collect::<Result<Map<_, _>, Fault>>()
                .map(Value::Object),
        }
    }

    fn literal(&self) -> Option<Value> {
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Expression(_) | Self::List(_) | Self::Object(_) => None,
        }
    }

    /// A list without expressions is one literal.
    fn list(items: Vec<Self>) -> Self {
        let literals: Option<Vec<Value>> = items.iter().map(Self::literal).collect();
        literals.map_or(Self::List(items), |values| Self::Literal(Value::Array(values)))
    }

    /// An object without expressions is one literal.
    fn object(fields: Vec<(String, Self)>) -> Self {
        let literals: Option<Map<String, Value>> = fields.iter().map(|(key, value)| Some((key.clone(), value.literal()?))).collect();
        literals.map_or(Self::Object(fields), |values| Self::Literal(Value::Object(values)))
    }
}
