//! The exchange: hop after hop, each decided, guarded, sent and recorded.
//!
//! INVARIANT: a hop's record is kept before anything of its answer is handed on or followed. A caller that wants to stop cancels by the
//! token: a future that is only dropped ends the connection as well, but leaves no record of its last hop.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, LOCATION};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use url::Url;

use crate::domain::{Bytes, ErrorCode, Fault, Measured, Meter, Millis, SPANS};

use super::client::{Clients, Pin, ProxyHost};
use super::headers::ends_here;
use super::hop::{Hop, Refusal, is_redirect};
use super::mask::Mask;
use super::record::{shown_path, shown_word};
use super::resolve::Guard;
use super::target::Target;
use super::{
    Answer, Caps, Credentials, Fill, NoFill, Origin, Outgoing, Pace, PrivateException, Request, RequestLog, RequestRecord, Resolve, Terms,
    failure,
};

/// Longest wall time; a larger one is taken for this.
pub(super) const MAX_WALL: Duration = Duration::from_secs(24 * 3600);

/// What the operator decides, once.
pub struct EgressOptions {
    /// The only proxy there is; those of the environment are not looked at.
    pub proxy: Option<Url>,
    /// Hosts that may have private addresses.
    pub private: Vec<PrivateException>,
    /// Root certificates, PEM, trusted besides the platform's.
    pub extra_roots_pem: Option<Vec<u8>>,
    /// Finds the addresses of names.
    pub resolver: Arc<dyn Resolve>,
    /// Adds what the caller must not see.
    pub credentials: Arc<dyn Credentials>,
}

/// The HTTP client. Clones share everything; nothing is set up before the first request.
#[derive(Clone)]
pub struct Egress {
    pub(super) inner: Arc<Inner>,
    pace: Option<Pace>,
}

pub(super) struct Inner {
    guard: Guard,
    pub(super) clients: Clients,
    resolver: Arc<dyn Resolve>,
    credentials: Arc<dyn Credentials>,
    /// Set where requests are counted.
    meter: OnceLock<Arc<dyn Meter>>,
}

/// What a hop led to.
enum Step {
    Answer(Answer),
    Redirect { status: u16, location: String },
}

impl Egress {
    /// A client for these options; `CONFIG_INVALID` where they cannot be used.
    pub fn new(options: EgressOptions) -> Result<Self, Fault> {
        let EgressOptions { proxy, private, extra_roots_pem, resolver, credentials } = options;
        let guard = Guard::new(&private)?;
        let clients = Clients::new(proxy.map(ProxyHost::new).transpose()?, extra_roots_pem.as_deref())?;
        Ok(Self { inner: Arc::new(Inner { guard, clients, resolver, credentials, meter: OnceLock::new() }), pace: None })
    }

    /// The same, with a bound on the requests to each host.
    #[must_use]
    pub fn paced(self, pace: Pace) -> Self {
        Self { pace: Some(pace), ..self }
    }

    /// Waits until it is the host's turn, where there is a bound, and then sends the hop.
    async fn in_turn(&self, hop: &Hop, terms: &Terms, ports: (&dyn Fill, &dyn RequestLog), note: &mut Note) -> Result<Step, Fault> {
        // What is refused waits for nothing.
        if let (Some(pace), true) = (&self.pace, terms.rules.allows(&hop.target.origin)) {
            pace.turn(&hop.target.origin).await;
        }
        self.inner.exchange(hop, terms, ports, note).await
    }

    /// Tells of every hop from now on; the first meter stays.
    pub fn measured_by(&self, meter: Arc<dyn Meter>) {
        let _first = self.inner.meter.set(meter);
    }

    /// Sends a request and gives its answer, redirects followed, within the terms.
    pub async fn send(&self, request: Request, terms: &Terms, cancel: &CancellationToken, log: &dyn RequestLog) -> Result<Answer, Fault> {
        self.send_filled(request, terms, &NoFill, cancel, log).await
    }

    /// The same, with secrets put in on the way out and taken out on the way back.
    pub async fn send_filled(
        &self,
        request: Request,
        terms: &Terms,
        secrets: &dyn Fill,
        cancel: &CancellationToken,
        log: &dyn RequestLog,
    ) -> Result<Answer, Fault> {
        let deadline = Instant::now() + terms.caps.wall.duration().min(MAX_WALL);
        let asked = shown_word(&request.method);
        let mut hop = match Hop::first(request, &terms.caps) {
            Ok(hop) => hop,
            Err(refusal) => return Err(self.inner.refuse(refusal, Note::new(&terms.purpose, &asked, 0), log).await),
        };
        loop {
            let mut note = Note::new(&terms.purpose, hop.method.as_str(), hop.number);
            note.goes_to(&hop.target);
            // Neither host nor path nor method: a caller wrote them.
            let span = tracing::trace_span!(
                target: SPANS, "egress", purpose = terms.purpose.as_str(), hop = i64::from(hop.number), status = Empty, code = Empty, bytes_out = Empty,
                bytes_in = Empty, otel.kind = "client", otel.status_code = Empty
            );
            let step = tokio::select! {
                biased;
                () = cancel.cancelled() => Err(cancelled(&hop.target.origin)),
                () = sleep_until(deadline) => Err(too_late(&hop.target.origin, terms.caps.wall)),
                step = self.in_turn(&hop, terms, (secrets, log), &mut note).instrument(span.clone()) => step,
            };
            note.tell(&span, step.as_ref().err());
            drop(span);
            self.inner.keep(note.finish(step.as_ref().err()), log).await?;
            match step? {
                Step::Answer(answer) => return secrets.scrub(answer),
                Step::Redirect { status, location } => {
                    let next = Note::new(&terms.purpose, hop.method.as_str(), hop.number.saturating_add(1));
                    hop = match hop.follow(status, &location, &terms.caps) {
                        Ok(hop) => hop,
                        Err(refusal) => return Err(self.inner.refuse(refusal, next, log).await),
                    };
                }
            }
        }
    }
}

impl Inner {
    /// Counts a hop, then has it recorded.
    pub(super) async fn keep(&self, record: RequestRecord, log: &dyn RequestLog) -> Result<(), Fault> {
        if let Some(meter) = self.meter.get() {
            meter.tell(Measured::Hop { status: record.status, code: record.error });
        }
        log.record(record).await
    }

    /// Records a hop that is not tried, and gives what the caller is told.
    async fn refuse(&self, refusal: Refusal, mut note: Note, log: &dyn RequestLog) -> Fault {
        if let Some(target) = &refusal.target {
            note.goes_to(target);
        }
        match self.keep(note.finish(Some(&refusal.fault)), log).await {
            Ok(()) => refusal.fault,
            Err(fault) => fault,
        }
    }

    /// One hop: rules, guard, credentials, then the wire.
    async fn exchange(
        &self,
        hop: &Hop,
        terms: &Terms,
        (secrets, log): (&dyn Fill, &dyn RequestLog),
        note: &mut Note,
    ) -> Result<Step, Fault> {
        let origin = &hop.target.origin;
        if !terms.rules.allows(origin) {
            return Err(not_allowed(origin, terms));
        }
        let (pin, proxied) = self.pin(origin, &terms.purpose).await?;
        note.record.proxied = proxied;
        let mut headers = hop.headers.clone();
        let (body, redirected) = (hop.body.clone(), hop.number > 0);
        let body = secrets.fill(Outgoing { origin, headers: &mut headers, body, redirected })?;
        self.credentials.attach(&terms.purpose, origin, &mut headers);
        let mask = Mask::new(headers.secrets());
        let client = self.clients.get(terms.caps.connect, proxied).await?;

        let mut request = reqwest::Request::new(hop.method.clone(), hop.target.url.clone());
        *request.headers_mut() = headers.to_map();
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if !body.is_empty() {
            *request.body_mut() = Some(body.into());
        }
        let bytes = Bytes(len(hop.headers.caller_bytes().saturating_add(hop.body.len())));
        log.reserve(bytes).await?;
        (note.record.bytes_out, note.record.reserved) = (bytes, bytes.0);
        if let [only] = pin.addresses.as_slice() {
            note.record.address = Some(*only);
        }
        let broken = |e: reqwest::Error| failure::fault(&e, origin, terms.caps.connect);
        let response = pin.clone().execute(client, request).await.map_err(broken)?;

        note.record.address = response.remote_addr();
        note.record.status = Some(response.status().as_u16());
        if !response.remote_addr().is_some_and(|address| pin.holds(address)) {
            return Err(Fault::internal(format!("`{origin}` was answered from an address that was not checked")));
        }
        let head: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        note.record.bytes_in = Bytes(len(head));
        if head > terms.caps.answer_headers.as_usize() {
            return Err(failure::headers_too_large(origin));
        }
        let status = response.status().as_u16();
        if terms.caps.redirects > 0 && is_redirect(status) && response.headers().contains_key(LOCATION) {
            return Ok(Step::Redirect { status, location: location(response.headers(), origin, &mask)? });
        }
        self.answer(hop, response, &terms.caps, &mask, note).await.map(Step::Answer)
    }

    /// Whether the operator excepted this host for this purpose.
    pub(super) fn excepts(&self, purpose: &str, origin: &Origin) -> bool {
        self.guard.excepts(purpose, origin)
    }

    /// What this hop may dial, and whether through the proxy. Exceptions are near, so they are dialled directly.
    pub(super) async fn pin(&self, origin: &Origin, purpose: &str) -> Result<(Pin, bool), Fault> {
        match self.clients.proxy() {
            Some(proxy) if !self.guard.excepts(purpose, origin) => {
                self.guard.check_literal(purpose, origin)?;
                Ok((proxy.pin(self.resolver.as_ref()).await?, true))
            }
            Some(_) | None => {
                let addresses = self.guard.addresses(self.resolver.as_ref(), purpose, origin).await?;
                Ok((Pin { name: origin.host.as_name().map(str::to_owned), addresses }, false))
            }
        }
    }

    async fn answer(&self, hop: &Hop, mut response: reqwest::Response, caps: &Caps, mask: &Mask, note: &mut Note) -> Result<Answer, Fault> {
        let origin = &hop.target.origin;
        let cap = caps.answer_body;
        if response.content_length().is_some_and(|told| told > cap.0) {
            return Err(body_too_large(origin, cap));
        }
        let head = note.record.bytes_in.0;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failure::fault(&e, origin, caps.connect))? {
            let total = len(body.len()).saturating_add(len(chunk.len()));
            note.record.bytes_in = Bytes(head.saturating_add(total));
            if total > cap.0 {
                return Err(body_too_large(origin, cap));
            }
            body.extend_from_slice(&chunk);
        }
        mask.blot(&mut body);
        Ok(Answer {
            status: response.status().as_u16(),
            reason: response.status().canonical_reason().unwrap_or_default().to_owned(),
            headers: answer_headers(response.headers(), mask),
            body: body.freeze(),
            url: hop.target.url.to_string(),
            hops: hop.number,
        })
    }
}

/// The record of a hop while it runs.
pub(super) struct Note {
    begun: Instant,
    pub(super) record: RequestRecord,
}

impl Note {
    pub(super) fn new(purpose: &str, method: &str, hop: u8) -> Self {
        let record = RequestRecord {
            purpose: shown_word(purpose),
            method: method.to_owned(),
            scheme: String::new(),
            host: String::new(),
            port: 0,
            path: String::new(),
            hop,
            address: None,
            proxied: false,
            cached: false,
            status: None,
            error: None,
            bytes_out: Bytes(0),
            reserved: 0,
            bytes_in: Bytes(0),
            duration: Millis(0),
        };
        Self { begun: Instant::now(), record }
    }

    pub(super) fn goes_to(&mut self, target: &Target) {
        self.goes_to_origin(&target.origin);
        self.record.path = shown_path(target.url.path());
    }

    /// A tunnel has no path.
    pub(super) fn goes_to_origin(&mut self, origin: &Origin) {
        origin.scheme.as_str().clone_into(&mut self.record.scheme);
        self.record.host = origin.host.to_string();
        self.record.port = origin.port;
    }

    /// Notes on the hop's span what came of it.
    fn tell(&self, span: &Span, fault: Option<&Fault>) {
        // Only signed numbers stay numbers on their way.
        let number = |bytes: Bytes| i64::try_from(bytes.0).unwrap_or(i64::MAX);
        span.record("bytes_out", number(self.record.bytes_out)).record("bytes_in", number(self.record.bytes_in));
        if let Some(status) = self.record.status {
            span.record("status", i64::from(status));
        }
        if let Some(fault) = fault {
            span.record("code", fault.code.as_str()).record("otel.status_code", "ERROR");
        }
    }

    pub(super) fn finish(mut self, fault: Option<&Fault>) -> RequestRecord {
        self.record.error = fault.map(|fault| fault.code);
        self.record.duration = Millis(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.record
    }
}

fn location(headers: &HeaderMap, origin: &Origin, mask: &Mask) -> Result<String, Fault> {
    let broken = |why: &str| {
        Fault::new(ErrorCode::EgressFailed, format!("the redirect of `{origin}` cannot be followed: {why}"))
            .hint("ask with 0 redirects to see the redirect itself")
    };
    let mut all = headers.get_all(LOCATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return Err(broken("it names several places")) };
    if mask.hits(value.as_bytes()) {
        return Err(broken("it repeats a secret of the request"));
    }
    std::str::from_utf8(value.as_bytes()).map(str::to_owned).map_err(|_| broken("its place is not text"))
}

/// Headers as text: UTF-8 where they are, else byte by byte.
fn answer_headers(headers: &HeaderMap, mask: &Mask) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| {
        let mut bytes = value.as_bytes().to_vec();
        mask.blot(&mut bytes);
        String::from_utf8(bytes).unwrap_or_else(|e| e.as_bytes().iter().map(|b| char::from(*b)).collect())
    };
    headers.iter().filter(|(name, _)| !ends_here(name.as_str())).map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

pub(super) fn len(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

pub(super) fn not_allowed(origin: &Origin, terms: &Terms) -> Fault {
    let fault = Fault::new(ErrorCode::EgressDenied, format!("host `{}` on port {} is not allowed", origin.host, origin.port));
    if terms.rules.is_empty() {
        return fault.hint("no host is allowed here; name the hosts that the call needs");
    }
    let mut allowed: Vec<String> = terms.rules.entries().take(9).collect();
    if allowed.len() == 9 {
        allowed.truncate(8);
        allowed.push("…".into());
    }
    fault.hint(format!("allowed are: {}; a port other than 80 and 443 must be named", allowed.join(", ")))
}

fn body_too_large(origin: &Origin, cap: Bytes) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the answer of `{origin}` is larger than the {} bytes allowed", cap.0))
        .hint("fetch a smaller resource, a part of it, or allow more bytes")
}

pub(super) fn cancelled(origin: &Origin) -> Fault {
    Fault::new(ErrorCode::Cancelled, format!("the request to `{origin}` was cancelled"))
}

fn too_late(origin: &Origin, wall: Millis) -> Fault {
    Fault::new(ErrorCode::Timeout, format!("the exchange took longer than {} ms, the last hop to `{origin}`", wall.0))
        .hint("try again later, fetch less, or allow more time")
}
