//! YAML as a tree that remembers lines, so that every mistake in a file can be told at once and with its place.
//!
//! Does not know what the fields mean.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::domain::Problem;

/// Bytes of one file.
const LARGEST: usize = 1 << 20;

/// A node of the tree.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) line: Option<u64>,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Neither list nor mapping.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file; keys are unique.
    Map(Vec<Field>),
}

/// One field of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) line: Option<u64>,
    pub(crate) value: Node,
}

impl Node {
    /// Reads one document.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, Problem> {
        if text.len() > LARGEST {
            return Err(Problem::new(file, format!("the file has more than {LARGEST} bytes")).hint("make it smaller"));
        }
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options::<Self>(text, options).map_err(|error| {
            let line = error.location().map(|location| location.line()).filter(|line| *line > 0);
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default().trim_end_matches('.');
            Problem::new(file, format!("not readable as YAML: {first}")).at(line)
        })
    }

    /// The node as plain data.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Map(fields) => {
                Value::Object(fields.iter().map(|field| (field.name.clone(), field.value.to_json())).collect::<Map<_, _>>())
            }
        }
    }

    /// Its text, where it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(Value::String(text)) => Some(text),
            Kind::Scalar(_) | Kind::List(_) | Kind::Map(_) => None,
        }
    }
}

fn line_of<T>(spanned: &Spanned<T>) -> Option<u64> {
    Some(spanned.referenced.line()).filter(|line| *line > 0)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let kind = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Self { line: line_of(&kind), kind: kind.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON knows")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::from(value)))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::from(value)))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Kind, E> {
        Number::from_f64(value).map(|number| Kind::Scalar(Value::Number(number))).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::String(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        Kind::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Node>()? {
            items.push(item);
        }
        Ok(Kind::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut fields: Vec<Field> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = line_of(&key);
            if fields.iter().any(|field| field.name == key.value) {
                return Err(A::Error::custom(format!("field `{}` stands twice", key.value)));
            }
            fields.push(Field { name: key.value, line, value: map.next_value()? });
        }
        Ok(Kind::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_remember_their_lines() {
        let node = Node::read("a.yaml", "a: 1\nb:\n  - x\n  - {c: true, d: ~}\n").unwrap();
        assert_eq!(node.to_json(), serde_json::json!({"a": 1, "b": ["x", {"c": true, "d": null}]}));
        let Kind::Map(fields) = &node.kind else { panic!("a mapping") };
        assert_eq!(fields[1].line, Some(2));
        let Kind::List(items) = &fields[1].value.kind else { panic!("a list") };
        assert_eq!(items[1].line, Some(4));
    }

    #[test]
    fn broken_files_tell_the_line() {
        for (text, line) in
            [("a: 1\nb: [1,\n", 2..4), ("a: 1\na: 2\n", 2..3), ("a: .nan\n", 1..2), ("a: *x\n", 1..2), ("a: 1\n\tb: 2\n", 1..3)]
        {
            let problem = Node::read("a.yaml", text).unwrap_err();
            assert!(problem.line.is_some_and(|found| line.contains(&found)), "{text:?}: {problem}");
            assert!(!problem.message.contains('\n'));
        }
        let bomb = format!("a: &a [{}]\n", "x,".repeat(100))
            + "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert!(Node::read("a.yaml", &bomb).is_err());
        assert!(Node::read("a.yaml", &"[".repeat(100_000)).is_err());
    }
}
