//! Finds made one list: same pages once, best first, numbered.
//!
//! INVARIANT: pure and stable: equal finds in equal order give the same list.

use std::collections::BTreeSet;

use url::Url;

use super::providers::Hit;

/// Parameters that name a campaign or a click, not a page.
const TRACKING: &[&str] = &["fbclid", "gclid", "dclid", "gbraid", "wbraid", "msclkid", "mc_cid", "mc_eid", "igshid", "yclid", "srsltid"];

/// The hits without those that lead to a page named before, at most `limit`; addresses without what only tracks.
pub(super) fn distinct(hits: Vec<Hit>, limit: usize) -> Vec<Hit> {
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for mut hit in hits {
        hit.url = without_tracking(hit.url);
        if seen.insert(page_of(&hit.url)) {
            kept.push(hit);
        }
        if kept.len() == limit {
            break;
        }
    }
    kept
}

fn without_tracking(mut url: Url) -> Url {
    let is_tracking = |name: &str| name.starts_with("utm_") || TRACKING.contains(&name);
    if url.query_pairs().any(|(name, _)| is_tracking(&name)) {
        let kept: Vec<(String, String)> =
            url.query_pairs().filter(|(name, _)| !is_tracking(name)).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        url.set_query(None);
        if !kept.is_empty() {
            url.query_pairs_mut().extend_pairs(kept);
        }
    }
    url
}

/// What tells pages apart: neither scheme, `www.`, a last slash nor a place within the page does.
fn page_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = host.strip_prefix("www.").unwrap_or(host);
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{host}{port}{}{query}", url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(url: &str) -> Hit {
        Hit { title: url.to_owned(), url: url.parse().unwrap(), snippet: String::new(), published: None }
    }

    #[test]
    fn one_page_stands_once_and_the_first_find_wins() {
        let hits = [
            "https://www.example.com/a/?utm_source=x&id=1#part",
            "http://example.com/a?id=1",
            "https://example.com/a?id=2",
            "https://example.com:8443/a?id=1",
            "https://example.com/a?gclid=77&id=2",
            "https://m.example.com/a?id=1",
        ];
        let kept = distinct(hits.map(hit).to_vec(), 10);
        let urls: Vec<&str> = kept.iter().map(|hit| hit.url.as_str()).collect();
        let wanted = [
            "https://www.example.com/a/?id=1#part",
            "https://example.com/a?id=2",
            "https://example.com:8443/a?id=1",
            "https://m.example.com/a?id=1",
        ];
        assert_eq!(urls, wanted);
        assert_eq!(distinct(hits.map(hit).to_vec(), 2).len(), 2);
    }
}
