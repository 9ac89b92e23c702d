//! Which hosts a request may go to.
//!
//! INVARIANT: an empty list allows nothing; an entry that cannot be read is an error, never ignored.

use std::fmt;

use crate::domain::{ErrorCode, Fault};

use super::record::shown;
use super::{Host, Origin};

/// Most entries of one list.
const MAX_ENTRIES: usize = 1024;

/// The hosts a request may go to; empty, as by default, it allows none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    hosts: Pattern,
    /// `None` is the scheme's own port, 80 or 443.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Exact(Host),
    /// Names below this suffix, at any depth, not the suffix itself.
    Below(String),
}

impl HostRules {
    /// Reads entries like `example.com`, `*.example.com`, `example.com:8443` and `[::1]:8080`.
    pub fn parse<I>(entries: I) -> Result<Self, Fault>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut rules = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            if rules.len() == MAX_ENTRIES {
                return Err(Fault::new(ErrorCode::LimitExceeded, format!("more than {MAX_ENTRIES} allowed hosts"))
                    .hint("name fewer hosts, or a `*.` wildcard for many of one domain"));
            }
            rules.push(Rule::parse(entry).map_err(|why| {
                Fault::new(ErrorCode::InvalidInput, format!("allowed host `{}` cannot be used: {why}", shown(entry, 80)))
                    .hint("write a host as `example.com`, `*.example.com`, `example.com:8443` or `[::1]:8080`")
            })?);
        }
        Ok(Self { rules })
    }

    /// Whether a request to this origin is allowed.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        self.rules.iter().any(|rule| rule.matches(origin))
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The entries in canonical form, for texts and records.
    pub fn entries(&self) -> impl Iterator<Item = String> {
        self.rules.iter().map(ToString::to_string)
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, &'static str> {
        let (host, port) = host_and_port(entry)?;
        let hosts = match host.strip_prefix("*.") {
            None => Pattern::Exact(Host::parse(host)?),
            Some(suffix) => match Host::parse(suffix)? {
                Host::Name(suffix) => Pattern::Below(suffix),
                Host::Address(_) => return Err("a wildcard cannot stand before an address"),
            },
        };
        Ok(Self { hosts, port })
    }

    fn matches(&self, origin: &Origin) -> bool {
        let host = match (&self.hosts, &origin.host) {
            (Pattern::Exact(host), asked) => host == asked,
            (Pattern::Below(suffix), Host::Name(name)) => {
                name.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.')).is_some_and(|below| !below.is_empty())
            }
            (Pattern::Below(_), Host::Address(_)) => false,
        };
        host && origin.port == self.port.unwrap_or_else(|| origin.scheme.port())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Pattern::Exact(host) => write!(f, "{host}")?,
            Pattern::Below(suffix) => write!(f, "*.{suffix}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Host and port of `host`, `host:port`, `[v6]` and `[v6]:port`; the host is not looked at.
pub fn host_and_port(entry: &str) -> Result<(&str, Option<u16>), &'static str> {
    // `[::1]` ends with its bracket, so the last colon is inside it.
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        Some(_) | None => return Ok((entry, None)),
    };
    if port.starts_with("//") {
        return Err("it holds a scheme; name only the host");
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address stands in brackets");
    }
    // `u16` would take a sign.
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(number) if digits && number > 0 => Ok((host, Some(number))),
        Ok(_) | Err(_) => Err("its port is not a number from 1 to 65535"),
    }
}

#[cfg(test)]
mod tests;
