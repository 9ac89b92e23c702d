//! The library's HTTP client, as an adapter over `egress`.
//!
//! INVARIANT: it reaches the operator's collector and nothing else, without redirects, and nothing of it stands in a trace or the log.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;
use url::Url;

use crate::call::Spawner;
use crate::domain::{Bytes as Size, ErrorCode, Fault, Measured, Meter, Millis};
use crate::egress::{Caps, Egress, HostRules, RequestLog, RequestRecord, Terms};

/// What `egress.private` calls these requests.
const PURPOSE: &str = "telemetry";

/// How long one sending may take.
pub(super) const LONGEST: Duration = Duration::from_secs(5);

/// The operator's collector, and the way to it.
pub struct Collector {
    base: Url,
    authorization: Option<String>,
    egress: Egress,
    terms: Terms,
    pub(super) spawner: Arc<dyn Spawner>,
}

impl Collector {
    /// At this address: below it are `v1/traces` and `v1/metrics`. `authorization` is the value of that header.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for an address that cannot be used.
    pub fn new(base: &str, authorization: Option<String>, egress: Egress, spawner: Arc<dyn Spawner>) -> Result<Self, Fault> {
        let wrong = |why: &str| {
            Fault::new(ErrorCode::ConfigInvalid, format!("`telemetry.otlp.endpoint`: {why}"))
                .hint("such as \"https://collector.example:4318\"")
        };
        let mut base = Url::parse(base).map_err(|error| wrong(&error.to_string()))?;
        let host = base.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("it names no host"))?.to_owned();
        let port = base.port_or_known_default().ok_or_else(|| wrong("it names no port"))?;
        if !matches!(base.scheme(), "http" | "https") || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("it must be http or https, without a query"));
        }
        if !base.username().is_empty() || base.password().is_some() {
            return Err(wrong("a login does not belong into the address; see `telemetry.otlp.authorization_file`"));
        }
        if authorization.is_some() && base.scheme() == "http" && !matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") {
            return Err(wrong("with `telemetry.otlp.authorization_file` it must be https, or http on this machine"));
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let wall = Millis(u64::try_from(LONGEST.as_millis()).unwrap_or(5_000));
        let caps = Caps { redirects: 0, wall, connect: wall, answer_body: Size(64 << 10), ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: HostRules::parse([format!("{host}:{port}")])?, caps };
        Ok(Self { base, authorization, egress, terms, spawner })
    }

    pub(super) fn place(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Fault> {
        let (parts, body) = request.into_parts();
        // The library adds headers of the environment; only those that are needed are sent.
        let mut headers = vec![("Content-Type".to_owned(), "application/x-protobuf".to_owned())];
        headers.extend(self.authorization.iter().map(|value| ("Authorization".to_owned(), value.clone())));
        let request = crate::egress::Request { method: "POST".to_owned(), url: parts.uri.to_string(), headers, body };
        let answer = self.egress.send(request, &self.terms, &CancellationToken::new(), &Unrecorded).await?;
        if !(200..300).contains(&answer.status) {
            return Err(Fault::new(ErrorCode::EgressFailed, format!("the collector answered {}", answer.status)));
        }
        Ok(Response::new(answer.body))
    }
}

/// One signal's way to the collector.
pub(super) struct Client {
    collector: Arc<Collector>,
    signal: &'static str,
    /// Who hears of what was not sent, where nobody else tells.
    meter: Option<Arc<dyn Meter>>,
}

impl Client {
    pub(super) fn of(collector: &Arc<Collector>, signal: &'static str, meter: Option<Arc<dyn Meter>>) -> Self {
        Self { collector: collector.clone(), signal, meter }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("signal", &self.signal).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The library may ask from a thread that has no network.
        let (answer, answered) = oneshot::channel();
        let collector = self.collector.clone();
        let work = async move {
            // Whoever gave up waiting needs no answer.
            let _unheard = answer.send(collector.send(request).await);
        };
        self.collector.spawner.spawn("telemetry", Box::pin(work.with_subscriber(NoSubscriber::default())));
        let sent = answered.await.unwrap_or_else(|_| Err(Fault::internal("sending was broken off")));
        if let (Err(_), Some(meter)) = (&sent, &self.meter) {
            meter.tell(Measured::Dropped { signal: self.signal, count: 1 });
        }
        sent.map_err(|fault| fault.message.into())
    }
}

/// These requests belong to no run.
struct Unrecorded;

#[async_trait]
impl RequestLog for Unrecorded {
    async fn record(&self, _record: RequestRecord) -> Result<(), Fault> {
        Ok(())
    }
}
