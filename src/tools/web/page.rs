//! What a page says, whatever it was written in.

use schemars::JsonSchema;
use serde::Serialize;

/// A page as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// One line; empty where it has none.
    pub title: String,
    /// Who wrote it.
    pub byline: Option<String>,
    /// The site's name.
    pub site: Option<String>,
    /// Its language, as it says itself.
    pub language: Option<String>,
    /// When it was published, as it says itself.
    pub published: Option<String>,
    /// Its text.
    pub markdown: String,
    /// Where its text leads.
    pub links: Vec<Link>,
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
