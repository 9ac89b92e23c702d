//! Any bytes as a request's URL, its redirect, the allowed hosts and a resolver's answers: see `tests/it/egress_bytes.rs` for what must hold.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use toolgate::egress::probe::would_dial;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (url, location, hosts) = (text(), text(), text());
    let found: Vec<IpAddr> = parts.next().unwrap_or_default().chunks_exact(16).map(|chunk| {
        let octets: [u8; 16] = chunk.try_into().unwrap();
        if octets[0] == 4 { IpAddr::V4(Ipv4Addr::new(octets[1], octets[2], octets[3], octets[4])) } else { IpAddr::V6(Ipv6Addr::from(octets)) }
    }).collect();
    let hosts: Vec<&str> = hosts.split(' ').filter(|host| !host.is_empty()).collect();
    let location = (!location.is_empty()).then_some(location.as_str());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let Ok(would) = runtime.block_on(would_dial(&url, location, &hosts, &found)) else { return };
    assert!(!hosts.is_empty() && !would.addresses.is_empty());
    for address in &would.addresses {
        assert!(toolgate::egress::address::judge(address.ip()).is_ok(), "{address}");
    }
    assert!(would.url.starts_with(&format!("{}://", would.origin.scheme.as_str())), "{}", would.url);
});
