//! The access token of the login: had from the sign-in service when it is needed, kept in memory while it is good.
//!
//! INVARIANT: however many ask, one refreshes and all get what came of it. An access token is never written anywhere; a login that was refused is
//! not tried again until the vault holds another.

use std::sync::Arc;
use std::time::Duration;

use oauth2::{RefreshToken, TokenResponse as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::domain::{Digest, ErrorCode, Fault, Millis, Timestamp};
use crate::egress::RequestLog;
use crate::tools::drive::{DrivePorts, keys};

use super::{GoogleSettings, oauth};

/// A token counts as over so long before it is.
const MARGIN: Duration = Duration::from_secs(60);
/// How long a token is good where the service does not say.
const USUAL: Duration = Duration::from_secs(600);

/// An access token.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) value: SecretString,
    /// Tells one from the next.
    pub(super) number: u64,
}

/// Who asks for it.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) tool: Option<&'a str>,
    pub(super) cancel: &'a CancellationToken,
    pub(super) log: &'a Arc<dyn RequestLog>,
}

#[derive(Default)]
struct Held {
    token: Option<(Token, Timestamp)>,
    number: u64,
    /// The login that was refused.
    refused: Option<Digest>,
}

/// The tokens of one login.
pub(super) struct Tokens {
    settings: Arc<GoogleSettings>,
    ports: DrivePorts,
    held: Mutex<Held>,
}

impl Tokens {
    pub(super) fn new(settings: Arc<GoogleSettings>, ports: DrivePorts) -> Self {
        Self { settings, ports, held: Mutex::default() }
    }

    /// A good token; another one than `stale`, which the drive did not take.
    ///
    /// # Errors
    /// `DRIVE_LOGIN_REQUIRED`; those of vault and egress.
    pub(super) async fn token(&self, stale: Option<u64>, asker: Asker<'_>) -> Result<Token, Fault> {
        let mut held = self.held.lock().await;
        let now = self.ports.clock.now();
        if let Some((token, until)) = &held.token
            && *until > now
            && stale != Some(token.number)
        {
            return Ok(token.clone());
        }
        held.token = None;
        let login = self.login(asker.tool).await?;
        let which = Digest::of(login.expose_secret().as_bytes());
        if held.refused == Some(which) {
            return Err(oauth::ended());
        }
        let answer = match self.refresh(&login, asker).await {
            Ok(answer) => answer,
            Err(fault) => {
                held.refused = (fault.code == ErrorCode::DriveLoginRequired).then_some(which);
                return Err(fault);
            }
        };
        held.number += 1;
        let token = Token { value: SecretString::from(answer.access_token().secret().clone()), number: held.number };
        let good = answer.expires_in().unwrap_or(USUAL).saturating_sub(MARGIN);
        let until = now.plus(Millis(u64::try_from(good.as_millis()).unwrap_or(0)));
        held.token = Some((token.clone(), until));
        Ok(token)
    }

    /// The login that the vault holds.
    async fn login(&self, tool: Option<&str>) -> Result<SecretString, Fault> {
        let lent = self.ports.keys.lend(&GoogleSettings::login()?, tool).await.map_err(|fault| {
            if fault.code != ErrorCode::UnknownSecret {
                return fault;
            }
            Fault::new(ErrorCode::DriveLoginRequired, "nobody is logged in to Google Drive")
                .hint("the operator runs `toolgate drive login`")
        })?;
        keys::for_place(lent, &self.settings.places.token)
    }

    async fn refresh(&self, login: &SecretString, asker: Asker<'_>) -> Result<oauth2::basic::BasicTokenResponse, Fault> {
        let secret = client_secret(&self.settings, &self.ports, asker.tool).await?;
        let client = oauth::client(&self.settings, secret.as_ref());
        let way = oauth::SignIn::new(&self.settings, &self.ports.egress, asker.cancel, asker.log.clone())?;
        let old = RefreshToken::new(login.expose_secret().to_owned());
        let answer = client.exchange_refresh_token(&old).request_async(&way).await.map_err(oauth::fault)?;
        self.ports.keys.hide("drive.google.access", &SecretString::from(answer.access_token().secret().clone()));
        if let Some(next) = answer.refresh_token().filter(|next| next.secret() != login.expose_secret()) {
            self.ports.keys.renew(&GoogleSettings::login()?, &SecretString::from(next.secret().clone())).await?;
        }
        Ok(answer)
    }
}

/// The program's secret, where it has one.
pub(super) async fn client_secret(
    settings: &GoogleSettings,
    ports: &DrivePorts,
    tool: Option<&str>,
) -> Result<Option<SecretString>, Fault> {
    match &settings.client_secret {
        Some(name) => Ok(Some(keys::for_place(ports.keys.lend(name, tool).await?, &settings.places.token)?)),
        None => Ok(None),
    }
}
