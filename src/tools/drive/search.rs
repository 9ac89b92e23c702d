//! `drive.search`: documents by their words.
//!
//! INVARIANT: reads only; what is found is quoted, never followed. Does not read whole documents out; see `drive.get`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::RelPath;
use crate::domain::{Effect, Effects, ErrorCode, Fault};
use crate::tools::{CallContext, Tool, plain};

use super::{Drives, Find, Query, id};

/// Finds where the call does not say.
const USUAL: u32 = 10;
/// Characters of a name that are shown.
const LONGEST_TITLE: usize = 300;

/// The tool.
pub struct DriveSearch {
    drives: Drives,
}

impl DriveSearch {
    /// Searches these drives.
    #[must_use]
    pub fn new(drives: Drives) -> Self {
        Self { drives }
    }
}

/// What to find.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SearchInput {
    /// Words; a document must hold all of them in its path or text.
    #[schemars(length(min = 1, max = 400))]
    query: String,
    /// Default 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
    /// Only in this folder: its path, or its id in a drive without paths.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    folder: Option<String>,
    /// Which drive, such as local or google; default the first configured.
    #[serde(default)]
    #[schemars(length(max = 20))]
    provider: Option<String>,
}

/// The best first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct SearchOutput {
    results: Vec<Found>,
    /// False where the drive was too large to look at every text.
    complete: bool,
}

/// One document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Found {
    /// For drive.get and drive.download.
    id: String,
    /// Where the drive has paths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    path: Option<RelPath>,
    title: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    rank: u32,
    /// Where the drive tells; more is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    snippet: String,
    source: String,
}

#[async_trait]
impl Tool for DriveSearch {
    type Input = SearchInput;
    type Output = SearchOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        words(&input.query)?;
        let drive = self.drives.named(input.provider.as_deref())?;
        Ok(Preparation::of(Effects::only(Effect::Read)).reaching(drive.hosts()))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let drive = self.drives.named(input.provider.as_deref())?;
        let limit = input.limit.unwrap_or(USUAL) as usize;
        let query = Query { words: words(&input.query)?.join(" "), folder: input.folder.clone(), limit };
        let found = drive.search(&query, context).await?;
        if found.finds.is_empty() {
            context.brought.found_nothing();
        }
        let results = (1..).zip(found.finds).take(limit).map(|(rank, find)| shown(drive.name(), rank, find));
        Ok(SearchOutput { results: results.collect(), complete: found.complete })
    }
}

fn shown(drive: &str, rank: u32, find: Find) -> Found {
    Found {
        id: id::join(drive, &find.id),
        path: find.path,
        title: title(&find.title),
        size: find.size,
        media_type: find.media_type,
        modified: find.modified,
        rank,
        score: find.score,
        snippet: find.snippet,
        source: drive.to_owned(),
    }
}

/// A name as a drive has it, in one harmless line.
pub(super) fn title(name: &str) -> String {
    let line = plain(name).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_TITLE { line } else { line.chars().take(LONGEST_TITLE).chain(['…']).collect() }
}

/// The words of a query, each once.
pub(super) fn words(query: &str) -> Result<Vec<String>, Fault> {
    let mut words: Vec<String> =
        query.split_whitespace().map(|word| word.replace(char::is_control, "")).filter(|word| !word.is_empty()).collect();
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.to_lowercase()));
    if words.is_empty() || words.len() > 16 {
        return Err(Fault::new(ErrorCode::InvalidInput, "`query` needs one to sixteen words").hint("give a few words of the document"));
    }
    Ok(words)
}
