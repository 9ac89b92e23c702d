//! The settings under `web`, and how quickly hosts are asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::Url;

use super::resolve::Resolver;
use super::{Source, Sourced};

/// Services that need no account, in the order in which they are asked where nothing else is said.
const KEYLESS: [&str; 2] = ["duckduckgo", "wikipedia"];
/// Every service.
const SERVICES: [&str; 6] = ["brave", "tavily", "searxng", "google", "duckduckgo", "wikipedia"];

const PROVIDERS: &str = "web.providers";
const KEYS: &str = "web.keys";
const ENDPOINTS: &str = "web.endpoints";
const ENGINE: &str = "web.google_engine";
const DAILY: &str = "web.daily";
const ROBOTS: &str = "web.robots";
const CACHE: &str = "web.cache_bytes";
const TIMEOUT: &str = "web.timeout_sec";
const PACE: &str = "egress.per_host_per_second";
const BURST: &str = "egress.per_host_burst";

/// `web.*` as it was said, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSettings {
    /// The services, in the order in which they are asked.
    pub providers: Sourced<Vec<String>>,
    /// The names of their keys in the vault.
    pub keys: BTreeMap<String, String>,
    /// Where services are, if not where they usually are.
    pub endpoints: BTreeMap<String, Url>,
    /// The id of Google's search engine.
    pub google_engine: Sourced<Option<String>>,
    /// Requests to one service in a day.
    pub daily: BTreeMap<String, u32>,
    /// Whether `web.fetch` heeds robots files.
    pub heeds_robots: Sourced<bool>,
    /// Bytes of answers that are kept; 0 keeps none.
    pub cache: Sourced<u64>,
    /// Seconds that one service, or a page with its robots file and redirects, may take.
    pub timeout: Sourced<u32>,
    /// Requests to one host in a second; 0 is no bound.
    pub per_second: Sourced<u32>,
    /// Requests to one host at once after a rest.
    pub burst: Sourced<u32>,
    said: [Sourced<Vec<String>>; 3],
}

impl WebSettings {
    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        let [keys, endpoints, daily] = &self.said;
        let list = |said: &'_ Sourced<Vec<String>>| json!(said.value);
        Some(match key {
            PROVIDERS => (list(&self.providers), &self.providers.source),
            KEYS => (list(keys), &keys.source),
            ENDPOINTS => (list(endpoints), &endpoints.source),
            DAILY => (list(daily), &daily.source),
            ENGINE => (json!(self.google_engine.value.as_deref().unwrap_or("")), &self.google_engine.source),
            ROBOTS => (json!(if self.heeds_robots.value { "heed" } else { "ignore" }), &self.heeds_robots.source),
            CACHE => (json!(self.cache.value), &self.cache.source),
            TIMEOUT => (json!(self.timeout.value), &self.timeout.source),
            PACE => (json!(self.per_second.value), &self.per_second.source),
            BURST => (json!(self.burst.value), &self.burst.source),
            _ => return None,
        })
    }
}

fn heed_or_ignore(word: &str) -> Option<bool> {
    match word {
        "heed" => Some(true),
        "ignore" => Some(false),
        _ => None,
    }
}

/// Reads entries of the form `service=something`, each service once.
fn pairs<T>(
    resolver: &mut Resolver<'_>,
    key: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> (Sourced<Vec<String>>, BTreeMap<String, T>) {
    let said = resolver.list(key);
    let mut all = BTreeMap::new();
    for text in &said.value {
        let entry = text.split_once('=').ok_or_else(|| "it is not `service=value`".to_owned()).and_then(|(service, value)| {
            let service = service.trim();
            if !SERVICES.contains(&service) {
                return Err(format!("`{}` is none of {}", service.escape_debug(), SERVICES.join(", ")));
            }
            Ok((service.to_owned(), read(value.trim())?))
        });
        match entry {
            Ok((service, _)) if all.contains_key(&service) => resolver.refuse(key, &said.source, &format!("names `{service}` twice")),
            Ok((service, value)) => drop(all.insert(service, value)),
            Err(why) => resolver.refuse(key, &said.source, &format!("has `{}`: {why}", text.escape_debug())),
        }
    }
    (said, all)
}

fn secret(text: &str) -> Result<String, String> {
    let name = text
        .strip_prefix("secret:")
        .ok_or("write the name of a secret of the vault, as `secret:NAME`; a key itself does not belong here")?;
    Ok(name.to_owned())
}

fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() || !url.username().is_empty() {
        return Err("give an http or https address without query and user".to_owned());
    }
    Ok(url)
}

pub(super) fn read(resolver: &mut Resolver<'_>) -> WebSettings {
    let mut providers = resolver.list(PROVIDERS);
    if providers.source == Source::Default {
        providers.value = KEYLESS.map(str::to_owned).to_vec();
    }
    let (keys_said, keys) = pairs(resolver, KEYS, secret);
    let (endpoints_said, endpoints) = pairs(resolver, ENDPOINTS, address);
    let (daily_said, daily) = pairs(resolver, DAILY, |text| text.parse::<u32>().map_err(|_| "it is not `service=NUMBER`".to_owned()));
    let google_engine = resolver.perhaps_text(ENGINE);
    let number = |resolver: &mut Resolver<'_>, key, usual: u32, range| {
        resolver.number(key, u64::from(usual), range).map(|number| u32::try_from(number).unwrap_or(usual))
    };
    let settings = WebSettings {
        heeds_robots: resolver.word(ROBOTS, true, heed_or_ignore, &["heed", "ignore"]),
        cache: resolver.number(CACHE, 64 << 20, 0..=1 << 40),
        timeout: number(resolver, TIMEOUT, 25, 1..=60),
        per_second: number(resolver, PACE, 20, 0..=100_000),
        burst: number(resolver, BURST, 60, 0..=100_000),
        providers,
        keys,
        endpoints,
        google_engine,
        daily,
        said: [keys_said, endpoints_said, daily_said],
    };
    check(resolver, &settings);
    settings
}

/// What a service needs must be there, and told at the start rather than at the first search.
fn check(resolver: &mut Resolver<'_>, settings: &WebSettings) {
    let source = &settings.providers.source;
    let mut seen = Vec::new();
    for name in &settings.providers.value {
        let lacks = match name.as_str() {
            "brave" | "tavily" | "google" if !settings.keys.contains_key(name) => {
                Some(format!("`{name}` needs a key: `{name}=secret:NAME` in web.keys"))
            }
            "google" if settings.google_engine.value.is_none() => {
                Some("`google` needs web.google_engine, the id of a search engine".to_owned())
            }
            "searxng" if !settings.endpoints.contains_key(name) => {
                Some("`searxng` needs its address: `searxng=URL` in web.endpoints".to_owned())
            }
            known if SERVICES.contains(&known) => None,
            _ => Some(format!("`{}` is none of {}", name.escape_debug(), SERVICES.join(", "))),
        };
        if let Some(lacks) = lacks {
            resolver.refuse(PROVIDERS, source, &format!("names a service that cannot be asked: {lacks}"));
        } else if seen.contains(&name) {
            resolver.refuse(PROVIDERS, source, &format!("names `{name}` twice"));
        }
        seen.push(name);
    }
}
