//! The web tools' services, from the operator's settings.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use url::Url;

use crate::config::Config;
use crate::domain::{Bytes, Clock, Fault, Millis, SecretName};
use crate::egress::Cache;
use crate::sandbox::process::Launcher;
use crate::sandbox::reader::Reader;
use crate::store::Tally;
use crate::tools::network::NetworkPorts;
use crate::tools::web::providers::{Brave, DuckDuckGo, Google, KeyHeader, Provider, SearXng, Tavily, Wikipedia};
use crate::tools::web::{self, Quotas, Robots, WebPorts};

/// Where the searches of a day are counted, in the home.
const COUNT: &str = "web-searches.json";

/// Searches, counted in the home.
struct Counted(Tally);

#[async_trait]
impl web::Tally for Counted {
    async fn take(&self, what: &str, day: &str, most: u32) -> Result<bool, Fault> {
        self.0.take(what, day, most).await
    }
}

/// What the web tools get.
///
/// # Errors
/// `INVALID_INPUT` for the name of a secret that is none.
pub(super) fn ports(config: &Config, network: NetworkPorts, clock: Arc<dyn Clock>) -> Result<WebPorts, Fault> {
    let settings = &config.web;
    let providers = settings.providers.value.iter().map(|name| provider(config, name)).collect::<Result<Vec<_>, _>>()?;
    let folder = config.python_cache_dir.value.join("http");
    let home = config.home.value.clone();
    let cache = (settings.cache.value > 0).then(|| Cache::new(folder, Bytes(settings.cache.value), clock.clone()));
    Ok(WebPorts {
        network,
        cache,
        clock: clock.clone(),
        providers,
        quotas: Quotas { daily: settings.daily.clone(), tally: Arc::new(Counted(Tally::of(home.join(COUNT)))), clock },
        reader: Reader { program: own_program()? },
        robots: if settings.heeds_robots.value { Robots::Heed } else { Robots::Ignore },
        wall: Millis(u64::from(settings.timeout.value).saturating_mul(1_000)),
    })
}

/// This very program; on Linux also where its file was replaced since it started.
fn own_program() -> Result<PathBuf, Fault> {
    if cfg!(target_os = "linux") {
        return Ok(Launcher::own().program);
    }
    crate::config::own_program().map_err(|error| Fault::internal(format!("this program's own path is not known: {error}")))
}

fn provider(config: &Config, name: &str) -> Result<Arc<dyn Provider>, Fault> {
    let settings = &config.web;
    let named = settings.endpoints.get(name).cloned();
    let base = |usual: &str| match &named {
        Some(url) => Ok(url.clone()),
        None => Url::parse(usual).map_err(|error| Fault::internal(error.to_string())),
    };
    let key = |header, before| -> Result<KeyHeader, Fault> {
        let secret: SecretName = settings.keys.get(name).map(String::as_str).unwrap_or_default().parse()?;
        Ok(KeyHeader { secret, header, before })
    };
    Ok(match name {
        "brave" => Arc::new(Brave { base: base("https://api.search.brave.com")?, key: key(Brave::HEADER, "")? }),
        "tavily" => Arc::new(Tavily { base: base("https://api.tavily.com")?, key: key(Tavily::HEADER.0, Tavily::HEADER.1)? }),
        "google" => Arc::new(Google {
            base: base("https://www.googleapis.com")?,
            key: key(Google::HEADER, "")?,
            engine: settings.google_engine.value.clone().unwrap_or_default(),
        }),
        "searxng" => Arc::new(SearXng { base: base("http://localhost:8080")? }),
        "duckduckgo" => Arc::new(DuckDuckGo { base: base("https://html.duckduckgo.com")? }),
        "wikipedia" => Arc::new(Wikipedia { base: named.clone() }),
        other => return Err(Fault::internal(format!("no service `{other}`"))),
    })
}
