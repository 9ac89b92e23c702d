//! A YAML document as a tree that knows the line of every node, so that each problem can name its place.
//!
//! INVARIANT: depth and size are bounded before anything is built. Does not know what a workflow is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::domain::{Problem, Problems};

/// A workflow file longer than this is refused unread.
const MOST_BYTES: usize = 1024 * 1024;
/// Nesting deeper than this is refused.
const MOST_DEPTH: usize = 32;

/// A node and its line, from 1; `None` where it was not read from a file.
#[derive(Debug, Clone)]
pub(super) struct Located {
    pub(super) line: Option<u64>,
    pub(super) node: Node,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Located>),
    Map(Vec<(Key, Located)>),
}

/// A key of a mapping, with its line.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) line: Option<u64>,
    pub(super) text: String,
}

impl Located {
    /// Reads one YAML document.
    pub(super) fn from_yaml(file: &str, text: &str) -> Result<Self, Problems> {
        if text.len() > MOST_BYTES {
            return Err(Problem::new(file, format!("the file has {} bytes, more than {MOST_BYTES}", text.len())).into());
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! { max_depth: MOST_DEPTH, max_aliases: 64, max_anchors: 64, max_nodes: 200_000 },
            strict_booleans: true,
            with_snippet: false,
        };
        serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options).map(Self::from).map_err(|error| {
            let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
            let message = error.to_string();
            Problem::new(file, format!("not readable as YAML: {}", message.lines().next().unwrap_or_default())).at(line).into()
        })
    }

    /// The same tree from JSON, without lines: how a stored definition comes back.
    pub(super) fn from_json(value: &Value) -> Self {
        let node = match value {
            Value::Null => Node::Null,
            Value::Bool(flag) => Node::Bool(*flag),
            Value::Number(number) => Node::Number(number.clone()),
            Value::String(text) => Node::Text(text.clone()),
            Value::Array(items) => Node::List(items.iter().map(Self::from_json).collect()),
            Value::Object(fields) => {
                Node::Map(fields.iter().map(|(key, value)| (Key { line: None, text: key.clone() }, Self::from_json(value))).collect())
            }
        };
        Self { line: None, node }
    }

    /// The tree without its lines.
    pub(super) fn to_json(&self) -> Value {
        match &self.node {
            Node::Null => Value::Null,
            Node::Bool(flag) => Value::Bool(*flag),
            Node::Number(number) => Value::Number(number.clone()),
            Node::Text(text) => Value::String(text.clone()),
            Node::List(items) => items.iter().map(Self::to_json).collect(),
            Node::Map(fields) => {
                Value::Object(fields.iter().map(|(key, value)| (key.text.clone(), value.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Its text, where it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Node::Text(text) = &self.node { Some(text) } else { None }
    }

    /// Its items, where it is a list.
    pub(super) fn as_list(&self) -> Option<&[Self]> {
        if let Node::List(items) = &self.node { Some(items) } else { None }
    }

    /// What kind of value it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.node {
            Node::Null => "nothing",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a mapping",
        }
    }
}

impl From<Spanned<Node>> for Located {
    fn from(spanned: Spanned<Node>) -> Self {
        Self { line: Some(spanned.referenced.line()).filter(|line| *line > 0), node: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Node, E> {
        Number::from_f64(number).map(Node::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Node>>()? {
            list.push(item.into());
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Node, A::Error> {
        let mut map: Vec<(Key, Located)> = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            let key = Key { line: Some(key.referenced.line()).filter(|line| *line > 0), text: key.value };
            if map.iter().any(|(known, _)| known.text == key.text) {
                return Err(A::Error::custom(format!("`{}` is given twice", key.text)));
            }
            map.push((key, fields.next_value::<Spanned<Node>>()?.into()));
        }
        Ok(Node::Map(map))
    }
}
