//! From a host to the addresses that may be dialled for it.
//!
//! INVARIANT: a name is resolved once for a hop, and what `Guard::addresses` gives is all that hop can dial.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

use crate::domain::{ErrorCode, Fault};

use super::address::{Opens, Refused, judge};
use super::record::shown;
use super::{Host, Origin};

/// Most addresses of one name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// The port that asks for the addresses of a name.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a canonical host name, best first.
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// Asks the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect())
    }
}

/// An address that is not public and may be dialled all the same: the operator's word, never a request's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateException {
    /// The purpose for which it holds, exactly.
    pub purpose: String,
    /// A host name or address, exactly; no wildcard.
    pub host: String,
    /// The port, exactly.
    pub port: u16,
}

/// The exceptions in canonical form.
#[derive(Debug, Clone, Default)]
pub(super) struct Guard {
    exceptions: Vec<(String, Host, u16)>,
}

impl Guard {
    pub(super) fn new(exceptions: &[PrivateException]) -> Result<Self, Fault> {
        let read = |given: &PrivateException| {
            let host = Host::parse(&given.host).map_err(|why| {
                Fault::new(ErrorCode::ConfigInvalid, format!("private host `{}` cannot be used: {why}", shown(&given.host, 80)))
                    .hint("name one host or address exactly, IPv6 in brackets")
            })?;
            Ok((given.purpose.clone(), host, given.port))
        };
        Ok(Self { exceptions: exceptions.iter().map(read).collect::<Result<_, Fault>>()? })
    }

    /// Whether the operator named this host and port for this purpose.
    pub(super) fn excepts(&self, purpose: &str, origin: &Origin) -> bool {
        self.exceptions.iter().any(|(p, host, port)| p == purpose && *host == origin.host && *port == origin.port)
    }

    /// Checks a host that is itself an address; names pass.
    pub(super) fn check_literal(&self, purpose: &str, origin: &Origin) -> Result<(), Fault> {
        match &origin.host {
            Host::Address(address) => self.check(purpose, origin, *address).map_err(|refused| denied(origin, refused)),
            Host::Name(_) => Ok(()),
        }
    }

    /// The addresses to dial, all checked; refused ones are left out, and where none is left the host is refused.
    pub(super) async fn addresses(&self, resolver: &dyn Resolve, purpose: &str, origin: &Origin) -> Result<Vec<SocketAddr>, Fault> {
        let found = match &origin.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => look_up(resolver, name).await?,
        };
        let mut refused = None;
        let mut good = Vec::new();
        for address in found {
            match self.check(purpose, origin, address) {
                Ok(()) => good.push(SocketAddr::new(address, origin.port)),
                Err(why) => refused = Some(why),
            }
        }
        match refused {
            Some(why) if good.is_empty() => Err(denied(origin, why)),
            Some(_) | None => Ok(good),
        }
    }

    fn check(&self, purpose: &str, origin: &Origin, address: IpAddr) -> Result<(), Refused> {
        let Err(refused) = judge(address) else { return Ok(()) };
        let opened = match refused.opens {
            Opens::ByName => self.excepts(purpose, origin),
            Opens::ByAddress => origin.host.as_name().is_none() && self.excepts(purpose, origin),
            Opens::Never => false,
        };
        if opened { Ok(()) } else { Err(refused) }
    }
}

/// The addresses of a name: canonical, each once, a few.
pub(super) async fn look_up(resolver: &dyn Resolve, name: &str) -> Result<Vec<IpAddr>, Fault> {
    let unknown = || {
        Fault::new(ErrorCode::EgressFailed, format!("host `{name}` has no address"))
            .hint("check the spelling; if it is right, name resolution on this machine fails")
    };
    let found = resolver.resolve(name).await.map_err(|_| unknown())?;
    let mut seen = BTreeSet::new();
    let addresses: Vec<IpAddr> =
        found.into_iter().map(|address| address.to_canonical()).filter(|address| seen.insert(*address)).take(MAX_ADDRESSES).collect();
    if addresses.is_empty() { Err(unknown()) } else { Ok(addresses) }
}

/// The address of a name is not told: the caller is not to learn the inner network's names.
fn denied(origin: &Origin, refused: Refused) -> Fault {
    let is = if origin.host.as_name().is_some() { "leads to an address that is" } else { "is an address that is" };
    Fault::new(ErrorCode::EgressDenied, format!("host `{}` {is} not public ({})", origin.host, refused.range)).hint(match refused.opens {
        Opens::ByName => "only public hosts can be reached; the operator can name this host and port as a private exception",
        Opens::ByAddress => "only public hosts can be reached; the operator can name this very address and port as a private exception",
        Opens::Never => "only public hosts can be reached",
    })
}
