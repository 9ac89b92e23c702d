//! What the web tools need of the house.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::call::Redact;
use crate::domain::{Clock, ErrorCode, Fault, Millis};
use crate::egress::{Answer, Cache, Fill, NoFill, Outgoing, Patience, Request, RequestLog, Terms};
use crate::sandbox::reader::Reader;
use crate::secrets::vault::Lent;
use crate::tools::CallContext;
use crate::tools::network::NetworkPorts;

use super::Quotas;
use super::providers::{KeyHeader, Provider};

/// Whether a site's robots file is heeded by `web.fetch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Robots {
    /// What it closes to robots is not fetched.
    Heed,
    /// It is not asked for.
    Ignore,
}

/// Ports and settings of both tools.
#[derive(Clone)]
pub struct WebPorts {
    /// HTTP, its record, and secrets.
    pub network: NetworkPorts,
    /// Where answers are kept for as long as their servers allow, if anywhere.
    pub cache: Option<Cache>,
    /// For what is good for a while.
    pub clock: Arc<dyn Clock>,
    /// The search services, in the order in which they are asked.
    pub providers: Vec<Arc<dyn Provider>>,
    /// How often each may be searched.
    pub quotas: Quotas,
    /// Reads PDF files.
    pub reader: Reader,
    /// For `web.fetch`.
    pub robots: Robots,
    /// The longest that one service, or a page with its robots file and redirects, may take.
    pub wall: Millis,
}

impl WebPorts {
    /// Sends a request, with a service's key where it wants one, and once more where a busy server may answer later.
    ///
    /// # Errors
    /// Those of egress; `UNKNOWN_SECRET` and `SECRET_REFUSED` for a key that is not there or may not go where the service is.
    pub(super) async fn send(
        &self,
        request: Request,
        terms: &Terms,
        key: Option<&KeyHeader>,
        tool: &str,
        context: &CallContext,
    ) -> Result<Answer, Fault> {
        let NetworkPorts { egress, http_events, secrets, redact, .. } = &self.network;
        let log = http_events.of(context);
        let ports: (&CancellationToken, &dyn RequestLog) = (&context.cancel, &*log);
        match key {
            Some(key) => {
                let lent = secrets.lend(std::slice::from_ref(&key.secret), tool).await?;
                let lent = lent.into_iter().next().ok_or_else(|| Fault::internal("a secret was lent that is not there"))?;
                let fill = KeyFill { lent, key: key.clone(), redact: redact.clone() };
                egress.send_patiently(request, terms, &fill, Patience::default(), ports).await
            }
            None => match &self.cache {
                Some(cache) => {
                    egress.send_cached(request, terms, Patience::default(), (cache, context.actor.principal.as_str()), ports).await
                }
                None => egress.send_patiently(request, terms, &NoFill, Patience::default(), ports).await,
            },
        }
    }
}

/// Puts a service's key into its header, at that service alone.
struct KeyFill {
    lent: Lent,
    key: KeyHeader,
    redact: Arc<dyn Redact>,
}

impl Fill for KeyFill {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<bytes::Bytes, Fault> {
        let Outgoing { origin, headers, body, redirected } = outgoing;
        // A packed answer could not be searched for the key.
        headers.set("accept-encoding", "identity")?;
        if self.lent.terms.hosts.iter().any(|host| host.allows(origin)) {
            let value = Zeroizing::new(format!("{}{}", self.key.before, self.lent.value.expose_secret()));
            headers.set_secret(self.key.header, &value)?;
        } else if !redirected {
            return Err(Fault::new(
                ErrorCode::SecretRefused,
                format!("the secret `{}` may not go to `{origin}`; nothing was sent", self.key.secret),
            )
            .hint("the operator names the service's host with `toolgate vault set --hosts`"));
        }
        Ok(body)
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        if answer.headers.iter().any(|(name, value)| name == "content-encoding" && !value.eq_ignore_ascii_case("identity")) {
            return Err(Fault::new(
                ErrorCode::SecretRefused,
                "the service packed its answer, so that a secret could not be taken out of it",
            )
            .hint("it was asked for it unpacked; name another provider"));
        }
        let body = match self.redact.bytes(&answer.body) {
            std::borrow::Cow::Borrowed(_) => answer.body.clone(),
            std::borrow::Cow::Owned(clean) => clean.into(),
        };
        Ok(Answer { body, ..answer })
    }
}
