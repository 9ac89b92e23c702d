//! Host names and addresses in their one canonical form, and patterns of them.
//!
//! INVARIANT: what [`Host::parse`] gives is what rules compare, what is resolved and what is dialled, and its text parses to itself.
//! A pattern that cannot be read is an error, never one that matches nothing or all.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Longest text looked at; the longest host name has 253 bytes, and its Unicode spelling is not much longer.
const MAX_TEXT: usize = 1024;
/// Longest host name and longest label in it.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A host: a name in lower case and punycode without a final dot, or an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name that only a resolver can turn into addresses.
    Name(String),
    /// A literal address; IPv4 written inside IPv6 (`::ffff:…`) stands here as IPv4.
    Address(IpAddr),
}

impl Host {
    /// Reads a host without port; IPv6 stands in brackets. The error says why the text is no host.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.len() > MAX_TEXT {
            return Err("it is longer than a host name can be");
        }
        if let Some(why) = text.chars().find_map(refused_char) {
            return Err(why);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or("its brackets do not match")?;
            let address: Ipv6Addr = inner.parse().map_err(|_| "what stands in brackets is not an IPv6 address")?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        if text.contains(':') {
            return Err("it holds `:` outside brackets");
        }
        match url::Host::parse(text).map_err(|_| "it is not a host name")? {
            url::Host::Domain(name) => Self::name(&name),
            url::Host::Ipv4(address) => Ok(Self::Address(IpAddr::V4(address))),
            url::Host::Ipv6(address) => Ok(Self::Address(IpAddr::V6(address).to_canonical())),
        }
    }

    /// A name as the `url` crate normalised it, less one final dot.
    fn name(text: &str) -> Result<Self, &'static str> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME {
            return Err("it is longer than a host name can be");
        }
        for label in name.split('.') {
            if label.is_empty() {
                return Err("it has an empty label");
            }
            if label.len() > MAX_LABEL {
                return Err("one of its labels is longer than 63 bytes");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return Err("one of its labels begins or ends with `-`");
            }
            if !label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_') {
                return Err("it holds a character that host names do not have");
            }
        }
        // Without its dot a name could read as something else; then it has no canonical form.
        match url::Host::parse(name) {
            Ok(url::Host::Domain(again)) if again == name => Ok(Self::Name(again)),
            Ok(_) | Err(_) => Err("it has no single canonical form"),
        }
    }

    /// The name, where it is one.
    #[must_use]
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Why a character cannot stand in a host, before anything is normalised.
fn refused_char(c: char) -> Option<&'static str> {
    match c {
        '\0' => Some("it holds a NUL"),
        '\r' | '\n' => Some("it holds a line break"),
        c if c.is_control() => Some("it holds a control character"),
        c if c.is_whitespace() => Some("it holds white space"),
        '%' => Some("it holds `%`"),
        '@' => Some("it holds a user name or password"),
        '/' | '\\' | '?' | '#' => Some("it holds a path or query"),
        '*' => Some("a wildcard may only stand first, as `*.`"),
        _ => None,
    }
}

/// How a pattern is written, for whoever wrote it otherwise.
pub const PATTERN_HINT: &str = "write a host as `example.com`, `*.example.com`, `example.com:8443` or `[::1]:8080`";

/// A host or all names below one, with the scheme's own port or one that is named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    hosts: Hosts,
    /// `None` is the scheme's own port, 80 or 443.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Hosts {
    Exact(Host),
    /// Names below this suffix, at any depth, not the suffix itself.
    Below(String),
}

impl HostPattern {
    /// Whether it covers this host and port; `own` is the port of the scheme where none is named.
    #[must_use]
    pub fn matches(&self, host: &Host, port: u16, own: u16) -> bool {
        let covered = match (&self.hosts, host) {
            (Hosts::Exact(exact), asked) => exact == asked,
            (Hosts::Below(suffix), Host::Name(name)) => {
                name.strip_suffix(suffix.as_str()).and_then(|rest| rest.strip_suffix('.')).is_some_and(|below| !below.is_empty())
            }
            (Hosts::Below(_), Host::Address(_)) => false,
        };
        covered && port == self.port.unwrap_or(own)
    }
}

impl FromStr for HostPattern {
    type Err = &'static str;

    fn from_str(entry: &str) -> Result<Self, &'static str> {
        let (host, port) = host_and_port(entry)?;
        let hosts = match host.strip_prefix("*.") {
            None => Hosts::Exact(Host::parse(host)?),
            Some(suffix) => match Host::parse(suffix)? {
                Host::Name(suffix) => Hosts::Below(suffix),
                Host::Address(_) => return Err("a wildcard cannot stand before an address"),
            },
        };
        Ok(Self { hosts, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hosts {
            Hosts::Exact(host) => write!(f, "{host}")?,
            Hosts::Below(suffix) => write!(f, "*.{suffix}")?,
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
