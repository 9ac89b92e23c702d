//! The login at Google Drive: by a browser on this machine, or by a code that is typed elsewhere; its end, and how it stands.
//!
//! INVARIANT: only the operator's verbs come here. A login that was given other rights than were asked for is given back at once and kept
//! nowhere. What is kept is the refresh token alone, in the vault, for the sign-in service's hosts and the drive's tools.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use oauth2::basic::BasicTokenResponse;
use oauth2::{
    AuthorizationCode, CsrfToken, DeviceCodeErrorResponseType, PkceCodeChallenge, RedirectUrl, RequestTokenError, Scope,
    StandardDeviceAuthorizationResponse, TokenResponse as _,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::domain::{ErrorCode, Fault};
use crate::egress::RequestLog;
use crate::secrets::vault::{SecretName, Terms};
use crate::tools::drive::{DrivePorts, keys};

use super::api::{Api, Ask, Caller};
use super::files::json;
use super::loopback::Loopback;
use super::tokens::client_secret;
use super::{GoogleSettings, oauth};

/// How long a person has.
const PATIENCE: Duration = Duration::from_secs(600);
/// The tools that may use the login.
const TOOLS: [&str; 3] = ["drive.get", "drive.search", "drive.upload"];

/// What the person is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Open this address in a browser of this machine.
    Browser {
        /// The address.
        url: String,
    },
    /// Open this address anywhere and type the code.
    Code {
        /// The address.
        url: String,
        /// The code.
        code: String,
    },
}

/// How the person is to say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// In a browser of this machine.
    Loopback,
    /// Anywhere.
    Device,
}

/// Where a login is kept.
#[async_trait]
pub trait Keep: Send + Sync {
    /// Keeps it.
    async fn keep(&self, name: &SecretName, value: &SecretString, terms: &Terms) -> Result<(), Fault>;
}

/// Whose login it is and how much room there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// The address of the account.
    pub address: String,
    /// Bytes that are taken.
    pub used: Option<u64>,
    /// Bytes that there are; none where there is no limit.
    pub limit: Option<u64>,
}

/// The login of one house.
pub struct Login {
    settings: Arc<GoogleSettings>,
    ports: DrivePorts,
    cancel: CancellationToken,
    log: Arc<dyn RequestLog>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct About {
    user: User,
    storage_quota: Quota,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct User {
    email_address: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Quota {
    limit: Option<String>,
    usage: Option<String>,
}

impl Login {
    /// For the operator's verbs, whose requests are recorded in `log`.
    #[must_use]
    pub fn new(settings: Arc<GoogleSettings>, ports: DrivePorts, cancel: CancellationToken, log: Arc<dyn RequestLog>) -> Self {
        Self { settings, ports, cancel, log }
    }

    fn sign_in(&self) -> Result<oauth::SignIn, Fault> {
        oauth::SignIn::new(&self.settings, &self.ports.egress, &self.cancel, self.log.clone())
    }

    /// Has the person say yes and keeps the login.
    ///
    /// # Errors
    /// `DRIVE_REFUSED` where the person said no, or the service gave other rights than were asked for; `TIMEOUT` after ten minutes; those of egress and vault.
    pub async fn begin(&self, way: Way, tell: &(dyn Fn(Prompt) + Send + Sync), keep: &dyn Keep) -> Result<(), Fault> {
        let given = match way {
            Way::Loopback => self.by_browser(tell).await?,
            Way::Device => self.by_code(tell).await?,
        };
        self.ports.keys.hide("drive.google.access", &SecretString::from(given.access_token().secret().clone()));
        let Some(token) = given.refresh_token().map(|token| SecretString::from(token.secret().clone())) else {
            return Err(Fault::new(ErrorCode::DriveRefused, "Google gave a login that cannot be renewed")
                .hint("take toolgate's access back at https://myaccount.google.com/permissions, and log in again"));
        };
        if let Err(fault) = self.check_rights(&given) {
            self.sign_in()?.revoke(&self.settings.places.revoke, &token).await?;
            return Err(fault);
        }
        let places = &self.settings.places;
        let mut hosts = vec![keys::origin(&places.token)?, keys::origin(&places.revoke)?];
        hosts.dedup();
        let tools = TOOLS.map(str::to_owned).to_vec();
        let terms = Terms { hosts, tools, description: format!("login at Google Drive: {}", self.settings.scope) };
        keep.keep(&GoogleSettings::login()?, &token, &terms).await
    }

    async fn by_browser(&self, tell: &(dyn Fn(Prompt) + Send + Sync)) -> Result<BasicTokenResponse, Fault> {
        let secret = client_secret(&self.settings, &self.ports, None).await?;
        let page = Loopback::open().await?;
        let back = page.address()?;
        let client = oauth::client(&self.settings, secret.as_ref()).set_redirect_uri(RedirectUrl::from_url(back));
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scope(Scope::new(self.settings.scope_address()))
            .set_pkce_challenge(challenge)
            .add_extra_param("access_type", "offline")
            .add_extra_param("prompt", "consent")
            .url();
        tell(Prompt::Browser { url: url.into() });
        let code = tokio::select! {
            code = timeout(PATIENCE, page.code(state.secret())) => code.map_err(|_| late())??,
            () = self.cancel.cancelled() => return Err(cancelled()),
        };
        let way = self.sign_in()?;
        let code = AuthorizationCode::new(code.expose_secret().to_owned());
        client.exchange_code(code).set_pkce_verifier(verifier).request_async(&way).await.map_err(oauth::fault)
    }

    async fn by_code(&self, tell: &(dyn Fn(Prompt) + Send + Sync)) -> Result<BasicTokenResponse, Fault> {
        let secret = client_secret(&self.settings, &self.ports, None).await?;
        let way = self.sign_in()?;
        let asked = oauth::client(&self.settings, None);
        let asked = asked.exchange_device_code().add_scope(Scope::new(self.settings.scope_address()));
        let given: StandardDeviceAuthorizationResponse = asked.request_async(&way).await.map_err(oauth::fault)?;
        let place = given.verification_uri().url();
        if !matches!(place.scheme(), "https" | "http") {
            return Err(oauth::odd());
        }
        tell(Prompt::Code { url: place.to_string(), code: given.user_code().secret().clone() });
        let client = oauth::client(&self.settings, secret.as_ref());
        let polling = client.exchange_device_access_token(&given).request_async(&way, tokio::time::sleep, Some(PATIENCE));
        let token = tokio::select! {
            token = timeout(PATIENCE, polling) => token.map_err(|_| late())?,
            () = self.cancel.cancelled() => return Err(cancelled()),
        };
        token.map_err(|error| match error {
            RequestTokenError::ServerResponse(said) => match said.error() {
                DeviceCodeErrorResponseType::AccessDenied => Fault::new(ErrorCode::DriveRefused, "the login was not allowed")
                    .hint("run `toolgate drive login --device` again, and allow it there"),
                DeviceCodeErrorResponseType::ExpiredToken => late(),
                DeviceCodeErrorResponseType::AuthorizationPending
                | DeviceCodeErrorResponseType::SlowDown
                | DeviceCodeErrorResponseType::Basic(_) => Fault::new(ErrorCode::DriveUnavailable, "the sign-in service refused the code")
                    .hint("the program at Google must be of the kind \"TV and limited input devices\" for this way"),
            },
            RequestTokenError::Request(failed) => oauth::fault(RequestTokenError::Request(failed)),
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => oauth::odd(),
        })
    }

    /// The rights that were given are those that were asked for.
    fn check_rights(&self, given: &BasicTokenResponse) -> Result<(), Fault> {
        let wanted = self.settings.scope_address();
        // RFC 6749, 5.1: where nothing is said, it is what was asked for.
        let Some(scopes) = given.scopes() else { return Ok(()) };
        let has = scopes.iter().any(|scope| scope.as_str() == wanted);
        let more: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).filter(|scope| *scope != wanted).collect();
        if !has {
            return Err(Fault::new(
                ErrorCode::DriveRefused,
                format!("the login does not allow `{}`; it was given back", self.settings.scope),
            )
            .hint("run `toolgate drive login` again, and leave its box checked"));
        }
        if more.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = more.iter().take(4).map(|scope| crate::confine::shown(scope)).collect();
        Err(Fault::new(ErrorCode::DriveRefused, format!("the login allows more than `{}`: {}; it was given back", self.settings.scope, shown.join(", ")))
            .hint("a wider login is asked for by `drive.google_scope` alone; take earlier access back at https://myaccount.google.com/permissions"))
    }

    /// Takes the login back at Google.
    ///
    /// # Errors
    /// `DRIVE_LOGIN_REQUIRED` where there is none; those of egress and vault.
    pub async fn end(&self) -> Result<(), Fault> {
        let lent = self.ports.keys.lend(&GoogleSettings::login()?, None).await.map_err(|fault| {
            let is_none = fault.code == ErrorCode::UnknownSecret;
            if is_none { Fault::new(ErrorCode::DriveLoginRequired, "nobody is logged in to Google Drive") } else { fault }
        })?;
        let place = &self.settings.places.revoke;
        let token = keys::for_place(lent, place)?;
        self.sign_in()?.revoke(place, &token).await
    }

    /// Whose login it is, asked of the drive.
    ///
    /// # Errors
    /// `DRIVE_LOGIN_REQUIRED`; those of egress and vault.
    pub async fn account(&self) -> Result<Account, Fault> {
        let api = Api::new(self.settings.clone(), self.ports.clone())?;
        let caller = Caller { tool: None, cancel: &self.cancel, log: self.log.clone() };
        let url = api.url(&["drive", "v3", "about"], &[("fields", "user(emailAddress),storageQuota(limit,usage)")])?;
        let about: About = json(&api.ask(&Ask::get(url), &caller).await?.body)?;
        let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
        let address = crate::tools::plain(&about.user.email_address).chars().filter(|c| !c.is_whitespace()).take(200).collect();
        Ok(Account { address, used: number(about.storage_quota.usage), limit: number(about.storage_quota.limit) })
    }
}

fn late() -> Fault {
    Fault::new(ErrorCode::Timeout, "nobody allowed the login within ten minutes").hint("run `toolgate drive login` again")
}

fn cancelled() -> Fault {
    Fault::new(ErrorCode::Cancelled, "the login was broken off; nothing was kept")
}
