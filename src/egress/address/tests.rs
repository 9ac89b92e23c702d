use proptest::prelude::*;

use super::*;

fn range(text: &str) -> Option<&'static str> {
    judge(text.parse().unwrap()).err().map(|refused| refused.range)
}

/// First and last address of each row, and the public neighbours where there are any.
#[test]
fn rows_of_ipv4() {
    let rows: &[(&str, &str, &str, &[&str])] = &[
        ("0.0.0.0", "0.255.255.255", "this network", &["1.0.0.0"]),
        ("10.0.0.0", "10.255.255.255", "private", &["9.255.255.255", "11.0.0.0"]),
        ("100.64.0.0", "100.127.255.255", "shared by a carrier", &["100.63.255.255", "100.128.0.0"]),
        ("100.100.100.200", "100.100.100.200", "metadata service", &[]),
        ("127.0.0.0", "127.255.255.255", "loopback", &["126.255.255.255", "128.0.0.0"]),
        ("168.63.129.16", "168.63.129.16", "metadata service", &["168.63.129.15", "168.63.129.17"]),
        ("169.254.0.0", "169.254.255.255", "link-local", &["169.253.255.255", "169.255.0.0"]),
        ("172.16.0.0", "172.31.255.255", "private", &["172.15.255.255", "172.32.0.0"]),
        ("192.0.0.0", "192.0.0.255", "protocol assignments", &["191.255.255.255", "192.0.1.0"]),
        ("192.0.2.0", "192.0.2.255", "documentation", &["192.0.1.255", "192.0.3.0"]),
        ("192.31.196.0", "192.31.196.255", "AS112", &["192.31.195.255", "192.31.197.0"]),
        ("192.52.193.0", "192.52.193.255", "multicast tunnels", &["192.52.192.255", "192.52.194.0"]),
        ("192.88.99.0", "192.88.99.255", "6to4 relay", &["192.88.98.255", "192.88.100.0"]),
        ("192.168.0.0", "192.168.255.255", "private", &["192.167.255.255", "192.169.0.0"]),
        ("192.175.48.0", "192.175.48.255", "AS112", &["192.175.47.255", "192.175.49.0"]),
        ("198.18.0.0", "198.19.255.255", "benchmarking", &["198.17.255.255", "198.20.0.0"]),
        ("198.51.100.0", "198.51.100.255", "documentation", &["198.51.99.255", "198.51.101.0"]),
        ("203.0.113.0", "203.0.113.255", "documentation", &["203.0.112.255", "203.0.114.0"]),
        ("224.0.0.0", "239.255.255.255", "multicast", &["223.255.255.255"]),
        ("240.0.0.0", "255.255.255.255", "reserved", &[]),
    ];
    for (first, last, what, public) in rows {
        assert_eq!(range(first), Some(*what), "{first}");
        assert_eq!(range(last), Some(*what), "{last}");
        for address in *public {
            assert_eq!(range(address), None, "{address}");
        }
    }
    assert_eq!(rows.len(), V4.len(), "each row of the table has a line here");
}

#[test]
fn rows_of_ipv6() {
    let rows: &[(&str, &str, &str)] = &[
        ("::", "::", "unspecified"),
        ("::1", "::1", "loopback"),
        ("::2", "::ffff:ffff", "IPv4-compatible"),
        ("::ffff:0:0:0", "::ffff:0:ffff:ffff", "IPv4-translated"),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"),
        ("100::", "100::ffff:ffff:ffff:ffff", "discard"),
        ("100:0:0:1::", "100:0:0:1:ffff:ffff:ffff:ffff", "dummy"),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"),
        ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "protocol assignments"),
        ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4"),
        ("2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "AS112"),
        ("3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "former 6bone"),
        ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation"),
        ("5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "segment routing"),
        ("fd00:ec2::254", "fd00:ec2::254", "metadata service"),
        ("fd20:ce::254", "fd20:ce::254", "metadata service"),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "private"),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local"),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local"),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast"),
    ];
    for (first, last, what) in rows {
        assert_eq!(range(first), Some(*what), "{first}");
        assert_eq!(range(last), Some(*what), "{last}");
    }
    assert_eq!(rows.len(), V6.len(), "each row of the table has a line here");
    for outside in ["64:ff9c::1", "200::1", "1fff:ffff::1", "4000::1", "8000::1", "fb00::1"] {
        assert_eq!(range(outside), Some("not global unicast"), "{outside}");
    }
    for public in ["2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "2a00::1", "2620:4f:8001::1", "3fff:1000::1"] {
        assert_eq!(range(public), None, "{public}");
    }
}

/// The first thing one would write, with what the standard library calls loopback, private and so on.
fn naive(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !(a.is_loopback() || a.is_private() || a.is_link_local() || a.is_unspecified() || a.is_multicast()),
        IpAddr::V6(a) => !(a.is_loopback() || a.is_unique_local() || a.is_unicast_link_local() || a.is_unspecified() || a.is_multicast()),
    }
}

#[test]
fn inner_addresses_in_disguise_are_seen_through() {
    for text in [
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::7f00:1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2606:4700::5efe:127.0.0.1",
        "2606:4700::200:5efe:10.0.0.1",
        "fec0::1",
        "100.64.0.1",
        "198.18.0.1",
        "240.0.0.1",
    ] {
        let address: IpAddr = text.parse().unwrap();
        assert!(naive(address), "the naive check lets {text} pass");
        assert!(judge(address).is_err(), "{text}");
    }
    // The same carriers around a public address: two lead to it, the others are dead or only local.
    for (text, public) in [
        ("::ffff:8.8.8.8", true),
        ("64:ff9b::8.8.8.8", true),
        ("2606:4700::5efe:8.8.8.8", true),
        ("2002:808:808::1", false),
        ("::8.8.8.8", false),
        ("64:ff9b:1::8.8.8.8", false),
    ] {
        assert_eq!(judge(text.parse().unwrap()).is_ok(), public, "{text}");
    }
}

#[test]
fn metadata_services_open_only_by_address() {
    for text in ["169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fe80::a9fe:a9fe"] {
        assert_eq!(judge(text.parse().unwrap()).unwrap_err().opens, Opens::ByAddress, "{text}");
    }
}

proptest! {
    /// Whatever is public holds to what each registry says in its own words, told here another way than in the table.
    #[test]
    fn public_is_never_inner(bits in any::<u128>(), v4 in any::<u32>(), carrier in 0..8_u8) {
        let inner = u128::from(v4);
        let address = IpAddr::V6(Ipv6Addr::from(match carrier {
            0 => bits,
            1 => inner,
            2 => (0xffff << 32) | inner,
            3 => (0x0064_ff9b << 96) | inner,
            4 => (0x2002 << 112) | (inner << 80) | (bits >> 48),
            5 => (0x2001 << 112) | (bits >> 32),
            6 => (0x2606_4700 << 96) | (0x5efe << 32) | inner,
            _ => (0x2 << 124) | (bits >> 4),
        }));
        let v4 = Ipv4Addr::from(v4);
        let inner_v4 = !naive(IpAddr::V4(v4)) || v4.is_broadcast() || v4.is_documentation() || v4.octets()[0] == 0 || v4.octets()[0] >= 224;
        prop_assert!(!inner_v4 || judge(IpAddr::V4(v4)).is_err());
        match carrier {
            1 | 4 => prop_assert!(judge(address).is_err()),
            2 | 3 | 6 => prop_assert_eq!(judge(address).is_ok(), judge(IpAddr::V4(v4)).is_ok()),
            _ if judge(address).is_ok() => prop_assert!(naive(address.to_canonical())),
            _ => {}
        }
    }
}
