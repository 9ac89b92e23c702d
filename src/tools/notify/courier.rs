//! Takes a letter to the other end of its channel, once.
//!
//! INVARIANT: it goes to the channel's one place by way of egress, without redirects; the secret goes there alone and stands in no record,
//! error or log; nothing the other end says is repeated. Does not decide when to try again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;
use zeroize::Zeroizing;

use crate::domain::{Bytes, Clock, ErrorCode, Fault, Millis};
use crate::egress::{
    Answer, Caps, Egress, Fill, HostRules, Outgoing, Request, RequestLog, RequestRecord, Roots, Scheme, Terms, retry_after,
};
use crate::secrets::live::{LiveSecrets, Watched};
use crate::secrets::own_file;
use crate::secrets::sealed::signature_header;
use crate::secrets::source::SecretSource;

use super::{Attempt, Channel, Mail, Parcel, SecretOf, Service, email, services, smtp};

/// What `egress.private` calls these connections, and the tool that the vault lends to.
pub const PURPOSE: &str = "notify";
const TOOL: &str = "notify.send";

/// The longest that one attempt may take.
const HTTP_WALL: Millis = Millis(10_000);
const MAIL_WALL: Millis = Millis(20_000);
const CONNECT: Millis = Millis(5_000);
/// Nobody reads more of an answer.
const ANSWER: Bytes = Bytes(64 << 10);
/// A key that signs has at least so many bytes.
const SHORTEST_KEY: usize = 16;
const AGENT: &str = concat!("toolgate/", env!("CARGO_PKG_VERSION"));

/// What letters are taken out with.
pub struct Courier {
    /// The one way out.
    pub egress: Egress,
    /// Who is trusted where mail is secured.
    pub roots: Roots,
    /// The vault.
    pub secrets: Arc<dyn SecretSource>,
    /// Who keeps what was read of files out of everything that is written.
    pub live: LiveSecrets,
    /// For signatures.
    pub clock: Arc<dyn Clock>,
}

impl Courier {
    /// One attempt.
    pub async fn deliver(&self, channel: &Channel, parcel: &Parcel, cancel: &CancellationToken, log: &dyn RequestLog) -> Attempt {
        let attempt = match &channel.service {
            Service::Email(mail) => self.mail(channel, mail, parcel, (cancel, log)).await,
            Service::Webhook(_) | Service::Slack | Service::Discord | Service::Ntfy(..) => {
                self.post(channel, parcel, (cancel, log)).await.map(|answer| read(channel, &answer))
            }
        };
        attempt.unwrap_or_else(judged)
    }

    /// Whether the channel's secret can be had, without a word of it.
    ///
    /// # Errors
    /// Why not.
    pub async fn check(&self, channel: &Channel) -> Result<(), Fault> {
        let secret = self.secret(channel).await?;
        match (&channel.service, &secret) {
            (Service::Slack | Service::Discord, Some(secret)) => self.address(channel, secret).map(drop),
            (Service::Webhook(_), Some(secret)) => key(secret).map(drop),
            _ => Ok(()),
        }
    }

    async fn post(
        &self,
        channel: &Channel,
        parcel: &Parcel,
        (cancel, log): (&CancellationToken, &dyn RequestLog),
    ) -> Result<Answer, Fault> {
        let secret = self.secret(channel).await?;
        let lacks = || Fault::internal(format!("channel `{}` has no secret", channel.name));
        let secret = secret.as_ref();
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", AGENT.to_owned()),
            ("idempotency-key", parcel.id.to_string()),
        ];
        let mut bearer = None;
        let (url, body) = match &channel.service {
            Service::Webhook(url) => {
                let body = services::webhook(parcel).to_string();
                let signed = signature_header(key(secret.ok_or_else(lacks)?)?, self.clock.now().unix_millis() / 1_000, body.as_bytes())?;
                headers.extend([("toolgate-delivery", parcel.id.to_string()), ("toolgate-signature", signed)]);
                (url.clone(), body)
            }
            Service::Slack => (self.address(channel, secret.ok_or_else(lacks)?)?, services::slack(parcel).to_string()),
            Service::Discord => {
                let mut url = self.address(channel, secret.ok_or_else(lacks)?)?;
                // So that the answer comes when the message is there, and says whether it is.
                url.query_pairs_mut().append_pair("wait", "true");
                (url, services::discord(parcel).to_string())
            }
            Service::Ntfy(url, topic) => {
                bearer = secret.map(|token| Zeroizing::new(format!("Bearer {}", token.expose_secret())));
                (url.clone(), services::ntfy(parcel, topic).to_string())
            }
            Service::Email(_) => return Err(Fault::internal("mail is not posted")),
        };
        let request = Request {
            method: "POST".to_owned(),
            url: url.to_string(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: body.into_bytes().into(),
        };
        let log = Told { log, hides_path: matches!(channel.service, Service::Slack | Service::Discord) };
        self.egress.send_filled(request, &terms(channel, HTTP_WALL)?, &Bearer(bearer), cancel, &log).await
    }

    async fn mail(
        &self,
        channel: &Channel,
        mail: &Mail,
        parcel: &Parcel,
        (cancel, log): (&CancellationToken, &dyn RequestLog),
    ) -> Result<Attempt, Fault> {
        let password = self.secret(channel).await?;
        let login = mail.user.as_deref().zip(password.as_ref());
        let written = email::written(parcel, mail)?;
        let bytes = Bytes(u64::try_from(written.bytes.len()).unwrap_or(u64::MAX));
        let terms = terms(channel, MAIL_WALL)?;
        log.reserve(bytes).await?;
        let begun = Instant::now();
        let (mut address, mut proxied) = (None, false);
        let spoken = async {
            match self.egress.tunnel(&channel.origin, &terms, cancel).await {
                Err(fault) => judged(in_words_of_mail(fault, channel)),
                Ok(tunnel) => {
                    (address, proxied) = (Some(tunnel.address), tunnel.proxied);
                    smtp::hand_over(tunnel.stream, (&channel.origin, mail.tls, &self.roots), login, &written).await
                }
            }
        };
        let late = || Fault::new(ErrorCode::Timeout, format!("the mail server `{}` took longer than {} ms", channel.place(), MAIL_WALL.0));
        let attempt = tokio::select! {
            biased;
            () = cancel.cancelled() => Attempt::Stopped,
            attempt = tokio::time::timeout(MAIL_WALL.duration(), spoken) => attempt.unwrap_or_else(|_| Attempt::Later(late(), None)),
        };
        let error = match &attempt {
            Attempt::Taken => None,
            Attempt::Later(fault, _) | Attempt::Refused(fault) => Some(fault.code),
            Attempt::Stopped => Some(ErrorCode::Cancelled),
        };
        log.record(RequestRecord {
            purpose: PURPOSE.to_owned(),
            method: "MAIL".to_owned(),
            scheme: "smtp".to_owned(),
            host: channel.origin.host.to_string(),
            port: channel.origin.port,
            path: String::new(),
            hop: 0,
            address,
            proxied,
            cached: false,
            status: None,
            error,
            bytes_out: bytes,
            reserved: bytes.0,
            bytes_in: Bytes(0),
            duration: Millis(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)),
        })
        .await?;
        Ok(attempt)
    }

    /// The channel's secret. One of the vault must be lent to this tool and, where it leaves, to this place.
    async fn secret(&self, channel: &Channel) -> Result<Option<SecretString>, Fault> {
        match &channel.secret {
            None => Ok(None),
            Some(SecretOf::File(path)) => {
                let value = own_file::secret_in(path)?;
                self.keep_out(channel, &value)?;
                Ok(Some(value))
            }
            Some(SecretOf::Vault(name)) => {
                let lent = self.secrets.lend(std::slice::from_ref(name), TOOL).await?.into_iter().next();
                let lent = lent.ok_or_else(|| Fault::internal("a secret was lent that is not there"))?;
                let leaves = !matches!(channel.service, Service::Webhook(_));
                if leaves && !lent.terms.hosts.iter().any(|host| host.allows(&channel.origin)) {
                    return Err(Fault::new(ErrorCode::SecretRefused, format!("the secret `{name}` may not go to `{}`", channel.place()))
                        .hint("the operator names that host with `toolgate vault set --hosts`"));
                }
                Ok(Some(lent.value))
            }
        }
    }

    /// The address that a secret is.
    fn address(&self, channel: &Channel, secret: &SecretString) -> Result<Url, Fault> {
        let wrong = |why: &str| {
            Fault::new(ErrorCode::ConfigInvalid, format!("the secret of channel `{}` {why}", channel.name))
                .hint("it is the whole address that the service shows for the webhook")
        };
        let url = Url::parse(secret.expose_secret()).map_err(|_| wrong("is no address"))?;
        let scheme = if channel.origin.scheme == Scheme::Https { "https" } else { "http" };
        let host = url.host_str().and_then(|host| crate::egress::Host::parse(host).ok());
        let is_there = url.scheme() == scheme
            && host.as_ref() == Some(&channel.origin.host)
            && url.port_or_known_default() == Some(channel.origin.port)
            && url.username().is_empty()
            && url.password().is_none();
        if !is_there {
            return Err(wrong(&format!("does not lead to `{}`", channel.place())));
        }
        // A part of it opens the door as well, so it is taken out of records by itself.
        self.keep_out(channel, &url.path().to_owned().into())?;
        Ok(url)
    }

    fn keep_out(&self, channel: &Channel, value: &SecretString) -> Result<(), Fault> {
        match self.live.add(&format!("notify.{}", channel.name), value) {
            Watched::Yes => Ok(()),
            Watched::TooShort => Err(Fault::new(
                ErrorCode::ConfigInvalid,
                format!("the secret of channel `{}` is too short to be kept out of records", channel.name),
            )
            .hint("use one of at least 8 characters")),
        }
    }
}

/// A key long enough to sign with.
fn key(secret: &SecretString) -> Result<&[u8], Fault> {
    let bytes = secret.expose_secret().as_bytes();
    if bytes.len() < SHORTEST_KEY {
        return Err(Fault::new(ErrorCode::ConfigInvalid, format!("the key of a webhook has fewer than {SHORTEST_KEY} bytes")));
    }
    Ok(bytes)
}

fn terms(channel: &Channel, wall: Millis) -> Result<Terms, Fault> {
    let caps = Caps { redirects: 0, wall, connect: CONNECT, answer_body: ANSWER, ..Caps::default() };
    Ok(Terms { purpose: PURPOSE.to_owned(), rules: HostRules::parse([channel.place()])?, caps })
}

/// What an answer means.
fn read(channel: &Channel, answer: &Answer) -> Attempt {
    let fault = || Fault::new(ErrorCode::NotifyFailed, format!("`{}` answered {}", channel.place(), answer.status));
    match answer.status {
        200..=299 => Attempt::Taken,
        408 | 425 | 429 | 500..=599 => Attempt::Later(fault(), retry_after(answer).or_else(|| in_body(answer)).map(millis)),
        300..=399 => Attempt::Refused(fault().hint("redirects are not followed; the channel's `url` must be the last place")),
        _ => Attempt::Refused(fault().hint("see whether the channel's address and secret still hold")),
    }
}

/// Discord says it there as well, with parts of a second.
fn in_body(answer: &Answer) -> Option<Duration> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    Duration::try_from_secs_f64(body.get("retry_after")?.as_f64()?).ok()
}

fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX))
}

/// Whether what went wrong may be better later.
fn judged(fault: Fault) -> Attempt {
    // An answer that is too large came from somebody who may have taken the letter; it has the same key when it comes again.
    let may_pass = [ErrorCode::EgressFailed, ErrorCode::Timeout, ErrorCode::LimitExceeded];
    if fault.code == ErrorCode::Cancelled {
        Attempt::Stopped
    } else if may_pass.contains(&fault.code) {
        Attempt::Later(fault, None)
    } else {
        Attempt::Refused(fault)
    }
}

/// Egress speaks of web addresses.
fn in_words_of_mail(fault: Fault, channel: &Channel) -> Fault {
    Fault { message: fault.message.replace(&channel.origin.to_string(), &channel.place()), ..fault }
}

/// Puts a token into its header.
struct Bearer(Option<Zeroizing<String>>);

impl Fill for Bearer {
    fn fill(&self, outgoing: Outgoing<'_>) -> Result<bytes::Bytes, Fault> {
        let Outgoing { headers, body, redirected, .. } = outgoing;
        if let (Some(value), false) = (&self.0, redirected) {
            headers.set_secret("authorization", value)?;
        }
        Ok(body)
    }

    fn scrub(&self, answer: Answer) -> Result<Answer, Fault> {
        Ok(answer)
    }
}

/// A record without the path, where that is a secret.
struct Told<'l> {
    log: &'l dyn RequestLog,
    hides_path: bool,
}

#[async_trait]
impl RequestLog for Told<'_> {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let path = if self.hides_path { "(secret)".to_owned() } else { record.path };
        self.log.record(RequestRecord { path, ..record }).await
    }

    async fn reserve(&self, bytes: Bytes) -> Result<(), Fault> {
        self.log.reserve(bytes).await
    }
}
