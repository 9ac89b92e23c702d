//! Web addresses of indexes, as far as is needed to say which hosts a job may reach and which words must not be told.
//!
//! INVARIANT: a host has one canonical form; an address whose host has none is no address.

use std::net::IpAddr;

/// The part of a web address that says who is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    /// Whether it is `https`.
    pub(super) secure: bool,
    /// The host, in lower case; IPv6 in brackets.
    pub(super) host: String,
    /// The port.
    pub(super) port: u16,
}

impl Address {
    /// Reads it from a whole address; `None` for anything but `http` and `https`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, authority) = split(url)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let place = authority.rsplit('@').next()?;
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (format!("[{}]", host.to_ascii_lowercase()), port.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
                None => (place.to_ascii_lowercase(), None),
            },
        };
        let plain = host.starts_with('[')
            || (host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) && !host.ends_with('.'));
        let port = match port {
            None | Some("") if secure => 443,
            None | Some("") => 80,
            Some(digits) => digits.parse().ok()?,
        };
        (plain && !host.is_empty() && host.len() <= 253 && port != 0).then_some(Self { secure, host, port })
    }

    /// `host:port`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether the host is a number, or a name without a dot: one that says nothing outside its own network.
    pub(super) fn is_local(&self) -> bool {
        let last = self.host.rsplit('.').next().unwrap_or_default();
        let number = self.host.starts_with('[')
            || self.host.parse::<IpAddr>().is_ok()
            || last.bytes().all(|b| b.is_ascii_digit())
            || last.starts_with("0x");
        number || !self.host.contains('.') || matches!(last, "local" | "localhost" | "internal")
    }
}

/// Name and password of an address, as they stand in it and as they are meant.
pub(super) fn secrets(url: &str) -> Vec<String> {
    let login = split(url).and_then(|(_, authority)| authority.rsplit_once('@')).map(|(login, _)| login);
    let (name, word) = login.map(|login| login.split_once(':').unwrap_or((login, ""))).unwrap_or_default();
    // A name alone is a token; beside a password it is often a mere word such as `user`.
    let mut found: Vec<String> = if word.is_empty() { vec![name.to_owned()] } else { vec![word.to_owned()] };
    found.extend(found.clone().iter().map(|text| decoded(text)));
    found.retain(|text| text.len() >= 4);
    found
}

/// The address with a login put into it, unless it has one.
pub(super) fn with_login(url: &str, name: &str, word: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) if !rest.split('/').next().unwrap_or_default().contains('@') => {
            format!("{scheme}://{}:{}@{rest}", encoded(name), encoded(word))
        }
        _ => url.to_owned(),
    }
}

/// The folder of the machine that an entry for an installer means, if it means one.
pub(super) fn folder(entry: &str) -> Option<std::path::PathBuf> {
    let path = match entry.split_once("://") {
        Some(("file", rest)) => decoded(rest.strip_prefix("localhost").unwrap_or(rest)),
        Some(_) => return None,
        None => entry.to_owned(),
    };
    path.starts_with('/').then(|| path.into())
}

fn split(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    Some((scheme, rest.split(['/', '?', '#', '\\']).next()?))
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let digits = if *first == b'%' { after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok()) } else { None };
        match digits.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
