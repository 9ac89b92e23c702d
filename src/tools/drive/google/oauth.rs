//! The sign-in service of Google, spoken to by `oauth2` over the house's own HTTP client.
//!
//! INVARIANT: requests go to the sign-in service's hosts alone and follow no redirect. No error holds a token, a code or words of the service.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use oauth2::basic::{BasicClient, BasicErrorResponse, BasicErrorResponseType};
use oauth2::{
    AsyncHttpClient, AuthType, AuthUrl, ClientId, ClientSecret, DeviceAuthorizationUrl, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RequestTokenError, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::domain::{Bytes, ErrorCode, Fault, Millis};
use crate::egress::{Caps, Egress, HostRules, NoFill, Request, RequestLog, Terms};

use super::GoogleSettings;
use crate::tools::drive::{PURPOSE, keys};

/// The longest that one exchange may take.
const WALL: Millis = Millis(30_000);
/// Bytes of an answer.
const ANSWER: Bytes = Bytes(64 << 10);

/// The client with its places.
pub(super) type Client = BasicClient<EndpointSet, EndpointSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// A client for these settings.
pub(super) fn client(settings: &GoogleSettings, secret: Option<&SecretString>) -> Client {
    let places = &settings.places;
    let client = BasicClient::new(ClientId::new(settings.client.clone()))
        .set_auth_type(AuthType::RequestBody)
        .set_auth_uri(AuthUrl::from_url(places.auth.clone()))
        .set_device_authorization_url(DeviceAuthorizationUrl::from_url(places.device.clone()))
        .set_token_uri(TokenUrl::from_url(places.token.clone()));
    match secret {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
        None => client,
    }
}

/// The way to the sign-in service.
#[derive(Clone)]
pub(super) struct SignIn {
    egress: Egress,
    terms: Terms,
    cancel: CancellationToken,
    log: Arc<dyn RequestLog>,
}

/// What `oauth2` is told of a request that failed.
#[derive(Debug, thiserror::Error)]
#[error("the request failed")]
pub(super) struct Failed(Fault);

impl SignIn {
    pub(super) fn new(
        settings: &GoogleSettings,
        egress: &Egress,
        cancel: &CancellationToken,
        log: Arc<dyn RequestLog>,
    ) -> Result<Self, Fault> {
        let places = [&settings.places.token, &settings.places.device, &settings.places.revoke];
        let rules = HostRules::parse(places.map(keys::rule))?;
        let caps = Caps { answer_body: ANSWER, redirects: 0, wall: WALL, ..Caps::default() };
        let terms = Terms { purpose: PURPOSE.to_owned(), rules, caps };
        Ok(Self { egress: egress.clone(), terms, cancel: cancel.clone(), log })
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, Failed> {
        let (parts, body) = request.into_parts();
        let text = |value: &http::HeaderValue| {
            value.to_str().map(str::to_owned).map_err(|_| Failed(Fault::internal("a header of ours is no text")))
        };
        let mut headers = Vec::new();
        for (name, value) in &parts.headers {
            headers.push((name.as_str().to_owned(), text(value)?));
        }
        let request = Request { method: parts.method.as_str().to_owned(), url: parts.uri.to_string(), headers, body: body.into() };
        let answer = self.egress.send_filled(request, &self.terms, &NoFill, &self.cancel, &*self.log).await.map_err(Failed)?;
        let mut response = http::Response::builder().status(answer.status);
        if let Some((_, kind)) = answer.headers.iter().find(|(name, _)| name == "content-type") {
            response = response.header("content-type", kind);
        }
        response.body(answer.body.to_vec()).map_err(|_| Failed(Fault::internal("an answer has no form")))
    }

    /// Takes a token back. One that is no longer good counts as taken back.
    pub(super) async fn revoke(&self, place: &Url, token: &SecretString) -> Result<(), Fault> {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("token", token.expose_secret()).finish();
        let headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let request = Request { method: "POST".to_owned(), url: place.to_string(), headers, body: body.into() };
        let answer = self.egress.send_filled(request, &self.terms, &NoFill, &self.cancel, &*self.log).await?;
        match answer.status {
            // Google answers 400 for a token that it does not know (any more).
            200..=299 | 400 => Ok(()),
            status => Err(Fault::new(ErrorCode::DriveUnavailable, format!("Google did not take the login back ({status})"))
                .hint("try again, or take it back at https://myaccount.google.com/permissions")),
        }
    }
}

impl<'c> AsyncHttpClient<'c> for SignIn {
    type Error = Failed;
    type Future = BoxFuture<'c, Result<HttpResponse, Failed>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request).boxed()
    }
}

/// What a failure of the sign-in service means.
pub(super) fn fault(error: RequestTokenError<Failed, BasicErrorResponse>) -> Fault {
    match error {
        RequestTokenError::Request(Failed(fault)) => fault,
        RequestTokenError::ServerResponse(said) => refused(said.error()),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => odd(),
    }
}

pub(super) fn odd() -> Fault {
    Fault::new(ErrorCode::EgressFailed, "the sign-in service answered with something that is no answer of OAuth")
        .hint("look at `drive.google_endpoints`, and try again later")
}

fn refused(error: &BasicErrorResponseType) -> Fault {
    match error {
        BasicErrorResponseType::InvalidGrant => ended(),
        BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => Fault::new(
            ErrorCode::DriveLoginRequired,
            "Google does not know this program: its client id or secret is wrong, or not of the right kind",
        )
        .hint("the operator looks at `drive.google_client_id` and `drive.google_client_secret`"),
        BasicErrorResponseType::InvalidScope => Fault::new(ErrorCode::DriveRefused, "Google does not give this program what it asks for")
            .hint("the operator looks at `drive.google_scope` and at what the program may ask for at Google"),
        BasicErrorResponseType::InvalidRequest | BasicErrorResponseType::UnsupportedGrantType | BasicErrorResponseType::Extension(_) => {
            Fault::new(ErrorCode::DriveUnavailable, "the sign-in service refused the request").hint("try again later")
        }
    }
}

/// The fault of a login that is no longer good.
pub(super) fn ended() -> Fault {
    Fault::new(ErrorCode::DriveLoginRequired, "the login at Google has ended or was taken back")
        .hint("the operator runs `toolgate drive login`")
}
