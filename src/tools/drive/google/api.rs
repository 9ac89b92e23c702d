//! One request to Google Drive, with the login's token, made again where that can help.
//!
//! INVARIANT: the token goes to the drive's own origin alone and no redirect is followed. A token that is not taken is replaced once. What waits,
//! waits within the request's wall time, and never less than the service asked for.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use bytes::Bytes as Body;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::{Answer, Caps, Fill, HostRules, Outgoing, Request, RequestLog, Terms};
use crate::secrets::vault::SecretHost;
use crate::tools::drive::{DrivePorts, PURPOSE, keys};

use super::tokens::{Asker, Tokens};
use super::{GoogleSettings, faults};

/// Bytes of an answer in JSON.
pub(super) const JSON: Bytes = Bytes(8 << 20);
/// The longest that a request and all its repetitions may take.
const WALL: Millis = Millis(60_000);
/// Requests in all, and the pauses between them.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// A request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) url: Url,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Body,
    /// Bytes of the answer.
    pub(super) cap: Bytes,
    pub(super) wall: Millis,
    /// Whether it may be made again after its answer was lost.
    pub(super) again: bool,
}

impl Ask {
    pub(super) fn get(url: Url) -> Self {
        Self { method: "GET", url, headers: Vec::new(), body: Body::new(), cap: JSON, wall: WALL, again: true }
    }
}

/// Who asks.
#[derive(Clone)]
pub(super) struct Caller<'a> {
    pub(super) tool: Option<&'a str>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) log: Arc<dyn RequestLog>,
}

/// The drive's interface.
pub(super) struct Api {
    pub(super) settings: Arc<GoogleSettings>,
    pub(super) ports: DrivePorts,
    tokens: Tokens,
    rules: HostRules,
    origin: SecretHost,
}

impl Api {
    pub(super) fn new(settings: Arc<GoogleSettings>, ports: DrivePorts) -> Result<Self, Fault> {
        let rules = HostRules::parse([keys::rule(&settings.places.api)])?;
        let origin = keys::origin(&settings.places.api)?;
        Ok(Self { tokens: Tokens::new(settings.clone(), ports.clone()), settings, ports, rules, origin })
    }

    /// An address below the drive's, its parts escaped.
    pub(super) fn url(&self, parts: &[&str], pairs: &[(&str, &str)]) -> Result<Url, Fault> {
        let mut url = self.settings.places.api.clone();
        url.path_segments_mut().map_err(|()| Fault::internal("the drive's address cannot have a path"))?.pop_if_empty().extend(parts);
        url.query_pairs_mut().extend_pairs(pairs);
        Ok(url)
    }

    /// Whether an address is the drive's own.
    pub(super) fn is_ours(&self, url: &Url) -> bool {
        keys::origin(url).is_ok_and(|origin| origin == self.origin) && url.username().is_empty() && url.password().is_none()
    }

    /// A good answer: 2xx, or 308 where parts are sent.
    ///
    /// # Errors
    /// What the last answer means, see [`faults`]; `DRIVE_LOGIN_REQUIRED`; those of egress and vault.
    pub(super) async fn ask(&self, ask: &Ask, caller: &Caller<'_>) -> Result<Answer, Fault> {
        let deadline = Instant::now() + ask.wall.duration();
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSE)
            .with_max_delay(LONGEST_PAUSE)
            .with_max_times(TRIES - 1)
            .with_jitter()
            .build();
        let mut stale = None;
        loop {
            let asker = Asker { tool: caller.tool, cancel: caller.cancel, log: &caller.log };
            let token = self.tokens.token(stale, asker).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            let (trouble, asked) = match self.once(ask, &token.value, left, caller).await {
                Ok(answer) if matches!(answer.status, 200..=299 | 308) => return Ok(answer),
                Ok(answer) if answer.status == 401 && stale.is_none() => {
                    stale = Some(token.number);
                    continue;
                }
                Ok(answer) => {
                    let trouble = faults::read(&answer);
                    // A part that was refused for want of time may have come all the same; whoever sends parts asks how far they are.
                    let again = ask.again || matches!(answer.status, 403 | 429);
                    if !trouble.passes || !again {
                        return Err(trouble.fault);
                    }
                    (trouble.fault, trouble.after)
                }
                Err(fault) if fault.code == ErrorCode::EgressFailed && ask.again => (fault, None),
                Err(fault) => return Err(fault),
            };
            let Some(own) = pauses.next() else { return Err(trouble) };
            let pause = asked.map_or(own, |asked| asked.max(own));
            if pause >= deadline.saturating_duration_since(Instant::now()) {
                return Err(trouble);
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = caller.cancel.cancelled() => return Err(Fault::new(ErrorCode::Cancelled, "the request was cancelled while waiting to be made again")),
            }
        }
    }

    async fn once(&self, ask: &Ask, token: &SecretString, left: Duration, caller: &Caller<'_>) -> Result<Answer, Fault> {
        let wall = Millis(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
        let request_body = Bytes(u64::try_from(ask.body.len()).unwrap_or(u64::MAX));
        let caps = Caps { answer_body: ask.cap, redirects: 0, wall, request_body, ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: self.rules.clone(), caps };
        let mut headers = vec![("accept".to_owned(), "*/*".to_owned()), ("accept-encoding".to_owned(), "identity".to_owned())];
        headers.extend(ask.headers.iter().cloned());
        let request = Request { method: ask.method.to_owned(), url: ask.url.to_string(), headers, body: ask.body.clone() };
        let bearer = Bearer { token: token.clone(), origin: self.origin.clone() };
        self.ports.egress.send_filled(request, &terms, &bearer, caller.cancel, &*caller.log).await
    }
}

/// Puts the token in, at the drive's own origin. `egress` takes it out of what comes back.
struct Bearer {
    token: SecretString,
    origin: SecretHost,
}

impl Fill for Bearer {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<Body, Fault> {
        if !self.origin.allows(outgoing.origin) {
            return Err(Fault::new(ErrorCode::SecretRefused, format!("the login may not go to `{}`; nothing was sent", outgoing.origin)));
        }
        let value = Zeroizing::new(format!("Bearer {}", self.token.expose_secret()));
        outgoing.headers.set_secret("authorization", &value)?;
        Ok(outgoing.body)
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        if answer.headers.iter().any(|(name, value)| name == "content-encoding" && !value.eq_ignore_ascii_case("identity")) {
            return Err(Fault::new(ErrorCode::EgressFailed, "the drive packed its answer, though it was asked for it unpacked"));
        }
        Ok(answer)
    }
}
