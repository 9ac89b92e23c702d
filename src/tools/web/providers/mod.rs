//! Search services behind one interface: each says what to ask of its API and what its answer means.
//!
//! INVARIANT: a provider is pure. It builds a request and reads an answer; it sends nothing, and nothing of an answer but titles, links,
//! extracts and dates goes on. A provider that cannot honour a filter says so before it is asked, and is passed over.

mod brave;
mod duckduckgo;
mod google;
mod searxng;
mod tavily;
#[cfg(test)]
mod tests;
mod text;
mod wikipedia;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::domain::{ErrorCode, Fault, SecretName};
use crate::egress::{Answer, Request};

pub use brave::Brave;
pub use duckduckgo::DuckDuckGo;
pub use google::Google;
pub use searxng::SearXng;
pub use tavily::Tavily;
pub use wikipedia::Wikipedia;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The words.
    pub words: String,
    /// Results wanted, from 1.
    pub limit: u32,
    /// Which part of the results: 0 is the best.
    pub page: u32,
    /// ISO 639-1, such as `en`.
    pub language: Option<String>,
    /// ISO 3166-1 alpha-2 in lower case, such as `de`.
    pub region: Option<String>,
    /// How old a result may be.
    pub freshness: Option<Freshness>,
    /// The one site to search.
    pub site: Option<String>,
}

/// How old a result may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
#[expect(missing_docs, reason = "texts would stand in the schema, and say no more than the words")]
pub enum Freshness {
    Day,
    Week,
    Month,
    Year,
}

impl Freshness {
    /// The word itself, as several services take it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// Its first letter, as others do.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Day => "d",
            Self::Week => "w",
            Self::Month => "m",
            Self::Year => "y",
        }
    }
}

/// A filter of a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// What it is written in.
    Language,
    /// The country it is for.
    Region,
    /// How old it may be.
    Freshness,
    /// Where it stands.
    Site,
}

impl Filter {
    /// As it is called in the tool's input.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Language => "language",
            Self::Region => "region",
            Self::Freshness => "freshness",
            Self::Site => "site",
        }
    }
}

impl Query {
    /// The filters it sets.
    pub fn filters(&self) -> impl Iterator<Item = Filter> {
        let set = [
            (Filter::Language, self.language.is_some()),
            (Filter::Region, self.region.is_some()),
            (Filter::Freshness, self.freshness.is_some()),
            (Filter::Site, self.site.is_some()),
        ];
        set.into_iter().filter_map(|(filter, is_set)| is_set.then_some(filter))
    }

    /// The words, with the site as an operator that most services know.
    #[must_use]
    pub fn words_with_site(&self) -> String {
        self.site.as_ref().map_or_else(|| self.words.clone(), |site| format!("{} site:{site}", self.words))
    }
}

/// One find, as the service gave it, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// One line without markup.
    pub title: String,
    /// An http or https address.
    pub url: Url,
    /// An extract, one line without markup; may be empty.
    pub snippet: String,
    /// When it was published, as the service says.
    pub published: Option<String>,
}

/// The key a service wants, and the header it is sent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHeader {
    /// The secret that is the key.
    pub secret: SecretName,
    /// The header.
    pub header: &'static str,
    /// What stands before the key in it.
    pub before: &'static str,
}

/// A search service.
pub trait Provider: Send + Sync {
    /// Its name in settings, arguments and results.
    fn name(&self) -> &'static str;

    /// Where its requests for this query go.
    ///
    /// # Errors
    /// `INTERNAL` where that is no address, which cannot be.
    fn base(&self, query: &Query) -> Result<Url, Fault>;

    /// The key it wants; `None` where it wants none.
    fn key(&self) -> Option<&KeyHeader> {
        None
    }

    /// Whether it can honour a filter.
    fn knows(&self, filter: Filter) -> bool;

    /// What to send. The key is not in it.
    ///
    /// # Errors
    /// `INTERNAL` where the request has no form, which cannot be.
    fn request(&self, query: &Query) -> Result<Request, Fault>;

    /// What came back, in the service's order. Finds without a usable address are left out.
    ///
    /// # Errors
    /// `EGRESS_FAILED` with what the service's answer means: no key, limit reached, refused, or not readable.
    fn read(&self, answer: &Answer, query: &Query) -> Result<Vec<Hit>, Fault>;

    /// Whether the service says that there is a next page behind this good answer, which may be asked for.
    fn has_more(&self, _answer: &Answer, _query: &Query) -> bool {
        false
    }
}

/// A request without body.
fn get(url: Url, accept: &str) -> Request {
    Request { method: "GET".to_owned(), url: url.into(), headers: headers(accept), body: bytes::Bytes::new() }
}

fn headers(accept: &str) -> Vec<(String, String)> {
    vec![
        ("accept".to_owned(), accept.to_owned()),
        ("accept-encoding".to_owned(), "gzip".to_owned()),
        ("user-agent".to_owned(), super::AGENT.to_owned()),
    ]
}

/// The JSON of an answer whose status is good.
fn json<T: serde::de::DeserializeOwned>(answer: &Answer, provider: &str) -> Result<T, Fault> {
    check_status(answer, provider)?;
    serde_json::from_slice(&answer.body).map_err(|error| {
        Fault::new(ErrorCode::EgressFailed, format!("`{provider}` answered with something that is not its JSON: {error}"))
            .hint("its API may have changed, or the address in the settings may be another service's")
    })
}

/// What a status that is not good means. The service's own words are not repeated: they are content from outside.
fn check_status(answer: &Answer, provider: &str) -> Result<(), Fault> {
    let fault = |message: String, hint: &str| Err(Fault::new(ErrorCode::EgressFailed, message).hint(hint.to_owned()));
    match answer.status {
        200..=299 => Ok(()),
        401 | 403 => fault(
            format!("`{provider}` refused the request ({}): its key is missing, wrong or not allowed to search", answer.status),
            "set the key with `toolgate vault set`, and its name in the settings under `web`",
        ),
        402 | 429 | 432 | 433 => fault(
            format!("`{provider}` takes no more requests for now ({})", answer.status),
            "wait, name another provider, or raise the plan's limit",
        ),
        status @ 500..=599 => fault(format!("`{provider}` is out of order ({status})"), "name another provider, or try again later"),
        status => fault(format!("`{provider}` answered {status}"), "the query or the settings under `web` may not fit this service"),
    }
}

/// An address that results may have.
fn link(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host() && url.as_str().len() <= 2048).then_some(url)
}

/// A hit, where it has an address.
fn hit(title: &str, url: &str, snippet: &str, published: Option<String>) -> Option<Hit> {
    let url = link(url)?;
    let title = text::line(title, 300);
    let title = if title.is_empty() { url.host_str().unwrap_or_default().to_owned() } else { title };
    let published = published.map(|when| text::line(&when, 40)).filter(|when| !when.is_empty());
    Some(Hit { title, url, snippet: text::line(snippet, 600), published })
}

/// `base` with these pairs behind its own.
fn with_pairs(base: &Url, path: &str, pairs: &[(&str, &str)]) -> Result<Url, Fault> {
    let mut url = base.clone();
    let joined = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&joined);
    url.query_pairs_mut().extend_pairs(pairs);
    if url.cannot_be_a_base() { Err(Fault::internal("an address without a host")) } else { Ok(url) }
}
