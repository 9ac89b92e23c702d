//! The names of this server: which hosts a request may name, and whose pages may call.
//!
//! INVARIANT: on a port that other machines reach, only the public URL names the server; on the loopback its own names do as well, as no
//! other site's name leads a browser there with one of them.

use axum::http::uri::Authority;

use crate::domain::PublicUrl;

/// The names of this machine to itself.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Where the server is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    public: Option<PublicUrl>,
    is_loopback: bool,
    /// Pages of our own alone may call; as browsers write them.
    origins: Vec<String>,
}

impl Place {
    /// Of a listener at this port, which speaks TLS itself or not.
    pub(super) fn new(is_loopback: bool, port: u16, is_tls: bool, public: Option<PublicUrl>) -> Self {
        let scheme = if is_tls { "https" } else { "http" };
        let own = LOOPBACK.iter().filter(|_| is_loopback).map(|host| format!("{scheme}://{host}:{port}"));
        let origins = own.chain(public.as_ref().map(ToString::to_string)).collect();
        Self { public, is_loopback, origins }
    }

    /// Whether a request that names this host means us.
    pub(super) fn is_us(&self, authority: &Authority) -> bool {
        // What follows the host must be a port: the parser passes over what is none, and a name with it would be taken for one without.
        let rest = authority.as_str().strip_prefix(authority.host());
        let is_plain = rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok()));
        if authority.as_str().contains('@') || !is_plain {
            return false;
        }
        let is_own = self.is_loopback && LOOPBACK.iter().any(|ours| ours.eq_ignore_ascii_case(authority.host()));
        is_own || self.public.as_ref().is_some_and(|public| names(public, authority))
    }

    /// Whether a page of this origin is one of ours.
    pub(super) fn is_our_page(&self, origin: &str) -> bool {
        self.origins.iter().any(|ours| ours == origin)
    }

    /// The hosts, for the protocol library's own check behind ours.
    pub(super) fn hosts(&self) -> Vec<String> {
        let own = LOOPBACK.iter().filter(|_| self.is_loopback).map(|host| (*host).to_owned());
        let hosts = own.chain(self.public.as_ref().map(|public| public.host().to_owned()));
        hosts.map(|host| host.trim_matches(['[', ']']).to_owned()).collect()
    }

    /// The URL that clients should use, for a hint.
    pub(super) fn shown(&self) -> String {
        self.public.as_ref().map_or_else(|| "http://127.0.0.1 with the port that the server told".to_owned(), ToString::to_string)
    }
}

/// Host and port must be those of the URL; a port that is not said is the scheme's own.
fn names(public: &PublicUrl, authority: &Authority) -> bool {
    let said = authority.port().map(|port| port.as_str().parse::<u16>());
    let port = match said {
        None => {
            if public.is_https() {
                443
            } else {
                80
            }
        }
        Some(Ok(port)) => port,
        Some(Err(_)) => return false,
    };
    public.host().eq_ignore_ascii_case(authority.host()) && port == public.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(place: &Place, hosts: &[&str]) -> Vec<bool> {
        hosts.iter().map(|host| host.parse().is_ok_and(|authority| place.is_us(&authority))).collect()
    }

    #[test]
    fn only_the_public_name_counts_where_others_reach_us() {
        let public = PublicUrl::parse("https://tools.example.com").ok();
        let open = Place::new(false, 8801, true, public.clone());
        let good = ["tools.example.com", "Tools.Example.com:443"];
        let bad = [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "tools.example.com:8801",
            "tools.example.com.evil.example",
            "x@tools.example.com",
            "evil.example",
        ];
        assert_eq!(takes(&open, &good), [true; 2]);
        assert_eq!(takes(&open, &bad), [false; 7]);
        assert!(open.is_our_page("https://tools.example.com"));
        for page in ["http://tools.example.com", "https://tools.example.com:8801", "https://localhost:8801", "null", ""] {
            assert!(!open.is_our_page(page), "{page}");
        }
        assert_eq!(open.hosts(), ["tools.example.com"]);
        let inside = Place::new(true, 8801, false, public);
        assert_eq!(takes(&inside, &["tools.example.com", "localhost:8801", "[::1]:8801", "evil.example"]), [true, true, true, false]);
        assert_eq!(takes(&inside, &["127.0.0.1:W01", "localhost:", "localhost:99999", "tools.example.com:x"]), [false; 4]);
        assert!(inside.is_our_page("http://localhost:8801") && !inside.is_our_page("https://localhost:8801"));
    }
}
