//! The sign-in service seen through the house's HTTP client: its description and its keys, and nothing else.
//!
//! INVARIANT: a request goes to the one address that it is for, carries nothing of any client's, and is recorded.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{Bytes, Clock, ErrorCode, Fault, Millis, PublicUrl};
use crate::egress::{Caps, Egress, HostRules, Request, Terms};
use crate::mcp::auth::{Fetch, Oidc, OidcTerms};
use crate::store::Store;

use super::network;
use super::tokens::OfStore;

/// What `egress.private` calls these requests.
const PURPOSE: &str = "oidc";

/// The service of these settings; `None` where there is none.
///
/// # Errors
/// `CONFIG_INVALID` for a setting that cannot be used.
pub(super) fn service(
    config: &Config,
    public: Option<&PublicUrl>,
    (store, clock, stop): (&Store, &Arc<dyn Clock>, &CancellationToken),
) -> Result<Option<Oidc>, Fault> {
    let (Some(issuer), Some(public)) = (config.http.oidc_issuer.value.clone(), public) else { return Ok(None) };
    let terms = OidcTerms {
        issuer,
        audience: config.http.oidc_audience.value.clone().unwrap_or_else(|| public.resource()),
        scope_words: config.http.scope_words(),
        public: public.clone(),
    };
    let fetch = Outside { egress: network::egress(config)?, log: OfStore::new(store.clone())?, stop: stop.clone() };
    Ok(Some(Oidc::new(terms, Arc::new(fetch), clock.clone())))
}

struct Outside {
    egress: Egress,
    log: OfStore,
    stop: CancellationToken,
}

#[async_trait]
impl Fetch for Outside {
    async fn get(&self, url: &str) -> Result<Option<Vec<u8>>, Fault> {
        let failed = |why: &str| Fault::new(ErrorCode::EgressFailed, format!("the sign-in service: {why}"));
        let parsed = url::Url::parse(url).map_err(|error| failed(&format!("an address that cannot be read: {error}")))?;
        let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
            return Err(failed("an address without a host"));
        };
        let caps = Caps { answer_body: Bytes(256 << 10), redirects: 0, wall: Millis(8_000), connect: Millis(4_000), ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: HostRules::parse([format!("{host}:{port}")])?, caps };
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        let request = Request { method: "GET".to_owned(), url: url.to_owned(), headers, body: bytes::Bytes::new() };
        let answer = self.egress.send(request, &terms, &self.stop, &self.log).await?;
        match answer.status {
            200 => Ok(Some(answer.body.to_vec())),
            404 | 410 => Ok(None),
            status => Err(failed(&format!("it answered {status}"))),
        }
    }
}
