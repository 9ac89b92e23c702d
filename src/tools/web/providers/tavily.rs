//! Tavily: `POST /search` with JSON, the key as bearer token.

use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::domain::Fault;
use crate::egress::{Answer, Request};

use super::{Filter, Hit, KeyHeader, Provider, Query, headers, hit, json as read_json, with_pairs};

/// Results of one request at most.
const MOST: u32 = 20;

/// The service.
pub struct Tavily {
    /// Where its API is.
    pub base: Url,
    /// Its key.
    pub key: KeyHeader,
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
    url: String,
    #[serde(default)]
    content: String,
    published_date: Option<String>,
}

impl Tavily {
    /// The header of its key, and what stands before the key.
    pub const HEADER: (&'static str, &'static str) = ("authorization", "Bearer ");
}

impl Provider for Tavily {
    fn name(&self) -> &'static str {
        "tavily"
    }

    fn base(&self, _query: &Query) -> Result<Url, Fault> {
        Ok(self.base.clone())
    }

    fn key(&self) -> Option<&KeyHeader> {
        Some(&self.key)
    }

    fn knows(&self, filter: Filter) -> bool {
        matches!(filter, Filter::Freshness | Filter::Site)
    }

    fn request(&self, query: &Query) -> Result<Request, Fault> {
        let mut body = json!({ "query": query.words, "max_results": query.limit.min(MOST), "search_depth": "basic" });
        if let Some(fields) = body.as_object_mut() {
            if let Some(freshness) = query.freshness {
                fields.insert("time_range".to_owned(), freshness.as_str().into());
            }
            if let Some(site) = &query.site {
                fields.insert("include_domains".to_owned(), json!([site]));
            }
        }
        let url = with_pairs(&self.base, "/search", &[])?;
        let mut headers = headers("application/json");
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        Ok(Request {
            method: "POST".to_owned(),
            url: url.as_str().trim_end_matches('?').to_owned(),
            headers,
            body: body.to_string().into(),
        })
    }

    fn read(&self, answer: &Answer, _query: &Query) -> Result<Vec<Hit>, Fault> {
        let body: Body = read_json(answer, self.name())?;
        Ok(body.results.into_iter().filter_map(|found| hit(&found.title, &found.url, &found.content, found.published_date)).collect())
    }
}
