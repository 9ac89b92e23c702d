//! The port to the keys of drives: lent for a tool, renewed where a service renews them, and kept out of whatever is written.
//!
//! INVARIANT: a key goes only where its terms allow; that is checked here, once, for every drive.

use async_trait::async_trait;
use secrecy::SecretString;
use url::Url;

use crate::domain::{ErrorCode, Fault, SecretName};
use crate::secrets::vault::{Lent, SecretHost};

/// Where drives get their keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// The value and terms of one secret, for this tool, or for the operator where none is named.
    ///
    /// # Errors
    /// `UNKNOWN_SECRET`; where the vault cannot be read or opened.
    async fn lend(&self, name: &SecretName, tool: Option<&str>) -> Result<Lent, Fault>;

    /// Keeps the value that a service gave in the place of this one.
    ///
    /// # Errors
    /// Those of the vault.
    async fn renew(&self, name: &SecretName, value: &SecretString) -> Result<(), Fault>;

    /// Has a short-lived value taken out of whatever is recorded or shown.
    fn hide(&self, name: &str, value: &SecretString);
}

/// The value, if it may go to this address.
pub(super) fn for_place(lent: Lent, place: &Url) -> Result<SecretString, Fault> {
    let origin = origin(place)?.origin();
    if lent.terms.hosts.iter().any(|host| host.allows(&origin)) {
        return Ok(lent.value);
    }
    Err(Fault::new(ErrorCode::SecretRefused, format!("the secret `{}` may not go to `{origin}`; nothing was sent", lent.name))
        .hint("the operator names the service's host with `toolgate vault set --hosts`"))
}

/// An address as secrets' terms have it.
pub(super) fn origin(place: &Url) -> Result<SecretHost, Fault> {
    let host = place.host_str().unwrap_or_default();
    let port = place.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{host}{port}", place.scheme()).parse()
}

/// An address as host rules and policy have it.
pub(super) fn rule(place: &Url) -> String {
    let host = place.host_str().unwrap_or_default();
    match place.port_or_known_default() {
        Some(80 | 443) | None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}
