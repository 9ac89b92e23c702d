//! Tells an address of the operator's that somebody is asked.
//!
//! INVARIANT: it tells and hears nothing: an answer's body is not read, and nothing it says can decide a question. At least once for each
//! question that still waits, always with the same id; what fails is tried again and holds up nobody.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::domain::{Actor, Bytes, Clock, ErrorCode, Fault, Millis, RunId};
use crate::egress::{Caps, Egress, HostRules, Request, RequestLog, RequestRecord, Terms};
use crate::gateway::{Amount, describe};
use crate::run::{EventDraft, EventKind};
use crate::secrets::sealed::signature_header;
use crate::store::{Append, ApprovalRow, Change, Store};

use super::network;

/// What `egress.private` calls these requests.
const PURPOSE: &str = "approvals";
/// How often it is looked for questions, and the longest wait after failures.
const LOOK: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const SHORTEST_SECRET: usize = 16;

/// The operator's address, and what requests to it are signed with.
pub(super) struct Webhook {
    url: String,
    terms: Terms,
    secret: Vec<u8>,
    egress: Egress,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// From the operator's settings; `None` where there is no address.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for an address or a secret that cannot be used.
    pub(super) fn of(config: &Config, store: &Store, clock: &Arc<dyn Clock>) -> Result<Option<Self>, Fault> {
        let Some(url) = config.approvals_webhook.value.clone() else { return Ok(None) };
        let wrong = |key: &str, why: &str| {
            Fault::new(ErrorCode::ConfigInvalid, format!("`{key}`: {why}")).hint("`toolgate config show` says where the value comes from")
        };
        let parsed = url::Url::parse(&url).map_err(|error| wrong("approvals.webhook", &error.to_string()))?;
        let host = parsed.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong("approvals.webhook", "it names no host"))?;
        let is_local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        if parsed.scheme() != "https" && !(parsed.scheme() == "http" && is_local) {
            return Err(wrong("approvals.webhook", "questions may be private, so it must be https, or http on this machine"));
        }
        let port = parsed.port_or_known_default().unwrap_or(443);
        let path = config.approvals_webhook_secret.value.as_ref();
        let path = path.ok_or_else(|| wrong("approvals.webhook_secret", "a webhook needs the file of its secret"))?;
        let secret = std::fs::read(path).map_err(|error| wrong("approvals.webhook_secret", &format!("{}: {error}", path.display())))?;
        let secret = secret.trim_ascii().to_vec();
        if secret.len() < SHORTEST_SECRET {
            return Err(wrong("approvals.webhook_secret", &format!("the secret has fewer than {SHORTEST_SECRET} bytes")));
        }
        let caps = Caps { answer_body: Bytes(64 << 10), redirects: 0, wall: Millis(10_000), ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules: HostRules::parse([format!("{host}:{port}")])?, caps };
        Ok(Some(Self { url, terms, secret, egress: network::egress(config)?, store: store.clone(), clock: clock.clone() }))
    }

    /// Tells of questions until `stop`.
    pub(super) async fn tell(self, stop: CancellationToken) {
        let mut wait = LOOK;
        loop {
            wait = match self.tell_all(&stop).await {
                Ok(()) => LOOK,
                Err(fault) => {
                    tracing::warn!(code = %fault.code, "the webhook did not hear of a question: {}", fault.message);
                    (wait * 2).min(LONGEST_WAIT)
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn tell_all(&self, stop: &CancellationToken) -> Result<(), Fault> {
        for id in self.store.untold_approvals().await? {
            let Some(row) = self.store.approval(&id).await? else { continue };
            self.tell_one(&row, stop).await?;
            let told = EventDraft::new(EventKind::SystemEvent, Actor::system())
                .field("event", "question_told")
                .field("approval_id", id.to_string());
            let changes = vec![Change::ToldOf(id)];
            self.store.append(Append { run: Some(row.run_id), events: vec![told], changes, ..Append::default() }).await?;
        }
        Ok(())
    }

    async fn tell_one(&self, row: &ApprovalRow, stop: &CancellationToken) -> Result<(), Fault> {
        let now = self.clock.now();
        let body = json!({
            "type": "approval.requested",
            "id": row.id,
            "tool": row.tool,
            "run_id": row.run_id,
            "principal": row.principal,
            "digest": row.digest,
            "reason": row.reason,
            "text": describe(row, now, Amount::Short),
            "asked_at": row.created,
            "expires_at": row.expires,
        })
        .to_string();
        let signed = signature_header(&self.secret, now.unix_millis() / 1_000, body.as_bytes())?;
        let header = |name: &str, value: String| (name.to_owned(), value);
        let request = Request {
            method: "POST".to_owned(),
            url: self.url.clone(),
            headers: vec![
                header("Content-Type", "application/json".to_owned()),
                header("Toolgate-Delivery", row.id.to_string()),
                header("Toolgate-Signature", signed),
            ],
            body: body.into_bytes().into(),
        };
        let log = InRun { store: self.store.clone(), run: row.run_id };
        let answer = self.egress.send(request, &self.terms, stop, &log).await?;
        if (200..300).contains(&answer.status) {
            return Ok(());
        }
        Err(Fault::new(ErrorCode::EgressFailed, format!("it answered {}", answer.status)))
    }
}

/// Records these requests in the run whose question they tell.
struct InRun {
    store: Store,
    run: RunId,
}

#[async_trait]
impl RequestLog for InRun {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let record = serde_json::to_value(record).map_err(|error| Fault::internal(format!("a request has no JSON form: {error}")))?;
        let event = EventDraft::new(EventKind::SystemEvent, Actor::system()).field("event", "http_request").sealed("request", record);
        self.store.append(Append { run: Some(self.run), events: vec![event], ..Append::default() }).await.map(drop)
    }
}
