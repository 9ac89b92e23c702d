//! The settings under `http` and `oidc`: how others than this machine reach the server, and where they sign in.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::domain::{PublicUrl, Scope};

use super::resolve::Resolver;
use super::{Source, Sourced};

/// `http.*` and `oidc.*`, each for itself; whether they go together is asked when the server starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The URL by which clients know the server.
    pub public_url: Sourced<Option<PublicUrl>>,
    /// Whether a proxy in front speaks TLS.
    pub behind_proxy: Sourced<bool>,
    /// The certificate chain that the server shows.
    pub tls_cert: Sourced<Option<PathBuf>>,
    /// Its key.
    pub tls_key: Sourced<Option<PathBuf>>,
    /// The sign-in service whose tokens are taken.
    pub oidc_issuer: Sourced<Option<String>>,
    /// For whom its tokens must be made, where that is not the server's own URL.
    pub oidc_audience: Sourced<Option<String>>,
    /// Words of its tokens that stand for scopes, each `THEIRS=OURS`.
    pub oidc_scopes: Sourced<Vec<String>>,
}

impl HttpSettings {
    /// A key's value and where it comes from.
    #[must_use]
    pub fn shown(&self, key: &str) -> Option<(Value, &Source)> {
        let path = |said: &Sourced<Option<PathBuf>>| json!(said.value.as_ref().map(|path| path.display().to_string()).unwrap_or_default());
        let text = |said: &Sourced<Option<String>>| json!(said.value.as_deref().unwrap_or_default());
        Some(match key {
            "http.public_url" => {
                (json!(self.public_url.value.as_ref().map(ToString::to_string).unwrap_or_default()), &self.public_url.source)
            }
            "http.behind_proxy" => (json!(if self.behind_proxy.value { "yes" } else { "no" }), &self.behind_proxy.source),
            "http.tls_cert" => (path(&self.tls_cert), &self.tls_cert.source),
            "http.tls_key" => (path(&self.tls_key), &self.tls_key.source),
            "oidc.issuer" => (text(&self.oidc_issuer), &self.oidc_issuer.source),
            "oidc.audience" => (text(&self.oidc_audience), &self.oidc_audience.source),
            "oidc.scopes" => (json!(self.oidc_scopes.value), &self.oidc_scopes.source),
            _ => return None,
        })
    }

    /// What words of the sign-in service's tokens stand for, besides our own.
    #[must_use]
    pub fn scope_words(&self) -> Vec<(String, Scope)> {
        self.oidc_scopes.value.iter().filter_map(|entry| stands_for(entry)).collect()
    }
}

fn stands_for(entry: &str) -> Option<(String, Scope)> {
    let (theirs, ours) = entry.rsplit_once('=')?;
    let is_word = !theirs.is_empty() && theirs.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
    Some((is_word.then(|| theirs.to_owned())?, Scope::from_word(ours)?))
}

pub(super) fn read(resolver: &mut Resolver<'_>) -> HttpSettings {
    let public_url = resolver.perhaps_text("http.public_url");
    let public_url = match public_url.value.as_deref().map(PublicUrl::parse) {
        None => Sourced { value: None, source: public_url.source },
        Some(Ok(url)) => Sourced { value: Some(url), source: public_url.source },
        Some(Err(why)) => {
            resolver.refuse("http.public_url", &public_url.source, why);
            Sourced::default(None)
        }
    };
    let oidc_issuer = resolver.perhaps_text("oidc.issuer");
    if let Some(why) = oidc_issuer.value.as_deref().and_then(wrong_issuer) {
        resolver.refuse("oidc.issuer", &oidc_issuer.source, why);
    }
    let oidc_scopes = resolver.list("oidc.scopes");
    if let Some(bad) = oidc_scopes.value.iter().find(|entry| stands_for(entry).is_none()) {
        let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        let message = format!("holds `{}`, which is not `THEIR_WORD=SCOPE` with one of {}", bad.escape_debug(), all.join(", "));
        resolver.refuse("oidc.scopes", &oidc_scopes.source, &message);
    }
    HttpSettings {
        public_url,
        behind_proxy: resolver.word("http.behind_proxy", false, super::resolve::yes_or_no, &["yes", "no"]),
        tls_cert: resolver.perhaps_path("http.tls_cert"),
        tls_key: resolver.perhaps_path("http.tls_key"),
        oidc_issuer,
        oidc_audience: resolver.perhaps_text("oidc.audience"),
        oidc_scopes,
    }
}

/// An issuer is compared letter by letter with what tokens say, so it is not made canonical here.
fn wrong_issuer(text: &str) -> Option<&'static str> {
    let Ok(url) = url::Url::parse(text) else { return Some("is not a URL like https://login.example.com") };
    let origin = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    let origin = url.port().map_or(origin.clone(), |port| format!("{origin}:{port}"));
    if PublicUrl::parse(&origin).is_err() {
        return Some("must be https: whoever can change its keys on the way can make tokens");
    }
    let is_bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (!is_bare).then_some("must have neither query, fragment nor user")
}
