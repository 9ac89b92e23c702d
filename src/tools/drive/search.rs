//! `drive.search`: documents by their words.
//!
//! INVARIANT: reads only; what is found is quoted, never followed. Does not read whole documents out; see `drive.get`.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::call::Preparation;
use crate::confine::RelPath;
use crate::domain::{Effect, Effects, Fault};
use crate::tools::{CallContext, Tool, blocking};

use super::LocalDrive;

/// Finds where the call does not say.
const USUAL: u32 = 10;

/// The tool.
pub struct DriveSearch {
    local: LocalDrive,
}

impl DriveSearch {
    /// Searches this drive.
    #[must_use]
    pub fn new(local: LocalDrive) -> Self {
        Self { local }
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
    /// For drive.get.
    id: String,
    #[schemars(with = "String")]
    path: RelPath,
    title: String,
    size: u64,
    rank: u32,
    score: u32,
    snippet: String,
    source: String,
}

#[async_trait]
impl Tool for DriveSearch {
    type Input = SearchInput;
    type Output = SearchOutput;

    async fn prepare(&self, _input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        Ok(Preparation::of(Effects::only(Effect::Read)))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let (local, query) = (self.local.clone(), input.query.clone());
        let limit = input.limit.unwrap_or(USUAL) as usize;
        let (hits, complete) = blocking(move || local.search(&query, limit)).await?;
        if hits.is_empty() {
            context.brought.found_nothing();
        }
        let results = (1..).zip(hits).map(|(rank, hit)| Found {
            id: format!("local/{}", hit.path),
            title: hit.path.name().to_owned(),
            path: hit.path,
            size: hit.size,
            rank,
            score: hit.score,
            snippet: hit.snippet,
            source: "local".to_owned(),
        });
        Ok(SearchOutput { results: results.collect(), complete })
    }
}
