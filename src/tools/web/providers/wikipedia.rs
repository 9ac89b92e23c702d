//! Wikipedia: the search of MediaWiki's `action=query`. Wants no account, only a name by which to know the caller.

use serde::Deserialize;
use url::Url;

use crate::domain::Fault;
use crate::egress::{Answer, Request};

use super::{Filter, Hit, Provider, Query, get, hit, json, with_pairs};

/// Results of one request at most.
const MOST: u32 = 50;

/// The service.
pub struct Wikipedia {
    /// In place of `https://LANGUAGE.wikipedia.org`.
    pub base: Option<Url>,
}

#[derive(Deserialize)]
struct Body {
    query: Option<Found>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    search: Vec<Article>,
}

#[derive(Deserialize)]
struct Article {
    title: String,
    #[serde(default)]
    snippet: String,
    timestamp: Option<String>,
}

impl Provider for Wikipedia {
    fn name(&self) -> &'static str {
        "wikipedia"
    }

    fn base(&self, query: &Query) -> Result<Url, Fault> {
        let language = query.language.as_deref().unwrap_or("en");
        let own = || Url::parse(&format!("https://{language}.wikipedia.org")).map_err(|error| Fault::internal(error.to_string()));
        self.base.clone().map_or_else(own, Ok)
    }

    fn knows(&self, filter: Filter) -> bool {
        matches!(filter, Filter::Language)
    }

    fn request(&self, query: &Query) -> Result<Request, Fault> {
        let count = query.limit.min(MOST).to_string();
        let pairs = [
            ("action", "query"),
            ("list", "search"),
            ("srsearch", query.words.as_str()),
            ("srlimit", count.as_str()),
            ("srprop", "snippet|timestamp"),
            ("format", "json"),
            ("formatversion", "2"),
        ];
        Ok(get(with_pairs(&self.base(query)?, "/w/api.php", &pairs)?, "application/json"))
    }

    fn read(&self, answer: &Answer, query: &Query) -> Result<Vec<Hit>, Fault> {
        let body: Body = json(answer, self.name())?;
        let site = self.base(query)?;
        let found = body.query.map(|found| found.search).unwrap_or_default().into_iter();
        Ok(found
            .filter_map(|article| {
                let mut url = site.clone();
                url.path_segments_mut().ok()?.pop_if_empty().extend(["wiki", &article.title.replace(' ', "_")]);
                hit(&article.title, url.as_str(), &article.snippet, article.timestamp)
            })
            .collect())
    }
}
