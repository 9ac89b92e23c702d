//! The URL by which clients know a server that others than this machine reach.
//!
//! INVARIANT: an origin and nothing more, in one canonical form; https, but for a host that is this very machine.

use std::fmt;

use url::{Host, Url};

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl PublicUrl {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "is not a URL like https://tools.example.com")?;
        let scheme = match url.scheme() {
            "https" => "https",
            "http" => "http",
            _ => return Err("must begin with https://"),
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err("must hold scheme, host and port alone");
        }
        if !matches!(url.path(), "" | "/") {
            return Err("must have no path: the server is at `/mcp` below it");
        }
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err("names no host"),
        };
        if scheme == "http" && !is_here {
            return Err("must be https: tokens would cross the network in the clear");
        }
        let host = url.host_str().ok_or("names no host")?.to_owned();
        let port = url.port_or_known_default().ok_or("has no port")?;
        Ok(Self { scheme, host, port })
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// The host as it stands in a header, brackets around IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The resource that tokens are made for: the MCP endpoint.
    #[must_use]
    pub fn resource(&self) -> String {
        format!("{self}/mcp")
    }
}

impl fmt::Display for PublicUrl {
    /// As browsers write an origin: without the scheme's own port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = if self.is_https() { 443 } else { 80 };
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_form() {
        for (text, shown) in [
            ("https://Tools.Example.com", "https://tools.example.com"),
            ("https://tools.example.com:443/", "https://tools.example.com"),
            ("https://tools.example.com:8443", "https://tools.example.com:8443"),
            ("http://127.0.0.1:8801", "http://127.0.0.1:8801"),
            ("http://localhost", "http://localhost"),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ] {
            assert_eq!(PublicUrl::parse(text).map(|url| url.to_string()).as_deref(), Ok(shown), "{text}");
        }
        assert_eq!(PublicUrl::parse("https://a.example").unwrap().resource(), "https://a.example/mcp");
    }

    #[test]
    fn what_is_no_origin_or_crosses_the_network_in_the_clear_is_refused() {
        for bad in [
            "",
            "tools.example.com",
            "http://tools.example.com",
            "http://10.0.0.1:8801",
            "http://localhost.evil.example",
            "ftp://a.example",
            "https://a.example/mcp",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://user@a.example",
            "https://u:p@a.example",
            "file:///etc",
            "javascript:alert(1)",
        ] {
            assert!(PublicUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
