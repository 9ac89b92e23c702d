//! Serving over HTTP: where clients come to, by which tokens they are let in, and what must be settled before others than this machine can.
//!
//! INVARIANT: a port that other machines reach, or that a proxy leads to, is opened only with a public URL, TLS on the way, and tokens that
//! were made for it; the home's own token lets nobody in there.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::TcpListener;

use crate::config::{Config, HttpSettings};
use crate::domain::{Clock, ErrorCode, Fault, PublicUrl};
use crate::mcp::auth::{Access, Admitted, Denied, Doorkeeper, Oidc, SignIn};
use crate::mcp::{Entrance, Toolset};
use crate::secrets::access::AccessToken;
use crate::secrets::redact::Redactor;
use crate::secrets::tokens::{TokenState, Tokens};

use super::http_tls::Files;
use super::{App, SystemClock, oidc};

/// What was settled by the settings alone.
pub(super) struct Place {
    listener: TcpListener,
    public: Option<PublicUrl>,
    tls: Option<(Files, crate::mcp::Tls)>,
    home: Option<AccessToken>,
}

impl Place {
    /// Binds the address, once all is right that can be known before the home is open.
    ///
    /// # Errors
    /// `CONFIG_INVALID` with what to set; where the address is taken; where the home's token or a certificate cannot be used.
    pub(super) async fn open(address: SocketAddr, config: &Config, redactor: &Redactor) -> Result<Self, Fault> {
        let public = config.http.public_url.value.clone();
        let files = settle(address, &config.http)?;
        let tls = files.map(|files| files.tls().map(|tls| (files, tls))).transpose()?;
        let home = if public.is_none() {
            let token = AccessToken::of_home(&config.home.value)?;
            redactor.live().add("http.token", token.value());
            Some(token)
        } else {
            None
        };
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Fault::new(ErrorCode::ConfigInvalid, format!("`--http {address}`: {error}"))
                .hint("choose another port; 0 takes any that is free")
        })?;
        Ok(Self { listener, public, tls, home })
    }

    /// The way into this house.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where nobody could come in.
    pub(super) async fn entrance(self, config: &Config, app: &App) -> Result<Entrance, Fault> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = &super::vault::with_secrets(config, &app.vault).await;
        let service = oidc::service(config, self.public.as_ref(), (&app.store, &clock, &app.stop))?.map(Arc::new);
        if self.public.is_some() && service.is_none() && !anybody(&app.tokens).await? {
            return Err(Fault::new(ErrorCode::ConfigInvalid, "nobody could come in: no token was made, and there is no sign-in service")
                .hint("make one with `toolgate tokens create NAME`, or set `oidc.issuer`"));
        }
        let bound = self.listener.local_addr().map_err(|error| Fault::internal(format!("the listener has no address: {error}")))?;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let shown = self.public.as_ref().map_or_else(|| format!("{scheme}://{bound}/mcp"), PublicUrl::resource);
        match &self.home {
            Some(token) => tracing::info!(address = %shown, token_file = %token.file().display(), "serving MCP over HTTP"),
            None => tracing::info!(address = %shown, listening = %bound, "serving MCP over HTTP, by tokens that were made for it"),
        }
        if let Some(service) = service.clone() {
            let warm = async move {
                if let Err(fault) = service.warm().await {
                    tracing::error!(code = %fault.code, "nobody can sign in yet: {fault}");
                }
            };
            crate::call::Spawner::spawn(&app.tasks, "sign-in service", Box::pin(warm));
        }
        let tls = self.tls.map(|(files, tls)| {
            crate::call::Spawner::spawn(&app.tasks, "certificate", Box::pin(files.follow(tls.clone(), app.stop.clone())));
            tls
        });
        let doorkeeper = Porter { home: self.home, tokens: app.tokens.clone(), service, clock };
        Ok(Entrance { listener: self.listener, doorkeeper: Arc::new(doorkeeper), public: self.public, tls })
    }
}

async fn anybody(tokens: &Tokens) -> Result<bool, Fault> {
    Ok(tokens.list().await?.iter().any(|token| token.state == TokenState::Good))
}

/// Whether the settings go together for this address; the certificate's files, where there are some.
fn settle(address: SocketAddr, http: &HttpSettings) -> Result<Option<Files>, Fault> {
    let wrong = |message: String, hint: &str| Err(Fault::new(ErrorCode::ConfigInvalid, message).hint(hint));
    let files = match (&http.tls_cert.value, &http.tls_key.value) {
        (Some(chain), Some(key)) => Some(Files { chain: chain.clone(), key: key.clone() }),
        (None, None) => None,
        (Some(_), None) => return wrong("`http.tls_cert` is set and `http.tls_key` is not".into(), "set both"),
        (None, Some(_)) => return wrong("`http.tls_key` is set and `http.tls_cert` is not".into(), "set both"),
    };
    let is_open = !address.ip().is_loopback();
    let Some(public) = &http.public_url.value else {
        if is_open {
            return wrong(
                format!("`--http {address}` can be reached by other machines"),
                "set `http.public_url`, and `http.tls_cert` with `http.tls_key` or `http.behind_proxy`; or listen on 127.0.0.1 or [::1] and come through `ssh -L`",
            );
        }
        if http.behind_proxy.value {
            return wrong("`http.behind_proxy` needs `http.public_url`".into(), "set the URL by which clients reach the proxy");
        }
        if http.oidc_issuer.value.is_some() {
            return wrong(
                "`oidc.issuer` needs `http.public_url`".into(),
                "set the URL by which clients reach the server: tokens are made for it",
            );
        }
        return Ok(files);
    };
    if is_open && !public.is_https() {
        return wrong(
            format!("`--http {address}` can be reached by other machines, and `http.public_url` is {public}"),
            "set it to an https URL",
        );
    }
    if public.is_https() && files.is_none() && !http.behind_proxy.value {
        return wrong(
            format!("clients are to come to {public}, and nothing here speaks TLS"),
            "set `http.tls_cert` and `http.tls_key`; or `http.behind_proxy = \"yes\"` where a proxy does and nobody else reaches this port",
        );
    }
    if !public.is_https() && files.is_some() {
        return wrong(format!("the server speaks TLS, and `http.public_url` is {public}"), "set it to an https URL");
    }
    Ok(files)
}

/// Knows every kind of token.
struct Porter {
    home: Option<AccessToken>,
    tokens: Tokens,
    service: Option<Arc<Oidc>>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl Doorkeeper for Porter {
    async fn admit(&self, token: &str) -> Result<Admitted, Denied> {
        if self.home.as_ref().is_some_and(|home| home.is(token)) {
            return Ok(Admitted::home());
        }
        if let Some(found) = self.tokens.find(token).await.map_err(Denied::Unsure)? {
            return Ok(Admitted {
                principal: found.principal,
                access: Access::Token { name: found.name, number: found.number },
                scopes: found.scopes,
                toolset: found.toolsets.map(|sets| Toolset::parse(&sets.join(","))),
                until: found.expires,
            });
        }
        match &self.service {
            Some(service) => service.admit(token).await,
            None => Err(Denied::Token),
        }
    }

    async fn stays(&self, admitted: &Admitted) -> bool {
        let in_time = admitted.until.is_none_or(|until| self.clock.now() < until);
        in_time
            && match &admitted.access {
                Access::Home | Access::SignedIn { .. } => true,
                Access::Token { name, number } => self.tokens.is_good(name, *number).await,
            }
    }

    fn sign_in(&self) -> Option<&SignIn> {
        self.service.as_ref().map(|service| service.sign_in())
    }
}

#[cfg(test)]
mod tests;
