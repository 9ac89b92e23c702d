//! What fuzzers and tests ask: what a request would dial, whatever its URL, its redirect, the caller's hosts and the resolver say.
//!
//! INVARIANT: exactly the code that sends, up to where it would dial, with no exception of an operator's. Nothing is resolved, dialled or
//! recorded, and nothing of the client calls it.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

use crate::domain::Fault;

use super::hop::Hop;
use super::resolve::Guard;
use super::send::not_allowed;
use super::{Caps, HostRules, Origin, Request, Resolve, Terms};

/// What would be dialled.
#[derive(Debug, Clone)]
pub struct Would {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The URL that would be sent.
    pub url: String,
    /// The addresses that could be dialled.
    pub addresses: Vec<SocketAddr>,
}

/// Knows these addresses for every name.
struct Fixed(Vec<IpAddr>);

#[async_trait]
impl Resolve for Fixed {
    async fn resolve(&self, _name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(self.0.clone())
    }
}

/// Decides on a GET of `url`, or on the hop behind it where its answer redirects to `location`.
///
/// # Errors
/// Why nothing would be dialled.
pub async fn would_dial(url: &str, location: Option<&str>, hosts: &[&str], found: &[IpAddr]) -> Result<Would, Fault> {
    let terms = Terms { purpose: "probe".to_owned(), rules: HostRules::parse(hosts)?, caps: Caps::default() };
    let request = Request { method: "GET".to_owned(), url: url.to_owned(), headers: Vec::new(), body: bytes::Bytes::new() };
    let mut hop = Hop::first(request, &terms.caps).map_err(|refusal| refusal.fault)?;
    allowed(&hop.target.origin, &terms)?;
    if let Some(location) = location {
        hop = hop.follow(302, location, &terms.caps).map_err(|refusal| refusal.fault)?;
        allowed(&hop.target.origin, &terms)?;
    }
    let origin = hop.target.origin;
    let addresses = Guard::new(&[])?.addresses(&Fixed(found.to_vec()), &terms.purpose, &origin).await?;
    Ok(Would { origin, url: hop.target.url.to_string(), addresses })
}

fn allowed(origin: &Origin, terms: &Terms) -> Result<(), Fault> {
    if terms.rules.allows(origin) { Ok(()) } else { Err(not_allowed(origin, terms)) }
}
