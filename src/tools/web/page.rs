//! What a page says, whatever it was written in.

use schemars::JsonSchema;
use serde::Serialize;

/// A page as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: String,
    pub(super) byline: Option<String>,
    pub(super) site: Option<String>,
    pub(super) language: Option<String>,
    pub(super) published: Option<String>,
    pub(super) markdown: String,
    pub(super) links: Vec<Link>,
}

/// A link of the page's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Link {
    text: String,
    url: String,
}

impl Link {
    pub(super) fn new(text: String, url: String) -> Self {
        Self { text, url }
    }
}
