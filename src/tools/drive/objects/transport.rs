//! `opendal`'s way to the network: the house's own HTTP client.
//!
//! INVARIANT: requests go to the service's hosts alone; a key goes to the service's own places, not where an answer leads. What went wrong is kept in
//! our words, as `opendal` has only its own.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::{Bytes, Clock, ErrorCode, Fault, Millis, SecretName, Timestamp};
use crate::egress::{Answer, Caps, Egress, Fill, HostRules, Outgoing, Patience, Request, RequestLog, Terms};
use crate::secrets::vault::SecretHost;
use crate::tools::drive::keys::{self, Keys};
use crate::tools::drive::{MOST_BYTES, PURPOSE};

/// The longest that one exchange may take.
const WALL: Millis = Millis(280_000);
/// Headers that hold keys.
const SECRET: [&str; 2] = ["authorization", "x-amz-security-token"];
/// Bytes beside the document itself that an exchange may have.
const FRAME: u64 = 1 << 20;

/// An access token that a service gave for a refresh token.
#[derive(Clone)]
pub(super) struct Granted {
    pub(super) value: SecretString,
    pub(super) until: Timestamp,
}

/// What is told of an exchange besides its answer.
#[derive(Default)]
pub(super) struct Noted {
    /// Why there is no answer.
    pub(super) fault: Option<Fault>,
    /// The status of the last answer that was no success.
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    /// What the token's place gave.
    pub(super) granted: Option<Granted>,
}

/// Where tokens are given, and what is renewed there.
#[derive(Clone)]
pub(super) struct Renewal {
    pub(super) place: Url,
    pub(super) login: SecretName,
    pub(super) keys: Arc<dyn Keys>,
    pub(super) clock: Arc<dyn Clock>,
}

/// The way of one call.
pub(super) struct Transport {
    pub(super) egress: Egress,
    pub(super) rules: HostRules,
    /// As `opendal` has them, and as they are.
    pub(super) places: Vec<(Url, Url)>,
    /// Whether a query is sent in the one form that is signed, with `/` escaped: some stores sign what came and not what it means.
    pub(super) signs_query: bool,
    pub(super) renewal: Option<Renewal>,
    pub(super) cancel: CancellationToken,
    pub(super) log: Arc<dyn RequestLog>,
    pub(super) noted: Arc<Mutex<Noted>>,
}

#[derive(Deserialize)]
struct Given {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Transport {
    /// The address as it is: the operator may have a service elsewhere.
    fn placed(&self, asked: &str) -> String {
        for (own, place) in &self.places {
            let base = own.as_str().trim_end_matches('/');
            if own != place
                && let Some(rest) = asked.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            {
                return format!("{}{rest}", place.as_str().trim_end_matches('/'));
            }
        }
        asked.to_owned()
    }

    async fn exchange(&self, request: http::Request<Buffer>) -> Result<Answer, Fault> {
        let (parts, body) = request.into_parts();
        let asked = parts.uri.to_string();
        let mut headers = vec![("accept-encoding".to_owned(), "identity".to_owned())];
        for (name, value) in &parts.headers {
            let value = value.to_str().map_err(|_| Fault::internal("a header of a drive is no text"))?;
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
        let renews = self.renewal.as_ref().filter(|renewal| asked == renewal.place.as_str());
        let origins = self.places.iter().map(|(_, place)| keys::origin(place)).collect::<Result<Vec<_>, _>>()?;
        let request_body = Bytes(MOST_BYTES.0 + FRAME);
        let caps = Caps { answer_body: request_body, request_body, redirects: 3, wall: WALL, ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: self.rules.clone(), caps };
        let url = match self.placed(&asked).split_once('?') {
            Some((path, query)) if self.signs_query => format!("{path}?{}", query.replace('/', "%2F")),
            Some((path, query)) => format!("{path}?{query}"),
            None => self.placed(&asked),
        };
        let request = Request { method: parts.method.as_str().to_owned(), url, headers, body: body.to_bytes() };
        let keys = OwnPlaces { origins };
        let answer = self.egress.send_patiently(request, &terms, &keys, Patience::default(), (&self.cancel, &*self.log)).await?;
        if let (Some(renewal), 200..=299) = (renews, answer.status) {
            self.renew(renewal, &answer).await?;
        }
        Ok(answer)
    }

    /// Notes the token that was given, and keeps the login that came in the place of the old one.
    async fn renew(&self, renewal: &Renewal, answer: &Answer) -> Result<(), Fault> {
        let Ok(given) = serde_json::from_slice::<Given>(&answer.body) else { return Ok(()) };
        let value = SecretString::from(given.access_token);
        renewal.keys.hide(&format!("{}.access", renewal.login), &value);
        let good = Millis(given.expires_in.unwrap_or(0).saturating_sub(60).saturating_mul(1000));
        self.note(|noted| noted.granted = Some(Granted { value, until: renewal.clock.now().plus(good) }));
        if let Some(next) = given.refresh_token {
            let next = SecretString::from(next);
            let old = renewal.keys.lend(&renewal.login, None).await?;
            if old.value.expose_secret() != next.expose_secret() {
                renewal.keys.renew(&renewal.login, &next).await?;
            }
        }
        Ok(())
    }

    fn note(&self, what: impl FnOnce(&mut Noted)) {
        what(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl HttpTransport for Transport {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let is_last = is_last_part(&request);
        let mut answer = match self.exchange(request).await {
            Ok(answer) => answer,
            Err(fault) => {
                let kind = if fault.code == ErrorCode::ConfigInvalid { ErrorKind::ConfigInvalid } else { ErrorKind::Unexpected };
                self.note(|noted| noted.fault = Some(fault));
                return Err(Error::new(kind, "the request failed"));
            }
        };
        if is_last && answer.status == 200 {
            // Of a document that was replaced OneDrive says 200, which `opendal` takes for a part in the middle.
            answer.status = 201;
        }
        if answer.status >= 400 {
            let asked = answer.headers.iter().find(|(name, _)| name == "retry-after").and_then(|(_, value)| value.trim().parse().ok());
            self.note(|noted| (noted.status, noted.retry_after) = (Some(answer.status), asked));
        }
        let mut response = http::Response::builder().status(answer.status);
        for (name, value) in &answer.headers {
            response = response.header(name, value);
        }
        let size = u64::try_from(answer.body.len()).ok();
        let body = HttpBody::new(stream::iter([Ok(Buffer::from(answer.body))]), size);
        response.body(body).map_err(|_| Error::new(ErrorKind::Unexpected, "the answer has no form"))
    }
}

/// Whether a request sends the last part of a document.
fn is_last_part(request: &http::Request<Buffer>) -> bool {
    let range = request.headers().get(http::header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let parts = range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.1.split_once('/'));
    parts.is_some_and(|(end, total)| end.parse::<u64>().ok().and_then(|end| end.checked_add(1)) == total.parse().ok())
}

/// Lets keys go to the service's own places.
struct OwnPlaces {
    origins: Vec<SecretHost>,
}

impl Fill for OwnPlaces {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<bytes::Bytes, Fault> {
        let Outgoing { origin, headers, body, .. } = outgoing;
        let is_own = self.origins.iter().any(|own| own.allows(origin));
        for name in SECRET {
            let Some(value) = headers.get(name).map(|value| Zeroizing::new(value.to_owned())) else { continue };
            if is_own {
                headers.set_secret(name, &value)?;
            } else {
                headers
                    .fill(|header, _| Ok(if header == name { crate::egress::Filled::LeftOut } else { crate::egress::Filled::AsItWas }))?;
            }
        }
        Ok(body)
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        Ok(answer)
    }
}
