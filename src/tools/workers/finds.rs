//! What searches found, out of answers in any form.
//!
//! INVARIANT: a find is one line of title, one of extract, and where it is; nothing is made up. Pure.

use serde_json::Value;

use super::line;

/// How deep finds may lie in what is given.
const DEPTH: u32 = 6;
/// Finds that are looked at.
const MOST: usize = 2_000;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Find {
    /// What it is called.
    pub(super) title: String,
    /// Where it is: an address, or the id of a document.
    pub(super) source: String,
    /// What the search showed of it.
    pub(super) extract: String,
}

/// Every find in an answer, in its order: an object with a place and some text is one, everything else is looked through.
pub(super) fn gather(answer: &Value) -> Vec<Find> {
    let mut finds = Vec::new();
    walk(answer, DEPTH, &mut finds);
    finds
}

fn walk(value: &Value, depth: u32, finds: &mut Vec<Find>) {
    if depth == 0 || finds.len() >= MOST {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, depth - 1, finds)),
        Value::Object(fields) => {
            let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)?.as_str().filter(|text| !text.trim().is_empty()));
            let place = text(&["url", "id", "path", "source"]);
            let extract = text(&["extract", "snippet", "text", "markdown", "description"]);
            match (place, extract) {
                (Some(place), Some(extract)) => {
                    let title = text(&["title", "name", "path"]).unwrap_or(place);
                    finds.push(Find { title: line(title, 200), source: line(place, 2_048), extract: line(extract, 400) });
                }
                _ => fields.values().for_each(|field| walk(field, depth - 1, finds)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
