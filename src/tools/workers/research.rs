//! `worker.research`: a summary with citations, out of what searches found.
//!
//! INVARIANT: says nothing that is not in its sources, and names the source of everything. Searches nothing itself.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Preparation;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool};

use super::line;

/// Citations in an answer.
const MOST_CITATIONS: usize = 20;
/// How deep finds may lie in what is given.
const DEPTH: u32 = 6;
/// Finds that are looked at.
const MOST_FINDS: usize = 2_000;

/// The tool.
pub struct WorkerResearch;

/// What to look for, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ResearchInput {
    #[schemars(length(min = 1, max = 1000))]
    query: String,
    /// Results of drive.search, web.search and the like, in any form.
    #[serde(default)]
    sources: Vec<Value>,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ResearchOutput {
    summary: String,
    citations: Vec<Citation>,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Citation {
    title: String,
    source: String,
    extract: String,
}

#[async_trait]
impl Tool for WorkerResearch {
    type Input = ResearchInput;
    type Output = ResearchOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Pure)))
    }

    async fn execute(&self, input: &Self::Input, _context: &CallContext) -> Result<Self::Output, Fault> {
        let mut finds = Vec::new();
        for source in &input.sources {
            gather(source, DEPTH, &mut finds);
        }
        let query = line(&input.query, 200);
        let terms: Vec<String> =
            query.to_lowercase().split_whitespace().filter(|term| term.chars().count() > 2).map(str::to_owned).collect();
        // A stable sort: among equals the searches' own order stays.
        finds.sort_by_key(|find| std::cmp::Reverse(relevance(find, &terms)));
        let mut citations: Vec<Citation> = Vec::new();
        for find in finds {
            if citations.len() < MOST_CITATIONS && !citations.iter().any(|known| known.source == find.source) {
                citations.push(find);
            }
        }
        Ok(ResearchOutput { summary: summary(&query, &citations), citations })
    }
}

/// An object with a place and some text is a find; everything else is looked through.
fn gather(value: &Value, depth: u32, finds: &mut Vec<Citation>) {
    if depth == 0 || finds.len() >= MOST_FINDS {
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| gather(item, depth - 1, finds)),
        Value::Object(fields) => {
            let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)?.as_str().filter(|text| !text.trim().is_empty()));
            let place = text(&["url", "id", "path", "source"]);
            let extract = text(&["extract", "snippet", "text", "markdown", "description"]);
            match (place, extract) {
                (Some(place), Some(extract)) => {
                    let title = text(&["title", "name", "path"]).unwrap_or(place);
                    finds.push(Citation { title: line(title, 200), source: line(place, 500), extract: line(extract, 400) });
                }
                _ => fields.values().for_each(|field| gather(field, depth - 1, finds)),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn relevance(find: &Citation, terms: &[String]) -> usize {
    let (title, extract) = (find.title.to_lowercase(), find.extract.to_lowercase());
    terms.iter().map(|term| 2 * usize::from(title.contains(term.as_str())) + usize::from(extract.contains(term.as_str()))).sum()
}

fn summary(query: &str, citations: &[Citation]) -> String {
    if citations.is_empty() {
        return format!("Nothing was found on \"{query}\"; the work rests on general practice.");
    }
    let told: Vec<String> =
        (1..).zip(citations).take(5).map(|(n, citation)| format!("[{n}] {}: {}", citation.title, line(&citation.extract, 160))).collect();
    let word = if citations.len() == 1 { "source" } else { "sources" };
    format!("{} {word} on \"{query}\". {}", citations.len(), told.join(" "))
}
