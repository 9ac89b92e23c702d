//! `worker.research`: extracts with citations, out of what searches of the web and the drive find, and what reading that gives.
//!
//! INVARIANT: says nothing that is not in its sources, and names the source of everything. Whatever it searches or reads is a call of its
//! own on the one path.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::Preparation;
use crate::domain::{ArtifactId, Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool};

use super::finds::{Find, gather};
use super::line;
use super::passages::{terms, weight};
use super::ports::ToolCalls;
use super::reading::Reading;

/// Citations in an answer.
const MOST_CITATIONS: usize = 20;
/// Finds of each search, where the call does not say.
const USUAL_FINDS: u32 = 10;
/// What is read of each search's finds, where the call does not say.
const USUAL_PAGES: u32 = 3;

/// The tool.
pub struct WorkerResearch {
    /// The way to the searches.
    pub calls: Arc<dyn ToolCalls>,
}

/// What to look for, and where.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct ResearchInput {
    #[schemars(length(min = 1, max = 400))]
    query: String,
    /// Results of drive.search, web.search and the like, in any form.
    #[serde(default)]
    sources: Vec<Value>,
    /// Where to search and read; default: everywhere, and nowhere where `sources` are given.
    #[serde(default)]
    search: Option<BTreeSet<Place>>,
    /// Finds to look at in each place; default 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
    /// Finds to read in each place; default 3.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pages: Option<u32>,
}

/// Where to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Place {
    /// By web.search, read by web.fetch.
    Web,
    /// By drive.search, read by drive.get.
    Drive,
}

impl Place {
    /// What searches here, and what reads.
    pub(super) fn tools(self) -> (&'static str, &'static str) {
        match self {
            Self::Web => ("web.search", "web.fetch"),
            Self::Drive => ("drive.search", "drive.get"),
        }
    }

    /// What reads a find.
    pub(super) fn arguments(self, source: &str) -> Value {
        match self {
            Self::Web => json!({ "url": source }),
            Self::Drive => json!({ "id": source }),
        }
    }
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct ResearchOutput {
    summary: String,
    citations: Vec<Citation>,
    /// What could not be searched or read, and why.
    notes: Vec<String>,
}

/// One extract and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Citation {
    pub(super) title: String,
    pub(super) source: String,
    pub(super) extract: String,
    /// The text that was read; absent where the search alone showed the extract.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub(super) artifact: Option<ArtifactId>,
    /// Where in that text the extract begins, in characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<u64>,
    /// Where it ends: the first character behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<u64>,
}

impl ResearchInput {
    /// The web first: see [`Reading`].
    fn places(&self) -> BTreeSet<Place> {
        match &self.search {
            Some(places) => places.clone(),
            None if self.sources.is_empty() => BTreeSet::from([Place::Web, Place::Drive]),
            None => BTreeSet::new(),
        }
    }
}

#[async_trait]
impl Tool for WorkerResearch {
    type Input = ResearchInput;
    type Output = ResearchOutput;

    async fn prepare(&self, input: &Self::Input, context: &CallContext) -> Result<Preparation, Fault> {
        let places = input.places();
        if places.is_empty() {
            return Ok(Preparation::of(Effects::only(Effect::Pure)));
        }
        if context.from_code {
            return Err(Fault::new(ErrorCode::InvalidInput, "a program's call cannot make calls of its own")
                .hint("call the searches from the program, and give their results as `sources`"));
        }
        let tools: Vec<&str> = places.iter().flat_map(|place| [place.tools().0, place.tools().1]).collect();
        let effects = self.calls.effects_of(&tools)?;
        let hosts = effects.contains(Effect::Egress).then(|| "*".to_owned());
        Ok(Preparation { makes_calls: true, ..Preparation::of(effects).reaching(hosts) })
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let query = line(&input.query, 400);
        let terms = terms(&query);
        let mut reading = Reading { calls: &*self.calls, context, query: &query, terms: &terms, notes: Vec::new(), made: 0 };
        let (mut citations, mut finds) = (Vec::new(), input.sources.iter().flat_map(gather).collect::<Vec<_>>());
        let (limit, pages) = (input.limit.unwrap_or(USUAL_FINDS), input.pages.unwrap_or(USUAL_PAGES));
        for place in input.places() {
            let (cited, unread) = reading.of(place, limit, usize::try_from(pages).unwrap_or_default()).await?;
            citations.extend(cited);
            finds.extend(unread);
        }
        let notes = reading.notes;
        Ok(answer(&query, &terms, citations, finds, notes))
    }
}

/// What was read first, what was only found behind it; each by how much it says, and each place of a source once.
fn answer(query: &str, terms: &[String], mut cited: Vec<Citation>, mut finds: Vec<Find>, notes: Vec<String>) -> ResearchOutput {
    // Stable sorts: among equals the searches' own order stays.
    cited.sort_by_key(|citation| std::cmp::Reverse(weight(&citation.extract, terms)));
    finds.sort_by_key(|find| std::cmp::Reverse(2 * weight(&find.title, terms) + weight(&find.extract, terms)));
    let mut citations: Vec<Citation> = cited;
    for Find { title, source, extract } in finds {
        if !citations.iter().any(|known| known.source == source) {
            citations.push(Citation { title, source, extract, artifact: None, start: None, end: None });
        }
    }
    citations.truncate(MOST_CITATIONS);
    ResearchOutput { summary: summary(query, &citations), citations, notes }
}

fn summary(query: &str, citations: &[Citation]) -> String {
    if citations.is_empty() {
        return format!("Nothing was found on \"{query}\"; the work rests on general practice.");
    }
    let told: Vec<String> =
        (1..).zip(citations).take(5).map(|(n, citation)| format!("[{n}] {}: {}", citation.title, line(&citation.extract, 160))).collect();
    let sources: BTreeSet<&str> = citations.iter().map(|citation| citation.source.as_str()).collect();
    let word = if sources.len() == 1 { "source" } else { "sources" };
    format!("{} {word} on \"{query}\". {}", sources.len(), told.join(" "))
}
