//! Takes a mapping's fields one by one and gathers what is wrong with them.

use serde_json::Value;

use super::yaml::{Field, Kind, Node};
use crate::domain::Problem;
use crate::domain::nearest;

/// The fields of one mapping of one file.
pub(crate) struct Fields<'a> {
    file: &'a str,
    line: Option<u64>,
    list: &'a [Field],
    known: &'a [&'a str],
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which must be a mapping; those that are not `known` are problems.
    pub(crate) fn of(file: &'a str, what: &str, node: &'a Node, known: &'a [&'a str], problems: &mut Vec<Problem>) -> Option<Self> {
        let Kind::Map(list) = &node.kind else {
            problems.push(Problem::new(file, format!("{what} must be a mapping")).at(node.line));
            return None;
        };
        for field in list.iter().filter(|field| !known.contains(&field.name.as_str())) {
            let name: String = field.name.chars().take(40).collect();
            let hint = match nearest(&name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known: {}", known.join(", ")),
            };
            problems.push(Problem::new(file, format!("unknown field `{name}` in {what}")).at(field.line).hint(hint));
        }
        Some(Self { file, line: node.line, list, known })
    }

    /// Where the mapping begins.
    pub(crate) fn line(&self) -> Option<u64> {
        self.line
    }

    /// A field, where it is there.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Node> {
        debug_assert!(self.known.contains(&name), "`{name}` is not among the known fields");
        self.list.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// A field that must be there.
    pub(crate) fn need(&self, name: &str, problems: &mut Vec<Problem>) -> Option<&'a Node> {
        let found = self.get(name);
        if found.is_none() {
            problems.push(Problem::new(self.file, format!("field `{name}` is missing")).at(self.line));
        }
        found
    }

    /// A field that must be there and a text.
    pub(crate) fn need_text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<(&'a str, Option<u64>)> {
        let node = self.need(name, problems)?;
        self.text_of(name, node, problems)
    }

    /// A text, where the field is there.
    pub(crate) fn text(&self, name: &str, problems: &mut Vec<Problem>) -> Option<(&'a str, Option<u64>)> {
        let node = self.get(name)?;
        self.text_of(name, node, problems)
    }

    fn text_of(&self, name: &str, node: &'a Node, problems: &mut Vec<Problem>) -> Option<(&'a str, Option<u64>)> {
        let text = node.text();
        if text.is_none() {
            problems.push(Problem::new(self.file, format!("field `{name}` must be a text")).at(node.line).hint("put it in quotes"));
        }
        text.map(|text| (text, node.line))
    }

    /// Yes or no, where the field is there.
    pub(crate) fn flag(&self, name: &str, problems: &mut Vec<Problem>) -> Option<bool> {
        let node = self.get(name)?;
        match &node.kind {
            Kind::Scalar(Value::Bool(flag)) => Some(*flag),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => {
                problems.push(Problem::new(self.file, format!("field `{name}` must be true or false")).at(node.line));
                None
            }
        }
    }

    /// A list, where the field is there.
    pub(crate) fn list(&self, name: &str, problems: &mut Vec<Problem>) -> Option<&'a [Node]> {
        let node = self.get(name)?;
        match &node.kind {
            Kind::List(items) => Some(items),
            Kind::Scalar(_) | Kind::Map(_) => {
                problems.push(Problem::new(self.file, format!("field `{name}` must be a list")).at(node.line));
                None
            }
        }
    }

    /// Texts, where the field is there.
    pub(crate) fn texts(&self, name: &str, problems: &mut Vec<Problem>) -> Option<Vec<(&'a str, Option<u64>)>> {
        let items = self.list(name, problems)?;
        let mut texts = Vec::new();
        for item in items {
            match item.text() {
                Some(text) => texts.push((text, item.line)),
                None => problems.push(Problem::new(self.file, format!("every item of `{name}` must be a text")).at(item.line)),
            }
        }
        Some(texts)
    }
}
