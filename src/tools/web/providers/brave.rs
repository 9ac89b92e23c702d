//! Brave Search: `GET /res/v1/web/search`, the key in `X-Subscription-Token`.

use serde::Deserialize;
use url::Url;

use crate::domain::Fault;
use crate::egress::{Answer, Request};

use super::{Filter, Freshness, Hit, KeyHeader, Provider, Query, get, hit, json, with_pairs};

/// Results of one request at most.
const MOST: u32 = 20;
/// The last page it gives.
const LAST_PAGE: u32 = 9;

/// The service.
pub struct Brave {
    /// Where its API is.
    pub base: Url,
    /// Its key.
    pub key: KeyHeader,
}

#[derive(Deserialize)]
struct Body {
    web: Option<Web>,
    query: Option<About>,
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    more_results_available: bool,
}

#[derive(Deserialize)]
struct Web {
    #[serde(default)]
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    title: String,
    url: String,
    #[serde(default)]
    description: String,
    page_age: Option<String>,
}

impl Brave {
    /// The header of its key.
    pub const HEADER: &'static str = "x-subscription-token";
}

impl Provider for Brave {
    fn name(&self) -> &'static str {
        "brave"
    }

    fn base(&self, _query: &Query) -> Result<Url, Fault> {
        Ok(self.base.clone())
    }

    fn key(&self) -> Option<&KeyHeader> {
        Some(&self.key)
    }

    fn knows(&self, _filter: Filter) -> bool {
        true
    }

    fn request(&self, query: &Query) -> Result<Request, Fault> {
        let words = query.words_with_site();
        let count = query.limit.min(MOST).to_string();
        let mut pairs = vec![("q", words.as_str()), ("count", count.as_str()), ("text_decorations", "false")];
        let page = query.page.to_string();
        pairs.extend((query.page > 0).then_some(("offset", page.as_str())));
        pairs.extend(query.language.as_deref().map(|language| ("search_lang", code(language, query.region.as_deref()))));
        let region = query.region.as_deref().map(str::to_uppercase);
        pairs.extend(region.as_deref().map(|region| ("country", region)));
        pairs.extend(query.freshness.map(|freshness| {
            let word = match freshness {
                Freshness::Day => "pd",
                Freshness::Week => "pw",
                Freshness::Month => "pm",
                Freshness::Year => "py",
            };
            ("freshness", word)
        }));
        Ok(get(with_pairs(&self.base, "/res/v1/web/search", &pairs)?, "application/json"))
    }

    fn read(&self, answer: &Answer, _query: &Query) -> Result<Vec<Hit>, Fault> {
        let body: Body = json(answer, self.name())?;
        let found = body.web.map(|web| web.results).unwrap_or_default();
        Ok(found.into_iter().filter_map(|found| hit(&found.title, &found.url, &found.description, found.page_age)).collect())
    }

    fn has_more(&self, answer: &Answer, query: &Query) -> bool {
        let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
        query.page < LAST_PAGE && body.and_then(|body| body.query).is_some_and(|about| about.more_results_available)
    }
}

/// A language as this API writes it.
fn code<'l>(language: &'l str, region: Option<&str>) -> &'l str {
    match (language, region) {
        ("ja", _) => "jp",
        ("no", _) => "nb",
        ("pt", Some("br")) => "pt-br",
        ("pt", _) => "pt-pt",
        ("zh", Some("tw" | "hk")) => "zh-hant",
        ("zh", _) => "zh-hans",
        (other, _) => other,
    }
}
