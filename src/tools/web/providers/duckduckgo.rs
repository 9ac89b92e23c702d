//! DuckDuckGo's page for browsers without scripts: `GET /html/`. Wants no account; gives a page, which is read, and at times a riddle
//! for robots instead, which is told.

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

use crate::domain::{ErrorCode, Fault};
use crate::egress::{Answer, Request};
use crate::tools::web::tree;

use super::{Filter, Hit, Provider, Query, check_status, get, hit, with_pairs};

/// Bytes of a page that are read, and how long that may take: a page of results is a tenth of it, and quick.
const LONGEST: usize = 512 << 10;
const SOON: Duration = Duration::from_secs(2);

/// The service.
pub struct DuckDuckGo {
    /// Where the page is.
    pub base: Url,
}

impl Provider for DuckDuckGo {
    fn name(&self) -> &'static str {
        "duckduckgo"
    }

    fn base(&self, _query: &Query) -> Result<Url, Fault> {
        Ok(self.base.clone())
    }

    fn knows(&self, filter: Filter) -> bool {
        // A language goes with a region there, and alone it means nothing.
        !matches!(filter, Filter::Language)
    }

    fn request(&self, query: &Query) -> Result<Request, Fault> {
        let words = query.words_with_site();
        let mut pairs = vec![("q", words.as_str())];
        let region = query.region.as_deref().map(|region| format!("{region}-{}", query.language.as_deref().unwrap_or("en")));
        pairs.extend(region.as_deref().map(|region| ("kl", region)));
        pairs.extend(query.freshness.map(|freshness| ("df", freshness.letter())));
        Ok(get(with_pairs(&self.base, "/html/", &pairs)?, "text/html"))
    }

    fn read(&self, answer: &Answer, _query: &Query) -> Result<Vec<Hit>, Fault> {
        check_status(answer, self.name())?;
        let unread = || {
            Fault::new(ErrorCode::EgressFailed, "`duckduckgo` did not answer with results; it may take this machine for a robot")
                .hint("wait, name another provider, or configure one with a key (docs/web.md)")
        };
        let html = String::from_utf8_lossy(answer.body.get(..LONGEST).unwrap_or(&answer.body));
        let page = tree::parse(&html, Instant::now() + SOON).ok_or_else(unread)?;
        let hits: Vec<Hit> = page
            .select(".result")
            .iter()
            .filter(|result| !result.has_class("result--ad"))
            .filter_map(|result| {
                let title = result.select_single(".result__a");
                let address = title.attr("href")?;
                let snippet = result.select_single(".result__snippet").text();
                hit(&escaped(&title.text()), &target(&address)?, &escaped(&snippet), None)
            })
            .collect();
        // A page with neither results nor the word that there are none is the riddle.
        if hits.is_empty() && !page.select(".no-results").exists() {
            return Err(unread());
        }
        Ok(hits)
    }
}

/// Where a link of the page leads: those of results go through a page of the service's own, with the address as a parameter.
fn target(address: &str) -> Option<String> {
    let absolute = if address.starts_with("//") { format!("https:{address}") } else { address.to_owned() };
    let url = Url::parse(&absolute).ok()?;
    let is_detour = url.host_str().is_some_and(|host| host == "duckduckgo.com" || host.ends_with(".duckduckgo.com"));
    if is_detour && url.path().starts_with("/l/") {
        return url.query_pairs().find(|(name, _)| name == "uddg").map(|(_, address)| address.into_owned());
    }
    // `/y.js` and the like are advertisements.
    (!is_detour).then_some(absolute)
}

/// Text of a page is plain already, so what looks like markup in it stays.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
