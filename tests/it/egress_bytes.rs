//! Whatever URL, redirect, hosts and addresses there are: what a request would dial is public, and is the host that was allowed (T47, T48,
//! T50). The seeds of `fuzz/corpus/egress` are replayed, then damaged at random; a fuzzer goes on from there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;
use toolgate::domain::ErrorCode;
use toolgate::egress::probe::{Would, would_dial};

use crate::support::root;

/// URL, redirect, hosts, and the resolver's answers, as the seeds hold them.
fn asked(bytes: &[u8]) -> Result<Would, ErrorCode> {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (url, location, hosts) = (text(), text(), text());
    let found: Vec<IpAddr> = parts.next().unwrap_or_default().chunks_exact(16).map(address).collect();
    let hosts: Vec<&str> = hosts.split(' ').filter(|host| !host.is_empty()).collect();
    let location = (!location.is_empty()).then_some(location.as_str());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let would = runtime.block_on(would_dial(&url, location, &hosts, &found)).map_err(|fault| {
        assert!(!fault.message.contains('\n') && !fault.message.is_empty());
        fault.code
    })?;
    check(&would, &url, &hosts);
    Ok(would)
}

fn address(chunk: &[u8]) -> IpAddr {
    let octets: [u8; 16] = chunk.try_into().unwrap();
    if octets[0] == 4 { IpAddr::V4(Ipv4Addr::new(octets[1], octets[2], octets[3], octets[4])) } else { IpAddr::V6(Ipv6Addr::from(octets)) }
}

/// What must hold of anything that would be dialled, told here another way than in the code.
fn check(would: &Would, url: &str, hosts: &[&str]) {
    assert!(!would.addresses.is_empty());
    for address in &would.addresses {
        assert!(!is_inner(address.ip()), "{address} of {url:?}");
        assert_eq!(address.port(), would.origin.port);
    }
    assert!(!url.contains(['\\', '\r', '\t', '\0']), "{url:?}");
    let sent = url::Url::parse(&would.url).unwrap();
    assert!(matches!(sent.scheme(), "http" | "https") && sent.username().is_empty() && sent.password().is_none(), "{sent}");
    assert_eq!(sent.host_str().unwrap(), would.origin.host.to_string(), "one host for every reader");
    assert_eq!(sent.port_or_known_default(), Some(would.origin.port));
    let host = would.origin.host.to_string();
    let named = |entry: &&str| {
        let entry = entry.trim_end_matches('.').to_lowercase();
        let bare = entry.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(entry.as_str(), |(bare, _)| bare);
        // Hosts that are written otherwise (`xn--`, wide digits, numbers) are compared by what they come to.
        let canonical = url::Url::parse(&format!("http://{}/", bare.trim_start_matches("*.")));
        let canonical = canonical.ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default();
        let canonical = canonical.trim_end_matches('.').to_owned();
        host == canonical || (bare.starts_with("*.") && host.ends_with(&format!(".{canonical}"))) || is_same_address(&host, &canonical)
    };
    assert!(hosts.iter().any(named), "{host} is none of {hosts:?}");
}

fn is_same_address(one: &str, other: &str) -> bool {
    let read = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok().map(|address| address.to_canonical());
    read(one).is_some_and(|one| Some(one) == read(other))
}

fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 198 && (b == 18 || b == 19))
        }
        IpAddr::V6(v6) => {
            let [head, second, ..] = v6.segments();
            let last = v6.octets();
            let inside = |at: usize| is_inner(IpAddr::V4(Ipv4Addr::new(last[at], last[at + 1], last[at + 2], last[at + 3])));
            match head {
                // Mapped, compatible and the like; only NAT64's own prefix may lead to something public.
                0 => true,
                0x64 => second != 0xff9b || inside(12),
                0x2002 => true,
                _ => !(0x2000..0x4000).contains(&head) || (head == 0x2001 && second == 0),
            }
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = std::fs::read_dir(root().join("fuzz/corpus/egress"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(seeds.len() >= 25, "{}", seeds.len());
    seeds
}

#[test]
fn seeds_are_decided_as_their_names_say() {
    let passes = ["plain", "port", "subdomain", "name_to_both", "redirect_relative", "punycode", "dot_at_end"];
    for (name, bytes) in seeds() {
        let would = asked(&bytes);
        assert_eq!(would.is_ok(), passes.contains(&name.as_str()), "{name}: {would:?}");
        if name == "name_to_both" {
            assert_eq!(would.unwrap().addresses.len(), 1, "the inner one is left out");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_seeds_never_lead_inside(which in any::<prop::sample::Index>(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..8)) {
        let seeds = seeds();
        let mut bytes = which.get(&seeds).1.clone();
        for (at, byte, how) in damage {
            let at = at.index(bytes.len().max(1));
            match how {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        let _decided = asked(&bytes);
    }

    /// Hosts of all kinds, in URLs that an attacker would write.
    #[test]
    fn spellings_of_hosts_never_lead_inside(
        host in prop_oneof!["[0-9a-fx.]{1,20}", "\\[[0-9a-f:.]{2,24}\\]", "[a-z0-9.\\-]{1,20}", ".{1,12}"],
        before in prop_oneof![Just(""), Just("user@"), Just("a:b@"), Just("/"), Just("\\"), Just(" "), Just("%00")],
        after in prop_oneof![Just("/"), Just(":80/"), Just(":8080/"), Just("?x"), Just("#@example.com"), Just("\\@example.com"), Just(".")],
        found in any::<[u8; 16]>(),
        v4 in any::<u32>(),
    ) {
        let url = format!("http://{before}{host}{after}");
        let hosts = format!("{host} {host}:8080 example.com *.example.com");
        for address in [found, Ipv4Addr::from(v4).to_ipv6_mapped().octets()] {
            let bytes = [url.as_bytes(), b"\n\n", hosts.as_bytes(), b"\n", &address].concat();
            let _decided = asked(&bytes);
        }
    }
}
