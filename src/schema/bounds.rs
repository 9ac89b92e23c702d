//! Looks at a schema before it is compiled: that it stays within itself and within bounds.
//!
//! INVARIANT: takes time in proportion to the schema's size. Does not check that keywords are used rightly: the compiler does.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

const DEPTH: usize = 48;
const VALUES: usize = 20_000;
const SUBSCHEMAS: usize = 1_000;
/// Subschemas when every reference is written out, so that references to references cannot multiply.
const EXPANDED: u64 = 10_000;
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Why a schema is refused.
pub(super) struct Breach {
    pub(super) message: String,
    pub(super) hint: &'static str,
}

const SMALLER: &str = "make the schema smaller";

fn breach(message: impl Into<String>, hint: &'static str) -> Breach {
    Breach { message: message.into(), hint }
}

pub(super) fn check(root: &Value) -> Result<(), Breach> {
    if !root.is_object() && !root.is_boolean() {
        return Err(breach("a schema is an object or a boolean", "write an object with `type`"));
    }
    let mut values = 0;
    measure(root, 0, &mut values)?;
    let graph = Graph::read(root)?;
    let mut expanded = HashMap::new();
    if graph.expand(root, &mut expanded, &mut HashSet::new()) > EXPANDED {
        return Err(breach(format!("the schema has more than {EXPANDED} subschemas when its references are written out"), SMALLER));
    }
    graph.refuse_loops()
}

fn measure(value: &Value, depth: usize, values: &mut usize) -> Result<(), Breach> {
    *values += 1;
    if *values > VALUES {
        return Err(breach(format!("the schema has more than {VALUES} values"), SMALLER));
    }
    if depth > DEPTH {
        return Err(breach(format!("the schema is nested more than {DEPTH} levels deep"), SMALLER));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, depth + 1, values)),
        Value::Object(fields) => fields.values().try_for_each(|field| measure(field, depth + 1, values)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// A place in the schema: values do not move while it is looked at.
type Node = *const Value;

/// An edge to a subschema; `deeper` where it looks at a part of the value rather than at the value itself.
struct Edge<'a> {
    to: &'a Value,
    deeper: bool,
}

struct Graph<'a> {
    edges: HashMap<Node, Vec<Edge<'a>>>,
}

impl<'a> Graph<'a> {
    fn read(root: &'a Value) -> Result<Self, Breach> {
        let mut anchors = HashMap::new();
        let mut edges: HashMap<Node, Vec<Edge<'a>>> = HashMap::new();
        let mut references = Vec::new();
        let mut queue = vec![root];
        while let Some(schema) = queue.pop() {
            if edges.contains_key(&std::ptr::from_ref(schema)) {
                continue;
            }
            let mut found = Vec::new();
            if let Value::Object(fields) = schema {
                refuse_words(fields, std::ptr::eq(schema, root))?;
                if let Some(Value::String(anchor)) = fields.get("$anchor") {
                    anchors.insert(anchor.as_str(), schema);
                }
                if let Some(reference) = fields.get("$ref") {
                    references.push((schema, reference));
                }
                found = subschemas(fields);
                queue.extend(found.iter().map(|edge| edge.to));
            }
            edges.insert(std::ptr::from_ref(schema), found);
            if edges.len() > SUBSCHEMAS {
                return Err(breach(format!("the schema has more than {SUBSCHEMAS} subschemas"), SMALLER));
            }
            if queue.is_empty() {
                for (from, reference) in std::mem::take(&mut references) {
                    let to = resolve(root, &anchors, reference)?;
                    edges.entry(std::ptr::from_ref(from)).or_default().push(Edge { to, deeper: false });
                    queue.push(to);
                }
            }
        }
        Ok(Self { edges })
    }

    fn of(&self, node: &Value) -> &[Edge<'a>] {
        self.edges.get(&std::ptr::from_ref(node)).map_or(&[], Vec::as_slice)
    }

    /// Subschemas under `node` with references written out; a reference back to what is being written out counts as one.
    fn expand(&self, node: &'a Value, known: &mut HashMap<Node, u64>, open: &mut HashSet<Node>) -> u64 {
        let here = std::ptr::from_ref(node);
        if let Some(size) = known.get(&here) {
            return *size;
        }
        if !open.insert(here) {
            return 1;
        }
        let size = self.of(node).iter().fold(1_u64, |sum, edge| sum.saturating_add(self.expand(edge.to, known, open)));
        open.remove(&here);
        known.insert(here, size);
        size
    }

    /// A schema that leads back to itself without looking deeper into the value would never end.
    fn refuse_loops(&self) -> Result<(), Breach> {
        let mut inner: HashMap<Node, usize> = HashMap::new();
        for edge in self.edges.values().flatten().filter(|edge| !edge.deeper) {
            *inner.entry(std::ptr::from_ref(edge.to)).or_default() += 1;
        }
        // What no edge leads to is taken away, again and again; what is left then is a loop.
        let mut free: Vec<Node> = self.edges.keys().copied().filter(|node| !inner.contains_key(node)).collect();
        let mut taken = 0;
        while let Some(node) = free.pop() {
            taken += 1;
            for edge in self.edges.get(&node).into_iter().flatten().filter(|edge| !edge.deeper) {
                let to = std::ptr::from_ref(edge.to);
                if let Some(count) = inner.get_mut(&to) {
                    *count -= 1;
                    if *count == 0 {
                        free.push(to);
                    }
                }
            }
        }
        if taken == self.edges.len() {
            Ok(())
        } else {
            Err(breach("a `$ref` leads back to itself without looking deeper into the value", "let it stand under `properties` or `items`"))
        }
    }
}

fn refuse_words(fields: &Map<String, Value>, is_root: bool) -> Result<(), Breach> {
    if let Some(draft) = fields.get("$schema")
        && draft.as_str().map(|draft| draft.trim_end_matches('#')) != Some(DRAFT)
    {
        return Err(breach("the schema is not written in draft 2020-12", "set `$schema` to that of draft 2020-12 or leave it out"));
    }
    let inner_id = !is_root && fields.contains_key("$id");
    for (word, there) in
        [("$id", inner_id), ("$dynamicRef", true), ("$dynamicAnchor", true), ("$recursiveRef", true), ("$vocabulary", true)]
    {
        if there && fields.contains_key(word) {
            return Err(breach(format!("`{word}` is not supported here"), "use `$defs` and `$ref: \"#/$defs/…\"`"));
        }
    }
    Ok(())
}

/// The subschemas that stand directly under these keywords.
fn subschemas(fields: &Map<String, Value>) -> Vec<Edge<'_>> {
    let mut found = Vec::new();
    for (keyword, value) in fields {
        let (deeper, known) = match keyword.as_str() {
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "unevaluatedProperties"
            | "propertyNames"
            | "items"
            | "prefixItems"
            | "contains"
            | "unevaluatedItems"
            | "contentSchema"
            | "$defs"
            | "definitions" => (true, true),
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas" => (false, true),
            _ => (true, false),
        };
        if !known {
            continue;
        }
        let by_name = matches!(keyword.as_str(), "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas");
        match value {
            Value::Object(map) if by_name => found.extend(map.values().map(|to| Edge { to, deeper })),
            Value::Array(list) => found.extend(list.iter().map(|to| Edge { to, deeper })),
            Value::Object(_) | Value::Bool(_) => found.push(Edge { to: value, deeper }),
            Value::Null | Value::Number(_) | Value::String(_) => {}
        }
    }
    found
}

fn resolve<'a>(root: &'a Value, anchors: &HashMap<&str, &'a Value>, reference: &Value) -> Result<&'a Value, Breach> {
    let local = "refer to a part of the same schema, as in `#/$defs/name`";
    let shown: String = reference.as_str().unwrap_or("(not a string)").chars().take(80).collect();
    let Some(fragment) = reference.as_str().and_then(|text| text.strip_prefix('#')) else {
        return Err(breach(format!("`$ref` to `{shown}` is not local"), local));
    };
    let target =
        if fragment.is_empty() || fragment.starts_with('/') { root.pointer(&unescaped(fragment)) } else { anchors.get(fragment).copied() };
    target
        .filter(|target| target.is_object() || target.is_boolean())
        .ok_or_else(|| breach(format!("`$ref` to `{shown}` leads to no schema"), local))
}

/// Percent escapes undone, where they are escapes.
fn unescaped(fragment: &str) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
