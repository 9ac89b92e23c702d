//! Names that a trusted host's answers link to: they lead to public addresses, and to those of that host itself.
//!
//! INVARIANT: a link opens no inner address that the operator's exceptions did not open for the host that links. What the guard refuses
//! besides stays refused.

use std::net::IpAddr;

use async_trait::async_trait;

use super::address::judge;
use super::{PrivateException, Resolve, SystemResolver};

/// Resolves names as the system does, but linked ones only to public addresses and to those of the hosts that link to them.
pub struct LinkedResolver {
    linked: Vec<String>,
    known: Vec<IpAddr>,
}

impl LinkedResolver {
    /// For the hosts that were named, and those that they link to.
    pub async fn of(named: &[PrivateException], linked: &[PrivateException]) -> Self {
        let mut known = Vec::new();
        // Where nothing links anywhere, nothing need be known.
        for entry in named.iter().filter(|_| !linked.is_empty()) {
            known.extend(SystemResolver.resolve(&entry.host).await.unwrap_or_default());
        }
        Self { linked: linked.iter().map(|entry| entry.host.to_ascii_lowercase()).collect(), known }
    }

    fn lets(&self, name: &str, address: IpAddr) -> bool {
        !self.linked.iter().any(|linked| linked == name) || self.known.contains(&address) || judge(address).is_ok()
    }
}

#[async_trait]
impl Resolve for LinkedResolver {
    async fn resolve(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        let found = SystemResolver.resolve(name).await?;
        let kept: Vec<IpAddr> = found.into_iter().filter(|address| self.lets(name, *address)).collect();
        if kept.is_empty() {
            Err(std::io::Error::other("it stands at an address that only the host that links to it may have"))
        } else {
            Ok(kept)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_name_leads_to_public_addresses_and_to_the_index_itself() {
        let resolver = LinkedResolver { linked: vec!["files.example".into()], known: vec![[10, 0, 0, 7].into()] };
        for (name, address, lets) in [
            ("files.example", [10, 0, 0, 7], true),
            ("files.example", [8, 8, 8, 8], true),
            ("files.example", [10, 0, 0, 8], false),
            ("files.example", [127, 0, 0, 1], false),
            ("files.example", [169, 254, 169, 254], false),
            // The index itself was named by the operator; the guard holds it to its exception.
            ("index.example", [10, 0, 0, 8], true),
        ] {
            assert_eq!(resolver.lets(name, address.into()), lets, "{name} {address:?}");
        }
    }
}
