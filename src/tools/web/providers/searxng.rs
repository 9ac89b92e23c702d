//! SearXNG, hosted by whoever runs toolgate: `GET /search?format=json`. Its operator must have switched the format `json` on.

use serde::Deserialize;
use url::Url;

use crate::domain::{ErrorCode, Fault};
use crate::egress::{Answer, Request};

use super::{Filter, Freshness, Hit, Provider, Query, get, hit, json, with_pairs};

/// The service.
pub struct SearXng {
    /// Where the instance is.
    pub base: Url,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    results: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    title: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(rename = "publishedDate")]
    published: Option<String>,
}

impl Provider for SearXng {
    fn name(&self) -> &'static str {
        "searxng"
    }

    fn base(&self, _query: &Query) -> Result<Url, Fault> {
        Ok(self.base.clone())
    }

    fn knows(&self, filter: Filter) -> bool {
        // A region is part of its languages, and alone it means nothing there.
        !matches!(filter, Filter::Region)
    }

    fn request(&self, query: &Query) -> Result<Request, Fault> {
        let words = query.words_with_site();
        let mut pairs = vec![("q", words.as_str()), ("format", "json")];
        let page = query.page.saturating_add(1).to_string();
        pairs.extend((query.page > 0).then_some(("pageno", page.as_str())));
        pairs.extend(query.language.as_deref().map(|language| ("language", language)));
        pairs.extend(query.freshness.map(|freshness| {
            // It knows no week; a month holds every result of a week.
            let word = if freshness == Freshness::Week { "month" } else { freshness.as_str() };
            ("time_range", word)
        }));
        Ok(get(with_pairs(&self.base, "/search", &pairs)?, "application/json"))
    }

    fn read(&self, answer: &Answer, _query: &Query) -> Result<Vec<Hit>, Fault> {
        if answer.status == 403 {
            return Err(Fault::new(ErrorCode::EgressFailed, "the SearXNG instance does not give JSON (403)")
                .hint("its operator adds `json` to `search.formats` in its settings"));
        }
        let body: Body = json(answer, self.name())?;
        let found = body.results.into_iter();
        Ok(found.filter_map(|found| hit(&found.title, &found.url, found.content.as_deref().unwrap_or_default(), found.published)).collect())
    }

    fn has_more(&self, answer: &Answer, query: &Query) -> bool {
        // It does not say; a page that found something may have one behind it.
        self.read(answer, query).is_ok_and(|hits| !hits.is_empty())
    }
}
