//! Resources and prompts of the fixtures that a conformance suite asks for. Not part of a release.
//!
//! INVARIANT: each is read by calling the fixture's tool, so it is decided on and recorded like any call; where no such tool is registered
//! nothing here has an effect.

use rmcp::model::{Prompt, Resource, ResourceContents, ResourceTemplate};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::domain::Fault;

use super::Catalog;
use super::resources::{Reader, Refused};

/// The tool that lists what fixtures there are.
const PAGES: &str = "fixture.pages";
/// The tool that reads a resource.
const READ: &str = "fixture.read";
/// The tool that makes a prompt.
pub(super) const PROMPT: &str = "fixture.prompt";

/// Whether this is a resource of the fixtures.
pub(super) fn is_resource(catalog: &Catalog, uri: &str) -> bool {
    uri.starts_with("test://") && catalog.find(READ).is_some()
}

/// Whether this is a prompt of theirs.
pub(super) fn is_prompt(catalog: &Catalog, name: &str) -> bool {
    name.starts_with("test_") && catalog.find(PROMPT).is_some()
}

/// A member of an answer as a type of the protocol library.
pub(super) fn part<T: DeserializeOwned>(answer: &Value, member: &str) -> Result<T, Fault> {
    let part = answer.get(member).cloned().unwrap_or_default();
    serde_json::from_value(part).map_err(|error| Fault::internal(format!("`{member}` of a fixture has no form in the protocol: {error}")))
}

async fn and_more<T: DeserializeOwned>(catalog: &Catalog, reader: &impl Reader, kind: &str, mut all: Vec<T>) -> Result<Vec<T>, Refused> {
    if catalog.find(PAGES).is_some() {
        let answer = reader.call(PAGES, json!({ "kind": kind })).await?;
        all.extend(part::<Vec<T>>(&answer, "pages")?);
    }
    Ok(all)
}

/// These resources and those of the fixtures.
pub(super) async fn resources(catalog: &Catalog, reader: &impl Reader, all: Vec<Resource>) -> Result<Vec<Resource>, Refused> {
    and_more(catalog, reader, "resources", all).await
}

/// These templates and those of the fixtures.
pub(super) async fn templates(
    catalog: &Catalog,
    reader: &impl Reader,
    all: Vec<ResourceTemplate>,
) -> Result<Vec<ResourceTemplate>, Refused> {
    and_more(catalog, reader, "templates", all).await
}

/// These prompts and those of the fixtures.
pub(super) async fn prompts(catalog: &Catalog, reader: &impl Reader, all: Vec<Prompt>) -> Result<Vec<Prompt>, Refused> {
    and_more(catalog, reader, "prompts", all).await
}

/// What a resource holds.
pub(super) async fn read(reader: &impl Reader, uri: &str) -> Result<Vec<ResourceContents>, Refused> {
    Ok(part(&reader.call(READ, json!({ "uri": uri })).await?, "contents")?)
}
