//! Google's Custom Search JSON API: `GET /customsearch/v1`, the key in `X-Goog-Api-Key`, so that it stands in no address.

use serde::Deserialize;
use url::Url;

use crate::domain::{ErrorCode, Fault};
use crate::egress::{Answer, Request};

use super::{Filter, Hit, KeyHeader, Provider, Query, get, hit, json, with_pairs};

/// Results of one request at most.
const MOST: u32 = 10;
/// The result behind which it gives none.
const LAST: u32 = 100;

/// The service.
pub struct Google {
    /// Where its API is.
    pub base: Url,
    /// Its key.
    pub key: KeyHeader,
    /// The id of the search engine.
    pub engine: String,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    items: Vec<Found>,
    #[serde(default)]
    queries: Queries,
}

#[derive(Default, Deserialize)]
struct Queries {
    #[serde(default, rename = "nextPage")]
    next_page: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Found {
    #[serde(default)]
    title: String,
    link: String,
    #[serde(default)]
    snippet: String,
}

#[derive(Deserialize)]
struct Failed {
    error: Failure,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    status: String,
    #[serde(default)]
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    reason: String,
}

impl Failure {
    fn is_of_limits(&self) -> bool {
        const LIMITS: [&str; 4] = ["dailyLimitExceeded", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"];
        self.status == "RESOURCE_EXHAUSTED" || self.errors.iter().any(|one| LIMITS.contains(&one.reason.as_str()))
    }
}

impl Google {
    /// The header of its key.
    pub const HEADER: &'static str = "x-goog-api-key";
}

impl Provider for Google {
    fn name(&self) -> &'static str {
        "google"
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
        let count = query.limit.min(MOST).to_string();
        let language = query.language.as_deref().map(|language| format!("lang_{}", code(language, query.region.as_deref())));
        let restrict = query.freshness.map(|freshness| format!("{}1", freshness.letter()));
        let mut pairs = vec![("cx", self.engine.as_str()), ("q", query.words.as_str()), ("num", count.as_str())];
        let start = query.page.saturating_mul(MOST).saturating_add(1).to_string();
        pairs.extend((query.page > 0).then_some(("start", start.as_str())));
        pairs.extend(language.as_deref().map(|language| ("lr", language)));
        pairs.extend(query.region.as_deref().map(|region| ("gl", region)));
        pairs.extend(restrict.as_deref().map(|restrict| ("dateRestrict", restrict)));
        if let Some(site) = &query.site {
            pairs.extend([("siteSearch", site.as_str()), ("siteSearchFilter", "i")]);
        }
        Ok(get(with_pairs(&self.base, "/customsearch/v1", &pairs)?, "application/json"))
    }

    fn read(&self, answer: &Answer, _query: &Query) -> Result<Vec<Hit>, Fault> {
        // Its daily limit comes as 403 or 429, told apart by a word of its own.
        let failed: Option<Failed> = (answer.status >= 400).then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        if failed.is_some_and(|failed| failed.error.is_of_limits()) {
            return Err(Fault::new(ErrorCode::EgressFailed, format!("`google` takes no more requests for now ({})", answer.status))
                .hint("its daily limit is used up: wait until tomorrow, or name another provider"));
        }
        let body: Body = json(answer, self.name())?;
        Ok(body.items.into_iter().filter_map(|found| hit(&found.title, &found.link, &found.snippet, None)).collect())
    }

    fn has_more(&self, answer: &Answer, query: &Query) -> bool {
        let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
        let next = query.page.saturating_add(1).saturating_mul(MOST);
        next.saturating_add(MOST) <= LAST && body.is_some_and(|body| !body.queries.next_page.is_empty())
    }
}

/// A language as this API writes it.
fn code<'l>(language: &'l str, region: Option<&str>) -> &'l str {
    match (language, region) {
        ("zh", Some("tw" | "hk")) => "zh-TW",
        ("zh", _) => "zh-CN",
        ("he", _) => "iw",
        (other, _) => other,
    }
}
