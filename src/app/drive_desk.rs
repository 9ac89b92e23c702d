//! The operator's verbs on drives: login, its end, and how each stands.
//!
//! INVARIANT: whatever is asked of a service for a verb is recorded in the operator's own run. A login is kept by the operator's proof.

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::cli::drive_port::{DriveDesk, DriveView, LoginPrompt, LoginWay};
use crate::config::Config;
use crate::domain::{Actor, ErrorCode, Fault, RunId, SecretName};
use crate::egress::{RequestLog, RequestRecord};
use crate::gateway::Gateway;
use crate::run::{EventDraft, EventKind};
use crate::secrets::operator::OperatorProof;
use crate::secrets::vault::{Terms, Vault};
use crate::store::{Append, Store};
use crate::tools::drive::DrivePorts;
use crate::tools::drive::google::login::{Keep, Login, Prompt, Way};
use crate::tools::drive::google::{GoogleSettings, LOGIN};

/// The verbs of one home.
#[derive(Clone)]
pub(super) struct Desk {
    names: Vec<String>,
    local: String,
    google: Option<Arc<GoogleSettings>>,
    ports: DrivePorts,
    vault: Vault,
    gateway: Gateway,
    store: Store,
    stop: CancellationToken,
}

/// What the verbs work with.
pub(super) struct Around {
    pub(super) ports: DrivePorts,
    pub(super) vault: Vault,
    pub(super) gateway: Gateway,
    pub(super) store: Store,
    pub(super) stop: CancellationToken,
}

impl Desk {
    pub(super) fn new(config: &Config, around: Around) -> Result<Self, Fault> {
        let Around { ports, vault, gateway, store, stop } = around;
        let local = config.drive_local_root.value.display().to_string();
        let names = config.drive.providers.value.clone();
        Ok(Self { names, local, google: super::drive::google(config)?, ports, vault, gateway, store, stop })
    }

    async fn google(&self) -> Result<Login, Fault> {
        let settings = self.google.clone().ok_or_else(|| {
            Fault::new(ErrorCode::ConfigInvalid, "there is no Google Drive in the settings").hint(
                "make a program of the kind \"desktop app\" at Google, set `drive.google_client_id`, and add google to `drive.providers`",
            )
        })?;
        let run = self.gateway.adhoc_run(&Actor::operator()).await?;
        let log = Arc::new(OfOperator { store: self.store.clone(), run });
        Ok(Login::new(settings, self.ports.clone(), self.stop.clone(), log))
    }

    async fn google_view(&self, asks: bool) -> Result<DriveView, Fault> {
        let mut view = self.view("google");
        let Some(settings) = &self.google else {
            return Ok(DriveView { state: "not_configured".into(), detail: "no drive.google_client_id".into(), ..view });
        };
        view.scope = Some(settings.scope.clone());
        let Some(login) = self.vault.list().await?.into_iter().find(|secret| secret.name.as_str() == LOGIN) else {
            return Ok(DriveView { state: "login_required".into(), detail: "nobody is logged in; `toolgate drive login`".into(), ..view });
        };
        view.since = Some(login.updated);
        if !asks {
            return Ok(DriveView { state: "logged_in".into(), detail: "not asked".into(), ..view });
        }
        Ok(match self.google().await?.account().await {
            Ok(account) => DriveView {
                state: "ready".into(),
                detail: if account.address.is_empty() { "logged in".into() } else { account.address.clone() },
                account: Some(account.address).filter(|address| !address.is_empty()),
                used: account.used,
                limit: account.limit,
                ..view
            },
            Err(fault) => DriveView { state: fault.code.as_str().to_ascii_lowercase(), detail: fault.message, ..view },
        })
    }

    fn view(&self, name: &str) -> DriveView {
        DriveView { name: name.to_owned(), usual: self.names.first().is_some_and(|first| first == name), ..DriveView::default() }
    }
}

#[async_trait]
impl DriveDesk for Desk {
    async fn login(&self, way: LoginWay, tell: &(dyn Fn(LoginPrompt) + Send + Sync), proof: OperatorProof) -> Result<DriveView, Fault> {
        let way = match way {
            LoginWay::Browser => Way::Loopback,
            LoginWay::Code => Way::Device,
        };
        let told = |prompt| {
            tell(match prompt {
                Prompt::Browser { url } => LoginPrompt::Browser { url },
                Prompt::Code { url, code } => LoginPrompt::Code { url, code },
            });
        };
        self.google().await?.begin(way, &told, &InVault { vault: self.vault.clone(), proof }).await?;
        self.google_view(true).await
    }

    async fn status(&self, asks: bool) -> Result<Vec<DriveView>, Fault> {
        let mut all = Vec::new();
        for name in &self.names {
            all.push(match name.as_str() {
                "google" => self.google_view(asks).await?,
                "local" => DriveView { state: "ready".into(), detail: self.local.clone(), ..self.view(name) },
                _ => DriveView { state: "configured".into(), detail: "its keys are asked for at each call".into(), ..self.view(name) },
            });
        }
        if self.google.is_some() && !self.names.iter().any(|name| name == "google") {
            all.push(self.google_view(asks).await?);
        }
        Ok(all)
    }

    async fn logout(&self, forget: bool, proof: OperatorProof) -> Result<(), Fault> {
        match self.google().await?.end().await {
            Ok(()) => {}
            Err(fault) if forget && fault.code != ErrorCode::DriveLoginRequired => {
                tracing::warn!(code = %fault.code, "Google did not take the login back: {fault}");
            }
            Err(fault) => {
                let is_none = fault.code == ErrorCode::DriveLoginRequired;
                return Err(if is_none {
                    fault
                } else {
                    fault.hint("nothing was removed; `--forget` removes it here all the same, and the person takes it back at https://myaccount.google.com/permissions")
                });
            }
        }
        self.vault.remove(&LOGIN.parse()?, &proof).await
    }
}

/// Keeps a login.
struct InVault {
    vault: Vault,
    proof: OperatorProof,
}

#[async_trait]
impl Keep for InVault {
    async fn keep(&self, name: &SecretName, value: &SecretString, terms: &Terms) -> Result<(), Fault> {
        self.vault.set(name, value, terms, &self.proof).await.map(drop)
    }
}

/// Records requests in the operator's run.
struct OfOperator {
    store: Store,
    run: RunId,
}

#[async_trait]
impl RequestLog for OfOperator {
    async fn record(&self, record: RequestRecord) -> Result<(), Fault> {
        let record = serde_json::to_value(record).map_err(|error| Fault::internal(format!("a request has no JSON form: {error}")))?;
        let event = EventDraft::new(EventKind::SystemEvent, Actor::operator()).field("event", "http_request").sealed("request", record);
        self.store.append(Append { run: Some(self.run), events: vec![event], ..Append::default() }).await.map(drop)
    }
}
