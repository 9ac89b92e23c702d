//! Where a request goes: its URL, read strictly and kept in canonical form.

use std::fmt;

use url::Url;

use crate::domain::{ErrorCode, Fault};

use super::Host;
use super::record::shown;

/// The two schemes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// The word before `://`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is written.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Scheme, host and port: what headers with secrets are bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The canonical host.
    pub host: Host,
    /// The port, also where it is the scheme's own.
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A URL that passed all checks of form; `url` holds the same host as `origin`.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) origin: Origin,
    pub(super) url: Url,
}

impl Target {
    /// Reads an absolute URL of at most `cap` bytes.
    pub(super) fn parse(text: &str, cap: usize) -> Result<Self, Fault> {
        if text.len() > cap {
            return Err(too_long(text.len(), cap));
        }
        check_text(text)?;
        Self::of(Url::parse(text).map_err(|e| invalid(&format!("it does not parse: {e}")))?)
    }

    /// Where a `Location` leads from here.
    pub(super) fn join(&self, location: &str, cap: usize) -> Result<Self, Fault> {
        if location.len() > cap {
            return Err(too_long(location.len(), cap));
        }
        check_text(location)?;
        let target = Self::of(self.url.join(location).map_err(|e| invalid(&format!("it does not parse: {e}")))?)?;
        let length = target.url.as_str().len();
        if length > cap { Err(too_long(length, cap)) } else { Ok(target) }
    }

    fn of(mut url: Url) -> Result<Self, Fault> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => {
                return Err(Fault::new(ErrorCode::EgressDenied, format!("scheme `{}` is not allowed", shown(other, 20)))
                    .hint("only http and https URLs can be fetched"));
            }
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(userinfo());
        }
        let host = Host::parse(url.host_str().unwrap_or_default()).map_err(|why| invalid(&format!("its host cannot be used: {why}")))?;
        url.set_host(Some(&host.to_string())).map_err(|_| invalid("its host cannot be used"))?;
        url.set_fragment(None);
        // What is dialled is read from the URL again, so both must agree on the host.
        if url.host_str().map(Host::parse) != Some(Ok(host.clone())) {
            return Err(invalid("its host has no single canonical form"));
        }
        let port = url.port().unwrap_or_else(|| scheme.port());
        if port == 0 {
            return Err(invalid("its port is 0"));
        }
        Ok(Self { origin: Origin { scheme, host, port }, url })
    }
}

/// What the `url` crate would silently mend is refused, so that no two readers can see two hosts in one text.
fn check_text(text: &str) -> Result<(), Fault> {
    if text.chars().any(|c| c.is_control() || c == '\\') || text.starts_with(' ') || text.ends_with(' ') {
        return Err(invalid("it holds a control character, a backslash, or a blank at its end"));
    }
    let (rest, absolute) = match text.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (rest, true),
        Some(_) | None => (text, false),
    };
    let Some(rest) = rest.strip_prefix("//") else {
        // `http:host` and `http:/host` mean a host to some readers and a path to others.
        let web = absolute && ["http:", "https:"].iter().any(|s| text.get(..s.len()).is_some_and(|head| head.eq_ignore_ascii_case(s)));
        return if web { Err(invalid("`//` is missing after its scheme")) } else { Ok(()) };
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err(invalid("its host is empty"));
    }
    if authority.contains('@') {
        return Err(userinfo());
    }
    if authority.contains('%') {
        return Err(invalid("its host holds `%`"));
    }
    Ok(())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// The URL itself is not repeated: its query may hold a secret.
fn invalid(why: &str) -> Fault {
    Fault::new(ErrorCode::InvalidInput, format!("the URL cannot be used: {why}")).hint("give an absolute URL like https://example.com/path")
}

fn userinfo() -> Fault {
    invalid("it holds a user name or password").hint("leave out what stands before `@`; send credentials in a header")
}

fn too_long(length: usize, cap: usize) -> Fault {
    Fault::new(ErrorCode::LimitExceeded, format!("the URL has {length} bytes, more than the {cap} allowed"))
        .hint("send what is long in the body")
}
