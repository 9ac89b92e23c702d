//! `web.search`: pages by words, from the first of the configured services that answers.
//!
//! INVARIANT: asks only the services whose hosts the preparation named, in their order; each that failed is told with its reason. A
//! filter that a service does not know is never dropped in silence: that service is passed over.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::call::Preparation;
use crate::domain::{Bytes, Effect, Effects, ErrorCode, Fault, Millis};
use crate::egress::{Caps, HostRules, Terms, decoded};
use crate::tools::{CallContext, Tool};

use super::providers::{Freshness, Hit, Provider, Query};
use super::{PURPOSE, WebPorts, results};

/// Results where the call does not say.
const USUAL: u32 = 10;
/// Bytes of one service's answer, as sent and unpacked.
const ANSWER: Bytes = Bytes(4 << 20);
/// Pages of one service that are asked for at most.
const MOST_PAGES: u32 = 5;
/// What secrets know this tool by.
const NAME: &str = "web.search";

/// The tool.
pub struct WebSearch {
    ports: WebPorts,
}

/// The services to ask, and those that cannot be.
type Chosen = (Vec<Arc<dyn Provider>>, Vec<PassedOver>);

/// What to find.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct SearchInput {
    #[schemars(length(min = 1, max = 400))]
    query: String,
    /// Default 10.
    #[serde(default)]
    #[schemars(range(min = 1, max = 50))]
    limit: Option<u32>,
    /// One of the configured services; default: the first that answers.
    #[serde(default)]
    #[schemars(length(max = 40))]
    provider: Option<String>,
    /// Such as `en`.
    #[serde(default)]
    #[schemars(regex(pattern = "^[a-z]{2,3}$"))]
    language: Option<String>,
    /// Country, such as `de`.
    #[serde(default)]
    #[schemars(regex(pattern = "^[a-z]{2}$"))]
    region: Option<String>,
    #[serde(default)]
    freshness: Option<Freshness>,
    /// Only this site, such as `docs.rs`.
    #[serde(default)]
    #[schemars(regex(pattern = "^[a-zA-Z0-9.-]{1,200}$"))]
    site: Option<String>,
}

/// The best first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct SearchOutput {
    results: Vec<Found>,
    /// The service that answered.
    provider: String,
    /// Services that were asked before, or passed over, and why.
    passed_over: Vec<PassedOver>,
    /// Why there are fewer results than the service has, where its next page failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete: Option<String>,
}

/// One page.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Found {
    title: String,
    /// For web.fetch.
    url: String,
    snippet: String,
    rank: u32,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<String>,
}

/// A service that gave nothing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PassedOver {
    provider: String,
    reason: String,
}

impl SearchInput {
    fn query(&self) -> Result<Query, Fault> {
        let words = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        if words.is_empty() || words.chars().any(char::is_control) {
            return Err(
                Fault::new(ErrorCode::InvalidInput, "`query` holds no words, or a control character").hint("name what is looked for")
            );
        }
        Ok(Query {
            words,
            limit: self.limit.unwrap_or(USUAL),
            page: 0,
            language: self.language.clone(),
            region: self.region.clone(),
            freshness: self.freshness,
            site: self.site.as_ref().map(|site| site.to_ascii_lowercase()),
        })
    }
}

impl WebSearch {
    /// With these ports.
    #[must_use]
    pub fn new(ports: WebPorts) -> Self {
        Self { ports }
    }

    /// The services to ask, and those that cannot be.
    fn chosen(&self, input: &SearchInput, query: &Query) -> Result<Chosen, Fault> {
        let all = &self.ports.providers;
        let names = || all.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", ");
        let named: Vec<_> =
            all.iter().filter(|provider| input.provider.as_ref().is_none_or(|name| name == provider.name())).cloned().collect();
        if named.is_empty() {
            let fault = match &input.provider {
                Some(_) if !all.is_empty() => Fault::new(ErrorCode::InvalidInput, "`provider` names no configured service")
                    .hint(format!("configured are: {}", names())),
                _ => Fault::new(ErrorCode::ConfigInvalid, "no search service is configured")
                    .hint("the operator names some under `web.providers` (docs/web.md)"),
            };
            return Err(fault);
        }
        let mut passed = Vec::new();
        let able = named
            .into_iter()
            .filter(|provider| match query.filters().find(|filter| !provider.knows(*filter)) {
                None => true,
                Some(filter) => {
                    let reason = format!("it has no filter for `{}`", filter.as_str());
                    passed.push(PassedOver { provider: provider.name().to_owned(), reason });
                    false
                }
            })
            .collect::<Vec<_>>();
        if able.is_empty() {
            let told: Vec<String> = passed.iter().map(|one| format!("{}: {}", one.provider, one.reason)).collect();
            return Err(Fault::new(ErrorCode::InvalidInput, format!("no configured service can search so: {}", told.join("; ")))
                .hint("leave the filter out, or have a service configured that knows it (docs/web.md)"));
        }
        Ok((able, passed))
    }

    /// The finds of one service, page after page until there are enough; the second is why a later page is missing.
    async fn ask(&self, provider: &dyn Provider, query: &Query, context: &CallContext) -> Result<(Vec<Hit>, Option<String>), Fault> {
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let until = Instant::now() + self.ports.wall.duration();
        let mut hits = Vec::new();
        for page in 0..MOST_PAGES {
            let query = Query { page, ..query.clone() };
            let (found, has_more) = match self.ask_page(provider, &query, until, context).await {
                Ok(found) => found,
                Err(fault) if page == 0 || ends_all(fault.code) => return Err(fault),
                Err(fault) => return Ok((hits, Some(fault.message))),
            };
            let before = hits.len();
            hits = results::distinct(hits.into_iter().chain(found).collect(), limit);
            // A page that brings nothing new is the last, whatever the service says.
            if !has_more || hits.len() >= limit || hits.len() == before {
                break;
            }
        }
        Ok((hits, None))
    }

    async fn ask_page(
        &self,
        provider: &dyn Provider,
        query: &Query,
        until: Instant,
        context: &CallContext,
    ) -> Result<(Vec<Hit>, bool), Fault> {
        self.ports.quotas.count(provider.name()).await?;
        let rules = HostRules::parse([host_of(provider, query)?])?;
        let left = until.saturating_duration_since(Instant::now());
        let wall = Millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let caps = Caps { answer_body: ANSWER, redirects: 2, wall, ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules, caps };
        let request = provider.request(query)?;
        let answer = decoded(self.ports.send(request, &terms, provider.key(), NAME, context).await?, ANSWER)?;
        Ok((provider.read(&answer, query)?, provider.has_more(&answer, query)))
    }
}

/// Whether a fault is not the service's, so that no other is asked.
fn ends_all(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Cancelled | ErrorCode::BudgetExceeded | ErrorCode::StoreFailed)
}

/// As host rules and policy have it.
fn host_of(provider: &dyn Provider, query: &Query) -> Result<String, Fault> {
    let base = provider.base(query)?;
    let host = base.host_str().ok_or_else(|| Fault::internal("a service without a host"))?;
    Ok(base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

#[async_trait]
impl Tool for WebSearch {
    type Input = SearchInput;
    type Output = SearchOutput;

    async fn prepare(&self, input: &Self::Input, _context: &CallContext) -> Result<Preparation, Fault> {
        let query = input.query()?;
        let (providers, _) = self.chosen(input, &query)?;
        let hosts = providers.iter().map(|provider| host_of(&**provider, &query)).collect::<Result<Vec<_>, _>>()?;
        Ok(Preparation::of(Effects::only(Effect::Egress)).reaching(hosts))
    }

    async fn execute(&self, input: &Self::Input, context: &CallContext) -> Result<Self::Output, Fault> {
        let query = input.query()?;
        let (providers, mut passed_over) = self.chosen(input, &query)?;
        // Where one service looked and found nothing, that is an answer; where none could look, the last one's reason is.
        let (mut looked, mut last) = (None, None);
        for provider in providers {
            let name = provider.name();
            context.progress.note(&format!("asking {name}"), None, None);
            let reason = match self.ask(&*provider, &query, context).await {
                Ok((hits, _)) if hits.is_empty() => {
                    looked = looked.or(Some(name));
                    "it found nothing".to_owned()
                }
                Ok((hits, incomplete)) => return Ok(SearchOutput { incomplete, ..listed(hits, name, passed_over) }),
                Err(fault) if ends_all(fault.code) => return Err(fault),
                Err(fault) => last.insert(fault).message.clone(),
            };
            passed_over.push(PassedOver { provider: name.to_owned(), reason });
        }
        match (looked, last) {
            (Some(name), _) => {
                context.brought.found_nothing();
                Ok(listed(Vec::new(), name, passed_over))
            }
            (None, Some(fault)) if passed_over.len() == 1 => Err(fault),
            (None, _) => {
                let told: Vec<String> = passed_over.iter().map(|one| format!("{}: {}", one.provider, one.reason)).collect();
                Err(Fault::new(ErrorCode::EgressFailed, format!("no search service answered: {}", told.join("; ")))
                    .hint("see whether this machine has a network (`toolgate doctor --online`), or have another service configured"))
            }
        }
    }
}

fn listed(hits: Vec<Hit>, provider: &str, passed_over: Vec<PassedOver>) -> SearchOutput {
    let results = (1..).zip(hits).map(|(rank, hit)| Found {
        title: hit.title,
        url: hit.url.into(),
        snippet: hit.snippet,
        rank,
        source: provider.to_owned(),
        published: hit.published,
    });
    SearchOutput { results: results.collect(), provider: provider.to_owned(), passed_over, incomplete: None }
}
